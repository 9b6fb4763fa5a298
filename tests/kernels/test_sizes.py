"""Sizes that int32 ids cannot number are refused in one sentence, whichever function meets them first."""

import numpy as np
import pytest

from alternant import kernels as public
from alternant.kernels import Grid, cut

MOST = 2**31 - 1
BEYOND = MOST + 2


def refused(name):
    return pytest.raises(
        ValueError, match=f"the number of {name} must be at most {MOST}, since their ids are int32, got {BEYOND}"
    )


def many(dtype, *columns):
    """Rows without memory: without columns, or all of them one and the same."""
    return np.broadcast_to(np.zeros((), dtype), (BEYOND, *columns))


def test_more_items_than_ids():
    ids, scores = np.empty((1, 1), np.int32), np.empty((1, 1), np.float32)
    for columns in (0, 2):
        with refused("items"):
            public.top_k(np.ones((1, 2), np.float32), many(np.float32, columns), 1, None, None, ids, scores)


def test_more_items_than_ids_in_every_backend(kernels):
    ids, scores = np.empty((1, 1), np.int32), np.empty((1, 1), np.float32)
    with refused("items"):
        kernels.top_k(np.ones((1, 0), np.float32), many(np.float32, 0), 1, None, None, ids, scores, 1)


def test_more_rows_or_columns_than_a_grid_has_numbers_for():
    one, generator = np.array([0, 1]), np.random.default_rng(0)
    with refused("columns"):
        cut(one, np.array([0], np.int32), BEYOND, 1, generator)
    with refused("rows"):
        cut(np.broadcast_to(np.int64(0), BEYOND + 1), np.empty(0, np.int32), 1, 1, generator)
    for name, sizes in (("rows", (BEYOND, 1)), ("columns", (1, BEYOND))):
        with refused(name):
            Grid.whole([0], [0], *sizes)
        with refused(name):
            Grid.whole([0], [0], 1, 1).check(*sizes)
    few, ranks = np.zeros(1, np.uint8), np.zeros(1, np.int32)
    with refused("rows"):
        public.sort_into_blocks(one, np.array([0]), many(np.uint8), few, many(np.int32), ranks, 1)
    with refused("columns"):
        public.sort_into_blocks(one, np.array([0]), few, many(np.uint8), ranks, many(np.int32), 1)


def test_a_grid_of_one_block_does_not_wrap_numbers():
    for ids in ([0, 2**32], [0, -1]):
        with pytest.raises(ValueError, match="rows must lie between 0 and 2147483647, since ids are int32, got"):
            Grid.whole(ids, [0, 0], 2, 2)
        with pytest.raises(ValueError, match="columns must lie between 0 and 2147483647, since ids are int32, got"):
            Grid.whole([0, 0], ids, 2, 2)
