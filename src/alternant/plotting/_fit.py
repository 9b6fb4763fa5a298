"""The dashboard of a fit."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from .._utils.display import shorten
from .._utils.guard import snapshot_of
from ..models import FactorModel
from ..models.internals import latent
from . import _data as data
from ._figure import new_panels
from ._history import COLORS, MAX_MARKERS, label_of

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

BINS = 12  # of the numbers of interactions
SIDES = (("user", COLORS[0]), ("item", COLORS[1]))


def plot_fit(model: FactorModel, *, figure: Any = None) -> Figure:
    """Plot what a fit did: four panels.

    - the objective after each iteration;
    - the validation metric beside that of the training data or, without one, by how much the objective fell in each
      iteration, on a logarithmic scale: a fit that still falls fast has too few iterations;
    - the seconds of each iteration;
    - the norms of the factors by the number of interactions, biases left out: the median, and a band from the 10th to
      the 90th percentile. Norms near 0 at the left mean that little is learned of rows with few interactions; norms
      that rise steeply mean that lists hold the same popular items for everybody.

    Parameters
    ----------
    model : fitted model with a `history_`
    figure : matplotlib Figure or SubFigure, optional
        By default a new one.

    Returns
    -------
    matplotlib Figure

    Raises
    ------
    ImportError
        Without Matplotlib: ``pip install 'alternant[plot]'``.
    NotFittedError
        If the model is not fitted.
    TypeError, ValueError
        If `model` is no model, or was not fitted by iterations.
    """
    model = snapshot_of(model)
    ((_, fitted),) = data.labelled_models(model, None).items()
    history: dict[str, list[float]] = fitted.history_  # type: ignore[attr-defined]
    drawn, (objective, quality, seconds, norms) = new_panels(figure, (10.0, 6.6))
    unit = "epoch" if hasattr(fitted, "epochs") else "iteration"
    _curve(objective, history["objective"], "objective", COLORS[0])
    validated = [key for key in history if key.startswith("validation_")]
    if validated:
        for key, color in zip(validated, COLORS[1:], strict=False):
            loss = key.removeprefix("validation_")
            _curve(quality, history[key], label_of(key), color)
            if f"train_{loss}" in history:
                _curve(quality, history[f"train_{loss}"], f"training {label_of(loss)}", "0.6")
        quality.legend(frameon=False)
        quality.set_title("validation")
    else:
        _falls(quality, history["objective"])
    each = np.diff(history["seconds"], prepend=0.0)
    seconds.bar(np.arange(1, len(each) + 1), each, color=COLORS[2], width=0.8)
    for ax, title in ((objective, "objective"), (seconds, f"seconds of each {unit}")):
        ax.set_title(title)
    for ax in (objective, quality, seconds):
        _count(ax, len(each), unit)
    _norms(norms, fitted)
    drawn.suptitle(shorten(repr(fitted), 100), parse_math=False)
    return drawn


def _curve(ax: Axes, values: list[float], label: str, color: str) -> None:
    marker = "o" if len(values) <= MAX_MARKERS else None
    ax.plot(np.arange(1, len(values) + 1), values, color=color, label=label, marker=marker, markersize=3.5)


def _falls(ax: Axes, objective: list[float]) -> None:
    values = np.asarray(objective)
    falls = -np.diff(values) / np.abs(values[:-1])
    at = np.arange(2, len(values) + 1)
    rose = ~(falls > 0)
    ax.plot(at, np.where(rose, np.nan, falls), color=COLORS[0], marker="o", markersize=3.5)
    if (falls > 0).any():
        ax.set_yscale("log")
        if rose.any():
            low = np.nanmin(np.where(rose, np.nan, falls))
            ax.plot(at[rose], np.full(rose.sum(), low), "x", color=COLORS[1], label="no fall")
            ax.legend(frameon=False)
    ax.set_title("fall of the objective, relative")


def _count(ax: Axes, iterations: int, unit: str) -> None:
    from matplotlib.ticker import MaxNLocator

    ax.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
    ax.set_xlim(0.5, iterations + 0.5)
    ax.set_xlabel(unit)


def _norms(ax: Axes, model: Any) -> None:
    """Draw norms by number of interactions or, where these are unknown, their distribution."""
    users, items = data.factors_of(model)
    known = False
    for (kind, color), factors in zip(SIDES, (users, items), strict=True):
        part = np.asarray(latent(model, factors))
        norms = np.sqrt(np.einsum("if,if->i", part, part, dtype=np.float64))
        counts = data.counts_of(model, kind)
        if counts.any():
            known = True
            centres, low, middle, high = _bands(counts, norms)
            ax.fill_between(centres, low, high, color=color, alpha=0.2, linewidth=0)
            ax.plot(centres, middle, color=color, marker="o", markersize=3.5, label=f"{kind}s")
        else:
            ax.hist(norms, bins=40, color=color, alpha=0.5, label=f"{kind}s", density=True)
    if known:
        ax.set_xscale("log")
        ax.set_xlabel("number of interactions")
        ax.set_ylim(bottom=0)
    ax.set_title("norms of the factors")
    ax.legend(frameon=False)


def _bands(counts: NDArray[np.int64], norms: NDArray[np.float64]) -> tuple[NDArray[np.float64], ...]:
    """Return bins of the numbers of interactions: their centres, and three percentiles of the norms."""
    norms, counts = norms[counts > 0], counts[counts > 0]
    edges = np.unique(np.geomspace(1, counts.max() + 1, BINS + 1).round())
    bins = np.digitize(counts, edges)
    rows = []
    for number in np.unique(bins):
        inside = bins == number
        centre = np.exp(np.log(counts[inside]).mean())
        rows.append([centre, *np.quantile(norms[inside], (0.1, 0.5, 0.9))])
    return tuple(np.array(rows).T)
