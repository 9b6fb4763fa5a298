"""pytest-benchmark: whole fits and lists, including all that a model does around its kernels."""

from __future__ import annotations

import itertools

import numpy as np

from alternant import BiasedMF, ImplicitALS
from benchmarks.suites.inputs import THREADS, TINY, each, exact_sides, matrix

QUERIES = 500  # at most
CHECKED = 5  # users


@each(factors=(64,), dtypes=("float32",))
def test_fit_implicit(benchmark, f, dtype, backend):
    """Three iterations of ImplicitALS."""
    benchmark.group = f"fit implicit/{f}/{dtype}"
    common = {"factors": f, "dtype": dtype, "iterations": 3, "random_state": 0, "num_threads": THREADS,
              "backend": backend}  # fmt: skip

    def run(**solver):
        return ImplicitALS(**common, **solver).fit(matrix(), show_progress=False)

    reached, exact = (run(**solver).history_["objective"] for solver in ({}, {"solver": "cholesky"}))
    assert all(after <= before for before, after in itertools.pairwise(reached))
    np.testing.assert_allclose(reached[-1], exact[-1], rtol=1e-2 if TINY else 1e-3)  # tiny: 5e-3 apart after so few
    benchmark(run)


@each(factors=(64,), dtypes=("float32",))
def test_fit_biased(benchmark, f, dtype, backend):
    """Three epochs of BiasedMF."""
    benchmark.group = f"fit biased/{f}/{dtype}"

    def run():
        model = BiasedMF(factors=f, dtype=dtype, epochs=3, random_state=0, num_threads=THREADS, backend=backend)
        return model.fit(matrix(), show_progress=False)

    errors = run().history_["train_rmse"]
    assert all(after < before for before, after in itertools.pairwise(errors))
    benchmark(run)


@each(factors=(64,), dtypes=("float32",))
def test_recommend(benchmark, f, dtype, backend):
    """The ten best items that are new to each of 500 users."""
    benchmark.group = f"recommend/{f}/{dtype}"
    model = ImplicitALS(factors=f, dtype=dtype, iterations=1, random_state=0, num_threads=THREADS, backend=backend)
    model.fit(matrix(), show_progress=False)
    model.user_factors, model.item_factors = exact_sides(matrix().shape, f, dtype)  # no tie depends on rounding
    users = np.arange(min(QUERIES, matrix().shape[0]))
    ids, _ = model.recommend(users, k=10)
    scores = model.user_factors[:CHECKED] @ model.item_factors.T
    scores[matrix()[:CHECKED].nonzero()] = -np.inf
    np.testing.assert_array_equal(ids[:CHECKED], np.argsort(-scores, axis=1, kind="stable")[:, :10])
    benchmark(model.recommend, users, k=10)
