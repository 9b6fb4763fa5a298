"""Time ImplicitALS against the library implicit, in one process, in turn, from the same start.

    pip install ".[peers]"
    python benchmarks/compare_implicit.py --shape ml20m                      # conjugate gradients, each one's default
    python benchmarks/compare_implicit.py --shape ml1m --solver cholesky

Both minimise the same objective: confidences 1 + r, unobserved weight 1, the same constant lambda. An iteration is both
half-sweeps, as each library's own fit runs them, its conversions at the start left out. BLAS is limited to one thread
for implicit, as it asks its users to do. Objectives are recomputed in float64 by one function for both.
"""

from __future__ import annotations

import argparse
import sys
from itertools import pairwise
from statistics import median

import numpy as np
import threadpoolctl
from machine import print_machine
from shapes import SHAPES, shaped

from alternant import ImplicitALS, kernels

try:
    from implicit.cpu.als import AlternatingLeastSquares
except ImportError:
    sys.exit("this benchmark needs implicit: pip install 'alternant[peers]'")


def objective(matrix, X, Y, regularization: float) -> float:
    """Sum over all pairs, in float64."""
    X, Y = X.astype(np.float64), Y.astype(np.float64)
    c = matrix.data.astype(np.float64)
    data = kernels.squared_error(matrix.indptr.astype(np.int64), matrix.indices, c - 1, c, X, Y, np.zeros(X.shape[1]))
    dense = np.einsum("uf,fg,ug->", X, Y.T @ Y, X, optimize=True)
    return data + dense + c.sum() + regularization * ((X**2).sum() + (Y**2).sum())


def run_alternant(matrix, start, options) -> tuple[list[float], list]:
    """Return the seconds of each iteration and the factors after it."""
    model = ImplicitALS(
        factors=options.factors, weighting="proportional", alpha=1.0, regularization=options.regularization,
        regularization_scaling="none", solver=options.solver, iterations=options.iterations, warm_start=True,
        num_threads=options.threads,
    )  # fmt: skip
    model.user_factors, model.item_factors = (side.copy() for side in start)
    kept = []
    model.fit(matrix, callback=lambda state: kept.append((state.user_factors, state.item_factors)), show_progress=False)
    seconds = [0.0, *model.history_["seconds"]]
    return [after - before for before, after in pairwise(seconds)], kept


def run_implicit(matrix, start, options) -> tuple[list[float], list]:
    """Return the same of implicit."""
    model = AlternatingLeastSquares(
        factors=options.factors, regularization=options.regularization, alpha=1.0, iterations=options.iterations,
        use_cg=options.solver == "cg", num_threads=options.threads,
    )  # fmt: skip
    model.user_factors, model.item_factors = (side.copy() for side in start)
    seconds, kept = [], []

    def note(_iteration, elapsed, _loss):
        seconds.append(elapsed)
        kept.append((model.user_factors.copy(), model.item_factors.copy()))

    with threadpoolctl.threadpool_limits(1, "blas"):
        model.fit(matrix, show_progress=False, callback=note)
    return seconds, kept


def main() -> int:
    """Run the comparison and print a Markdown table; exit 1 if a target is missed."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--shape", choices=list(SHAPES), default="ml1m")
    parser.add_argument("--solver", choices=["cg", "cholesky"], default="cg")
    parser.add_argument("--factors", type=int, default=64)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--iterations", type=int, default=3)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--regularization", type=float, default=0.01)
    parser.add_argument("--at-least", type=float, help="exit 1 below this ratio, or where our objective is higher")
    options = parser.parse_args()

    import scipy.sparse as sp

    matrix = shaped(options.shape)
    matrix.data += 1
    legacy = sp.csr_matrix(matrix)  # what implicit takes without converting
    rng = np.random.default_rng(42)
    start = [rng.random((n, options.factors), dtype=np.float32) * 0.01 for n in matrix.shape]
    print_machine(options.threads, "implicit")
    print(f"{options.shape}: {matrix.shape[0]:,} x {matrix.shape[1]:,}, {matrix.nnz:,} interactions, "
          f"f = {options.factors}, {options.solver}, float32, median of {options.rounds} rounds\n")  # fmt: skip

    times: dict[str, list[list[float]]] = {"alternant": [], "implicit": []}
    factors = {}
    for round_ in range(options.rounds + 1):
        for name, run, data in (("alternant", run_alternant, matrix), ("implicit", run_implicit, legacy)):
            seconds, factors[name] = run(data, start, options)
            if round_:  # the first round warms up
                times[name].append(seconds)
    print("| iteration | alternant | implicit | times as fast | objective, alternant | objective, implicit |")
    print("|---|---|---|---|---|---|")
    good = True
    for i in range(options.iterations):
        ours, theirs = (median(t[i] for t in times[name]) for name in ("alternant", "implicit"))
        ratio = theirs / ours
        reached = [objective(matrix, *factors[name][i], options.regularization) for name in ("alternant", "implicit")]
        print(f"| {i + 1} | {ours:.3f} s | {theirs:.3f} s | {ratio:.2f} | {reached[0]:.6g} | {reached[1]:.6g} |")
        if options.at_least is not None:
            good &= ratio >= options.at_least and reached[0] <= reached[1] * (1 + 1e-6)
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
