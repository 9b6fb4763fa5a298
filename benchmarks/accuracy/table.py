"""Compare the lists of ImplicitALS with those of other libraries and with published figures, on common splits.

    python -m benchmarks accuracy DATA/gowalla DATA/yelp2018 --json accuracy.json --picture accuracy.png
    python -m benchmarks accuracy DATA/gowalla --factors 64 --peers
    python -m benchmarks accuracy DATA/gowalla --factors 512 --settings accuracy.json   # with the settings chosen there
    python -m benchmarks accuracy DATA/gowalla --hold-outs random --json random.json
    python -m benchmarks accuracy DATA/gowalla --settings accuracy.json --blend random.json

Each folder holds train.npz and test.npz, users x items as SciPy's sparse matrices, such as the splits of the LightGCN
paper. Recall@20 and NDCG@20 are means over the users with test items; all items except those of train are ranked.

Nothing is chosen on test. From train, about a fifth of the interactions of 8,000 users (--users) is held out twice, and
settings are chosen by the NDCG@20 of these users' lists, the geometric mean of both: once by `random_split` and once by
`blocked_split`, which takes out items that are related. With --hold-outs, only one of the two is used. At the smallest
number of factors --trials settings are tried, half of them at random, half near the best so far, and from the best of
them --climb more that change one number at a time. Each larger number of factors continues from the best of the
previous one, with --climb trials. The best number of iterations is found on the way. The chosen setting is then fitted
on all of train, and evaluated on test once. Parameters of ImplicitALS that depend on the density (unobserved_weight and
regularization) are searched as multiples of the values that "auto" chooses, and transferred to all of train as such. In
rows with the defaults, only the number of factors is chosen; the fit of a Blend, also with its defaults, chooses
weights by a part of train of its own.

--json is written after each choice, and --settings takes such a file: its settings are not chosen again, and larger
numbers of factors continue from there. --blend takes another such file, for rows of a Blend, in equal parts, of two
fits: with the settings of this run, and with those of that file. --peers tunes other libraries with the same number of
trials. Seconds are those of the last fit, on --threads threads.
Published figures are those of papers and leaderboards, which usually choose settings and epochs on test.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import scipy.sparse as sp

from alternant import EASE, Blend, ImplicitALS, Popularity
from alternant.evaluation import blocked_split, random_split, ranking_metrics

from ..common.command_line import at_least, file_to_read, folder, parser, picture_to_write
from ..common.metrics import lists
from ..common.results import Report
from ..peers.libraries import Observer, Problem
from ..peers.runner import error_line
from .contenders import OURS, PEERS, Contender
from .report import COLUMNS, PUBLISHED, draw, table
from .search import climb, search

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from .search import Setting

    Choices = dict[int, tuple[float, Setting]]  # NDCG@20 and setting, with iterations, of numbers of factors

K = 20
HELD = 0.2  # of the interactions of each user whose lists are used to choose
FIRST_LOOK = 2  # first iteration after which lists are scored
POWER_STEP = 0.05
EASE_ITEMS = 20_000
BOTH = "alternant, both choices"


@dataclass(frozen=True)
class Split:
    """Interactions to fit on, and those held out of some users' rows."""

    train: sp.csr_array
    held: sp.csr_array  # a row for each of `users`
    users: np.ndarray

    @classmethod
    def of(cls, train: sp.csr_array, test: sp.csr_array, users: np.ndarray) -> Split:
        """Hold out these users' part of a test matrix, whose other entries stay in train."""
        some = np.zeros(train.shape[0], np.float32)
        some[users] = 1
        kept = sp.csr_array(train - sp.diags_array(some) @ test)
        kept.eliminate_zeros()
        kept.sort_indices()
        return cls(kept, sp.csr_array(test[users]), users)


HOW = {
    "both": "the geometric mean of NDCG@{} on two hold-outs, at random and of related items,",
    "random": "NDCG@{} on a random hold-out", "blocked": "NDCG@{} on a hold-out of related items",
}  # fmt: skip
HOLD_OUTS = {"both": (random_split, blocked_split), "random": (random_split,), "blocked": (blocked_split,)}


def splits(train: sp.csr_array, users: int, hold_outs: str = "both") -> list[Split]:
    """Hold out a fifth of the interactions of some users: at random, and those of related items."""
    some = np.sort(np.random.default_rng(0).choice(train.shape[0], min(users, train.shape[0]), replace=False))
    return [Split.of(train, divide(train, HELD, random_state=0)[1], some) for divide in HOLD_OUTS[hold_outs]]


def read(path: Path, part: str) -> sp.csr_array:
    """Read a matrix of the data set, with ones for interactions."""
    try:
        matrix = sp.csr_array(sp.load_npz(path / f"{part}.npz"))
    except OSError as error:
        sys.exit(f"can't read {part} of {path.name}: {error}")
    matrix.sum_duplicates()
    matrix.eliminate_zeros()
    indices, indptr = matrix.indices.astype(np.int32), matrix.indptr.astype(np.int32)
    return sp.csr_array((np.ones(matrix.nnz, np.float32), indices, indptr), shape=matrix.shape)


def measure(
    X: np.ndarray, Y: np.ndarray, seen: sp.csr_array, wanted: sp.csr_array, threads: int
) -> tuple[float, float]:
    """Return Recall@20 and NDCG@20 of lists without seen items."""
    metrics = ranking_metrics(lists(X, Y, K, seen, threads), wanted)
    return metrics.recall, metrics.ndcg


class ListWatcher(Observer):
    """Keeps the factors after each iteration of a fit, of a split's users and of all items: 3.6 GB at 1024 factors."""

    def __init__(self, split: Split) -> None:
        super().__init__()
        self.split, self.seen = split, split.train[split.users]
        self.degrees = np.maximum(1, np.bincount(split.train.indices, minlength=split.train.shape[1]))
        self.factors: list[tuple[np.ndarray, np.ndarray]] = []

    def note(self, iteration: int, learned: Callable[[], Any]) -> bool:
        """Keep the factors."""
        if iteration >= FIRST_LOOK:
            X, Y = learned()
            self.factors.append((X[self.split.users], np.array(Y)))
        return False

    def ndcg(self, at: int, power: float, threads: int) -> float:
        """Return the NDCG@20 of the lists of an iteration, with items multiplied by a power of their popularity."""
        X, Y = self.factors[at]
        return measure(X, Y * (self.degrees**power).astype(Y.dtype)[:, None], self.seen, self.split.held, threads)[1]


class Chooser:
    """Chooses a contender's settings on parts of train, and stores them in `best`; has no access to test."""

    def __init__(self, contender: Contender, parts: list[Split], threads: int, best: Choices) -> None:
        self.contender, self.parts, self.threads, self.best = contender, parts, threads, best
        self.scores: dict[tuple[float, ...], float] = {}

    def choose(self, factors: Sequence[int], trials: int, steps: int, keep: Callable[[], None]) -> None:
        """Find the best setting for each number of factors, unless it is already known."""
        for count in sorted(set(factors) - set(self.best)):
            print(f"{self.contender.name}, {count} factors ...", file=sys.stderr, flush=True)
            score = partial(self.score, count)
            if not (smaller := [f for f in self.best if f < count]):
                search(self.contender.space, [score], trials - 1, self.contender.start)  # in addition to the start
            start = self.best[max(smaller, default=count)][1]
            climb(score, self.contender.space, {n: start[n] for n in self.contender.space}, steps)
            print(json.dumps(self.best[count]), file=sys.stderr, flush=True)
            keep()

    def score(self, factors: int, setting: Setting) -> float:
        """Return the NDCG@20 of a setting after its best number of iterations; keep the best setting of all."""
        setting = self.contender.start | setting
        key = factors, *(setting[name] for name in self.contender.space)
        if key not in self.scores:
            self.scores[key] = self._fitted(factors, setting)
        return self.scores[key]

    def _fitted(self, factors: int, setting: Setting) -> float:
        if self.contender.popularity and self.best:
            nearest = self.best.get(factors) or self.best[max(self.best)]
            setting = setting | {"s": nearest[1]["s"]}
        watchers = [ListWatcher(part) for part in self.parts]
        for watcher in watchers:
            train = watcher.split.train
            problem = Problem(train, factors=factors, iterations=self.contender.iterations, threads=self.threads)
            self.contender.library.fit_als(problem, watcher, **self.contender.resolve(train, setting))

        def reached(at: int, power: float = 0.0) -> float:
            return float(np.prod([one.ndcg(at, power, self.threads) for one in watchers]) ** (1 / len(watchers)))

        each = [reached(at) for at in range(min(len(one.factors) for one in watchers))]
        at = int(np.argmax(each))
        score, setting = each[at], setting | {"iterations": FIRST_LOOK + at}
        if self.contender.popularity:
            score, setting["s"] = self._best_power(partial(reached, at), score, setting["s"])
        if score > self.best.get(factors, (-np.inf, {}))[0]:
            self.best[factors] = score, setting
        return score

    @staticmethod
    def _best_power(reached: Callable[[float], float], score: float, first: float) -> tuple[float, float]:
        """Return the best score and power of the popularity, moving up or down as long as it helps.

        `reached` takes the difference of powers.
        """
        power = first
        for step in (POWER_STEP, -POWER_STEP):
            while True:
                near = round(power + step, 4)
                trial = reached(near - first)
                if trial <= score:
                    break
                score, power = trial, near
            if power != first:
                break
        return score, power


class Judge:
    """Fits on all of train, then evaluates on test, once per row."""

    def __init__(self, train: sp.csr_array, test: sp.csr_array, threads: int) -> None:
        self.train, self.test, self.threads = train, test, threads

    def chosen(self, contender: Contender, factors: int, valid: float, setting: Setting) -> dict[str, Any]:
        """Return the row of a chosen setting."""
        setting = dict(setting)
        params = contender.resolve(self.train, {name: v for name, v in setting.items() if name != "iterations"})
        start = time.perf_counter()
        problem = Problem(self.train, factors=factors, iterations=setting["iterations"], threads=self.threads)
        X, Y = contender.library.fit_als(problem, Observer(), **params)
        seconds = time.perf_counter() - start
        row = self._row(contender.name, factors, seconds, X, Y)
        shown = {name: np.round(value, 5).tolist() for name, value in params.items()}
        return row | {"validation": valid, "setting": setting, "params": shown | {"iterations": setting["iterations"]}}

    def defaults(self, factors: int) -> dict[str, Any]:
        """Return the row of ImplicitALS with its defaults."""
        model = ImplicitALS(factors=factors, num_threads=self.threads, random_state=0)
        start = time.perf_counter()
        model.fit(self.train, show_progress=False)
        seconds = time.perf_counter() - start
        return self._row("alternant, defaults", factors, seconds, model.user_factors, model.item_factors)

    def blend(self, factors: int) -> dict[str, Any]:
        """Return the row of Blend with its defaults, whose weights are chosen by its fit."""
        model = Blend(factors=factors, num_threads=self.threads, random_state=0)
        row = self.baseline(model)
        each = zip(model.weights_, model.models_, strict=True)
        parts = [f"{weight:.1f} {type(part).__name__}" for weight, part in each]
        return row | {"model": "alternant, Blend", "factors": factors, "params": {"weights": " + ".join(parts)}}

    def blend_of(self, factors: int, settings: Sequence[Setting]) -> dict[str, Any]:
        """Return the row of a Blend, in equal parts, of ImplicitALS with each of these settings."""
        each = [(OURS.resolve(self.train, setting), setting["iterations"]) for setting in settings]
        common = {"factors": factors, "num_threads": self.threads, "random_state": 0}
        models = [ImplicitALS(iterations=iterations, **common, **params) for params, iterations in each]
        row = self.baseline(Blend(models, weights=[1] * len(models), random_state=0, num_threads=self.threads))
        return row | {"model": BOTH, "factors": factors, "params": {"weights": "0.5 of each choice"}}

    def baseline(self, model: Popularity | EASE | Blend) -> dict[str, Any]:
        """Return the row of a model that is ranked by itself, with its defaults."""
        name = type(model).__name__
        start = time.perf_counter()
        try:
            model.fit(self.train)
        except MemoryError as error:
            return {"model": name, "skipped": error_line(error)}
        seconds = time.perf_counter() - start
        ids, _ = model.recommend(np.arange(self.train.shape[0]), k=K)
        metrics = ranking_metrics(ids, self.test)
        return {"model": name, "seconds": seconds, "recall": metrics.recall, "ndcg": metrics.ndcg}

    def _row(self, name: str, factors: int, seconds: float, X: np.ndarray, Y: np.ndarray) -> dict[str, Any]:
        recall, ndcg = measure(X, Y, self.train, self.test, self.threads)
        return {"model": name, "factors": factors, "seconds": seconds, "recall": recall, "ndcg": ndcg}


def choose_all(
    train: sp.csr_array, options: argparse.Namespace, known: list[dict[str, Any]], keep: Callable[[list[dict]], None]
) -> tuple[list[tuple[Contender, Choices]], list[dict[str, Any]]]:
    """Return each contender's settings, and rows of those that are skipped; known settings are not chosen again.

    `keep` is called with all rows of settings whenever one is added.
    """
    parts = splits(train, options.users, options.hold_outs)
    chosen: list[tuple[Contender, Choices]] = []
    skipped: list[dict[str, Any]] = []
    for contender in (OURS, *(peer for peer in PEERS if peer.name in options.peers)):
        factors = [f for f in options.factors if f <= contender.most_factors]
        beyond = f"more than {contender.most_factors} factors take too long"
        skipped += [
            {"model": contender.name, "factors": f, "skipped": beyond} for f in options.factors if f not in factors
        ]
        found = known_choices(known, contender.name)
        if not contender.library.installed():
            skipped.append({"model": contender.name, "skipped": "not installed"})
            continue
        chosen.append((contender, found))
        try:
            Chooser(contender, parts, options.threads, found).choose(
                factors, options.trials, options.climb, lambda: keep(setting_rows(chosen))
            )
        except Exception as error:  # a library may raise anything
            if contender is OURS:
                raise
            skipped.append({"model": contender.name, "skipped": error_line(error)})
    return chosen, skipped


def read_settings(path: Path | None) -> dict[str, list[dict[str, Any]]]:
    """Return the rows of a file that --json wrote, by data set."""
    try:
        return {} if path is None else dict(json.loads(path.read_text())["data"])
    except (ValueError, KeyError, TypeError):
        sys.exit(f"{path} holds no settings: pass a file that --json wrote")


def blends(judge: Judge, mine: Choices, others: Choices) -> list[dict[str, Any]]:
    """Return rows of blends of both choices, and of what only one of them has."""
    return [
        judge.blend_of(f, [mine[f][1], others[f][1]]) if f in others
        else {"model": BOTH, "factors": f, "skipped": "the file to blend with has no settings for it"}
        for f in sorted(mine)
    ]  # fmt: skip


def known_choices(rows: list[dict[str, Any]], name: str) -> Choices:
    """Return a library's settings that an earlier run chose."""
    own = [row for row in rows if row["model"] == name and "setting" in row]
    return {row["factors"]: (row["validation"], row["setting"]) for row in own}


def setting_rows(chosen: list[tuple[Contender, Choices]]) -> list[dict[str, Any]]:
    """Return rows that contain only settings."""
    return [
        {"model": contender.name, "factors": factors, "validation": valid, "setting": setting}
        for contender, found in chosen
        for factors, (valid, setting) in sorted(found.items())
    ]


def judge_all(judge: Judge, chosen: list[tuple[Contender, Choices]], factors: Sequence[int]) -> list[dict[str, Any]]:
    """Return the rows of the baselines, the defaults, and the chosen settings; without any, those of the defaults."""
    rows = [*map(judge.defaults, factors), *map(judge.blend, factors)]
    if not chosen:
        return rows
    rows = [judge.baseline(Popularity(num_threads=judge.threads)), *rows]
    if judge.train.shape[1] <= EASE_ITEMS:
        rows.insert(1, judge.baseline(EASE(num_threads=judge.threads)))
    else:
        rows.insert(1, {"model": "EASE", "skipped": f"more than {EASE_ITEMS:,} items take too long"})
    return rows + [judge.chosen(one, f, *found[f]) for one, found in chosen for f in factors if f in found]


def parse(arguments: Sequence[str]) -> argparse.Namespace:
    """Read the command line."""
    made = parser("accuracy", __doc__, factors=[64, 256, 512, 1024], trials=40, threads=2)
    made.add_argument("data", nargs="+", type=folder, help="folders with train.npz and test.npz")
    made.add_argument("--climb", type=at_least(1), default=8, help="trials from the best, at each of --factors")
    made.add_argument("--users", type=at_least(1), default=8000, help="users whose held-out interactions choose")
    names = [peer.name for peer in PEERS]
    made.add_argument("--peers", nargs="*", choices=names, help="libraries to tune, too; all if none is named")
    made.add_argument("--settings", type=file_to_read, help="a file that --json wrote: take the settings chosen there")
    made.add_argument("--hold-outs", choices=list(HOLD_OUTS), default="both", help="parts of train that choose")
    made.add_argument("--blend", type=file_to_read, help="a file that --json wrote: blend with the settings there")
    made.add_argument("--quick", action="store_true", help="64 factors, 8 + 2 trials, 2,000 users")
    made.add_argument("--defaults", action="store_true", help="only rows of models with their defaults")
    made.add_argument("--picture", type=picture_to_write, help="draw NDCG@20 over seconds")
    options = made.parse_args(arguments)
    if options.defaults and (options.blend or options.settings):
        made.error("--defaults takes no settings: leave out --settings and --blend")
    options.peers = names if options.peers == [] else options.peers or []
    if options.quick:
        options.factors, options.trials, options.climb, options.users = [64], 8, 2, 2000
    return options


def main(arguments: Sequence[str]) -> int:
    """Run the command."""
    options = parse(arguments)
    known, other = read_settings(options.settings), read_settings(options.blend)
    budget = {name: getattr(options, name) for name in ("trials", "climb", "users", "threads", "hold_outs")}
    data: dict[str, list[dict[str, Any]]] = {}
    report = Report("accuracy", arguments, options.threads)
    seconds = f"evaluated on test once. Seconds of a fit on {options.threads} threads."
    how = (
        f"Chosen by {HOW[options.hold_outs].format(K)} of train, about a fifth of the interactions of "
        f"{options.users} users, with {options.trials} trials at "
        f"{min(options.factors)} factors and {options.climb} at each number of factors"
        f"{f', but for what {options.settings} holds' if options.settings else ''}; fitted again on all of train, "
    )
    report.note(f"E{seconds[1:]}" if options.defaults else how + seconds)

    def keep(name: str, rows: list[dict[str, Any]]) -> None:
        data[name] = rows
        report.write(options.json, **budget, data=data)

    for path in options.data:
        train, name = read(path, "train"), path.name
        chosen, skipped = [], []
        if not options.defaults:
            chosen, skipped = choose_all(train, options, known.get(name, []), partial(keep, name))
        judge = Judge(train, read(path, "test"), options.threads)
        rows = judge_all(judge, chosen, sorted(options.factors)) + skipped
        if options.blend:
            rows += blends(judge, *(known_choices(each, OURS.name) for each in (rows, other.get(name, []))))
        made = report.table(name, *COLUMNS)
        for row in table(rows, PUBLISHED.get(name, ()) if chosen else ()):
            made.row(*row)
        keep(name, rows)
    if options.picture:
        draw(data, PUBLISHED, options.picture)
    return 0
