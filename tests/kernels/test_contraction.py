"""Scores have the same bits whatever the compiler does with a * b + c by itself, which depends on CFLAGS."""

import ctypes
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from alternant.kernels import _registry

SOURCE = Path(__file__).parents[2] / "src/alternant/kernels/simd/topk.c"
SIZE = ctypes.c_ssize_t
POINTER = ctypes.c_void_p


class Call(ctypes.Structure):
    """topk_call of topk.h."""

    _fields_ = [("m", SIZE), ("f", SIZE), ("k", SIZE), ("queries", POINTER), ("items", POINTER), ("indptr", POINTER),
                ("exclude", POINTER), ("int64_exclude", ctypes.c_int), ("ids", POINTER), ("scores", POINTER),
                ("threads", ctypes.c_int)]  # fmt: skip


class Panel(ctypes.Structure):
    """topk_panel of topk.h."""

    _fields_ = [("n", SIZE), ("ids", POINTER), ("tiles", POINTER), ("packed", POINTER)]


class Table(ctypes.Structure):
    """The beginning of topk_table."""

    _fields_ = [("prefilters", ctypes.c_int), ("block_bytes", SIZE), ("packed_item_bytes", POINTER),
                ("rank_panel", ctypes.CFUNCTYPE(ctypes.c_int, POINTER, POINTER) * 2)]  # fmt: skip


def hostile(folder, flags, *level):
    """Compile the ranking of one level with flags that setup.py would override."""
    library = folder / "topk.so"
    subprocess.run(
        ["cc", *flags, *level, "-fPIC", "-shared", "-DALTERNANT_LEVEL=tested", SOURCE, SOURCE.with_name("memory.c"),
         "-lm", "-o", library],
        check=True, capture_output=True, text=True,
    )  # fmt: skip
    return Table.in_dll(ctypes.CDLL(str(library)), "alternant_topk_tested")


@pytest.mark.nightly
@pytest.mark.skipif(sys.platform != "linux", reason="it calls cc as on Linux")
@pytest.mark.skipif(not SOURCE.exists(), reason="the C sources are not beside the tests")
@pytest.mark.skipif(shutil.which("cc") is None, reason="there is no compiler")
@pytest.mark.parametrize("flags", [["-O1"], ["-O2", "-std=c11", "-ffp-contract=off"]], ids=" ".join)
@pytest.mark.parametrize(("level", "level_flags"), [("baseline", []), ("avx2", ["-mavx2", "-mfma", "-mf16c"])])
def test_scores_do_not_depend_on_flags_of_the_compiler(tmp_path, dtype, level, level_flags, flags):
    if level not in _registry.built_levels():
        pytest.skip(f"the level {level} was not built")
    from alternant.kernels import _cpu  # only where there are compiled kernels

    if level not in _cpu.simd_levels():
        pytest.skip(f"this CPU does not support the level {level}")
    kernels = _registry.load_level(level)
    rng = np.random.default_rng(0)
    m, n, f, k = 8, 600, 37, 600
    queries, items = rng.standard_normal((m, f)).astype(dtype), rng.standard_normal((n, f)).astype(dtype)
    ids, scores = np.full((m, k), np.iinfo(np.int32).max, np.int32), np.full((m, k), -np.inf, dtype)
    call = Call(m, f, k, queries.ctypes.data, items.ctypes.data, None, None, 0, ids.ctypes.data, scores.ctypes.data, 1)
    table = hostile(tmp_path, flags, *level_flags)
    assert table.rank_panel[dtype == np.float64](ctypes.byref(call), ctypes.byref(Panel(n, None, None, None))) == 0
    for candidates in (None, (np.arange(m + 1) * n, np.tile(np.arange(n), m))):  # in tiles, and pair by pair
        expected_ids, expected = np.empty((m, k), np.int32), np.empty((m, k), dtype)
        kernels.top_k(queries, items, k, None, candidates, expected_ids, expected, 1)
        for u in range(m):  # a heap, in no order
            np.testing.assert_array_equal(scores[u][np.argsort(ids[u])], expected[u][np.argsort(expected_ids[u])])
