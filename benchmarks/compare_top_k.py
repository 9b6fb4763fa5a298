"""Time the lists of many users against implicit's recommend and faiss's exact index, in one process, in turn.

    pip install ".[peers]"
    python benchmarks/compare_top_k.py                        # normal factors, which nothing can be pruned of
    python benchmarks/compare_top_k.py --factors-of ml20m     # of ImplicitALS, fitted on that shape

All rank the same factors for the same users, without what is seen and with 100 seen items a user left out (faiss leaves
nothing out). BLAS is limited to one thread for implicit, as it asks its users to do. Before anything is timed, our
lists are compared with a full sort of float64 scores.
"""

from __future__ import annotations

import argparse
import sys
import time
from statistics import median

import numpy as np
import scipy.sparse as sp
import threadpoolctl
from machine import print_machine
from shapes import SHAPES, shaped

from alternant import ImplicitALS, kernels

try:
    import faiss
    from implicit.cpu.als import AlternatingLeastSquares
except ImportError:
    sys.exit("this benchmark needs implicit and faiss: pip install 'alternant[peers]'")


def factors(options) -> tuple[np.ndarray, np.ndarray]:
    """Return the users' and items' factors to rank with."""
    if options.factors_of is not None:
        model = ImplicitALS(factors=options.columns, iterations=3, random_state=0)
        model.fit(shaped(options.factors_of), show_progress=False)
        return np.ascontiguousarray(model.user_factors[: options.users]), np.array(model.item_factors)
    rng = np.random.default_rng(0)
    return tuple(rng.standard_normal((n, options.columns), dtype=np.float32) for n in (options.users, options.items))


def check(X, Y, ids, scores, seen) -> None:
    """Compare the lists of some users with a full sort of all their scores."""
    for u in range(0, len(X), max(1, len(X) // 200)):
        expected = Y.astype(np.float64) @ X[u].astype(np.float64)
        if seen is not None:
            expected[seen.indices[seen.indptr[u] : seen.indptr[u + 1]]] = -np.inf
        best = np.sort(expected)[::-1][: ids.shape[1]]
        tolerance = 1e-5 * np.linalg.norm(X[u]) * np.linalg.norm(Y, axis=1).max()
        if np.abs(scores[u] - best).max() > tolerance or np.abs(expected[ids[u]] - best).max() > tolerance:
            sys.exit(f"the list of user {u} is not that of a full sort")


def main() -> int:
    """Run the comparison and print a Markdown table; exit 1 if a target is missed."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--users", type=int, default=20_000)
    parser.add_argument("--items", type=int, default=27_000)
    parser.add_argument("--columns", type=int, default=64)
    parser.add_argument("--factors-of", choices=list(SHAPES))
    parser.add_argument("-k", type=int, default=10)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--at-least", type=float, nargs=2, default=(0, 0), metavar=("IMPLICIT", "FAISS"))
    options = parser.parse_args()
    print_machine(options.threads)
    X, Y = factors(options)
    m, n, k = len(X), len(Y), options.k
    rng = np.random.default_rng(1)
    places = np.repeat(np.arange(m), 100), rng.integers(0, n, 100 * m)
    seen = sp.csr_matrix((np.ones(100 * m, np.float32), places), shape=(m, n))
    seen.sum_duplicates()
    nothing = sp.csr_matrix((m, n), dtype=np.float32)
    peer = AlternatingLeastSquares(factors=options.columns, num_threads=options.threads)
    peer.user_factors, peer.item_factors = X, Y
    index = faiss.IndexFlatIP(options.columns)
    index.add(Y)
    faiss.omp_set_num_threads(options.threads)
    ids, scores = np.empty((m, k), np.int32), np.empty((m, k), np.float32)

    def ours(filtered: bool) -> None:
        exclude = (seen.indptr.astype(np.int64), seen.indices) if filtered else None
        kernels.top_k(X, Y, k, exclude, None, ids, scores, options.threads)

    def implicits(filtered: bool) -> None:
        with threadpoolctl.threadpool_limits(1, "blas"):
            peer.recommend(np.arange(m), seen if filtered else nothing, N=k, filter_already_liked_items=filtered)

    for filtered in (False, True):
        ours(filtered)
        check(X, Y, ids, scores, seen if filtered else None)
    runs = {
        "alternant": lambda: ours(False), "implicit": lambda: implicits(False), "faiss": lambda: index.search(X, k),
        "alternant, without seen": lambda: ours(True), "implicit, without seen": lambda: implicits(True),
    }  # fmt: skip
    seconds: dict[str, list[float]] = {name: [] for name in runs}
    for _ in range(options.rounds + 1):
        for name, run in runs.items():
            start = time.perf_counter()
            run()
            seconds[name].append(time.perf_counter() - start)
    medians = {name: median(times[1:]) for name, times in seconds.items()}
    ratios = {
        "implicit": medians["implicit"] / medians["alternant"], "faiss": medians["faiss"] / medians["alternant"],
        "implicit, without seen": medians["implicit, without seen"] / medians["alternant, without seen"],
    }  # fmt: skip
    print(f"\n{m:,} users x {n:,} items, f = {options.columns}, k = {k}, {options.factors_of or 'normal'} factors\n")
    print("| | seconds | alternant is so many times as fast |\n|---|---|---|")
    for name, value in medians.items():
        print(f"| {name} | {value:.3f} | {f'{ratios[name]:.1f}' if name in ratios else ''} |")
    missed = min(ratios["implicit"], ratios["implicit, without seen"]) < options.at_least[0]
    return int(missed or ratios["faiss"] < options.at_least[1])


if __name__ == "__main__":
    sys.exit(main())
