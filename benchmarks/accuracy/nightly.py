"""Ten nights of new events: `partial_fit` against a fit of everything, by time and by lists.

    python -m benchmarks nightly --folder FOLDER --at-most 5                     # all models on all data below
    python -m benchmarks nightly --folder FOLDER --data gowalla --models implicit-als --nights 30 --every 5
    python -m benchmarks nightly --folder FOLDER --data msweb steam-200k --launch
    python -m benchmarks nightly --save                                          # a file of a million users

A tenth of the interactions is held out. The last hundredths of the others come night by night: with the times of
ml-latest-small in their order, else at random, such that users and items that are new make up 15 % of these events
each. `partial_fit` learns each night's events; every `--every` nights, the model is compared with one fitted anew on
all events so far: by NDCG@20 on the held-out interactions of the users and items known by then (ratings: by the RMSE,
where a loss is a higher error). With `--launch`, the middle night also brings all events of a popular item that nobody
has seen before. The time is that of the process, which other processes disturb little.

The command exits with 1 if, with `--at-most P`, a night takes more than P % of a fit's time, or if a model is more than
1 % worse than the fit.
"""

from __future__ import annotations

import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import scipy.sparse as sp

from alternant import ImplicitALS
from alternant.evaluation import ranking_metrics
from alternant.models import MODELS

from ..common import data
from ..common.command_line import at_least, exit_status, folder, parser
from ..common.results import Report
from ..common.timing import seconds

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable, Sequence

SHARE, HELD_OUT, NEW = 0.01, 0.1, 0.15
LAUNCHED = 10  # rank of the item by its number of events
FITTED_ON = {
    "msweb": ["implicit-als", "logistic-mf", "bpr", "contrastive-mf"],
    "gowalla": ["implicit-als", "logistic-mf", "bpr", "contrastive-mf", "item-knn", "popularity"],
    "yelp2018": ["implicit-als", "item-knn"],
    "steam-200k": ["implicit-als", "bpr", "contrastive-mf", "ease"],
    "ml-latest-small": ["implicit-als", "logistic-mf", "bpr", "explicit-als", "biased-mf"],
    "jester-1": ["cosine-mf", "explicit-als", "biased-mf"],
}
WORSE = 1.0  # percent

Events = tuple[np.ndarray, np.ndarray, np.ndarray]


class Nights:
    """A data set as what the first fit sees, what comes in each night, and what is held out."""

    def __init__(
        self, matrix: sp.coo_array, times: np.ndarray | None, nights: int, launch: bool = False, seed: int = 0
    ) -> None:
        rng = np.random.default_rng(seed)
        held = rng.random(matrix.nnz) < HELD_OUT
        users, items, values = (part[~held] for part in (matrix.row, matrix.col, matrix.data))
        night = int(SHARE * len(users))
        order = self._arrivals(users, items, night * nights, rng) if times is None else times[~held]
        order = np.argsort(order, kind="stable")
        if times is None:
            rng.shuffle(order[-night * nights :])
        self.ends = [len(users) - night * (nights - done) for done in range(nights + 1)]
        if launch:
            order = self._launch(items, order, (nights + 1) // 2)
        number_users, number_items = _by_appearance(users[order]), _by_appearance(items[order])
        self.events: Events = number_users[users[order]], number_items[items[order]], values[order]
        known = (matrix.row[held] < len(number_users)) & (matrix.col[held] < len(number_items))
        at = [part[held][known] for part in (matrix.row, matrix.col, matrix.data)]
        self.test: Events = number_users[at[0]], number_items[at[1]], at[2]

    @staticmethod
    def _arrivals(users: np.ndarray, items: np.ndarray, late: int, rng: np.random.Generator) -> np.ndarray:
        """Draw when each event comes; those of some users and items come last."""
        order = rng.random(len(users))
        for ids in (users, items):
            counts = np.bincount(ids)
            chosen = rng.permutation(len(counts))
            new = np.zeros(len(counts), bool)
            new[chosen[: np.searchsorted(np.cumsum(counts[chosen]), NEW * late)]] = True
            order[new[ids]] = 1
        return order

    def _launch(self, items: np.ndarray, order: np.ndarray, night: int) -> np.ndarray:
        """Move all events of a popular item to the end of a night, which becomes longer."""
        popular = items[order] == np.argsort(-np.bincount(items), kind="stable")[LAUNCHED - 1]
        before = np.cumsum(popular)
        self.ends = [end - int(before[end - 1]) + (done >= night) * int(before[-1])
                     for done, end in enumerate(self.ends)]  # fmt: skip
        start = self.ends[night] - int(before[-1])
        return np.insert(order[~popular], start, order[popular])

    def until(self, night: int) -> sp.csr_array:
        """Return all events until a night."""
        users, items, values = (part[: self.ends[night]] for part in self.events)
        return sp.csr_array((values, (users, items)), shape=(users.max() + 1, items.max() + 1))

    def of(self, night: int) -> Events:
        """Return the events of a night, from 1."""
        users, items, values = (part[self.ends[night - 1] : self.ends[night]] for part in self.events)
        return users, items, values

    def held_out(self, shape: tuple[int, int]) -> Events:
        """Return the held-out events of known users and items."""
        users, items, values = self.test
        known = (users >= 0) & (users < shape[0]) & (items >= 0) & (items < shape[1])
        return users[known], items[known], values[known]


def _by_appearance(ids: np.ndarray) -> np.ndarray:
    """Return a new number for each id, in the order of their first appearance; -1 for others."""
    distinct, first = np.unique(ids, return_index=True)
    number = np.full(int(ids.max()) + 1, -1)
    number[distinct[np.argsort(first, kind="stable")]] = np.arange(len(distinct))
    return number


def read(name: str, source: Path, feedback: str) -> tuple[sp.coo_array, np.ndarray | None]:
    """Return a data set, and the times of its events."""
    if name != "ml-latest-small":
        kind = data.load_ratings if feedback == "ratings" else data.load_likes if feedback == "likes" else data.load
        return sp.coo_array(kind(name, source)), None
    table = np.loadtxt(source / name / "ratings.csv", delimiter=",", skiprows=1)
    users, items = (np.unique(table[:, side], return_inverse=True)[1] for side in (0, 1))
    return sp.coo_array((table[:, 2], (users, items))), table[:, 3] if table.shape[1] > 3 else None


def quality(model: Any, test: Events, shape: tuple[int, int]) -> float:
    """Return NDCG@20 of the held-out events (of likes only) or, for ratings, minus the RMSE."""
    users, items, values = test
    if model.traits.feedback == "ratings":
        return -float(np.sqrt(np.mean(np.square(model.predict(users, items) - values, dtype=np.float64))))
    liked = values > 0
    relevant = sp.csr_array((np.ones(int(liked.sum())), (users[liked], items[liked])), shape=shape)
    who = np.flatnonzero(np.diff(relevant.indptr))
    return float(ranking_metrics(model.recommend(who, k=20)[0], relevant[who]).ndcg)


def process_seconds(run: Callable[[], object]) -> float:
    """Time one call in processor time."""
    start = time.process_time()
    run()
    return time.process_time() - start


def follow(name: str, model_name: str, options: argparse.Namespace, report: Report) -> list[str]:
    """Learn the nights of one data set with one model, and add a row."""
    cls = MODELS[model_name]
    nights = Nights(*read(name, options.folder, cls.traits.feedback), options.nights, options.launch)
    known = cls().get_params()
    params = {key: value for key, value in {"random_state": 0, "num_threads": options.threads}.items() if key in known}
    silent = {"show_progress": False} if {"epochs", "iterations"} & set(known) else {}
    model = cls(**params).fit(nights.until(0), **silent)
    partial, fits, reached, lost = [], [], [], []
    for night in range(1, options.nights + 1):
        events = nights.of(night)
        partial.append(process_seconds(lambda e=events: model.partial_fit(e)))
        if night == 1 or night % options.every == 0:
            full, rows = cls(**params), nights.until(night)
            fits.append(process_seconds(lambda f=full, r=rows: f.fit(r, **silent)))
            test = nights.held_out(rows.shape)
            reached.append(quality(full, test, rows.shape))
            lost.append(100 * (quality(model, test, rows.shape) - reached[-1]) / abs(reached[-1]))
    compared = [night for night in range(1, options.nights + 1) if night == 1 or night % options.every == 0]
    after = ", ".join(f"{night}: {loss:+.2f} %" for night, loss in zip(compared, lost, strict=True))
    report.note(f"{cls.__name__} on {name}, by night: {after}.")
    fit, night_seconds = float(np.mean(fits)), float(np.mean(partial))
    share = 100 * night_seconds / fit
    middle = (len(lost) - 1) // 2
    what = "RMSE" if cls.traits.feedback == "ratings" else "NDCG@20"
    report.tables[-1].row(
        name, cls.__name__, f"{fit:.2f} s", f"{night_seconds:.3f} s", f"{share:.1f} %",
        f"{what} {abs(reached[-1]):.4f}", *(f"{lost[at]:+.2f} %" for at in (0, middle, -1)), f"{min(lost):+.2f} %",
    )  # fmt: skip
    missed = []
    if options.at_most is not None and share > options.at_most:
        missed.append(f"{cls.__name__} on {name}: a night takes {share:.1f} % of a fit, not {options.at_most:g}")
    if options.at_most is not None and min(lost) < -WORSE:
        missed.append(f"{cls.__name__} on {name}: {-min(lost):.2f} % worse than the fit, not {WORSE:g}")
    return missed


def save(options: argparse.Namespace, report: Report) -> None:
    """Time a night's change, the save and the load of a model of many users."""
    users, items, pairs = options.size
    rng = np.random.default_rng(0)
    rows = sp.csr_array(
        (np.ones(pairs, np.float32), (rng.integers(0, users, pairs), (items * rng.random(pairs) ** 3).astype(int))),
        shape=(users, items),
    )
    rows.data[:] = 1
    X, Y = (rng.standard_normal((count, options.factors), np.float32) / 8 for count in rows.shape)
    model = ImplicitALS.from_factors(
        X, Y, interactions=rows, weighting="ials", unobserved_weight=0.01, regularization=0.01,
        num_threads=options.threads,
    )  # fmt: skip
    count = pairs // 100
    events = rng.integers(0, users, count), rng.integers(0, items, count)
    night = seconds(lambda: model.partial_fit(events))
    table = report.table(
        f"{users:,} users, {items:,} items, f = {options.factors}, {pairs:,} interactions, a night of 1 %",
        "", "seconds", "MB",
    )  # fmt: skip
    with tempfile.TemporaryDirectory() as place:
        path = Path(place) / "model.safetensors"
        whole = seconds(lambda: model.save(path))
        size = path.stat().st_size / 1e6
        reading = seconds(lambda: ImplicitALS.load(path, mmap=True))
        table.row("partial_fit", f"{night:.2f}", "")
        table.row("save", f"{whole:.2f}", f"{size:.0f}")
        table.row("load, memory-mapped", f"{reading:.2f}", "")


def main(arguments: Sequence[str]) -> int:
    """Run the models, or the save; exit 1 if a target is missed."""
    made = parser("nightly", __doc__, factors=64, threads=1, at_most=None)
    made.add_argument("--folder", type=folder, help="that holds the public data, one sub-folder a data set")
    made.add_argument("--data", nargs="+", choices=list(FITTED_ON), default=list(FITTED_ON))
    made.add_argument("--models", nargs="+", choices=list(MODELS), help="by default, those that suit the data")
    made.add_argument("--nights", type=at_least(1), default=10)
    made.add_argument("--every", type=at_least(1), default=1, help="compare after every so many nights, and the first")
    made.add_argument("--launch", action="store_true", help="a popular item is new in the middle night")
    made.add_argument("--save", action="store_true", help="measure a large file instead")
    made.add_argument("--size", nargs=3, type=at_least(1), default=[1_000_000, 100_000, 20_000_000])
    options = made.parse_args(arguments)
    if options.folder is None and not options.save:
        made.error("--folder is needed, which holds one sub-folder a data set")
    report = Report("nightly", arguments, options.threads)
    missed: list[str] = []
    if options.save:
        save(options, report)
    else:
        report.table(
            f"{options.nights} nights of {SHARE:.0%} new events; differences are those to a fit of all events",
            "data", "model", "a fit", "a night", "share", "the fit reaches", "first night", "middle", "last", "worst",
        )  # fmt: skip
        for name in options.data:
            for model_name in options.models or FITTED_ON[name]:
                missed += follow(name, model_name, options, report)
    report.write(options.json)
    return exit_status(missed)
