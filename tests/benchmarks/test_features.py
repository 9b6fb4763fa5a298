"""The tasks of `python -m benchmarks features accuracy`: nothing of the test parts is in train."""

import numpy as np
import pytest

pytest.importorskip("benchmarks.features", reason="the benchmarks are not beside the tests (a wheel's test run)")

from benchmarks.features.contenders import TASKS, draw_ours_with_features, ours
from benchmarks.features.run import judged, ndcg
from benchmarks.features.sets import planted, planted_with_truth, split, threshold, validation_of
from benchmarks.features.sizes import most_probable_items, most_probable_users, one_split


def test_the_parts_of_a_split_are_those_of_its_users_and_items():
    made = planted(n=(200, 150))
    shuffled = made.shuffled(1)
    assert not np.array_equal(shuffled.interactions.toarray(), made.interactions.toarray())
    part = split(shuffled, 0)
    assert part.train.shape == (160, 120)
    assert part.new_items.shape == (160, 30)
    assert part.new_users.shape == (40, 120)
    assert not part.train.multiply(part.known).nnz
    assert part.new_item_features.shape == (30, 20)
    inner = validation_of(part, 0)
    assert inner.train.shape == (128, 96)
    assert inner.train.nnz < part.train.nnz
    known = {tuple(row) for row in part.user_features.toarray()}
    assert {tuple(row) for row in inner.new_user_features.toarray()} <= known
    without = split(type(made)("", made.interactions, None, made.item_features), 0)
    assert not without.folded_in.multiply(without.new_users).nnz


def test_the_optimum_is_above_a_model_and_that_above_chance():
    part = split(planted(n=(400, 200)), 0)
    best, reached = judged(part.optimum, part), judged(ours(part, 8, 0), part)
    assert set(reached) == set(TASKS)
    for task in ("new items", "new users"):
        assert best[task] > reached[task] > 0.5 * best[task]


def test_settings_drawn_around_what_auto_chooses_are_fitted():
    part = split(planted(n=(200, 150)), 0)
    rng = np.random.default_rng(0)
    assert set(ours(part, 4, 0, **draw_ours_with_features(rng))) == set(TASKS)


def test_probabilities_of_a_choice_add_up_to_the_choices():
    made, truth = planted_with_truth((300, 200), 20)
    assert (np.diff(made.interactions.indptr) == 20).all()
    utility = truth.X @ truth.Y.T
    probability = 1 - np.exp(-np.exp(utility - threshold(utility, 20)))
    np.testing.assert_allclose(probability.sum(axis=1), 20, rtol=1e-4)
    chosen = made.interactions.toarray() > 0
    np.testing.assert_allclose(probability[chosen].sum(), (probability**2).sum(), rtol=0.05)  # they are calibrated


def test_choices_tell_what_features_do_not():
    made, truth = planted_with_truth((400, 300), 30)
    part = split(made, 0)
    users, items = part.users[0], part.items[0]
    for of_rows, all_, means, rows in (
        (most_probable_users, truth.X, truth.means[0], users), (most_probable_items, truth.Y, truth.means[1], items),
    ):  # fmt: skip
        found = of_rows(part.train, truth, users, items)
        unexplained = ((all_ - means)[rows] ** 2).mean()
        assert ((all_[rows] - found) ** 2).mean() < 0.8 * unexplained
    for best, known, squares, ranked in one_split(part, truth, 8, 0, ndcg):
        assert best > known > max(squares, ranked)
