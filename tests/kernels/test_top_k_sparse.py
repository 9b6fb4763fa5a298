"""The greatest entries of sparse products: every implementation against the dense product, sorted."""

import re
import tracemalloc

import numpy as np
import pytest
import scipy.sparse as sp

from alternant import kernels as contract

N = 700  # columns: more than one tile, and not a whole number of them


def parts(matrix, dtype, index=np.int32):
    return matrix.indptr.astype(np.int64), matrix.indices.astype(index), matrix.data.astype(dtype)


def case(seed, m=40, p=30, n=N, density=0.05, dtype=np.float32):
    """Matrices of small integers, negative ones too, so that sums are exact, many tie, and some are 0."""
    rng = np.random.default_rng(seed)

    def values(size):
        return rng.choice([-1, 1, 2, 3], size)

    left, right = (
        sp.random_array(shape, density=share, rng=rng, format="csr", data_sampler=lambda *, size: values(size))
        for shape, share in (((m, p), 0.3), ((p, n), density))
    )
    return left, right


def run(kernel, left, right, n, k, exclude=None, dtype=np.float32, threads=2, **options):
    ids, values = np.full((len(left[0]) - 1, k), -7, np.int32), np.full((len(left[0]) - 1, k), np.nan, dtype)
    kernel(left, right, n, k, exclude, ids, values, num_threads=threads, **options)
    return ids, values


def by_sorting(product, k, exclude=None):
    """The k greatest entries of each row that are not 0, and the lower column first among equals."""
    ids, values = np.full((len(product), k), -1), np.full((len(product), k), -np.inf)
    for r, row in enumerate(product):
        row = row.copy()
        if exclude is not None:
            row[exclude[1][exclude[0][r] : exclude[0][r + 1]]] = 0
        (found,) = row.nonzero()
        best = found[np.argsort(-row[found], kind="stable")][:k]
        ids[r, : len(best)], values[r, : len(best)] = best, row[best]
    return ids, values


# From a handful of products in a row, whose columns are noted, to many times as many as there are columns.
@pytest.mark.parametrize("density", [0.002, 0.02, 0.5])
@pytest.mark.parametrize("k", [1, 10, N + 5])
def test_lists_are_those_of_sorting_the_dense_product(kernels, dtype, density, k):
    left, right = case(k, density=density)
    for exclude in (None, (np.arange(41) * 2, np.random.default_rng(0).integers(0, N, 80))):
        for index in (np.int32, np.int64):
            given = parts(left, dtype, index), parts(right, dtype, index)
            found = run(kernels.top_k_sparse, *given, N, k, exclude, dtype)
            expected = by_sorting((left @ right).toarray().astype(float), k, exclude)
            np.testing.assert_array_equal(found[0], expected[0])
            np.testing.assert_array_equal(found[1], expected[1])


@pytest.mark.parametrize("density", [0.005, 0.3])
def test_values_are_divided_by_norms_and_shrinkage(kernels, dtype, density):
    left, right = case(3, density=density)
    rng = np.random.default_rng(3)
    a, b = (rng.random(size).astype(dtype) + 0.5 for size in (40, N))
    norms = {"row_norms": a, "column_norms": b, "shrinkage": 0.75}
    ids, values = run(kernels.top_k_sparse, parts(left, dtype), parts(right, dtype), N, 20, dtype=dtype, **norms)
    exact = (left @ right).toarray() / (np.outer(a.astype(float), b) + 0.75)
    np.testing.assert_allclose(values, by_sorting(exact, 20)[1], rtol=1e-5 if dtype == np.float32 else 1e-13)
    rows, filled = np.arange(40)[:, None], ids >= 0
    np.testing.assert_allclose(values[filled], exact[rows, ids][filled], rtol=1e-5)


@pytest.mark.parametrize("density", [0.005, 0.3])
def test_values_that_are_left_out_are_ones(kernels, dtype, density):
    left, right = case(5, density=density)
    left.data[:], right.data[:] = 1, 1
    given = [parts(matrix, dtype) for matrix in (left, right)]
    without = [(*matrix[:2], None) for matrix in given]
    expected = run(kernels.top_k_sparse, *given, N, 9, dtype=dtype)
    for pair in (without, (given[0], without[1]), (without[0], given[1])):
        for one, other in zip(run(kernels.top_k_sparse, *pair, N, 9, dtype=dtype), expected, strict=True):
            np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize("density", [0.005, 0.3])
def test_the_bits_do_not_depend_on_threads_or_on_which_columns_are_noted(kernels, dtype, density):
    left, right = case(6, m=90, density=density)
    rng = np.random.default_rng(6)
    left.data, right.data = rng.standard_normal(left.nnz), rng.standard_normal(right.nnz)
    norms = {name: rng.random(size).astype(dtype) for name, size in (("row_norms", 90), ("column_norms", N))}
    given = parts(left, dtype), parts(right, dtype)
    one = run(kernels.top_k_sparse, *given, N, 25, dtype=dtype, threads=1, **norms)
    for threads in (2, 8):
        again = run(kernels.top_k_sparse, *given, N, 25, dtype=dtype, threads=threads, **norms)
        assert [part.tobytes() for part in again] == [part.tobytes() for part in one]
    # Empty columns behind make products few in comparison.
    wide = norms | {"column_norms": np.append(norms["column_norms"], np.ones(30 * N, dtype))}
    again = run(kernels.top_k_sparse, *given, 31 * N, 25, dtype=dtype, **wide)
    assert [part.tobytes() for part in again] == [part.tobytes() for part in one]


def test_sums_that_return_to_zero_and_nan_are_not_ranked(kernels, dtype):
    left = np.array([0, 4, 5]), np.array([0, 1, 0, 1, 2]), np.array([1, -1, 1, 1, 1], dtype)
    right = np.array([0, 2, 4, 6]), np.array([0, 1, 0, 1, 0, 1], np.int32), np.array([1, 1, 1, 3, np.nan, 2], dtype)
    for n in (2, 1000):  # columns noted or not
        ids, values = run(kernels.top_k_sparse, left, right, n, 2, dtype=dtype)
        assert ids.tolist() == [[0, 1], [1, -1]]
        assert values.tolist() == [[2, 2], [2, -np.inf]]
    cancelling = left[0][:2], left[1][:4], np.array([1, -1, 1, -1], dtype)
    for n in (2, 1000):
        ids, values = run(kernels.top_k_sparse, cancelling, right, n, 2, dtype=dtype)
        assert ids.tolist() == [[1, -1]]
        assert values.tolist() == [[-4, -np.inf]]


@pytest.mark.parametrize("density", [0.02, 1.0])  # with full rows, too
def test_the_whole_product_is_that_of_dense_matrices(kernels, dtype, density):
    left, right = case(8, density=density)
    expected = (left @ right).toarray()
    for index in (np.int32, np.int64):
        out = np.full((40, N), np.nan, dtype)
        kernels.multiply_sparse(parts(left, dtype, index), parts(right, dtype, index), out)
        np.testing.assert_array_equal(out, expected)
    swapped = parts(right, dtype)
    swapped[1][swapped[0][0] : swapped[0][1]] = swapped[1][swapped[0][0] : swapped[0][1]][::-1]  # not in order
    dense = np.zeros((30, N))
    np.add.at(dense, (np.repeat(np.arange(30), np.diff(swapped[0])), swapped[1]), swapped[2])
    kernels.multiply_sparse(parts(left, dtype), swapped, out)
    np.testing.assert_array_equal(out, left.toarray() @ dense)


def test_the_product_and_its_greatest_entries_have_the_same_bits(kernels, dtype):
    left, right = case(10, density=0.3)
    rng = np.random.default_rng(10)
    left.data, right.data = rng.standard_normal(left.nnz), rng.standard_normal(right.nnz)
    given, products = (parts(left, dtype), parts(right, dtype)), [np.empty((40, N), dtype) for _ in range(3)]
    for threads, out in zip((1, 2, 8), products, strict=True):
        kernels.multiply_sparse(*given, out, threads)
        assert out.tobytes() == products[0].tobytes()
    ids, values = run(kernels.top_k_sparse, *given, N, 5, dtype=dtype)
    if kernels.name != "numpy" or dtype == np.float64:  # NumPy's sums are in float64
        np.testing.assert_array_equal(values, np.take_along_axis(products[0], ids, axis=1))


@pytest.mark.parametrize("n", [1, 2, 37])
def test_the_product_with_a_dense_matrix_adds_in_the_order_of_the_entries(kernels, dtype, n):
    rng = np.random.default_rng(11)
    indptr, right = np.array([3, 3, 40, 300]), rng.standard_normal((30, n)).astype(dtype)
    for index in (np.int32, np.int64):
        indices = rng.integers(0, 30, 310).astype(index)  # entries before the first row and after the last
        for values in (None, rng.integers(-2, 3, 310).astype(dtype)):
            expected = np.zeros((3, n), dtype)
            for r in range(3):
                for e in range(indptr[r], indptr[r + 1]):
                    expected[r] += right[indices[e]] if values is None else values[e] * right[indices[e]]
            for threads in (1, 2, 8):
                out = np.full((3, n), np.nan, dtype)
                kernels.multiply_sparse_dense((indptr, indices, values), right, out, threads)
                if values is None:
                    np.testing.assert_array_equal(out, expected)
                else:  # a product may be added before it is rounded
                    np.testing.assert_allclose(out, expected, rtol=1e-4, atol=1e-5)


def test_rows_and_matrices_without_entries(kernels, dtype):
    empty = np.zeros(4, np.int64), np.empty(0, np.int32), np.empty(0, dtype)
    ids, values = run(kernels.top_k_sparse, empty, empty, 5, 2, dtype=dtype)
    assert (ids == -1).all()
    assert (values == -np.inf).all()
    assert run(kernels.top_k_sparse, (np.zeros(1, np.int64), *empty[1:]), empty, 5, 2, dtype=dtype)[0].shape == (0, 2)


@pytest.mark.parametrize(("change", "error", "message"), [
    ({"k": 0}, ValueError, "k must be at least 1, got 0"),
    ({"columns": 2}, ValueError, "indices must lie between 0 and 1, got 0 to 2"),
    ({"left": (np.array([0, 1]), np.array([3]), None)}, ValueError, "indices must lie between 0 and 2, got 3 to 3"),
    ({"left": (np.array([0, 1]), np.array([0]), np.ones(1))}, TypeError, "the values of left must be a float32 array"),
    ({"exclude": (np.array([0, 1]), np.array([3]))}, ValueError, "indices must lie between 0 and 2"),
    ({"row_norms": np.ones(2, np.float32)}, ValueError, "row_norms must have length 1, got 2"),
    ({"column_norms": np.ones(2, np.float32)}, ValueError, "column_norms must have length 3, got 2"),
    ({"shrinkage": -1}, ValueError, "shrinkage must be at least 0"),
    ({"out_ids": np.zeros((1, 3), np.int32)}, ValueError, "out_ids must have shape (1, 2)"),
])  # fmt: skip
def test_what_would_crash_a_kernel_is_refused(change, error, message):
    given = {
        "left": (np.array([0, 1]), np.array([1]), None),
        "right": (np.array([0, 0, 3, 3]), np.arange(3), np.array([1, 3, 2], np.float32)),
        "columns": 3, "k": 2, "exclude": None, "out_ids": np.zeros((1, 2), np.int32),
        "out_values": np.zeros((1, 2), np.float32),
    }  # fmt: skip
    contract.top_k_sparse(**given)
    assert given["out_ids"].tolist() == [[1, 2]]
    with pytest.raises(error, match=re.escape(message)):
        contract.top_k_sparse(**given | change)


def test_a_product_that_does_not_fit_is_refused():
    left, right = (np.array([0, 1]), np.array([1]), None), (np.array([0, 0, 2]), np.array([0, 2]), None)
    out = np.zeros((1, 3), np.float32)
    contract.multiply_sparse(left, right, out)
    assert out.tolist() == [[1, 0, 1]]
    for wrong, message in ((np.zeros((2, 3)), "out must have shape (1, 3), got (2, 3)"),
                           (np.zeros((1, 2)), "indices must lie between 0 and 1, got 0 to 2"),
                           (np.zeros((1, 6))[:, ::2], "out must be in C order")):  # fmt: skip
        with pytest.raises(ValueError, match=re.escape(message)):
            contract.multiply_sparse(left, right, wrong)


def test_a_dense_matrix_that_does_not_fit_is_refused():
    left, right = (np.array([0, 1]), np.array([1]), None), np.array([[1.0, 2], [3, 4]])
    out = np.zeros((1, 2))
    contract.multiply_sparse_dense(left, right, out)
    assert out.tolist() == [[3, 4]]
    for change, message in (({"left": (np.array([0, 1]), np.array([2]), None)}, "indices must lie between 0 and 1"),
                            ({"left": (np.array([0, 1]), np.array([1]), np.ones(2))}, "of left must have length 1"),
                            ({"out": np.zeros((2, 2))}, "out must have shape (1, 2), got (2, 2)")):  # fmt: skip
        with pytest.raises(ValueError, match=re.escape(message)):
            contract.multiply_sparse_dense(**{"left": left, "right": right, "out": out} | change)


def test_a_few_rows_of_a_product_take_no_copy_of_the_other_matrix(kernels):
    """Models multiply a few users at a time by weights of all items."""
    left = np.array([0, 1]), np.array([1], np.int32), np.ones(1, np.float32)
    right = np.array([0, 300_000, 300_001]), np.zeros(300_001, np.int32), np.ones(300_001, np.float32)
    out = np.empty((1, 1), np.float32)
    kernels.multiply_sparse(left, right, out, 1)  # imports and compiles
    tracemalloc.start()
    try:
        kernels.multiply_sparse(left, right, out, 1)
        assert tracemalloc.get_traced_memory()[1] < 100_000
    finally:
        tracemalloc.stop()
    assert out == 1
