"""Compare lists for many users with implicit's `recommend` and faiss's exact index.

    pip install ".[peers]"
    python -m benchmarks lists                        # normal factors, where nothing can be pruned
    python -m benchmarks lists --factors-of ml20m     # of ImplicitALS, fitted to that shape

All rank the same factors for the same users, without exclusions and with 100 seen items excluded per user (faiss can't
exclude any). BLAS is limited to one thread for implicit, as it asks its users to do. Before timing, our lists are
compared with a full sort of float64 scores. `--at-least` takes two ratios: to implicit and to faiss.
"""

from __future__ import annotations

import sys
from functools import partial
from statistics import median
from typing import TYPE_CHECKING

import numpy as np
import scipy.sparse as sp

from alternant import ImplicitALS

from ..common.command_line import at_least, exit_status, parser
from ..common.results import Report
from ..common.shapes import SHAPES, shaped
from ..common.timing import seconds, take_turns
from .libraries import Alternant, Faiss, Implicit

if TYPE_CHECKING:
    import argparse
    from collections.abc import Sequence


def factors(options: argparse.Namespace) -> tuple[np.ndarray, np.ndarray]:
    """Return the users' and items' factors to rank with."""
    if options.factors_of is not None:
        model = ImplicitALS(factors=options.factors, iterations=3, random_state=0)
        model.fit(shaped(options.factors_of), show_progress=False)
        return np.ascontiguousarray(model.user_factors[: options.users]), np.array(model.item_factors)
    rng = np.random.default_rng(0)
    return tuple(rng.standard_normal((n, options.factors), dtype=np.float32) for n in (options.users, options.items))


def check(X: np.ndarray, Y: np.ndarray, ids: np.ndarray, scores: np.ndarray, seen: sp.csr_matrix | None) -> None:
    """Compare the lists of some users with a full sort of all their scores."""
    for u in range(0, len(X), max(1, len(X) // 200)):
        expected = Y.astype(np.float64) @ X[u].astype(np.float64)
        if seen is not None:
            expected[seen.indices[seen.indptr[u] : seen.indptr[u + 1]]] = -np.inf
        best = np.sort(expected)[::-1][: ids.shape[1]]
        tolerance = 1e-5 * np.linalg.norm(X[u]) * np.linalg.norm(Y, axis=1).max()
        if np.abs(scores[u] - best).max() > tolerance or np.abs(expected[ids[u]] - best).max() > tolerance:
            sys.exit(f"the list of user {u} is not that of a full sort")


def seen_items(m: int, n: int) -> sp.csr_matrix:
    """Draw 100 seen items per user."""
    entries = np.repeat(np.arange(m), 100), np.random.default_rng(1).integers(0, n, 100 * m)
    seen = sp.csr_matrix((np.ones(100 * m, np.float32), entries), shape=(m, n))
    seen.sum_duplicates()
    return seen


def main(arguments: Sequence[str]) -> int:
    """Run the comparison; exit 1 if a target is missed."""
    made = parser("lists", __doc__, factors=64, threads=2, rounds=7)
    made.add_argument("--users", type=at_least(1), default=20_000)
    made.add_argument("--items", type=at_least(1), default=27_000)
    made.add_argument("--factors-of", choices=list(SHAPES))
    made.add_argument("-k", type=at_least(1), default=10)
    made.add_argument("--at-least", type=float, nargs=2, default=(0, 0), metavar=("IMPLICIT", "FAISS"))
    options = made.parse_args(arguments)
    X, Y = factors(options)
    seen = seen_items(len(X), len(Y))
    try:
        ours, implicit, faiss = (
            library.ranker(X, Y, options.k, options.threads) for library in (Alternant(), Implicit(), Faiss())
        )
    except ImportError as error:
        sys.exit(f"this benchmark needs implicit and faiss ({error}): pip install 'alternant[peers]'")
    for left_out in (None, seen):
        check(X, Y, *ours(left_out), left_out)
    runs = {
        "alternant": (ours, None), "implicit": (implicit, None), "faiss": (faiss, None),
        "alternant, without seen": (ours, seen), "implicit, without seen": (implicit, seen),
    }  # fmt: skip
    timed = {name: partial(seconds, partial(rank, left_out)) for name, (rank, left_out) in runs.items()}
    medians = {name: median(times) for name, times in take_turns(timed, options.rounds).items()}
    report = Report("lists", arguments, options.threads, "implicit", "faiss-cpu")
    table = report.table(
        f"{len(X):,} users x {len(Y):,} items, f = {options.factors}, k = {options.k}, "
        f"{options.factors_of or 'normal'} factors",
        "", "seconds", "times alternant's",
    )  # fmt: skip
    missed = []
    for name, value in medians.items():
        library, _, filtered = name.partition(", ")
        ratio = value / medians["alternant, without seen" if filtered else "alternant"]
        table.row(name, f"{value:.3f}", f"{ratio:.1f}")
        wanted = dict(zip(("implicit", "faiss"), options.at_least, strict=True)).get(library, 0)
        missed += [f"{name} takes {ratio:.2f} times alternant's time, not {wanted:g}"] if ratio < wanted else []
    report.write(options.json)
    return exit_status(missed)
