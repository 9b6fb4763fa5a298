"""An evaluation of interactions in stores has the numbers of one in memory, to the bit."""

import numpy as np
import pytest

from alternant import CosineMF, ExplicitALS, ImplicitALS, Interactions
from alternant.evaluation import evaluate

USERS, ITEMS, PAIRS = 60, 40, 900


def tables(seed=0):
    """Train and test, of different pairs: users, items and values; some test values are 0."""
    rng = np.random.default_rng(seed)
    pairs = rng.permutation(USERS * ITEMS)[:PAIRS]
    values = rng.integers(0, 2, PAIRS).astype(float)
    users, items = np.divmod(pairs, ITEMS)
    test = np.arange(PAIRS) < 100
    return [(users[rows], items[rows], values[rows]) for rows in (~test, test)]


def stored(table, folder, names):
    users, items, values = table
    batch = names(users), items * 3 + 1, values
    return Interactions.from_batches([batch], store=folder, aggregate="last")


NAMES = {"numbers": lambda users: users * 2, "texts": lambda users: [f"u{user * 7 % 60:02}" for user in users.tolist()]}


@pytest.mark.parametrize("names", NAMES)
@pytest.mark.parametrize("kind", [ImplicitALS, ExplicitALS, CosineMF])
@pytest.mark.parametrize("block", [5, 4096])
def test_the_numbers_are_those_in_memory(tmp_path, monkeypatch, kind, names, block):
    train, test = tables()
    if kind is ImplicitALS:
        train = tuple(column[train[2] > 0] for column in train)
        keep = np.isin(test[0], train[0]) & np.isin(test[1], train[1])
        test = tuple(column[keep] for column in test)
    inputs = [stored(table, tmp_path / str(part), NAMES[names]) for part, table in enumerate((train, test))]
    memory = [Interactions.from_arrays(NAMES[names](users), items * 3 + 1, values, aggregate="last")
              for users, items, values in (train, test)]  # fmt: skip
    steps = {"iterations": 2} if kind is not CosineMF else {"epochs": 2}
    models = [kind(factors=4, random_state=0, **steps).fit(one) for one in (inputs[0], memory[0])]
    monkeypatch.setattr("alternant.evaluation._held_out.BLOCK", block)
    for options in ({}, {"relevant_from": 1}, {"exclude_seen": False, "metrics": ["ndcg", "auc"]}):
        got, expected = (evaluate(model, part, k=[3, 5], **options)
                         for model, part in ((models[0], inputs[1]), (models[1], memory[1])))  # fmt: skip
        assert got.means == expected.means
        for name, values in expected.per_user.items():
            np.testing.assert_array_equal(got.per_user[name], values)
        assert got.users.tolist() == expected.users.tolist()
        assert (got.n_users_without_test, got.n_test_pairs) == (expected.n_users_without_test, expected.n_test_pairs)
        np.testing.assert_array_equal(got._breakdown.relevant, expected._breakdown.relevant)
    assert evaluate(models[1], inputs[1], k=3).means == evaluate(models[1], memory[1], k=3).means


@pytest.mark.parametrize("names", NAMES)
def test_users_and_items_in_another_order(tmp_path, monkeypatch, names):
    """The test set has some of the users and items only, and the model numbers its own in another order."""
    train, test = tables()
    order = np.random.default_rng(1).permutation(len(train[0]))
    train = tuple(column[order] for column in train)
    memory = Interactions.from_arrays(NAMES[names](train[0]), train[1] * 3 + 1, train[2])
    shuffled = memory.reindex(users=memory.user_ids[np.random.default_rng(2).permutation(memory.shape[0])],
                              items=memory.item_ids[::-1])  # fmt: skip
    model = ExplicitALS(factors=4, iterations=2, random_state=0).fit(shuffled)
    monkeypatch.setattr("alternant.evaluation._held_out.BLOCK", 7)
    monkeypatch.setattr("alternant.evaluation._held_out.PART", 9)
    expected = evaluate(model, Interactions.from_arrays(NAMES[names](test[0]), test[1] * 3 + 1, test[2]), k=4)
    got = evaluate(model, stored(test, tmp_path / "test", NAMES[names]), k=4)
    assert got.means == expected.means
    assert got.users.tolist() == expected.users.tolist()


def test_what_a_stored_test_set_is_refused_for(tmp_path):
    train, test = tables()
    memory = Interactions.from_arrays(train[0], train[1] * 3 + 1, train[2], aggregate="last")
    model = ExplicitALS(factors=3, iterations=1, random_state=0).fit(memory)
    both = tuple(np.concatenate([one, other[:2]]) for one, other in zip(test, train, strict=True))
    plain = Interactions.from_arrays(both[0], both[1] * 3 + 1, both[2])
    for given in (plain, stored(both, tmp_path / "leak", lambda users: users)):
        with pytest.raises(ValueError, match=r"no pair that the model has seen, got 2 of 102, such as row \d+, column"):
            evaluate(model, given, k=3)
    other = Interactions.from_batches([([0, 77], [1, 1], [1.0, 2.0])], store=tmp_path / "users")
    with pytest.raises(IndexError, match="test users must be user ids of the fit, got 77"):
        evaluate(model, other, k=3)
    other = Interactions.from_batches([([0, 1], [1, 2])], store=tmp_path / "items")
    with pytest.raises(ValueError, match="test must contain only items of the fit, got 1 others, such as 2"):
        evaluate(ImplicitALS(factors=2, iterations=1).fit(memory), other, k=3)
