"""Memory that is used again."""

from __future__ import annotations

import gc
import itertools

import numpy as np
import pytest

from alternant._utils.pool import CACHE_LINE, Pool

FLOAT32 = np.dtype(np.float32)


@pytest.mark.parametrize("shape", [(3, 5), (0, 4), (7,), (1000, 16)])
def test_an_array_is_like_any_other_and_begins_at_a_cache_line(shape):
    array = Pool().array(shape, FLOAT32)
    assert array.shape == shape
    assert array.dtype == np.float32
    assert array.flags.c_contiguous
    assert array.flags.writeable
    assert array.size == 0 or array.ctypes.data % CACHE_LINE == 0
    array[:] = 1
    assert array.sum() == np.prod(shape)


def test_only_memory_that_nothing_refers_to_is_used_again():
    pool = Pool()
    held = [pool.array((100, 8), FLOAT32) for _ in range(3)]
    places = [array.ctypes.data for array in held]
    assert len(set(places)) == 3
    held[0] = held[0][5:, ::2].T  # a view of a view
    held[1] = None
    again = [pool.array((100, 8), FLOAT32) for _ in range(2)]
    assert again[0].ctypes.data == places[1]
    assert again[1].ctypes.data not in places
    again[0][:] = again[1][:] = 1
    held[0][:] = held[2][:] = 2
    assert (again[0] == 1).all()
    assert (again[1] == 1).all()
    assert pool.array((50, 8), FLOAT32).ctypes.data not in places


def test_arrays_outlive_their_pool_and_then_give_their_memory_back_to_the_system():
    array = Pool().array((1000, 8), FLOAT32)
    array[:] = 3
    gc.collect()
    others = [Pool().array((1000, 8), FLOAT32) for _ in range(10)]
    assert all(not np.shares_memory(a, b) for a, b in itertools.combinations([array, *others], 2))
    assert (array == 3).all()


def test_one_that_is_frozen_stays_so():
    array = Pool().array((10, 8), FLOAT32)
    owner = array
    while isinstance(owner, np.ndarray):
        owner.flags.writeable = False
        owner = owner.base
    for frozen in (array, array[2:], array.view()):
        with pytest.raises(ValueError, match="WRITEABLE"):
            frozen.flags.writeable = True
