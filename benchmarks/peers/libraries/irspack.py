"""The library irspack, which has its own threads and does not call BLAS."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import scipy.sparse as sp

from .base import Library, Observer, Problem

if TYPE_CHECKING:
    import numpy as np


class Irspack(Library):
    """iALS: 3 steps of conjugate gradients per row, or Cholesky."""

    name = package = "irspack"
    module = "irspack.recommenders.ials"

    def fit_weighted(self, problem: Problem, observer: Observer, solver: str = "cg") -> None:
        """Run iALS with the original loss: c = alpha0 + r; with nu = 0, lambda is not scaled."""
        self.fit_als(
            problem, observer, alpha0=1.0, reg=problem.regularization, nu=0.0, solver=solver.upper(), loss="ORIGINAL"
        )

    def fit_als(
        self, problem: Problem, observer: Observer, *, alpha0: float, reg: float, nu: float = 1.0, solver: str = "CG",
        loss: str = "IALSPP",
    ) -> tuple[np.ndarray, np.ndarray]:  # fmt: skip
        """Run iALS."""
        from irspack.recommenders.ials import IALSTrainer, LossType, SolverType

        rows = sp.csr_matrix(problem.train)
        observer.begin()
        trainer = IALSTrainer(
            rows, n_components=problem.factors, alpha0=alpha0, reg=reg, nu=nu, init_std=0.1,
            solver_type=getattr(SolverType, solver), max_cg_steps=3, ialspp_subspace_dimension=64,
            loss_type=getattr(LossType, loss), random_seed=0, n_threads=problem.threads,
            prediction_time_max_cg_steps=5, prediction_time_ialspp_iteration=7,
        )  # fmt: skip
        core = trainer.core_trainer
        if problem.start is not None:
            core.user, core.item = (side.copy() for side in problem.start)

        def learned() -> Any:
            return core.user, core.item

        for iteration in range(1, problem.iterations + 1):
            trainer.run_epoch()
            if observer.note(iteration, learned):
                break
        return learned()
