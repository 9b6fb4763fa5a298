"""The grid of gradient descent: how a matrix is cut into one, and what the epochs refuse."""

import re

import numpy as np
import pytest
import scipy.sparse as sp
from hypothesis import given
from hypothesis import strategies as st

from alternant import kernels as kernels_module
from alternant.kernels import Factors, Grid, block_count, cut

shapes, seeds = st.integers(0, 12), st.integers(0, 2**32 - 1)


def csr(matrix):
    matrix = sp.csr_array(matrix)
    return matrix.indptr.astype(np.int64), matrix.indices.astype(np.int32)


def block_of_entries(grid):
    return np.repeat(np.arange(grid.blocks**2), np.diff(grid.block_indptr))


@given(m=shapes, n=shapes, blocks=st.integers(1, 20), density=st.sampled_from([0, 0.1, 0.5, 1]), seed=seeds)
def test_a_cut_has_every_entry_once_in_the_block_of_its_row_and_column(m, n, blocks, density, seed):
    """Also of empty matrices, with empty rows, and with more blocks than rows."""
    rng = np.random.default_rng(seed)
    matrix = sp.coo_array(rng.random((m, n)) < density).tocsr()
    indptr, indices = csr(matrix)
    grid, row_order, column_order, entries = cut(indptr, indices, n, blocks, rng)
    grid.check(m, n)
    assert grid.blocks == blocks
    np.testing.assert_array_equal(np.sort(entries), np.arange(len(indices)))
    np.testing.assert_array_equal(np.sort(row_order), np.arange(m))
    np.testing.assert_array_equal(np.sort(column_order), np.arange(n))
    rows = np.repeat(np.arange(m), np.diff(indptr))
    np.testing.assert_array_equal(row_order[grid.rows], rows[entries])
    np.testing.assert_array_equal(column_order[grid.columns], indices[entries])
    a, b = np.divmod(block_of_entries(grid), blocks)
    assert ((grid.row_edges[a] <= grid.rows) & (grid.rows < grid.row_edges[a + 1])).all()
    assert ((grid.column_edges[b] <= grid.columns) & (grid.columns < grid.column_edges[b + 1])).all()


@pytest.mark.parametrize("blocks", [1, 16, 17, 64])
def test_the_most_blocks_have_keys_of_their_own(blocks):
    """Keys are 8 bits wide up to 16 blocks, and 16 bits from there."""
    indptr, indices = csr(np.ones((80, 90)))
    grid = cut(indptr, indices, 90, blocks, np.random.default_rng(0)).grid
    grid.check(80, 90)
    assert (np.diff(grid.block_indptr) > 0).all()


def test_blocks_hold_about_as_many_entries_each_where_neighbours_belong_together():
    indptr, indices = csr(sp.block_diag([np.ones((50, 40))] * 8))
    grid = cut(indptr, indices, 320, 8, np.random.default_rng(0)).grid
    sizes = np.diff(grid.block_indptr)
    assert sizes.max() < 1.5 * sizes.mean()  # uncut, all entries would lie in the 8 blocks of the diagonal


def test_a_cut_depends_on_nothing_but_its_generator():
    indptr, indices = csr(np.random.default_rng(0).random((30, 20)) < 0.3)
    one, same, other = (cut(indptr, indices, 20, 4, np.random.default_rng(seed)) for seed in (1, 1, 2))
    np.testing.assert_array_equal(one.entries, same.entries)
    assert (one.entries != other.entries).any()


@pytest.mark.parametrize("blocks", [1, 16, 17, 64])
@pytest.mark.parametrize("index", [np.int32, np.int64])
def test_entries_are_sorted_into_blocks_and_keep_their_order(kernels, blocks, index):
    """Enough of them for several parts, and for none."""
    rng = np.random.default_rng(0)
    for m, n, density in ((700, 900, 0.5), (40, 30, 0.1), (5, 0, 0.0), (0, 5, 0.0)):
        indptr, indices = csr(rng.random((m, n)) < density)
        sides = [rng.integers(0, blocks, m, np.uint8), rng.integers(0, blocks, n, np.uint8)]
        sides += [rng.permutation(m).astype(np.int32), rng.permutation(n).astype(np.int32)]
        for array in (*sides, indptr, indices):
            array.flags.writeable = False
        key = np.repeat(sides[0].astype(int) * blocks, np.diff(indptr)) + sides[1][indices]
        order = np.argsort(key, kind="stable")
        rows = np.repeat(sides[2], np.diff(indptr))
        for threads in (1, 2, 8):
            starts, *found = kernels.sort_into_blocks(indptr, indices.astype(index), *sides, blocks, threads)
            np.testing.assert_array_equal(np.diff(starts, prepend=0)[1:], np.bincount(key, minlength=blocks**2))
            for got, wanted in zip(found, (rows[order], sides[3][indices[order]], order), strict=True):
                np.testing.assert_array_equal(got, wanted)
            assert [part.dtype for part in (starts, *found)] == [np.int64, np.int32, np.int32, np.int64]


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"indptr": np.array([0, 1])}, ValueError, "indptr must have length 3, got 2"),
        ({"indptr": np.array([1, 2, 3])}, ValueError, "indptr must rise from 0 to 3"),
        ({"indices": np.array([0, 1, 4], np.int32)}, ValueError, "indices must lie between 0 and 3"),
        ({"row_block": np.array([0, 1])}, TypeError, "row_block must be a uint8 array"),
        ({"row_block": np.array([0, 2], np.uint8)}, ValueError, "row_block must be below 2 (the number of blocks)"),
        ({"column_position": np.arange(4)}, TypeError, "column_position must be an int32 array"),
        ({"column_position": np.arange(3, dtype=np.int32)}, ValueError, "column_position must have length 4, got 3"),
        ({"blocks": 65}, ValueError, "blocks must be from 1 to 64, got 65"),
        ({"num_threads": 0}, ValueError, "num_threads must be a whole number of at least 1"),
    ],
)
def test_blocks_that_would_crash_the_sort_are_refused(change, error, message):
    given = {
        "indptr": np.array([0, 2, 3]), "indices": np.array([0, 3, 1], np.int32), "blocks": 2,
        "row_block": np.array([0, 1], np.uint8), "column_block": np.array([0, 1, 1, 0], np.uint8),
        "row_position": np.arange(2, dtype=np.int32), "column_position": np.arange(4, dtype=np.int32),
    }  # fmt: skip
    assert kernels_module.sort_into_blocks(**given)[3].tolist() == [0, 1, 2]
    with pytest.raises(error, match=re.escape(message)):
        kernels_module.sort_into_blocks(**given | change)


@pytest.mark.parametrize("blocks", [0, -1, 65])
def test_a_cut_into_no_block_or_too_many_is_refused(blocks):
    with pytest.raises(ValueError, match=f"blocks must be from 1 to 64, got {blocks}"):
        cut(np.array([0, 1]), np.array([0], np.int32), 1, blocks, np.random.default_rng(0))


@pytest.mark.parametrize(
    ("indptr", "indices", "message"),
    [
        ([0, 1], [3], "indices must lie between 0 and 2"),
        ([0, 2], [1], "indptr must lie between 0 and 1"),
        ([1, 2], [0, 1], "indptr must rise from 0 to 2"),
        ([0, 1], [0, 1], "indptr must rise from 0 to 2"),
    ],
)
def test_a_cut_of_what_is_not_a_whole_matrix_is_refused(indptr, indices, message):
    with pytest.raises(ValueError, match=message):
        cut(np.array(indptr), np.array(indices, np.int32), 3, 1, np.random.default_rng(0))


@pytest.mark.parametrize(
    ("m", "n", "nnz", "least", "most"),
    [
        (0, 0, 0, 1, 1),
        (1, 1000, 1000, 1, 1),  # no more than rows
        (1000, 1000, 500, 1, 2),  # no more than the entries are worth
        (6040, 3706, 800_000, 16, 16),
        (10**6, 10**6, 10**9, 32, 32),
    ],
)
def test_the_number_of_blocks(m, n, nnz, least, most):
    assert least <= block_count(m, n, nnz) <= most


def arguments(dtype=np.float32):
    """Four entries of a 4 x 4 matrix in 2 x 2 blocks."""
    grid = Grid(np.array([0, 2, 4]), np.array([0, 2, 4]), np.array([0, 1, 2, 3, 4]),
                np.array([0, 1, 2, 3], np.int32), np.array([1, 2, 0, 3], np.int32))  # fmt: skip
    return {
        "grid": grid, "schedule": grid.diagonals(np.array([1, 0])), "weight": np.ones(4, dtype),
        "target": np.full(4, 0.5, dtype), "negatives": np.ones(4),
        "factors": Factors(
            np.ones((4, 3), dtype), np.eye(4, 3, dtype=dtype) + 1, np.zeros(4, dtype), np.zeros(4, dtype)
        ),
        "squares": Factors(np.ones((4, 3), dtype), np.ones((4, 3), dtype), np.ones(4, dtype), np.ones(4, dtype)),
        "offset": 0.0, "bounds": (0.0, 5.0), "learning_rate": 0.1, "regularization": (0.0, 0.0, 0.0, 0.0), "seed": 0,
        "epoch": 0, "keys": None,
    }  # fmt: skip


NAMES = {
    "biased_epoch": ("grid", "schedule", "target", "factors", "offset", "bounds", "learning_rate", "regularization"),
    "cosine_epoch": ("grid", "schedule", "target", "X", "Y", "learning_rate"),
    "logistic_epoch": ("grid", "schedule", "weight", "target", "negatives", "factors", "squares", "learning_rate",
                       "regularization", "seed", "epoch", "keys"),
}  # fmt: skip


def call(function, given, **options):
    given = {**given, "X": given["factors"].X, "Y": given["factors"].Y}
    return getattr(kernels_module, function)(**{name: given[name] for name in NAMES[function]}, **options)


def refused(function, given, error, message, **options):
    """The call raises, and writes nothing."""
    outputs = [array for array in (*given["factors"], *given["squares"]) if isinstance(array, np.ndarray)]
    before = [array.copy() for array in outputs]
    with pytest.raises(error, match=message):
        call(function, given, **options)
    for array, copy in zip(outputs, before, strict=True):
        np.testing.assert_array_equal(array, copy)


@pytest.mark.parametrize("backend", ["numpy", "auto"])
@pytest.mark.parametrize("function", NAMES)
def test_the_public_function_runs_the_backend_in_force(function, backend):
    given = arguments()
    with kernels_module.use_backend(backend):
        assert (call(function, given) > 0).any()
    assert (given["factors"].X != 1).any()


def with_grid(**change):
    return {"grid": arguments()["grid"]._replace(**change)}


def with_factors(**change):
    return {"factors": arguments()["factors"]._replace(**change)}


def int32(*values):
    return np.array(values, np.int32)


def read_only(array):
    array.flags.writeable = False
    return array


EVERYWHERE = [
    (with_grid(row_edges=np.array([0])), ValueError, "row_edges must have at least 2 edges"),
    (with_grid(row_edges=np.array([], int)), ValueError, "row_edges must have at least 2 edges"),
    (with_grid(row_edges=int32(0, 2, 4)), TypeError, "row_edges must be an int64 array"),
    (with_grid(row_edges=np.array([0, 2, 5])), ValueError, "row_edges must rise from 0 to 4, got 0 to 5"),
    (with_grid(row_edges=np.array([1, 2, 4])), ValueError, "row_edges must rise from 0 to 4, got 1 to 4"),
    (with_grid(row_edges=np.array([0, 5, 4])), ValueError, "row_edges must rise from 0 to 4"),
    (with_grid(column_edges=np.array([0, 4])), ValueError, "column_edges must have length 3, got 2"),
    (with_grid(column_edges=np.array([0, -1, 4])), ValueError, "column_edges must rise from 0 to 4"),
    (with_grid(block_indptr=np.array([0, 1, 2, 4])), ValueError, "block_indptr must have length 5, got 4"),
    (with_grid(block_indptr=np.array([0, 1, 2, 3, 5])), ValueError, "block_indptr must rise from 0 to 4"),
    (with_grid(block_indptr=np.array([0, 3, 2, 3, 4])), ValueError, "block_indptr must rise from 0 to 4"),
    (with_grid(rows=np.array([0, 1, 2, 3])), TypeError, "rows must be an int32 array, got an int64 array"),
    (with_grid(columns=int32(1, 2, 0)), ValueError, "columns must have length 4, got 3"),
    (with_grid(rows=int32(2, 1, 2, 3)), ValueError, r"rows must lie within their .* got 2 in block \(0, 0\)"),
    (with_grid(rows=int32(0, 1, 2, 4)), ValueError, r"rows must lie within .* got 4 in block \(1, 1\)"),
    (with_grid(rows=int32(-1, 1, 2, 3)), ValueError, r"rows must lie within .* got -1 in block \(0, 0\)"),
    (with_grid(columns=int32(1, 0, 0, 3)), ValueError, r"columns must lie within .* got 0 in block \(0, 1\)"),
    ({"schedule": np.array([[[0, 0], [1, 2]]])}, ValueError, "schedule must name blocks from 0 to 1, got 0 to 2"),
    ({"schedule": np.array([[[0, 0], [0, 1]]])}, ValueError, "the tasks of a round .* must not share row blocks"),
    ({"schedule": np.array([[[0, 1], [1, 1]]])}, ValueError, "the tasks of a round .* must not share column blocks"),
    ({"schedule": np.array([[[0, 1]], [[0, 1]]])}, ValueError, "schedule must not process a block twice"),
    ({"schedule": np.array([0, 1])}, ValueError, r"schedule must have shape \(rounds, tasks, 2\) .*, got \(2,\)"),
    ({"schedule": [0, 1]}, TypeError, r"schedule must be an int64 array, got list: pass grid.diagonals\(order\)"),
    ({"target": np.ones(4)}, TypeError, "target must be a float32 array, got a float64 array"),
    ({"target": np.ones(3, np.float32)}, ValueError, "target must have length 4, got 3"),
    ({"target": np.full(4, np.nan, np.float32)}, ValueError, "target must be finite, got 4 values that are not"),
    ({"learning_rate": np.nan}, ValueError, "learning_rate must be finite and 0 or more"),
    ({"learning_rate": -0.1}, ValueError, "learning_rate must be finite and 0 or more, got -0.1"),
    (with_factors(X=np.ones((4, 3), int)), TypeError, "X must be a float32 or float64 array"),
    (with_factors(X=[[1.0]]), TypeError, "X must be a float32 or float64 array, got list"),
    (with_factors(Y=np.ones((4, 3))), TypeError, "Y must be a float32 array, got a float64 array"),
    (with_factors(Y=np.ones((4, 2), np.float32)), ValueError, "Y must have 3 columns"),
    (with_factors(Y=np.ones((3, 4), np.float32).T), ValueError, "Y must be in C order"),
    (with_factors(X=read_only(np.ones((4, 3), np.float32))), ValueError, "X is overwritten and must be writeable"),
    (with_factors(Y=read_only(np.ones((4, 3), np.float32))), ValueError, "Y is overwritten and must be writeable"),
]


@pytest.mark.parametrize(("change", "error", "message"), EVERYWHERE)
@pytest.mark.parametrize("function", NAMES)
def test_every_epoch_refuses_what_would_crash_a_kernel(function, change, error, message):
    refused(function, {**arguments(), **change}, error, message)


BIASED = [
    ({"bounds": (5.0, 5.0)}, ValueError, "bounds must be"),
    ({"bounds": (np.nan, 5.0)}, ValueError, "bounds must be"),
    ({"offset": np.inf}, ValueError, "offset must be finite, got inf"),
]
WITH_BIASES = [
    (with_factors(row_bias=np.ones(3, np.float32)), ValueError, "row_bias must have shape"),
    (with_factors(row_bias=read_only(np.ones(4, np.float32))), ValueError, "row_bias is an output"),
    (with_factors(column_bias=np.ones(4)), TypeError, "column_bias must be a float32 array"),
    (with_factors(column_bias=read_only(np.ones(4, np.float32))), ValueError, "column_bias is an output"),
    ({"regularization": (0.0, 0.0, 0.0)}, ValueError, "regularization must have 4 numbers"),
    ({"regularization": (0.0, 0.0, -1.0, 0.0)}, ValueError, "regularization must be finite and 0 or more"),
    ({"regularization": (0.0, np.nan, 0.0, 0.0)}, ValueError, "regularization must be finite and 0 or more"),
]
LOGISTIC = [
    ({"weight": np.full(4, -1, np.float32)}, ValueError, "weight must be 0 or more, got -1.0 to -1.0"),
    ({"weight": np.ones(5, np.float32)}, ValueError, "weight must have length 4, got 5"),
    ({"target": np.full(4, 1.5, np.float32)}, ValueError, "target must be between 0 and 1, got 1.5 to 1.5"),
    ({"negatives": np.ones(4, np.float32)}, TypeError, "negatives must be a float64 array"),
    ({"negatives": np.ones(3)}, ValueError, "negatives must have length 4, got 3"),
    ({"negatives": np.array([1, 1, -1.0, 1])}, ValueError, "negatives must lie between 0 and 2147483648"),
    ({"negatives": np.array([1, 1, np.nan, 1])}, ValueError, "negatives must lie between 0 and 2147483648"),
    ({"negatives": np.array([1, 1, 1e19, 1])}, ValueError, "negatives must lie between 0 and 2147483648"),
    ({"seed": -1}, ValueError, r"seed must be from 0 to 2\^64 - 1, got -1"),
    ({"seed": 2**64}, ValueError, "seed must be from 0"),
    ({"seed": 0.5}, TypeError, "integer"),
    ({"epoch": -1}, ValueError, "epoch must be from 0"),
    ({"keys": np.zeros(4, np.uint64)}, TypeError, "keys must be an? int64 array, got an? uint64 array"),
    ({"keys": np.zeros(3, np.int64)}, ValueError, "keys must have length 4, got 3"),
    ({"keys": np.array([0, 1, 2, 1 << 48])}, ValueError, r"keys must be from 0 to 2\^48 - 1, got 0 to 281474976710656"),
    ({"keys": np.array([0, -1, 2, 3])}, ValueError, "keys must be from 0"),
]


@pytest.mark.parametrize(
    ("function", "change", "error", "message"),
    [("biased_epoch", *case) for case in BIASED + WITH_BIASES]
    + [("logistic_epoch", *case) for case in LOGISTIC + WITH_BIASES],
)
def test_an_epoch_refuses_bad_arguments_of_its_own(function, change, error, message):
    refused(function, {**arguments(), **change}, error, message)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"X": np.ones((4, 2), np.float32)}, "squares must have the shapes and the dtype of factors"),
        ({"column_bias": np.ones(4)}, "squares must have the shapes and the dtype of factors"),
        ({"Y": np.ones((3, 4), np.float32).T}, "squares.Y must be in C order"),
        ({"Y": read_only(np.ones((4, 3), np.float32))}, "squares.Y is overwritten and must be writeable"),
        ({"row_bias": read_only(np.ones(4, np.float32))}, "squares.row_bias is overwritten and must be writeable"),
    ],
)
def test_sums_of_squares_that_do_not_fit_are_refused(change, message):
    given = arguments()
    refused("logistic_epoch", {**given, "squares": given["squares"]._replace(**change)}, ValueError, message)


def test_arrays_that_share_memory_are_refused():
    """Two threads would meet in them."""
    given = arguments()
    factors = given["factors"]
    given["factors"] = factors._replace(Y=factors.X)
    for function in NAMES:
        refused(function, given, ValueError, "X and Y are updated at the same time, but the two share memory")
    given["factors"] = factors._replace(column_bias=factors.row_bias)
    for function in ("biased_epoch", "logistic_epoch"):
        refused(function, given, ValueError, "row_bias and column_bias are updated at the same time")
    given["factors"], given["squares"] = factors, given["squares"]._replace(X=factors.X)
    refused("logistic_epoch", given, ValueError, "X and squares.X are updated at the same time")


def test_two_halves_of_one_array_are_not_shared_memory():
    given, both = arguments(), np.ones((8, 3), np.float32)
    given["factors"] = given["factors"]._replace(X=both[:4], Y=both[4:])
    assert (call("biased_epoch", given) > 0).any()


@pytest.mark.parametrize("function", NAMES)
def test_read_only_columns_are_taken_where_they_do_not_move(function):
    given = arguments()
    for arrays in (given["factors"], given["squares"]):
        read_only(arrays.Y)
        read_only(arrays.column_bias)
    before = [part.copy() for part in given["factors"]]
    call(function, given, update_columns=False)
    X, Y, _, column_bias = given["factors"]
    assert not np.array_equal(X, before[0])
    np.testing.assert_array_equal(Y, before[1])
    np.testing.assert_array_equal(column_bias, before[3])


def test_entries_that_are_taken_one_by_one_come_in_any_integers():
    grid = Grid.whole([2, 0], np.array([1, 1], np.int64), 3, 2)
    grid.check(3, 2)
    assert grid.blocks == 1
    assert grid.rows.dtype == grid.columns.dtype == np.int32


def test_the_diagonals_process_every_block_once_and_none_twice_in_a_round():
    grid = Grid(np.arange(6), np.arange(6), np.zeros(26, np.int64), np.empty(0, np.int32), np.empty(0, np.int32))
    schedule = grid.diagonals(np.array([3, 0, 1, 4, 2]))
    assert schedule[1].tolist() == [[a, a] for a in range(5)]
    assert sorted(map(tuple, schedule.reshape(-1, 2).tolist())) == [(a, b) for a in range(5) for b in range(5)]


def test_a_schedule_may_leave_blocks_out_and_have_rounds_of_one_task(kernels):
    call = arguments(np.float64)
    grid, factors = call["grid"], call["factors"]
    rest = (call["target"], *factors[:2], 0.1)
    one = kernels.cosine_epoch(grid, np.array([[[0, 1]]]), *rest)
    moved = [part.copy() for part in factors[:2]]
    assert one > 0
    assert (moved[0][2:] == 1).all(), "rows of other blocks stay"
    again = arguments(np.float64)
    both = kernels.cosine_epoch(grid, np.array([[[0, 1]], [[1, 0]]]), again["target"], *again["factors"][:2], 0.1)
    assert both.sum() > one.sum()
    np.testing.assert_array_equal(again["factors"].X[:2], moved[0][:2])
