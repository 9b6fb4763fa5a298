"""Nesterov's extrapolation of alternating least squares, restarted when the objective rises.

One iteration maps the factors (X, Y) to new ones. Plain ALS applies it to the last factors; here it is applied to what
lies beyond them,

    (X, Y)_k + beta_k ((X, Y)_k - (X, Y)_(k-1)),   beta_k = k / (k + 1),

of which the users' part is only where their solver starts. When the result has a higher objective than the factors
before, it is dropped, the iteration is done plainly and k starts at 0 again: the objectives handed out never rise.
Of Nesterov's sequence and several constants, this one needed the fewest iterations on five data sets under three
objectives: 7 to 11 to where plain ALS gets in 15.

D. Mitchell, N. Ye, H. De Sterck, "Nesterov acceleration of alternating least squares for canonical tensor
decomposition: momentum step size and restart mechanisms", Numerical Linear Algebra with Applications 27(4), 2020.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ._fit_loop import Iteration

Factors = NDArray[Any]


class Momentum:
    """The extrapolation of one fit."""

    def __init__(self) -> None:
        self._before: tuple[Factors, Factors] | None = None
        self._objective = np.inf
        self._k = 0

    def step(self, iterate: Callable[[Factors | None, Factors], Iteration], X: Factors | None, Y: Factors) -> Iteration:
        """Do one iteration from the last factors and those before."""
        done = None
        if self._before is not None and X is not None:
            self._k += 1
            beta = self._k / (self._k + 1)
            done = iterate(*(_beyond(now, old, beta) for now, old in zip((X, Y), self._before, strict=True)))
            if not done.record["objective"] <= self._objective:
                done, self._k = None, 0
        if done is None:
            done = iterate(X, Y)
        self._before = None if X is None else (X, Y)
        self._objective = done.record["objective"]
        return done


def _beyond(now: Factors, before: Factors, beta: float) -> Factors:
    factors: Factors = now + now.dtype.type(beta) * (now - before)
    return factors
