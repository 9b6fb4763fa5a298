"""Compare the objectives of the same fit in float32 and in float64, after each iteration.

    python -m benchmarks precision --folder FOLDER            # all of the public data there
    python -m benchmarks precision --shape ml20m --at-most 1e-5

"defaults" are those of ImplicitALS, with the objective that the fit records. In the other rows the confidence is 1 + r
with unscaled r: playing times and counts span five orders of magnitude; the objective of both is computed by one
function, in float64. Both start from the same factors. The command fails if their relative difference exceeds
`--at-most` after any iteration.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import scipy.sparse as sp

from alternant import ImplicitALS

from ..common.command_line import exit_status, parser
from ..common.data import LOADERS, load
from ..common.results import Report
from ..common.shapes import shaped
from ..peers.weighted import objective

if TYPE_CHECKING:
    from collections.abc import Sequence

DEFAULTS = "defaults"
SETTINGS = {
    DEFAULTS: {},
    "CG": {},
    "CG, plain": {"acceleration": None},
    "CG to 1e-6": {"tol": 1e-6, "max_cg_steps": 200},
    "Cholesky": {"solver": "cholesky"},
}


def objectives(matrix: Any, dtype: str, factors: int, iterations: int, **settings: Any) -> np.ndarray:
    """Fit and return the objective after each iteration."""
    rows = sp.csr_array(matrix)
    rows.data = np.maximum(rows.data.astype(np.float64), 1)
    rng = np.random.default_rng(42)
    start = [rng.standard_normal((n, factors)).astype(np.float32) * 0.1 for n in rows.shape]
    model = ImplicitALS(
        factors=factors, weighting="hu", alpha=1.0, regularization=0.1, regularization_scaling="none",
        iterations=iterations, warm_start=True, dtype=dtype, **settings,
    )  # fmt: skip
    model.user_factors, model.item_factors = (side.astype(dtype) for side in start)
    found: list[float] = []

    def note(state: Any) -> None:
        found.append(objective(rows, state.user_factors, state.item_factors, 0.1))

    model.fit(rows, show_progress=False, callback=note)
    return np.array(found)


def recorded(matrix: Any, dtype: str, factors: int, iterations: int) -> np.ndarray:
    """Fit with the defaults and return the objective recorded after each iteration."""
    model = ImplicitALS(factors=factors, iterations=iterations, dtype=dtype, random_state=0)
    return np.array(model.fit(matrix, show_progress=False).history_["objective"])


def main(arguments: Sequence[str]) -> int:
    """Compare; exit 1 if too far apart."""
    made = parser("precision", __doc__, folder=None, shape=None, factors=64, iterations=15, at_most=None)
    options = made.parse_args(arguments)
    names = [options.shape] if options.shape else [n for n in LOADERS if n == "msweb" or options.folder]
    report = Report("precision", arguments)
    table = report.table(
        f"f = {options.factors}, {options.iterations} iterations, float32 against float64",
        "data", "solver", "objective", "largest relative difference", "after the last iteration",
    )  # fmt: skip
    worst = 0.0
    for name in names:
        matrix = shaped(name) if options.shape else load(name, options.folder)
        for label, settings in SETTINGS.items():
            measure = recorded if label == DEFAULTS else objectives
            single, double = (
                measure(matrix, dtype, options.factors, options.iterations, **settings)
                for dtype in ("float32", "float64")
            )
            apart = np.abs(single / double - 1)
            worst = max(worst, float(apart.max()))
            table.row(name, label, f"{double[-1]:.6g}", f"{apart.max():.1e}", f"{apart[-1]:.1e}")
    report.write(options.json)
    if options.at_most is None or worst <= options.at_most:
        return exit_status([])
    return exit_status([f"the largest relative difference is {worst:.1e}, not at most {options.at_most:g}"])
