"""normal_products: every implementation against the formula."""

import numpy as np
import pytest

from alternant import kernels as contract

CASES = {
    "one factor": ([3, 1], 5, 1),
    "no whole vector, an empty row": ([4, 0, 20], 25, 13),
    "64 factors, a row of many chunks": ([300, 7, 64, 65], 400, 64),
    "no rows": ([], 3, 4),
}


def problem(lengths, n, f, dtype):
    rng = np.random.default_rng(f)
    indptr = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
    indices = rng.integers(0, n, indptr[-1]).astype(np.int32)  # some twice in a row
    weight = rng.normal(size=len(indices)).astype(dtype)
    Y, P = (rng.normal(size=(rows, f)).astype(dtype) for rows in (n, len(lengths)))
    return indptr, indices, weight, Y, P


@pytest.mark.parametrize("case", CASES)
def test_products_equal_the_formula_on_any_number_of_threads(kernels, dtype, case):
    indptr, indices, weight, Y, P = problem(*CASES[case], dtype)
    wide = Y.astype(np.float64)
    expected = np.zeros(P.shape)
    for u in range(len(P)):
        for j in range(indptr[u], indptr[u + 1]):
            y = wide[indices[j]]
            expected[u] += weight[j] * (y @ P[u].astype(np.float64)) * y
    outs = [np.full_like(P, np.nan) for _ in range(3)]
    for out, threads in zip(outs, (1, 2, 7), strict=True):
        kernels.normal_products(indptr, indices, weight, Y, P, out, threads)
    tolerance = 1e-5 if dtype == np.float32 else 1e-12
    np.testing.assert_allclose(outs[0], expected, rtol=0, atol=tolerance * np.abs(expected).max(initial=1))
    assert outs[0].tobytes() == outs[1].tobytes() == outs[2].tobytes()


def test_a_range_of_rows_is_as_in_the_whole_and_rows_of_zeros_are_zeros(kernels, dtype):
    indptr, indices, weight, Y, P = problem([5, 70, 3, 9], 30, 8, dtype)
    whole, part = np.full_like(P, np.nan), np.full_like(P[1:3], np.nan)
    kernels.normal_products(indptr, indices, weight, Y, P, whole, 1)
    kernels.normal_products(indptr[1:4], indices, weight, Y, P[1:3], part, 1)
    np.testing.assert_array_equal(part, whole[1:3])
    P[2] = 0
    kernels.normal_products(indptr, indices, weight, Y, P, whole, 1)
    assert not whole[2].any()
    np.testing.assert_array_equal(part[0], whole[1])


def test_what_would_crash_a_kernel_is_refused():
    indptr, indices, weight, Y, P = problem([2, 1], 4, 3, np.float32)
    contract.normal_products(indptr, indices, weight, Y, P, np.empty_like(P))
    for wrong, message in (
        ({"indices": indices + 4}, "indices"),
        ({"Y": Y.astype(np.float64)}, "Y must"),
        ({"out": np.empty((2, 2), np.float32)}, "out must have shape"),
        ({"out": P}, "out is overwritten while P is read"),
    ):
        given = {"indptr": indptr, "indices": indices, "weight": weight, "Y": Y, "P": P, "out": np.empty_like(P)}
        with pytest.raises((TypeError, ValueError), match=message):
            contract.normal_products(**given | wrong)
