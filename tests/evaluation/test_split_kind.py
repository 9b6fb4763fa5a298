"""`split_kind` holds out pairs of one kind, and nothing of them, nor of what came later, is left to train on."""

import numpy as np
import pytest
from refusal import refuses

from alternant import Events, ImplicitALS
from alternant.evaluation import (
    evaluate,
    hold_out_users,
    k_fold,
    leave_last_out,
    leave_one_out,
    random_split,
    split_by_time,
    split_kind,
)

SPLITS = (random_split, leave_one_out, leave_last_out, split_by_time)


def table(seed=0):
    """Half of the pairs have several events."""
    rng = np.random.default_rng(seed)
    rows = 1200
    return Events.from_arrays(rng.integers(0, 30, rows), rng.integers(0, 25, rows),
                              rng.choice(["view", "cart", "buy"], rows, p=[0.6, 0.2, 0.2]),
                              times=rng.integers(0, 1000, rows))  # fmt: skip


def pairs(interactions):
    rows, columns = interactions.matrix.nonzero()
    return set(zip(rows.tolist(), columns.tolist(), strict=True))


@pytest.mark.parametrize("split", SPLITS, ids=lambda split: split.__name__)
def test_no_event_of_a_held_out_pair_is_in_train(split):
    events = table()
    train, test = split_kind(events, "buy", split)
    assert pairs(test)
    assert pairs(test) <= pairs(events.of_kind("buy"))
    assert not pairs(test) & pairs(train.interactions())
    if split in (random_split, leave_one_out):  # all other events are left
        assert len(train) == len(events.without(test))
    assert train.shape == test.shape == events.shape
    assert train.kinds == events.kinds
    fitted = ImplicitALS(factors=2, iterations=1, random_state=0).fit(train.interactions())
    assert evaluate(fitted, test, k=5, metrics="ndcg").n_test_pairs == test.nnz


def test_what_came_later_is_not_in_train():
    events = table()
    train, test = split_kind(events, "buy", split_by_time, at=700)
    assert train.times.max() < 700 <= test.times.min()
    train, test = split_kind(events, "buy", split_by_time)
    assert train.times.max() < test.times.min()
    days = Events.from_arrays(list("abc"), list("xyz"), list("uvv"), times=np.array([0, 5, 8], "datetime64[D]"))
    assert split_kind(days, "v", split_by_time, at="1970-01-08")[0].user_ids.tolist() == ["a", "b", "c"]
    assert len(split_kind(days, "v", split_by_time, at="1970-01-08")[0]) == 2
    train, test = split_kind(events, "buy", leave_last_out)
    first = dict(zip(test.matrix.nonzero()[0].tolist(), test.times.tolist(), strict=True))
    for user, time in zip(train._table.users.tolist(), train.times.tolist(), strict=True):
        assert time <= first.get(user, 1000)
    assert train.times.max() > test.times.min()  # but others may act later


def test_held_out_users_are_folded_in_with_all_kinds():
    events = table()
    parts = split_kind(events, "buy", hold_out_users, n_users=6, random_state=0)
    held_out = np.flatnonzero(np.isin(events.user_ids, parts.users))
    assert len(held_out) == 6
    assert set(np.unique(parts.train._table.users)) == set(range(30)) - set(held_out.tolist())
    assert set(np.unique(parts.test.matrix.nonzero()[0])) == set(held_out.tolist())
    assert parts.fold_in.counts()["view"] > 0
    every = [pairs(part) for part in (parts.test, parts.fold_in.interactions(), parts.train.interactions())]
    assert not every[0] & every[1]
    assert set.union(*every) == pairs(events.interactions())
    model = ImplicitALS(factors=2, iterations=1, random_state=0).fit(parts.train.interactions())
    result = evaluate(model, parts.test, user_items=parts.fold_in.interactions(), k=5, metrics="ndcg")
    assert result.n_users_evaluated == 6


def test_bad_splits_are_refused():
    events = table()
    refuses(TypeError, "events must be Events, got Interactions", lambda: split_kind(events.of_kind("buy"), "buy"))
    refuses(ValueError, "split must be one of the functions leave_one_out, .* got 'k_fold'",
            lambda: split_kind(events, "buy", k_fold))  # fmt: skip
    refuses(ValueError, "kind must be a kind of these events", lambda: split_kind(events, "bought"))
    few = Events.from_arrays(["a", "b"], ["x", "y"], times=[5, 3])
    assert split_kind(few, "event", split_by_time, at=4)[0].times.tolist() == [3]
    late = Events.from_arrays(["a", "b", "b"], ["x", "y", "y"], ["buy", "buy", "view"], times=[5, 3, 6])
    refuses(ValueError, "split_by_time needs times, and these events have none: pass", lambda: split_kind(
        Events.from_arrays(["a", "b"], ["x", "y"]), "event", split_by_time))  # fmt: skip
    refuses(TypeError, "takes the times of the events, got times=: pass time=", lambda: split_kind(
        late, "buy", split_by_time, times=[1, 2, 3]))  # fmt: skip
    assert len(split_kind(late, "buy", split_by_time, at=5)[0]) == 1
