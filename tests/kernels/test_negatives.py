"""The sample of negatives of `logistic_epoch`: how many, which, and the same in every backend."""

import numpy as np
import pytest
from scipy import stats

from alternant.kernels import Factors, Grid, sgd_reference


def counts(kernels, negatives, n, blocks, seed=0, epoch=0, edges_seed=1, keys=None):
    """How often each row and each column is taken: with X = Y = 0 and a tiny learning rate the biases count it."""
    m, tiny = len(negatives), 2.0**-40
    rng = np.random.default_rng(edges_seed)
    edges = [np.sort(np.concatenate([[0, size], rng.integers(0, size + 1, blocks - 1)])) for size in (m, n)]
    none = np.empty(0, np.int32)
    grid = Grid(*edges, np.zeros(blocks**2 + 1, np.int64), none, none)
    factors = Factors(np.zeros((m, 1)), np.zeros((n, 1)), np.zeros(m), np.zeros(n))
    grid.check(m, n)
    schedule = grid.diagonals(np.arange(blocks))
    kernels.logistic_epoch(grid, schedule, np.empty(0), np.empty(0), negatives, factors, None, tiny,
                           (0.0, 0.0, 0.0, 0.0), seed, epoch, keys=keys)  # fmt: skip
    assert (factors.X == 0).all()
    whole = []
    for bias in (factors.row_bias, factors.column_bias):
        number = -bias / (tiny / 2)  # each takes a step of sigmoid(0) times the learning rate
        whole.append(np.rint(number).astype(int))
        np.testing.assert_allclose(number, whole[-1], atol=1e-4)
    assert whole[0].sum() == whole[1].sum()
    return whole


@pytest.mark.against_numpy
def test_sampled_negatives_are_the_same_in_every_backend(kernels):
    negatives = np.random.default_rng(0).random(40) * 7
    for seed, epoch in ((0, 0), (2**64 - 1, 2**64 - 1), (12345, 6)):
        for blocks in (1, 3, 16):
            ours, theirs = (counts(k, negatives, 50, blocks, seed, epoch) for k in (kernels, sgd_reference))
            np.testing.assert_array_equal(np.concatenate(ours), np.concatenate(theirs))


def test_sampled_negatives_change_with_the_seed_the_epoch_and_the_row(kernels):
    negatives = np.full(30, 4.0)
    first = counts(kernels, negatives, 50, 3)[1]
    np.testing.assert_array_equal(counts(kernels, negatives, 50, 3)[1], first)
    assert (counts(kernels, negatives, 50, 3, seed=1)[1] != first).any()
    assert (counts(kernels, negatives, 50, 3, epoch=1)[1] != first).any()
    alone = [counts(kernels, 40.0 * (np.arange(3) == u), 50, 3)[1] for u in range(3)]
    assert (alone[0] != alone[1]).any()
    assert (alone[1] != alone[2]).any()
    together = counts(kernels, np.full(3, 40.0), 50, 3)[1]
    np.testing.assert_array_equal(together, sum(alone))  # the sample of a row depends on no other row


def test_the_sample_of_a_row_depends_on_its_key_rather_than_its_number_if_it_has_one(kernels):
    order = np.random.default_rng(2).permutation(30)
    for keys in (np.arange(30), np.arange(30) + (1 << 48) - 30):
        expected, moved = (
            [counts(kernels, 4.0 * (of == row), 50, 3, keys=of)[1] for row in keys[:3]] for of in (keys, keys[order])
        )
        np.testing.assert_array_equal(moved, expected)
        reference = [counts(sgd_reference, 4.0 * (keys == row), 50, 3, keys=keys)[1] for row in keys[:3]]
        np.testing.assert_array_equal(expected, reference)
    by_number = [counts(kernels, 4.0 * (np.arange(30) == row), 50, 3)[1] for row in range(3)]
    by_key = [counts(kernels, 4.0 * (np.arange(30) == row), 50, 3, keys=np.arange(30))[1] for row in range(3)]
    np.testing.assert_array_equal(by_key, by_number)
    assert (np.asarray(expected) != by_number).any()


@pytest.mark.parametrize("blocks", [1, 3, 16])
def test_a_row_takes_its_expected_number_of_negatives(kernels, blocks):
    m = 600
    negatives = np.repeat([0.0, 0.25, 2.5, 40.0], m // 4)
    taken = counts(kernels, negatives, 50, blocks)[0].reshape(4, -1)
    assert (taken[0] == 0).all()
    for rows, expected_number in zip(taken[1:], (0.25, 2.5, 40.0), strict=True):
        # each block rounds up or down by chance: a variance of at most 1/4 for a block
        deviation = np.sqrt(blocks / 4 / len(rows))
        assert abs(rows.mean() - expected_number) < 3.5 * deviation
        assert np.abs(rows - expected_number).max() < blocks
    if blocks == 1:
        assert (taken[3] == 40).all()


@pytest.mark.parametrize("blocks", [1, 3, 16])
def test_sampled_negatives_are_uniform_over_the_columns(kernels, blocks):
    n, draws = 50, 40_000 if kernels.name != "numpy" else 8_000
    taken = counts(kernels, np.full(40, draws / 40), n, blocks, seed=7)[1]
    even = taken.sum() / n
    assert ((taken - even) ** 2 / even).sum() < stats.chi2.ppf(0.999, n - 1)
