"""LightFM, which does not call BLAS."""

from __future__ import annotations

import numpy as np
import scipy.sparse as sp

from .base import Library, Observer, Problem


class LightFM(Library):
    """It learns to rank, which is a different objective."""

    name = "LightFM"
    package = module = "lightfm"

    def fit_weighted(self, problem: Problem, observer: Observer, solver: str = "warp") -> None:
        """Run it on the interactions as ones."""
        from lightfm import LightFM as Model

        entries = sp.coo_matrix(problem.train)
        entries.data = np.ones_like(entries.data)
        model = Model(no_components=problem.factors, loss=solver, random_state=0)

        def learned() -> tuple[np.ndarray, np.ndarray]:
            ones = np.ones(len(model.user_embeddings), np.float32)
            users = np.column_stack([model.user_embeddings, ones])
            return users, np.column_stack([model.item_embeddings, model.item_biases])

        observer.begin()
        for iteration in range(1, problem.iterations + 1):
            model.fit_partial(entries, epochs=1, num_threads=problem.threads)
            if observer.note(iteration, learned):
                break
