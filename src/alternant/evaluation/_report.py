"""The result of `evaluate`: means over users, values per user and bootstrap confidence intervals."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from .._utils.display import Displayed, Summary, Table, count
from .._utils.validation import check_integer, check_share, random_generator
from ..models.internals import telling

if TYPE_CHECKING:
    from .._typing import Seed
    from ._breakdown import Breakdown

RESAMPLES = 1000


class Interval(NamedTuple):
    """A value and its bootstrap confidence interval."""

    value: float
    low: float
    high: float


@dataclass(frozen=True)
class Sums:
    """A metric as a ratio of two sums over users; `root` takes its square root, for the RMSE."""

    sums: NDArray[np.float64]
    weights: NDArray[np.float64]
    root: bool = False

    def value(self, sums: Any, weights: Any) -> Any:
        """Return the metric for given totals of sums and weights."""
        with np.errstate(invalid="ignore", divide="ignore"):  # no users: NaN
            mean = np.asarray(sums) / np.asarray(weights)
        return np.sqrt(mean) if self.root else mean

    def mean(self) -> float:
        """Return the metric over all users."""
        return float(self.value(self.sums.sum(), self.weights.sum()))


@dataclass(frozen=True)
class Evaluation(Displayed):
    """Metrics of a model on test interactions, as returned by `evaluate`; printed as a table.

    Attributes
    ----------
    means : dict of str to float
        Every metric, such as ``"ndcg@10"``, ``"auc"`` or ``"rmse"``. Ranking metrics are means over the users with
        test items; rmse and mae are over all test ratings.
    per_user : dict of str to float64 array
        The metrics of each of `users`, NaN where undefined; without coverage and gini, which are not per user.
    users : array
        The users with test items, as raw ids or row numbers (of the fit or, for new users, of `user_items`).
    n_users_evaluated, n_users_without_test : int
        Number of users with test items, and of users left out because they have none.
    n_test_pairs : int
        Number of test interactions used.
    """

    means: dict[str, float]
    per_user: dict[str, NDArray[np.float64]]
    users: NDArray[Any]
    n_users_evaluated: int
    n_users_without_test: int
    n_test_pairs: int
    _sums: dict[str, Sums] = field(repr=False)
    _breakdown: Breakdown | None = field(default=None, repr=False, compare=False)

    def interval(
        self, metric: str, confidence: float = 0.95, *, n_resamples: int = RESAMPLES, random_state: Seed = 0
    ) -> Interval:
        """Return a metric with its percentile bootstrap confidence interval over users.

        Parameters
        ----------
        metric : str
            A key of `per_user`. Coverage and gini have no interval: a user drawn twice repeats a list, so that
            resampled lists cover fewer items, and less evenly, than the lists of new users would.
        confidence : float
            Between 0 and 1.
        n_resamples : int
            Number of bootstrap resamples.
        random_state : int, numpy.random.Generator, numpy.random.RandomState or None

        Returns
        -------
        Interval
            ``value``, ``low`` and ``high``.

        References
        ----------
        B. Efron, R. J. Tibshirani, "An Introduction to the Bootstrap", Chapman & Hall 1993, section 13.3.
        """
        sums = self._sums_of(metric)
        drawn = _resample([sums.sums, sums.weights], n_resamples, random_state)
        return _interval(self.means[metric], sums.value(*drawn.T), confidence)

    def difference(
        self, other: Evaluation, metric: str, confidence: float = 0.95, *, n_resamples: int = RESAMPLES,
        random_state: Seed = 0,
    ) -> Interval:  # fmt: skip
        """Return a metric's difference from another evaluation of the same users, with its confidence interval.

        The bootstrap is paired, so that variation between users that both models share cancels. If the interval
        excludes 0, the difference is significant.

        Parameters
        ----------
        other : Evaluation
            The evaluation of another model on the same test interactions.
        metric, confidence, n_resamples, random_state
            As for `interval`.

        Returns
        -------
        Interval
        """
        mine, theirs = self._sums_of(metric), other._sums_of(metric)
        if not np.array_equal(self.users, other.users):
            raise ValueError(
                f"both evaluations must be of the same users, got {len(self.users)} and {len(other.users)} users: "
                "evaluate both models on the same test set"
            )
        parts = [mine.sums, mine.weights, theirs.sums, theirs.weights]
        drawn = _resample(parts, n_resamples, random_state).T
        values = mine.value(*drawn[:2]) - theirs.value(*drawn[2:])
        return _interval(self.means[metric] - other.means[metric], values, confidence)

    @cached_property
    def intervals(self) -> dict[str, Interval]:
        """The 95 % intervals of all metrics in `per_user`, from one set of resampled users."""
        parts = [part for sums in self._sums.values() for part in (sums.sums, sums.weights)]
        drawn = _resample(parts, RESAMPLES, 0).T
        return {
            name: _interval(self.means[name], sums.value(*drawn[2 * at : 2 * at + 2]), 0.95)
            for at, (name, sums) in enumerate(self._sums.items())
        }

    def to_dict(self) -> dict[str, Any]:
        """Return the means, intervals and counts as values that JSON can hold (NaN becomes None)."""
        return {
            "means": {name: _plain(value) for name, value in self.means.items()},
            "intervals": {
                name: [_plain(interval.low), _plain(interval.high)] for name, interval in self.intervals.items()
            },
            "n_users_evaluated": self.n_users_evaluated,
            "n_users_without_test": self.n_users_without_test,
            "n_test_pairs": self.n_test_pairs,
        }

    def _sums_of(self, metric: str) -> Sums:
        if metric not in self._sums:
            raise ValueError(f"metric must be one of {', '.join(self._sums)}, got {metric!r}")
        return self._sums[metric]

    def __repr__(self) -> str:
        shown = ", ".join(f"{name}={value:.4f}" for name, value in telling(self.means).items())
        return f"Evaluation({shown}; {count(self.n_users_evaluated, 'user')})"

    def _summary(self) -> Summary:
        names = list(dict.fromkeys(name.split("@")[0] for name in self.means))
        ks = sorted({int(name.split("@")[1]) for name in self.means if "@" in name})
        rows = []
        for name in names:
            columns = [f"{name}@{k}" for k in ks] if name not in self.means else [name] + [""] * max(len(ks) - 1, 0)
            cells = [self._with_interval(column) if column in self.means else "" for column in columns]
            rows.append((name.replace("_", " "), *cells))
        facts = {
            "users": f"{self.n_users_evaluated:,} evaluated, {self.n_users_without_test:,} without test interactions",
            "test": count(self.n_test_pairs, "interaction"),
        }
        table = Table(("metric", *([f"@{k}" for k in ks] or ["value"])), rows, more="(95 % intervals over users)")
        return Summary("Evaluation", facts, [table])

    def __str__(self) -> str:
        names = list(dict.fromkeys(name.split("@")[0] for name in self.means))
        ks = sorted({int(name.split("@")[1]) for name in self.means if "@" in name})
        wide = len(ks) <= 3  # the intervals fit into 80 columns
        width = 21 if wide else max(7, 62 // max(len(ks), 1))
        lines = []
        if ks:
            lines.append("".join([f"{'':17}", *(f"{f'@{k}':<{width}}" for k in ks)]).rstrip())
        for name in names:
            columns = [f"{name}@{k}" for k in ks] if name not in self.means else [name]
            cells = [self._cell(column, wide) if column in self.means else "" for column in columns]
            lines.append("".join([f"{name.replace('_', ' '):17}", *(f"{cell:<{width}}" for cell in cells)]).rstrip())
        evaluated, others = count(self.n_users_evaluated, "user"), count(self.n_users_without_test, "user")
        verb = "has" if self.n_users_without_test == 1 else "have"
        lines.append(f"{evaluated} with {count(self.n_test_pairs, 'test interaction')}; {others} {verb} none")
        return "\n".join(lines)

    def _with_interval(self, name: str) -> str:
        value, interval = f"{self.means[name]:.4f}", self.intervals.get(name)
        return value if interval is None else f"{value} ({interval.low:.4f}\N{EN DASH}{interval.high:.4f})"

    def _cell(self, name: str, wide: bool) -> str:
        value = f"{self.means[name]:.4f}"
        if not wide or name not in self.intervals:
            return value
        return f"{value} {self.intervals[name].low:.4f}-{self.intervals[name].high:.4f}"


def _resample(parts: list[NDArray[np.float64]], n_resamples: int, random_state: Any) -> NDArray[np.float64]:
    """Return the sums of each part over users drawn with replacement, one row per resample."""
    n_resamples = check_integer("n_resamples", n_resamples, 1)
    table = np.stack(parts, axis=1) if parts else np.empty((0, 0))
    rng = random_generator(random_state)
    out = np.empty((n_resamples, table.shape[1]))
    for row in range(n_resamples):  # one resample at a time, to keep memory proportional to the number of users
        out[row] = np.bincount(rng.integers(0, max(len(table), 1), len(table)), minlength=len(table)) @ table
    return out


def resampled_interval(sums: Sums, n_resamples: int = 200) -> Interval:
    """Return a metric of some users with its 95 % bootstrap interval."""
    drawn = _resample([sums.sums, sums.weights], n_resamples, 0).T
    return _interval(sums.mean(), sums.value(*drawn), 0.95)


def _interval(value: float, drawn: NDArray[np.float64], confidence: float) -> Interval:
    check_share("confidence", confidence)
    drawn = drawn[~np.isnan(drawn)]
    if len(drawn) == 0:
        return Interval(value, np.nan, np.nan)
    low, high = np.quantile(drawn, [(1 - confidence) / 2, (1 + confidence) / 2])
    return Interval(value, float(low), float(high))


def _plain(value: float) -> float | None:
    return None if np.isnan(value) else float(value)
