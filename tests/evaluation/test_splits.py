"""Splits: no leaks, no lost entries, and the contract of each."""

import numpy as np
import pytest
import scipy.sparse as sp
from refusal import refuses

from alternant import Events, Interactions
from alternant.evaluation import (
    _blocked,
    blocked_split,
    hold_out_items,
    hold_out_users,
    k_fold,
    leave_k_out,
    leave_last_out,
    leave_one_out,
    random_split,
    sample_negatives,
    split_by_time,
)

M, N = 50, 30


def table(seed=0):
    """Ratings from 0 to 5; the zeros are stored."""
    rng = np.random.default_rng(seed)
    return sp.random_array((M, N), density=0.3, rng=rng, format="csr",
                           data_sampler=lambda size: rng.integers(0, 6, size).astype(np.float32))  # fmt: skip


def canonical(seed=0):
    matrix = table(seed)
    matrix.sort_indices()
    return matrix


TIMES = np.random.default_rng(1).integers(0, 10**6, canonical().nnz)


def interactions(seed=0):
    pairs = canonical(seed).tocoo()
    return Interactions.from_arrays(pairs.row + 100, [f"i{i:02}" for i in pairs.col], pairs.data, TIMES)


SPLITS = {
    "leave_one_out": lambda data, **times: leave_one_out(data, random_state=0),
    "leave_k_out": lambda data, **times: leave_k_out(data, 3, random_state=0),
    "leave_last_out": lambda data, **times: leave_last_out(data, 2, **times),
    "random_split": lambda data, **times: random_split(data, 0.25, random_state=0),
    "blocked_split": lambda data, **times: blocked_split(data, 0.25, random_state=0),
    "split_by_time": lambda data, **times: split_by_time(data, 0.3, **times),
    "k_fold": lambda data, **times: next(k_fold(data, 4, random_state=0)),
}


def entries(matrix):
    pairs = matrix.tocoo()
    return {(int(u), int(i)): float(r) for u, i, r in zip(pairs.row, pairs.col, pairs.data, strict=True)}


@pytest.mark.parametrize("name", SPLITS)
@pytest.mark.parametrize("form", ["csr", "csc", "coo", "interactions"])
def test_train_and_test_partition_the_entries(name, form):
    timed = name in ("leave_last_out", "split_by_time")
    if form == "interactions":
        data, times = interactions(), {}
        matrix = data.matrix
    elif timed and form != "csr":
        data = matrix = canonical()
        stamps = sp.csr_array((TIMES, matrix.indices, matrix.indptr), matrix.shape)
        times = {"times": stamps.asformat(form)}
    else:
        matrix, times = canonical(), {"times": TIMES}
        data = matrix.asformat(form)
    before = entries(matrix)
    train, test = SPLITS[name](data, **times)
    assert type(train) is type(test) is (Interactions if form == "interactions" else sp.csr_array)
    if form == "interactions":
        assert train.user_ids.tolist() == test.user_ids.tolist() == data.user_ids.tolist()
        assert len(train.times) == train.nnz
        train, test = train.matrix, test.matrix
    assert train.shape == test.shape == matrix.shape
    first, second = entries(train), entries(test)
    assert first
    assert second
    assert not set(first) & set(second)
    assert first | second == before == entries(matrix)
    assert train.dtype == matrix.dtype


@pytest.mark.parametrize("name", [name for name in SPLITS if name not in ("leave_last_out", "split_by_time")])
def test_splits_are_reproducible(name):
    one, again = (SPLITS[name](canonical())[1] for _ in range(2))
    assert entries(one) == entries(again)


def test_seeds_give_different_splits_that_are_stable_across_platforms():
    one, other = (random_split(canonical(), random_state=seed)[1] for seed in (1, 2))
    assert entries(one) != entries(other)
    data = sp.csr_array(np.arange(1, 13, dtype=float).reshape(3, 4))
    assert sorted(random_split(data, 0.25, random_state=7)[1].data.tolist()) == [5, 7, 11]


def test_leave_k_out_takes_k_likes_or_none():
    matrix = canonical()
    _, test = leave_k_out(matrix, 3, random_state=0)
    likes = [(matrix[[u]].data > 0).sum() for u in range(M)]
    assert np.diff(test.indptr).tolist() == [3 if n > 3 else 0 for n in likes]  # each user keeps an entry to train on
    assert (test.data > 0).all()


def test_blocked_split_takes_a_fraction_of_the_likes_of_each_user():
    matrix = canonical()
    _, test = blocked_split(matrix, 0.3, random_state=0)
    likes = np.array([(matrix[[u]].data > 0).sum() for u in range(M)])
    assert np.diff(test.indptr).tolist() == np.where(likes < 2, 0, np.maximum(1, 3 * likes // 10)).tolist()
    assert (test.data > 0).all()


@pytest.mark.parametrize("seed", range(3))
def test_blocked_split_takes_an_item_and_those_most_similar_to_it(seed):
    rng = np.random.default_rng(seed)
    likes = rng.random((40, 25)) < rng.random(25) ** 2  # of few users or of many
    matrix = sp.csr_array(likes.astype(float))
    _, test = blocked_split(matrix, 0.4, random_state=seed)
    blocks = 0
    for u in np.flatnonzero(likes.sum(axis=1) >= 5):
        own, held, others = np.flatnonzero(likes[u]), set(test[[u]].indices.tolist()), np.delete(likes, u, axis=0) * 1.0
        length = np.maximum(np.linalg.norm(others, axis=0), 1)
        possible = False
        for first in held:
            cosine = {int(i): others[:, i] @ others[:, first] / length[i] for i in own if i != first}
            least = min(cosine[i] for i in held - {first})
            possible |= all(cosine[int(i)] <= least + 1e-12 for i in own if i not in held)
        assert possible
        blocks += 1
    assert blocks > 20


def test_blocked_split_of_some_users_takes_random_items_of_the_others():
    dense = np.zeros((400, 8))
    dense[:200, :3] = dense[200:, 5:] = dense[:, 3:5] = 1  # each user has three items of a kind, and two that all have
    together = []
    for share in (0.0, 0.5, 1.0):
        _, test = blocked_split(sp.csr_array(dense), 0.4, users=share, random_state=0)
        assert np.diff(test.indptr).tolist() == [2] * 400
        together.append(int((test[:, [3, 4]].sum(axis=1) != 1).sum()))
    assert together[2] == 400  # two of the kind, or the two that all have
    assert 120 < together[0] < 200  # of ten pairs, four
    assert abs(together[1] - (together[0] + 400) / 2) < 30


def test_blocked_split_draws_the_first_item_and_ties_evenly():
    disjoint = sp.csr_array(np.ones((1, 8)))  # of nobody else, so that all similarities are 0
    drawn = sum(blocked_split(disjoint, 0.25, random_state=seed)[1].toarray()[0] for seed in range(2000))
    assert np.abs(drawn - 500).max() < 90


def test_blocked_split_samples_the_users_of_a_popular_item_evenly(monkeypatch):
    monkeypatch.setattr(_blocked, "SAMPLED", 6)
    # To users 10 to 19 with items 0, 1 and 2, item 2 is nearer to item 0 than item 1, which many have without it. It is
    # so for most samples of the users of item 0, but not for the first of them, who do not have it.
    dense = np.zeros((50, 3))
    dense[:20, 0] = dense[:, 1] = dense[10:20, 2] = 1
    with_item_2 = 0
    for seed in range(100):
        _, test = blocked_split(sp.csr_array(dense), 0.7, random_state=seed)
        with_item_2 += test.toarray()[10:20, 2].sum()
    # It is the first item in a third of the cases and, in another third, the nearest to item 0 with most samples.
    assert with_item_2 > 480


@pytest.mark.parametrize("fraction", [0.999, 1 - 1e-12])
def test_blocked_split_leaves_each_user_an_interaction(fraction):
    train, test = blocked_split(sp.csr_array(np.ones((6, 4))), fraction, random_state=0)
    assert np.diff(train.indptr).tolist() == [1] * 6
    assert np.diff(test.indptr).tolist() == [3] * 6


def test_leave_last_out_takes_the_latest_likes():
    matrix = canonical()
    _, test = leave_last_out(matrix, 2, times=TIMES)
    for u in range(M):
        part = slice(matrix.indptr[u], matrix.indptr[u + 1])
        likes = matrix.data[part] > 0
        if likes.sum() > 2:
            latest = matrix.indices[part][likes][np.argsort(TIMES[part][likes])[-2:]]
            assert sorted(latest) == sorted(test[[u]].indices)


def test_ties_in_time_go_to_the_higher_item():
    data = sp.csr_array(np.ones((1, 4)))
    _, test = leave_last_out(data, 2, times=np.zeros(4))
    assert test.indices.tolist() == [2, 3]


def test_split_by_time_holds_out_the_latest_entries():
    train, test = split_by_time(interactions(), 0.3)
    assert train.times.max() < test.times.min()
    assert abs(test.nnz / len(TIMES) - 0.3) < 0.01
    train, test = split_by_time(interactions(), at=500_000)
    assert train.times.max() < 500_000 <= test.times.min()


def test_dates_are_times():
    days = np.array(["2024-01-01", "2024-02-01", "2024-03-01", "2024-04-01"], "datetime64[s]")
    data = Interactions.from_arrays([1, 1, 2, 2], [1, 2, 1, 2], times=days)
    train, test = split_by_time(data, at="2024-03-01")
    assert (train.nnz, test.nnz) == (2, 2)
    with pytest.raises(ValueError, match="at must be a date, like the times, got 'soon'"):
        split_by_time(data, at="soon")
    assert leave_last_out(data)[1].times.tolist() == days[[1, 3]].tolist()


def test_folds_hold_out_each_entry_once():
    folds = list(k_fold(canonical(), 5, random_state=0))
    assert len(folds) == 5
    held_out = [pair for _, test in folds for pair in entries(test).items()]
    assert sorted(held_out) == sorted(entries(canonical()).items())
    assert max(test.nnz for _, test in folds) - min(test.nnz for _, test in folds) <= 1


@pytest.mark.parametrize("form", ["matrix", "interactions"])
def test_held_out_users_are_not_trained_on(form):
    data = canonical() if form == "matrix" else interactions()
    parts = hold_out_users(data, 0.2, fold_in_fraction=0.5, random_state=0)
    matrix = data if form == "matrix" else data.matrix
    rows = parts.users if form == "matrix" else np.searchsorted(data.user_ids, parts.users)
    train, fold_in, test = (part if form == "matrix" else part.matrix for part in parts[:3])
    assert train.shape == (M - len(rows), N)
    assert fold_in.shape == test.shape == (len(rows), N)
    assert entries(train) == entries(matrix[np.setdiff1d(np.arange(M), rows)])
    assert not set(entries(fold_in)) & set(entries(test))
    assert entries(fold_in) | entries(test) == entries(matrix[rows])
    assert (test.data > 0).all()
    for row in range(len(rows)):
        likes, tested = (matrix[[rows[row]]].data > 0).sum(), len(test[[row]].indices)
        assert tested == max(1, likes // 2)


def test_sampled_negatives_are_unknown_items():
    train, test = leave_one_out(canonical(), random_state=0)
    listed = sample_negatives(train, test, 7, random_state=0)
    known = canonical()
    for u in range(M):
        items, wanted = listed[[u]].indices, test[[u]].indices
        if not len(wanted):
            assert not len(items)
            continue
        negatives = np.setdiff1d(items, wanted)
        assert set(wanted) <= set(items)
        assert len(negatives) == 7
        assert not set(negatives) & set(known[[u]].indices)
    everything = sample_negatives(train, test, 10**6, random_state=0)
    u = int(np.flatnonzero(np.diff(test.indptr))[0])
    unknown = np.setdiff1d(np.arange(N), known[[u]].indices)
    assert sorted(everything[[u]].indices) == sorted([*unknown, *test[[u]].indices])


def test_all_negatives_are_equally_likely():
    train, test = sp.csr_array([[1.0, 0, 0, 0, 1, 0, 0, 0]]), sp.csr_array([[0, 0, 1.0, 0, 0, 0, 0, 0]])
    drawn = sum(sample_negatives(train, test, 1, random_state=seed).toarray()[0].astype(int) for seed in range(2000))
    assert drawn[[0, 4]].tolist() == [0, 0]
    assert drawn[2] == 2000
    assert np.abs(drawn[[1, 3, 5, 6, 7]] - 400).max() < 80


@pytest.mark.parametrize(("call", "message"), [
    (lambda: blocked_split(canonical(), users=1.5), "users must be a fraction of the users, at most 1, got 1.5"),
    (lambda: blocked_split(canonical(), users=-1), "users must be"),
    (lambda: random_split(canonical(), 0), r"fraction must be between 0 and 1 \(exclusive\), got 0"),
    (lambda: random_split(canonical(), 1.0), "fraction must be between 0 and 1"),
    (lambda: random_split(canonical(), True), "fraction must be between 0 and 1"),
    (lambda: random_split(sp.csr_array((3, 3))), "a split needs at least two entries, got 0"),
    (lambda: leave_k_out(canonical(), 99), "k must leave training interactions, got 99: no user"),
    (lambda: leave_k_out(canonical(), 0), "k must be at least 1"),
    (lambda: leave_last_out(canonical()), "a split by time needs a time for every entry, got none: pass times="),
    (lambda: leave_last_out(canonical(), times=TIMES[1:]), "times must be a list of numbers or dates, one for each"),
    (lambda: leave_last_out(canonical().tocsc(), times=TIMES), "a list of times needs interactions as a sorted CSR"),
    (lambda: leave_last_out(canonical(), times=table(2)), "times must store the same pairs as interactions"),
    (lambda: leave_last_out(canonical(), times=np.full(len(TIMES), np.nan)), "times must be known for every entry"),
    (lambda: split_by_time(canonical(), 0.2, at=3, times=TIMES), "split_by_time takes fraction or at"),
    (lambda: split_by_time(canonical(), at=-1, times=TIMES), "train and test must both have entries, got 0 before"),
    (lambda: split_by_time(canonical(), at="x", times=TIMES), "at must be a number"),
    (lambda: k_fold(canonical(), 1), "n_splits must be at least 2"),
    (lambda: k_fold(canonical(), 10**6), "n_splits must be at most the number of entries"),
    (lambda: hold_out_users(canonical(), M), "n_users must leave users to train on"),
    (lambda: hold_out_users(canonical(), 1.5), "n_users must be between 0 and 1"),
    (lambda: hold_out_users(canonical(), 3, fold_in_fraction=1), "fold_in_fraction must be between 0 and 1"),
    (lambda: hold_out_items(canonical(), 10**6), "n_items must leave items to train on, got 1000000 of"),
    (lambda: sample_negatives(canonical(), sp.csr_array((1, 1))), "train and test must have the same shape"),
])  # fmt: skip
def test_invalid_splits_are_rejected(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def test_events_are_split_by_kind():
    events = Events.from_arrays([0, 1], [0, 1], ["view", "buy"])
    for split in (random_split, leave_one_out, hold_out_users, hold_out_items):
        refuses(TypeError, r"interactions must be Interactions, or a matrix, got Events: pass events.interactions\("
                r"weights\), or split events with split_kind$", lambda split=split: split(events))  # fmt: skip
