"""Compare what a fit in float32 reaches with what the same fit in float64 does: the objective, after each iteration.

    python benchmarks/precision.py --folder FOLDER            # all of the public data there
    python benchmarks/precision.py --shape ml20m --at-most 1e-5

"defaults" are those of ImplicitALS, with the objective that the fit records. In the other rows the confidence is 1 + r
with r as it is: playing times and counts span five orders of magnitude; the objective of both is computed by one
function, in float64. Both start from the same factors. The command fails where they differ by more than `--at-most`,
relatively, after any iteration.
"""

from __future__ import annotations

import argparse
import sys
from typing import Any

import numpy as np
import scipy.sparse as sp
from command_line import at_least, exit_status, folder
from peers_als import objective
from public_data import LOADERS, load
from shapes import SHAPES, shaped

from alternant import ImplicitALS

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
    """Fit with the defaults and return the objective that is recorded after each iteration."""
    model = ImplicitALS(factors=factors, iterations=iterations, dtype=dtype, random_state=0)
    return np.array(model.fit(matrix, show_progress=False).history_["objective"])


def main() -> int:
    """Compare; exit 1 if too far apart."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", type=folder, help="that holds the public data, one sub-folder a data set")
    parser.add_argument("--shape", choices=list(SHAPES), help="random data of this shape instead")
    parser.add_argument("--factors", type=at_least(1), default=64)
    parser.add_argument("--iterations", type=at_least(1), default=15)
    parser.add_argument("--at-most", type=float, help="exit 1 above this relative difference")
    options = parser.parse_args()
    names = [options.shape] if options.shape else [n for n in LOADERS if n == "msweb" or options.folder]
    print("| data | solver | objective | largest relative difference | after the last iteration |")
    print("|---|---|---|---|---|")
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
            print(f"| {name} | {label} | {double[-1]:.6g} | {apart.max():.1e} | {apart[-1]:.1e} |", flush=True)
    if options.at_most is None or worst <= options.at_most:
        return exit_status([])
    return exit_status([f"the largest relative difference is {worst:.1e}, not at most {options.at_most:g}"])


if __name__ == "__main__":
    sys.exit(main())
