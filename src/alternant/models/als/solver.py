"""Settings of the row solvers of alternating least squares."""

from __future__ import annotations

from dataclasses import dataclass, field

from ..._utils.pool import Pool
from ...kernels._registry import Backend


@dataclass(frozen=True)
class Solver:
    """The method, its parameters, and the resources of a row solver."""

    backend: Backend
    method: str  # "cg", "cholesky", or "nonnegative"
    tol: float
    max_steps: int
    num_threads: int
    narrow: bool = True  # whether a fixed side may be in float16, whose rounding errors affect the objective
    pool: Pool = field(default_factory=Pool)  # allocates factors
