"""How many items score higher than chosen ones: every implementation against comparing all scores."""

import numpy as np
import pytest
import scipy.sparse as sp
from hypothesis import given
from hypothesis import strategies as st

from alternant import kernels as contract
from alternant.kernels import ranks_reference


def case(seed, m=9, n=700, f=5, dtype=np.float32, values=3):
    """Factors of few different values, so that many scores tie exactly, and random targets and exclusions."""
    rng = np.random.default_rng(seed)
    X, Y = (rng.integers(-values, values + 1, (rows, f)).astype(dtype) for rows in (m, n))
    lists = []
    for density in (0.02, 0.05):
        matrix = sp.random_array((m, n), density=density, rng=rng, format="csr")
        matrix.sort_indices()
        lists.append((matrix.indptr.astype(np.int64), matrix.indices.astype(np.int32)))
    return X, Y, *lists


def run(count_above, X, Y, targets, exclude, threads=2):
    above, equal = np.full(len(targets[1]), -7), np.full(len(targets[1]), -7)
    count_above(X, Y, exclude, *targets, above, equal, threads)
    return above, equal


def plain(X, Y, targets, exclude):
    return run(ranks_reference.count_above, X, Y, targets, exclude)


@pytest.mark.parametrize("f", [1, 3, 17, 64])
@pytest.mark.parametrize("excluding", [True, False])
def test_ranks_and_ties_are_those_of_comparing_all_scores(kernels, dtype, f, excluding):
    X, Y, targets, exclude = case(f, f=f, dtype=dtype)
    exclude = exclude if excluding else None
    result = run(kernels.count_above, X, Y, targets, exclude)
    np.testing.assert_array_equal(result, plain(X, Y, targets, exclude))
    # By hand, of one target: integers are exact in every dtype.
    u = int(np.argmax(np.diff(targets[0])))
    j = targets[1][targets[0][u]]
    scores = Y @ X[u]
    out = exclude[1][exclude[0][u] : exclude[0][u + 1]] if excluding else []
    others = np.delete(np.arange(len(Y)), np.union1d(out, [j]).astype(int))
    assert result[0][targets[0][u]] == (scores[others] > scores[j]).sum()
    assert result[1][targets[0][u]] == (scores[others] == scores[j]).sum()


def test_a_target_may_be_excluded_itself(kernels, dtype):
    X, Y = np.ones((1, 2), dtype), np.array([[1, 0], [2, 0], [1, 0], [0, 0]], dtype)
    targets = np.array([0, 2]), np.array([0, 2], np.int32)
    above, equal = run(kernels.count_above, X, Y, targets, (np.array([0, 1]), np.array([0], np.int32)))
    assert (above.tolist(), equal.tolist()) == ([1, 1], [1, 0])


@pytest.mark.compiles_anew
def test_rows_without_targets_nothing_excluded_and_no_targets_at_all(kernels, dtype):
    X, Y, _, _ = case(0, m=3, dtype=dtype)
    targets = np.array([0, 0, 2, 2]), np.array([5, 9], np.int64)
    np.testing.assert_array_equal(run(kernels.count_above, X, Y, targets, None), plain(X, Y, targets, None))
    nothing = np.zeros(4, np.int64), np.empty(0, np.int32)
    assert [len(part) for part in run(kernels.count_above, X, Y, nothing, nothing)] == [0, 0]
    assert [len(part) for part in run(kernels.count_above, X[:0], Y, (nothing[0][:1], nothing[1]), None)] == [0, 0]


def test_nan_counts_as_minus_infinity(kernels, dtype):
    X, Y = np.ones((1, 1), dtype), np.array([[np.nan], [1], [-np.inf], [np.inf]], dtype)
    above, equal = run(kernels.count_above, X, Y, (np.array([0, 4]), np.arange(4, dtype=np.int32)), None)
    assert (above.tolist(), equal.tolist()) == ([2, 1, 2, 0], [1, 0, 1, 0])


def test_the_bits_do_not_depend_on_the_number_of_threads(kernels, dtype):
    rng = np.random.default_rng(3)
    X, Y, targets, exclude = case(3, m=150, n=1000, f=33, dtype=dtype)
    X, Y = rng.standard_normal(X.shape).astype(dtype), rng.standard_normal(Y.shape).astype(dtype)
    one = run(kernels.count_above, X, Y, targets, exclude, 1)
    for threads in (2, 8):
        np.testing.assert_array_equal(run(kernels.count_above, X, Y, targets, exclude, threads), one)


def test_equal_items_tie_wherever_they_stand(kernels, dtype):
    """Rounded scores too: a sum has one order, in a whole tile and in the last one."""
    rng = np.random.default_rng(4)
    row = rng.standard_normal(19).astype(dtype)
    Y = np.tile(row, (515, 1))
    X = rng.standard_normal((7, 19)).astype(dtype)
    targets = np.arange(0, 8 * 3, 3), np.tile(np.array([0, 300, 514], np.int32), 7)
    above, equal = run(kernels.count_above, X, Y, targets, None)
    assert (above == 0).all()
    assert (equal == 514).all()


@given(st.integers(0, 10**6), st.integers(1, 12), st.integers(1, 600))
def test_any_case_agrees_with_the_reference(kernels, seed, m, n):
    X, Y, targets, exclude = case(seed, m=m, n=n)
    np.testing.assert_array_equal(run(kernels.count_above, X, Y, targets, exclude), plain(X, Y, targets, exclude))


@pytest.mark.parametrize(("change", "error", "message"), [
    ({"indices": np.array([2, 0], np.int32)}, ValueError, "sorted"),
    ({"indices": np.array([0, 9], np.int32)}, (ValueError, IndexError), "9"),
    ({"out_above": np.zeros(1, np.int64)}, ValueError, "out_above"),
    ({"out_equal": np.zeros(2, np.int32)}, TypeError, "out_equal"),
    ({"queries": np.ones((1, 3), np.float32)}, ValueError, "columns"),
])  # fmt: skip
def test_what_would_crash_a_kernel_is_refused(change, error, message):
    given = {
        "queries": np.ones((1, 2), np.float32), "items": np.ones((3, 2), np.float32), "exclude": None,
        "indptr": np.array([0, 2]), "indices": np.array([0, 2], np.int32), "out_above": np.zeros(2, np.int64),
        "out_equal": np.zeros(2, np.int64),
    }  # fmt: skip
    with pytest.raises(error, match=message):
        contract.count_above(**given | change)
