"""The tasks of `python -m benchmarks features accuracy`: nothing of the test parts is in train."""

import numpy as np
import pytest

pytest.importorskip("benchmarks.features", reason="the benchmarks are not beside the tests (a wheel's test run)")

from benchmarks.features.contenders import TASKS, ours
from benchmarks.features.run import judged
from benchmarks.features.sets import planted, split, validation_of


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
