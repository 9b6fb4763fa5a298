"""The dashboard of evaluations."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from .._utils.validation import check_integer
from ..evaluation import Evaluation
from ..evaluation._report import Sums, resampled_interval
from ._figure import new_panels, plain_text, say
from ._history import COLORS

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

BINS = 5
LEGEND_WIDTH = 120  # characters in a row of the legend
Z = 1.96  # of a 95 % interval
MARKERS = "osD^vPX"
Point = tuple[float, float, float]  # a value and the ends of its interval


def plot_evaluation(
    evaluations: Evaluation | Iterable[Evaluation] | Mapping[str, Evaluation],
    *,
    metric: str = "ndcg",
    k: int | None = None,
    labels: Iterable[str] | None = None,
    figure: Any = None,
) -> Figure:
    """Plot how good one or several models are, and for whom: four panels.

    - the metric by list length, with 95 % intervals over users;
    - the metric of users by their number of known interactions, in bins of about as many users each;
    - the share of the test interactions that are in the lists, by the popularity of their items, in bins of about as
      many test interactions each. The intervals (Wilson) take test interactions as independent;
    - the share of the catalogue that is in any list, by list length.

    Parameters
    ----------
    evaluations : Evaluation, sequence of them, or dict from names to them
        As `alternant.evaluation.evaluate` returns them, on the same test interactions.
    metric : str
        A metric of all of them: ``"ndcg"``, ``"recall"``, ``"rmse"`` and so on.
    k : int, optional
        The list length of the second and the third panel, one of the evaluations'. By default the shortest.
    labels : sequence of str, optional
        The names of the evaluations, if they are a sequence.
    figure : matplotlib Figure or SubFigure, optional
        By default a new one.

    Returns
    -------
    matplotlib Figure

    Raises
    ------
    ImportError
        Without Matplotlib: ``pip install 'alternant[plot]'``.
    TypeError, ValueError
        If these are no evaluations, or one of them lacks the metric or the length.
    """
    named = _named(evaluations, labels)
    lengths = _lengths(named, metric)
    if k is not None and check_integer("k", k, 1) not in lengths:
        raise ValueError(f"k must be a list length of the evaluations, one of {lengths}, got {k}")
    k = k or (lengths[0] if lengths else None)
    key = metric if k is None else f"{metric}@{k}"
    drawn, (by_length, by_activity, by_popularity, coverage) = new_panels(figure, (10.0, 7.0))
    title = metric.replace("_", " ").upper() if metric in ("ndcg", "auc", "map", "mrr", "rmse", "mae") else metric
    ks = [f"{metric}@{length}" for length in lengths] or [metric]
    _draw(by_length, {name: [one.intervals[each] for each in ks] for name, one in named.items()},
          [each.partition("@")[2] or "all items" for each in ks], "list length" if lengths else "")  # fmt: skip
    by_length.set_title(f"{title} by list length" if lengths else title)
    shown = title if k is None else f"{title}@{k}"
    _by_activity(by_activity, named, key, shown)
    _by_popularity(by_popularity, named, k or _shortest(named))
    _coverage(coverage, named)
    if len(named) > 1:
        handles: list[Any] = by_length.containers[: len(named)]
        names = [plain_text(name) for name in named]
        columns = max(1, min(len(named), 4, LEGEND_WIDTH // (6 + max(map(len, names)))))
        drawn.legend(handles, names, loc="outside upper center", ncols=columns, frameon=False)
    return drawn


def _named(evaluations: Any, labels: Iterable[str] | None) -> dict[str, Evaluation]:
    if isinstance(evaluations, Mapping):
        if labels is not None:
            raise ValueError("labels must be None if evaluations is a dict, whose keys are the labels: leave them out")
        named = {str(name): one for name, one in evaluations.items()}
    else:
        listed = [evaluations] if isinstance(evaluations, Evaluation) else list(evaluations)
        names = [f"model {number}" for number in range(1, len(listed) + 1)] if labels is None else list(labels)
        if len(names) != len(listed) or len(set(names)) < len(names):
            raise ValueError(f"labels must be {len(listed)} different names, one per evaluation, got {names}")
        named = dict(zip(map(str, names), listed, strict=True))
    if not named:
        raise ValueError("evaluations must hold at least one Evaluation, got none")
    for one in named.values():
        if not isinstance(one, Evaluation):
            raise TypeError(f"evaluations must be what evaluate returns, got {type(one).__name__}")
    return named


def _lengths(named: Mapping[str, Evaluation], metric: str) -> list[int]:
    """Return the list lengths at which all evaluations have the metric; empty for one without lengths."""
    found = []
    for name, one in named.items():
        lengths = {int(key.partition("@")[2]) for key in one.per_user if key.startswith(f"{metric}@")}
        if not lengths and metric not in one.per_user:
            known = ", ".join(dict.fromkeys(key.partition("@")[0] for key in one.per_user))
            raise ValueError(f"metric must be one of {known} (the metrics per user of {name!r}), got {metric!r}")
        found.append(lengths)
    return sorted(set.intersection(*found))


def _shortest(named: Mapping[str, Evaluation]) -> int | None:
    """Return the shortest length of lists that all evaluations have."""
    found = [set() if one._breakdown is None else set(one._breakdown.found) for one in named.values()]
    return min(set.intersection(*found), default=None)


def _draw(ax: Axes, points: Mapping[str, list[Point]], labels: list[str], x: str) -> None:
    """Draw a point and its interval for each label, the models side by side."""
    width = min(0.3, 0.05 * len(points))
    for number, (name, values) in enumerate(points.items()):
        shift = width * (number / max(len(points) - 1, 1) - 0.5) if len(points) > 1 else 0.0
        at = np.arange(len(values)) + shift
        middle, low, high = np.array(values, np.float64).reshape(-1, 3).T
        style: dict[str, Any] = {"color": COLORS[number % len(COLORS)], "marker": MARKERS[number % len(MARKERS)]}
        errors = np.maximum([middle - low, high - middle], 0)
        ax.errorbar(at, middle, errors, markersize=5, capsize=2.5, linewidth=1.2, label=name, **style)
    ax.set_xticks(range(len(labels)), labels, fontsize="medium" if max(map(len, labels)) < 8 else "x-small")
    ax.set_xlim(-0.5, len(labels) - 0.5)
    ax.set_xlabel(x)
    ax.margins(y=0.1)


def _by_activity(ax: Axes, named: Mapping[str, Evaluation], key: str, title: str) -> None:
    ax.set_title(f"{title} by activity")
    known = [one._breakdown.activity for one in named.values() if one._breakdown is not None]
    if len(known) < len(named) or any(counts is None for counts in known):
        say(ax, "the users' known interactions were not passed to evaluate")
        return
    edges = _edges(np.concatenate([counts for counts in known if counts is not None]))
    points: dict[str, list[Point]] = {name: [] for name in named}
    for (name, one), counts in zip(named.items(), known, strict=True):
        bins = np.digitize(counts, edges[1:-1])  # type: ignore[arg-type]  # None is ruled out above
        sums = one._sums[key]
        for number in range(len(edges) - 1):
            inside = bins == number
            part = Sums(sums.sums[inside], sums.weights[inside], sums.root)
            value, low, high = resampled_interval(part)
            points[name].append((value, low, high))
    _draw(ax, points, _ranges(edges), "known interactions of the user")


def _by_popularity(ax: Axes, named: Mapping[str, Evaluation], k: int | None) -> None:
    parts = [one._breakdown for one in named.values()]
    if k is None or any(part is None or k not in part.found or part.popularity is None for part in parts):
        ax.set_title("test interactions found")
        say(ax, "evaluate a ranking metric of a model that knows its interactions")
        return
    ax.set_title(f"share of test interactions in lists of {k}")
    first = parts[0]
    assert first is not None
    assert first.popularity is not None
    edges = _edges(np.repeat(first.popularity, first.relevant))
    points: dict[str, list[Point]] = {}
    for name, part in zip(named, parts, strict=True):
        assert part is not None
        assert part.popularity is not None
        bins = np.digitize(part.popularity, edges[1:-1])
        size = len(edges) - 1
        found, all_ = (np.bincount(bins, counts, size) for counts in (part.found[k], part.relevant))
        points[name] = [_wilson(hits, tests) for hits, tests in zip(found, all_, strict=True)]
    _draw(ax, points, _ranges(edges), "interactions of the item in the fit")


def _coverage(ax: Axes, named: Mapping[str, Evaluation]) -> None:
    ax.set_title("coverage of the catalogue")
    lengths = sorted({int(key.partition("@")[2]) for one in named.values() for key in one.means if "coverage@" in key})
    if not lengths:
        say(ax, "evaluate the metric coverage, too")
        return
    points = {name: [(one.means.get(f"coverage@{length}", np.nan),) * 3 for length in lengths]
              for name, one in named.items()}  # fmt: skip
    _draw(ax, points, [str(length) for length in lengths], "list length")
    ax.set_ylim(0, 1)


def _edges(values: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return the edges of bins, from the first value of each: about as many values in each."""
    if not len(values):
        return np.array([0, 1])
    inner = np.quantile(values, np.linspace(0, 1, BINS + 1)[1:-1], method="higher")
    low, high = int(values.min()), int(values.max())
    return np.unique(np.concatenate([[low], inner[inner > low], [high + 1]])).astype(np.int64)


def _ranges(edges: NDArray[np.int64]) -> list[str]:
    pairs = zip(edges[:-1].tolist(), (edges[1:] - 1).tolist(), strict=True)
    return [f"{low:,}" if low == high else f"{low:,}\N{EN DASH}{high:,}" for low, high in pairs]


def _wilson(hits: float, tests: float) -> Point:
    """Return a share with its 95 % interval."""
    if not tests:
        return np.nan, np.nan, np.nan
    p = hits / tests
    centre = (p + Z**2 / (2 * tests)) / (1 + Z**2 / tests)
    half = Z * np.sqrt(p * (1 - p) / tests + Z**2 / (4 * tests**2)) / (1 + Z**2 / tests)
    return p, centre - half, centre + half
