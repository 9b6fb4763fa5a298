"""The library cmfrec, which sets the threads of BLAS itself: one in its parallel loops, its own number outside."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import scipy.sparse as sp

from .base import Library, Observer, Problem

if TYPE_CHECKING:
    from collections.abc import Callable


class Cmfrec(Library):
    """CMF_implicit and CMF, which accept no initial factors and do not stop between iterations."""

    name = package = module = "cmfrec"
    rating_iterations = 10

    def fit_weighted(self, problem: Problem, observer: Observer, solver: str = "cg") -> None:
        """Run CMF_implicit: c = 1 + alpha r; 3 steps of conjugate gradients per row, or Cholesky.

        Its conjugate gradients (`factors_implicit_cg` in 3.5.1) start with the residual for weights r + 1 and
        right-hand side r, and continue with weights r: only its Cholesky ends where the others do. The parameters for
        speed are set as its documentation advises.
        """
        from cmfrec import CMF_implicit

        entries = _coo_matrix(problem.train)

        def fit(iterations: int) -> Callable[[], Any]:
            model = CMF_implicit(
                k=problem.factors, lambda_=problem.regularization, alpha=1.0, niter=iterations, use_cg=solver == "cg",
                finalize_chol=False, use_float=True, precompute_for_predictions=False, random_state=1,
                nthreads=problem.threads,
            ).fit(entries)  # fmt: skip
            return lambda: (model.A_, model.B_)

        observer.refit(min(problem.iterations, problem.refits), fit)

    def fit_ratings(self, problem: Problem, observer: Observer) -> None:
        """Run CMF: ALS by conjugate gradients, the last iteration by Cholesky."""
        from cmfrec import CMF

        entries = _coo_matrix(problem.train)

        def fit(iterations: int) -> Callable[[], Any]:
            model = CMF(
                k=problem.factors, niter=iterations, precompute_for_predictions=False, nthreads=problem.threads
            ).fit(entries)  # fmt: skip
            return lambda: model.predict(problem.test.row, problem.test.col)

        observer.refit(min(problem.iterations, self.rating_iterations), fit)


def _coo_matrix(rows: sp.csr_array) -> sp.coo_matrix:
    entries = rows.tocoo()
    return sp.coo_matrix((entries.data, (entries.row, entries.col)), shape=entries.shape)
