"""ALS on implicit feedback: confidence 1 + r, the same constant lambda, the same start if the library accepts one.

    pip install ".[peers,plot]"
    python -m benchmarks als --shape ml20m --json ml20m.json --picture ml20m.png
    python -m benchmarks als --data lastfm-hetrec2011 --folder FOLDER
    python -m benchmarks als --only alternant implicit --at-least 2.5

One function recomputes the objective of every library in float64, the sum over all pairs of c (p - x . y)^2 with
c = 1 + r, plus lambda times the squares of all factors; if a library minimizes a different one, it is compared by
NDCG@10 of one held-out interaction per user (of 20,000 users, if there are more). Real r are replaced by log(1 + r).
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
import scipy.sparse as sp

from alternant import kernels
from alternant.evaluation import leave_one_out, ranking_metrics

from ..common import data
from ..common.metrics import lists
from ..common.shapes import shaped
from .compare import Task, as_float32, not_run, ours_and_peers, run
from .libraries import Alternant, Cmfrec, Implicit, Irspack, LensKit, LightFM, Problem, Spark
from .report import Measure, fastest
from .runner import Entry, Outcome, Recorder

if TYPE_CHECKING:
    import argparse
    from collections.abc import Sequence

MAX_LISTS = 20_000


def problem_of(options: argparse.Namespace, common: dict[str, Any]) -> Problem:
    """Hold out one interaction of each user; every library starts from the same small positive numbers."""
    if options.data is None:
        matrix = shaped(options.shape)
    else:
        matrix = data.load(options.data, options.folder)
        matrix.data = np.log1p(matrix.data)
    train, test = leave_one_out(as_float32(matrix), random_state=0)
    rng = np.random.default_rng(42)
    start = tuple(rng.random((n, options.factors), dtype=np.float32) * 0.01 for n in train.shape)
    return Problem(as_float32(train), test, start, regularization=options.regularization, **common)


def objective(rows: sp.csr_array, X: np.ndarray, Y: np.ndarray, regularization: float) -> float:
    """Sum over all pairs, in float64."""
    X, Y = X.astype(np.float64), Y.astype(np.float64)
    r = rows.data.astype(np.float64)
    zeros = np.zeros(X.shape[1])
    data = kernels.squared_error(rows.indptr.astype(np.int64), rows.indices.astype(np.int32), r, 1 + r, X, Y, zeros)
    dense = float(np.sum((X.T @ X) * (Y.T @ Y)))
    return data + dense + (1 + r).sum() + regularization * ((X**2).sum() + (Y**2).sum())


def ndcg(problem: Problem, X: np.ndarray, Y: np.ndarray, k: int = 10) -> float:
    """Rank the items that each user has not interacted with, and look for the held-out interactions.

    If there are many users, only every n-th is ranked: all lists of all libraries after each iteration would take
    longer than the fits.
    """
    some = slice(None, None, -(-len(X) // MAX_LISTS))
    ids = lists(X[some], Y, k, problem.train[some], problem.threads)
    return ranking_metrics(ids, problem.test.tocsr()[some]).ndcg


def evaluate(
    problem: Problem, with_lists: bool, entry: Entry, learned: tuple[np.ndarray, np.ndarray]
) -> dict[str, float]:
    """Return NDCG@10, if lists are to be made, and the objective, if the library minimizes this one."""
    X, Y = (np.asarray(side) for side in learned)
    reached = {"ndcg": ndcg(problem, X, Y)} if with_lists else {}
    if entry.same_objective:
        reached["objective"] = objective(problem.train, X, Y, problem.regularization)
    return reached


def other_objective(threads: int, entry: Entry) -> str | None:
    """Return an error if a library does not end where ours does on a small matrix, with a lambda that matters."""
    if not entry.same_objective:
        return None
    rng = np.random.default_rng(0)
    train = sp.random_array((300, 200), density=0.1, format="csr", dtype=np.float32, rng=rng)
    train.data[:] = rng.integers(1, 6, train.nnz)
    start = tuple(rng.random((n, 8), dtype=np.float32) * 0.1 for n in train.shape)
    problem = Problem(train, start=start, factors=8, regularization=4.0, iterations=60, refits=60, threads=threads)
    ours, theirs = (
        Recorder(lambda sides: {"objective": objective(train, *map(np.asarray, sides), problem.regularization)})
        for _ in range(2)
    )
    Alternant().fit_weighted(problem, ours, "cholesky")
    entry.run(problem, theirs)
    least, reached = (min(quality["objective"] for quality in r.quality.values()) for r in (ours, theirs))
    if abs(reached - least) <= 1e-3 * least:
        return None
    return f"does not minimise this objective: it reaches {reached:.6g} on a small matrix, alternant {least:.6g}"


def missed(outcomes: Sequence[Outcome], at_least: float) -> list[str]:
    """Return why alternant is not so many times as fast, if so."""
    ours, peers = ours_and_peers(outcomes)
    if not ours:
        return ["alternant did not run"]
    if reasons := not_run(ours):
        return reasons
    peer = fastest([outcome for outcome in peers if outcome.entry.same_objective])
    if peer is None:
        return ["no peer with the same objective ran"]
    reasons = []
    if (ratio := peer.each / ours[0].each) < at_least:
        reasons.append(f"{ours[0].entry.name} is {ratio:.2f} times as fast as {peer.entry.name}, not {at_least:g}")
    compared = sorted(n for n in ours[0].quality.keys() & peer.quality.keys() if n <= ours[0].entry.iterations)
    for n in compared[1:] if peer.entry.same_start else compared[-1:]:
        mine, theirs = (outcome.quality[n]["objective"] for outcome in (ours[0], peer))
        if mine > theirs * (1 + 1e-6):
            reasons.append(f"after iteration {n}, the objective is {mine:.9g}; {peer.entry.name}'s is {theirs:.9g}")
    return reasons


def _cholesky(library: Any, **more: Any) -> Entry:
    return Entry.of(library, partial(library.fit_weighted, solver="cholesky"), f"{library.name} Cholesky", **more)


OTHER = {"same_objective": False, "same_start": False}
ENTRIES = (
    Entry.of(Alternant(), Alternant().fit_weighted),
    _cholesky(Alternant(), defaults=False),
    Entry.of(Implicit(), Implicit().fit_weighted),
    _cholesky(Implicit(), defaults=False),
    Entry.of(Cmfrec(), Cmfrec().fit_weighted, remark="its first residual belongs to other weights than its steps",
             **OTHER),
    _cholesky(Cmfrec(), same_start=False, defaults=False),
    Entry.of(Irspack(), Irspack().fit_weighted),
    _cholesky(Irspack(), defaults=False),
    _cholesky(LensKit()),
    Entry.of(Spark(), Spark().fit_weighted, remark="lambda times a row's interactions", **OTHER),
    Entry.of(LightFM(), LightFM().fit_weighted, remark="WARP", **OTHER),
)  # fmt: skip
TASK = Task(
    "als", __doc__, "iteration", 20, ENTRIES, list(data.LOADERS),
    (Measure("objective", "objective", ".6g", 1e-6), Measure("ndcg", "NDCG@10", ".4f", 1e-3, higher=True)),
    problem_of, evaluate, missed, other_objective,
)  # fmt: skip
main = partial(run, TASK)
