"""How well hold-outs of train rank settings of `ImplicitALS`, where times tell what comes next.

    python -m benchmarks hold-outs --folder FOLDER

Test is the last fifth of each user's history on MovieLens latest-small. 36 settings (unobserved weight and
regularization as multiples of the automatic ones, and popularity exponent) are ranked by NDCG@20 on test, and on a
`random_split` and a `blocked_split` of train, means over three seeds, and by the geometric mean of both. For each way:
the rank correlation (Spearman) with test, and the NDCG@20 on test of the setting that it ranks first.
"""

from __future__ import annotations

from itertools import product
from typing import TYPE_CHECKING

import numpy as np
import scipy.sparse as sp
from scipy.stats import spearmanr

from alternant import ImplicitALS, Interactions
from alternant.data.csr import CSR
from alternant.evaluation import blocked_split, evaluate, random_split

from ..common.command_line import folder, parser
from ..common.results import Report

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

SHARE, SEEDS = 0.2, 3
GRID = list(product((0.3, 1.0, 3.0), (0.3, 0.6, 1.0, 1.5), (0.0, 0.1, 0.25)))


def last_fifth(source: Path) -> tuple[sp.csr_array, sp.csr_array]:
    """Return ones for what each user rated, but for the latest fifth, and for this."""
    table = np.loadtxt(source / "ml-latest-small" / "ratings.csv", delimiter=",", skiprows=1)
    whole = Interactions.from_arrays(table[:, 0], table[:, 1], times=table[:, 3])
    rows, times = sp.csr_array(whole.matrix), whole.times
    owner = np.repeat(np.arange(rows.shape[0]), np.diff(rows.indptr))
    order = np.lexsort((times, owner))
    place = np.empty(len(order))
    place[order] = np.arange(len(order)) - np.repeat(rows.indptr[:-1], np.diff(rows.indptr))
    late = place >= np.floor((1 - SHARE) * np.diff(rows.indptr))[owner]
    parts = [
        sp.csr_array((np.ones(at.sum(), np.float32), (owner[at], rows.indices[at])), shape=rows.shape)
        for at in (~late, late)
    ]
    return parts[0], parts[1]


def reached(train: sp.csr_array, test: sp.csr_array, factors: int, threads: int) -> list[float]:
    """Return the NDCG@20 of each setting."""
    model = ImplicitALS(factors=factors, num_threads=threads, random_state=0)
    chosen = model.auto_parameters(CSR.of(train.indptr, train.indices, train.data, train.shape))
    values = []
    for weight, strength, exponent in GRID:
        model.set_params(
            unobserved_weight=weight * chosen["unobserved_weight"], popularity_exponent=exponent,
            regularization=tuple(strength * one for one in chosen["regularization"]),
        )  # fmt: skip
        values.append(evaluate(model.fit(train, show_progress=False), test, k=20, metrics="ndcg").means["ndcg@20"])
    return values


def main(arguments: Sequence[str]) -> int:
    """Rank the settings."""
    made = parser("hold-outs", __doc__, factors=[32, 128], threads=1)
    made.add_argument("--folder", type=folder, required=True, help="that holds ml-latest-small")
    options = made.parse_args(arguments)
    report = Report("hold-outs", arguments, options.threads)
    train, test = last_fifth(options.folder)
    table = report.table(
        f"ml-latest-small, the last fifth of each history as test, {len(GRID)} settings",
        "factors", "chosen by", "rank correlation with test", "NDCG@20 on test", "the best of all",
    )  # fmt: skip
    for factors in options.factors:
        on_test = np.array(reached(train, test, factors, options.threads))
        means = []
        for split in (random_split, blocked_split):
            parts = [split(train, SHARE, random_state=seed) for seed in range(SEEDS)]
            means.append(np.mean([reached(*part, factors, options.threads) for part in parts], axis=0))
        ways = {"random": means[0], "blocked": means[1], "both": np.sqrt(means[0] * means[1])}
        for name, values in ways.items():
            correlation = spearmanr(values, on_test).statistic
            table.row(
                factors, name, f"{correlation:.2f}", f"{on_test[values.argmax()]:.4f}", f"{on_test.max():.4f}"
            )
    report.write(options.json)
    return 0
