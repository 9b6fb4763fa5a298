"""What several kinds of events, their weights and a half-life add to lists of held-out pairs of one kind.

    python -m benchmarks events kinds --folder FOLDER [--data planted ml-latest-small ...] [--seeds 0 1 2]
    python -m benchmarks events preferences --folder FOLDER
    python -m benchmarks events recency --folder FOLDER

`kinds`: a fifth of the pairs of the predicted kind is held out, with all their events; weights are tuned on the rest.
`preferences`: random searches over weights alone, with preferences of 0 or 1, and over weights and preferences from 0
to 1, for plain weighted ALS. `recency`: test events follow the training events in time; the half-life is chosen on the
last training events. All lists exclude all pairs of the training events, whatever their kind and weight: otherwise, a
model that leaves a kind out would lose places to its pairs, which are never held out. NDCG@20; means over the seeds,
with the standard error of the difference from the first row.
"""

from __future__ import annotations

import gzip
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np
import scipy.sparse as sp

from alternant import Events, ImplicitALS
from alternant.evaluation import ranking_metrics, split_by_time, split_kind
from alternant.kernels import solve_rows
from alternant.tuning import tune

from ..common.command_line import parser
from ..common.results import Report

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

K = 20
FIXED: dict[str, Any] = {"random_state": 0, "num_threads": 1}


# Data: events, the predicted kind, and weights as one might guess them


def _planted(_: Any, seed: int) -> Events:
    """2,000 users have known tastes: 4 purchases close to them, 25 views further from them, 8 dislikes opposed."""
    rng = np.random.default_rng(seed)
    users, items = rng.normal(scale=8**-0.25, size=(2000, 8)), rng.normal(scale=8**-0.25, size=(800, 8))
    users[:, 0] += 0.5 / 8**-0.25  # some items are popular
    parts = []
    for kind, count, noise, sign in (("purchase", 4, 0.3, 1), ("view", 25, 1.0, 1), ("dislike", 8, 0.5, -1)):
        keys = sign * users @ items.T + noise * rng.gumbel(size=(2000, 800))
        chosen = np.argpartition(keys, 800 - count, axis=1)[:, 800 - count :]
        parts.append((np.repeat(np.arange(2000), count), chosen.ravel(), np.full(2000 * count, kind)))
    return Events.from_arrays(*(np.concatenate(each) for each in zip(*parts, strict=True)))


def _columns(path: Path, delimiter: str) -> Any:
    with gzip.open(path, "rt") if path.suffix == ".gz" else path.open() as file:
        return np.loadtxt(file, delimiter=delimiter, skiprows=1).T


def _movies(folder: Path, _: int) -> Events:
    users, items, ratings = _columns(folder / "ml-latest-small" / "ratings.csv", ",")[:3]
    return Events.from_arrays(users, items, _kinds(ratings, {"dislike": 0, "view": 3, "like": 4}))


def _games(folder: Path, _: int) -> Events:
    users, items, hours = _columns(folder / "steam-200k" / "game_play.dat", "\t")
    return Events.from_arrays(users, items, _kinds(hours, {"tried": 0, "hours": 1, "played": 5}))


def _books(folder: Path, _: int) -> Events:
    """Books with 10 events and users with 5; a rating of 0 stands for an event without a rating."""
    users, items, ratings = _columns(folder / "book-crossing" / "ratings.csv.gz", ",").astype(int)
    for _ in range(5):
        kept = np.bincount(items)[items] >= 10
        kept &= np.bincount(users, kept)[users] >= 5
        users, items, ratings = users[kept], items[kept], ratings[kept]
    kinds = _kinds(ratings, {"unrated": 0, "dislike": 1, "so-so": 6, "like": 8})
    return Events.from_arrays(users, items, kinds)


def _kinds(values: Any, lowest: dict[str, float]) -> Any:
    return np.array(list(lowest))[np.searchsorted(list(lowest.values()), values, side="right") - 1]


DATA: dict[str, tuple[Any, str, dict[str, float]]] = {
    "planted": (_planted, "purchase", {"purchase": 1, "view": 0.2, "dislike": -0.5}),
    "ml-latest-small": (_movies, "like", {"like": 1, "view": 0.2, "dislike": -0.5}),
    "steam-200k": (_games, "played", {"played": 1, "hours": 0.5, "tried": 0.2}),
    "book-crossing": (_books, "like", {"like": 1, "so-so": 0.5, "unrated": 0.2, "dislike": -0.5}),
}


# Measures


def _ndcg(lists_of: Any, known: Events, test: Any) -> float:
    """Return the NDCG of lists without the pairs of `known`; `lists_of` makes them from rows and their seen items."""
    held = test.matrix
    rows = np.flatnonzero(np.diff(held.indptr))
    return float(ranking_metrics(lists_of(rows, known.interactions().matrix[rows]), held[rows]).ndcg)


def _of_model(events: Events, weights: Any = None, model: Any = None, **options: Any) -> Any:
    """Return the lists of a model fitted on these events, by row numbers."""
    fitted = (model or ImplicitALS(factors=32, **FIXED)).fit(events.interactions(weights, **options).matrix)
    return lambda rows, seen: fitted.recommend(rows, K, user_items=seen)[0]


def kinds(options: Any, report: Report) -> None:
    """Compare one kind, all kinds alike, guessed weights and tuned ones."""
    table = report.table("NDCG@20 of held-out pairs of one kind, 32 factors", "data", "fitted on", "NDCG@20",
                         "against the first", "weights of the first seed")  # fmt: skip
    sizes = []
    for name in options.data:
        make, kind, guess = DATA[name]
        found: dict[str, list[float]] = {}
        shown: dict[str, Any] = {}
        for seed in options.seeds:
            events = make(options.folder, seed)
            train, test = split_kind(events, kind, random_state=seed)
            alone = {one: float(one == kind) for one in events.kinds}
            base = ImplicitALS(factors=32, **FIXED)
            only = tune(base, train.of_kind(kind), random_state=seed, budget=options.budget, refit=False)
            own = {f"weights.{one}": (abs(guess[one]) / 16, abs(guess[one]) * 4, "log")
                   for one in events.kinds if one != kind}  # fmt: skip
            of_weights, of_all = (
                tune(base, train, space, kind=kind, weights=guess, random_state=seed, budget=options.budget,
                     refit=False) for space in (own, None)
            )  # fmt: skip
            ways: dict[str, Any] = {
                f"{kind} alone": (alone, {}), f"{kind} alone, model tuned": (alone, only.best_params),
                "all kinds alike": (None, {}), "guessed weights": (guess, {}),
                "tuned weights": (of_weights.best_events["weights"], of_weights.best_params),
                "weights and model tuned": (of_all.best_events["weights"], of_all.best_params),
            }  # fmt: skip
            for way, (weights, params) in ways.items():
                lists = _of_model(train, weights, ImplicitALS(factors=32, **FIXED | params))
                found.setdefault(way, []).append(_ndcg(lists, train, test))
                shown.setdefault(way, weights)
        counts = ", ".join(f"{count:,} {one}" for one, count in events.counts().items())
        sizes.append(f"{name}: {events.shape[0]:,} users x {events.shape[1]:,} items, {counts}.")
        _rows(table, found, shown, name)
    report.note(" ".join(sizes))


def _rows(table: Any, found: dict[str, list[float]], shown: dict[str, Any] | None, name: str) -> None:
    start = np.array(next(iter(found.values())))
    for way, values in found.items():
        change = np.array(values) - start
        told = [] if shown is None else [", ".join(f"{one} {weight:.3g}" for one, weight in (shown[way] or {}).items())]
        against = _against(change / start.mean()) if change.any() else ""
        table.row(name, way, f"{np.mean(values):.4f}", against, *told)


def _against(changes: Any) -> str:
    """Return the mean of relative changes and, of several, its standard error."""
    error = f" ± {100 * changes.std(ddof=1) / np.sqrt(len(changes)):.1f}" if len(changes) > 1 else ""
    return f"{100 * changes.mean():+.1f} %{error}"


# Preferences


def _plain_als(sums: Any, sizes: Any, preferences: Any, shape: tuple[int, int], scale: float) -> Any:
    """Return the lists of ALS that minimizes ``sum w (p - x.y)^2 + w0 sum (x.y)^2 + lambda (|x|^2 + |y|^2)``."""
    users, items, counts = sums
    w = counts @ sizes
    t = counts @ (sizes * preferences)
    w, t = w / w.mean(), t / w.mean()
    stored = sp.csr_array((np.arange(1, len(w) + 1), (users, items)), shape=shape)
    sides = [stored, sp.csr_array(stored.T)]
    w0 = 75 * len(w) / (shape[0] * shape[1])
    factors = [np.zeros((shape[0], 32)), np.random.default_rng(0).normal(0, 0.02, (shape[1], 32))]
    for _ in range(8):
        for side in (0, 1):
            rows, fixed = sides[side], factors[1 - side]
            values, axes = np.linalg.eigh(w0 * fixed.T @ fixed)
            entries = rows.data - 1
            counted = np.diff(rows.indptr) + w0 * rows.shape[1]
            out = np.zeros((rows.shape[0], 32))
            Y = np.ascontiguousarray(fixed @ axes)
            solve_rows(rows.indptr.astype(np.int64), rows.indices, w[entries], t[entries], Y, values.clip(0),
                       scale * counted, out, method="cholesky")  # fmt: skip
            factors[side] = out @ axes.T
    return lambda rows, seen: ImplicitALS.from_factors(*factors).recommend(rows, K, user_items=seen)[0]


def _sums(events: Events) -> tuple[Any, Any, Any]:
    """Return users, items and counts by kind of the pairs."""
    pairs = events.interactions().matrix.tocoo()
    counts = [np.asarray(events.of_kind(kind).matrix[pairs.row, pairs.col]).ravel() for kind in events.kinds]
    return pairs.row, pairs.col, np.array(counts, np.float64).T


def preferences(options: Any, report: Report) -> None:
    """Compare random searches with preferences of 0 or 1, by the signs of the guessed weights, and from 0 to 1."""
    table = report.table(f"Plain weighted ALS, 32 factors, {options.draws} random draws", "data", "preferences",
                         "NDCG@20", "against the first")  # fmt: skip
    for name in options.data:
        make, kind, guess = DATA[name]
        found: dict[str, list[float]] = {}
        for seed in options.seeds:
            train, test = split_kind(make(options.folder, seed), kind, random_state=seed)
            fitted, held = split_kind(train, kind, random_state=seed)
            target = train.kinds.index(kind)
            signs = np.array([float(guess[one] > 0) for one in train.kinds])
            sums = _sums(fitted), _sums(train)
            for way in ("0 or 1", "0 to 1"):
                rng, best = np.random.default_rng(seed), (-1.0, {})
                for draw in range(options.draws):
                    sizes = np.exp(rng.uniform(np.log(0.01), np.log(2), len(signs)))
                    drawn = rng.random(len(signs)) if way == "0 to 1" and draw else signs
                    scale = float(np.exp(rng.uniform(np.log(5e-4), np.log(2e-2))))
                    given = sizes, np.array(drawn), scale
                    given[0][target] = given[1][target] = 1
                    lists = _plain_als(sums[0], *given[:2], train.shape, scale)
                    best = max(best, (_ndcg(lists, fitted, held), draw, given))
                sizes, drawn, scale = best[2]
                lists = _plain_als(sums[1], sizes, drawn, train.shape, scale)
                found.setdefault(way, []).append(_ndcg(lists, train, test))
        _rows(table, found, None, name)


# Recency


def _drifting(seed: int) -> Events:
    """1,500 users make 6 choices in each of 12 months, and tastes change by a third of their size each month."""
    rng = np.random.default_rng(seed)
    users, items = rng.normal(scale=8**-0.25, size=(1500, 8)), rng.normal(scale=8**-0.25, size=(600, 8))
    parts = []
    for month in range(12):
        users = np.sqrt(1 - 0.35**2) * users + 0.35 * rng.normal(scale=8**-0.25, size=users.shape)
        keys = (users + np.eye(8)[0] * 0.84) @ items.T + 0.3 * rng.gumbel(size=(1500, 600))
        chosen = np.argpartition(keys, 594, axis=1)[:, 594:]
        parts.append((np.repeat(np.arange(1500), 6), chosen.ravel(), 30 * (month + rng.random(9000))))
    users, items, times = (np.concatenate(each) for each in zip(*parts, strict=True))
    return Events.from_arrays(users, items, times=times)


def _windows(events: Events, days: Any, ends: Any) -> list[tuple[Events, Any]]:
    """Return (train, test) for consecutive windows of time; users need 5 training events."""
    out = []
    for start, end in pairwise(ends):
        until = events._select(days < end)
        train, test = split_kind(until, until.kinds[0], split_by_time, at=start)
        counts = np.bincount(train._table.users, minlength=train.shape[0])
        known = test.user_ids[(counts >= 5) & (np.diff(test.matrix.indptr) > 0)]
        out.append((train, test.reindex(users=known).reindex(users=test.user_ids)))
    return out


def recency(options: Any, report: Report) -> None:
    """Compare no half-life with one that is chosen on earlier windows."""
    table = report.table("NDCG@20 of later events, 32 factors", "data", "fitted with", "NDCG@20", "against the first",
                         "half-lives in days, by seed")  # fmt: skip
    lives = [None, *(15 * 2.0**power for power in range(9))]
    for name in ("planted drift", "ml-latest-small"):
        found: dict[str, list[float]] = {"no half-life": [], "a tuned half-life": []}
        chosen = []
        for seed in options.seeds:
            if name == "planted drift":
                events = _drifting(seed)
                days, ends = events.times, 30.0 * np.arange(9, 13)
            else:
                users, items, _, times = _columns(options.folder / "ml-latest-small" / "ratings.csv", ",")
                events = Events.from_arrays(users, items, times=times / 86400)
                days = events.times
                ends = np.quantile(days, np.linspace(0.5 + 0.02 * seed, 1, 11))
                ends[-1] += 1
            windows = _windows(events, days, ends)
            half = len(windows) // 2
            values = {life: [_ndcg(_of_model(train, half_life=life), train, test) for train, test in windows]
                      for life in lives}  # fmt: skip
            best = max(lives, key=lambda life: np.mean(values[life][:half]))
            chosen.append(best)
            found["no half-life"].append(float(np.mean(values[None][half:])))
            found["a tuned half-life"].append(float(np.mean(values[best][half:])))
        start = np.array(found["no half-life"])
        for way, each in found.items():
            against = _against((np.array(each) - start) / start.mean())
            told = ", ".join("none" if life is None else f"{life:g}" for life in chosen)
            table.row(name, way, f"{np.mean(each):.4f}", *(("", "") if way == "no half-life" else (against, told)))


def main(arguments: Sequence[str]) -> int:
    """Measure and print."""
    made = parser("events", __doc__, folder=None)
    made.add_argument("what", choices=("kinds", "preferences", "recency"))
    made.add_argument("--data", nargs="+", choices=list(DATA), default=list(DATA))
    made.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    made.add_argument("--budget", type=float, default=20, help="of each search, in fits (default: 20)")
    made.add_argument("--draws", type=int, default=40, help="of each random search (default: 40)")
    options = made.parse_args(arguments)
    if options.folder is None and (options.data != ["planted"] or options.what == "recency"):
        made.error("--folder is needed, which holds one sub-folder a data set")
    report = Report("events", arguments)
    {"kinds": kinds, "preferences": preferences, "recency": recency}[options.what](options, report)
    report.write(options.json)
    return 0
