"""Plots of models with Matplotlib (``pip install 'alternant[plot]'``).

Each function draws on the given Axes, or on those of a new pyplot figure, which notebooks display, and returns the
Axes; `plot_fit` and `plot_evaluation` do so with a whole figure. None shows or saves a figure, or changes Matplotlib's
settings.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Literal

import numpy as np
from numpy.typing import NDArray

from .._utils.guard import snapshot_of
from .._utils.validation import check_choice, check_integer
from ..models import FactorModel
from ..models.internals import latent
from . import _data as data
from . import _history as history
from . import _labels as text
from ._evaluation import plot_evaluation
from ._figure import add_color_bar, draw_image, new_axes, require_matplotlib, symmetric_limit
from ._fit import plot_fit

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from numpy.typing import ArrayLike

    from .._typing import Dense, Names, Sparse

__all__ = [
    "plot_evaluation",
    "plot_factors",
    "plot_fit",
    "plot_history",
    "plot_item_map",
    "plot_predictions",
]

CELLS_WITH_TEXT = 12  # maximum rows and columns of a table with numbers in its cells
ROWS_SHOWN = 30  # default number of rows of a heat map
ITEMS_MAPPED = 300  # default number of items of a map
# From the colour-blind-safe palette of Okabe and Ito.
BLUE, ORANGE = "#0072B2", "#D55E00"


def plot_history(
    models: FactorModel | Iterable[FactorModel] | Mapping[str, FactorModel],
    *,
    keys: str | Iterable[str] | None = None,
    labels: Iterable[str] | None = None,
    x: Literal["iteration", "seconds"] = "iteration",
    ax: Axes | None = None,
) -> Axes:
    """Plot the objective, the validation error or other keys of `history_` of one or several fits.

    Keys whose values differ by more than a factor of 10 get separate y-axes; the right one is the last of
    ``ax.figure.axes``. Colours distinguish models, line styles distinguish keys.

    Parameters
    ----------
    models : fitted model, sequence of fitted models, or dict from names to fitted models
    keys : str or sequence of str, optional
        Keys of `history_`. By default ``"objective"`` and all keys that start with ``"validation_"``.
    labels : sequence of str, optional
        Names of the models in the legend. By default their classes, or the parameters in which they differ.
    x : {"iteration", "seconds"}
        Unit of the x-axis: iterations (epochs for SGD), or seconds since the start of the fit.
    ax : matplotlib Axes, optional

    Returns
    -------
    matplotlib Axes

    Raises
    ------
    NotFittedError
        If a model is not fitted.
    TypeError, ValueError
        If `models` holds anything but models, a model has no history, a key is in no history, the keys need more than
        two scales, or the numbers of labels and models differ.
    """
    require_matplotlib(ax)
    check_choice("x", x, ("iteration", "seconds"))
    named = data.labelled_models(models, labels)
    chosen = history.chosen_keys(named, keys)
    scales = history.assign_axes(named, chosen)
    ax = new_axes(ax, (6.4, 4.0))
    history.draw(ax, named, chosen, scales, x)
    return ax


def plot_factors(
    model: FactorModel, *, side: Literal["items", "users"] = "items", rows: ArrayLike | None = None,
    names: Names | None = None,
    ax: Axes | None = None,
) -> Axes:  # fmt: skip
    """Plot factors as a heat map with one row per item (or user) and a colour scale symmetric about 0.

    Bias columns are left out. The colour scale is clipped if there are outliers.

    Parameters
    ----------
    model : fitted model
    side : {"items", "users"}
    rows : array of int, optional
        Row numbers, from top to bottom. By default the 30 with the most interactions.
    names : sequence, optional
        Names of all items (or users) of the model, not only of `rows`. By default the row numbers.
    ax : matplotlib Axes, optional

    Returns
    -------
    matplotlib Axes

    Raises
    ------
    NotFittedError
        If the model is not fitted.
    IndexError
        If a row number is out of range.
    TypeError, ValueError
        If `side` is invalid, or the length of `names` is not that of the side.
    """
    require_matplotlib(ax)
    model = snapshot_of(model)
    users, items = data.factors_of(model)
    check_choice("side", side, ("items", "users"))
    kind = side[:-1]
    factors = latent(model, items if side == "items" else users)
    shown = data.chosen_rows("rows", rows, data.counts_of(model, kind), kind, ROWS_SHOWN)
    labels = text.labels_of("names", names, shown, len(factors), kind)
    values = np.asarray(factors[shown], np.float64)
    limit, extend = symmetric_limit(values)

    m, f = values.shape
    height = 1.2 + m * np.clip(12 / m, 0.095, 0.2)
    ax = new_axes(ax, (np.clip(3.2 + 0.15 * f, 5, 12), np.clip(height, 2.2, 20)))
    image = draw_image(ax, values, "RdBu_r", limit)
    add_color_bar(ax, image, "value", extend)
    text.lay_out(ax)
    text.label_ticks(ax, "y", labels, names is None)
    text.lay_out(ax)
    text.label_ticks(ax, "x", [str(factor) for factor in range(f)], True)
    ax.set_xlabel("factor")
    ax.set_ylabel(kind if names is None else "")
    ax.set_title(f"{kind} factors" if m == len(factors) else f"{kind} factors, {m:,} of {len(factors):,} {side}")
    return ax


def plot_predictions(
    model: FactorModel, truth: Sparse | Dense | None = None, *, users: ArrayLike | None = None,
    items: ArrayLike | None = None, user_names: Names | None = None, item_names: Names | None = None,
    color: Literal["error", "prediction"] = "error",
    ax: Axes | None = None,
) -> Axes:  # fmt: skip
    """Plot a table of users x items with predicted and actual values.

    Up to 12 x 12 cells are labelled "predicted (actual)", or "predicted" if the actual value is unknown.

    Parameters
    ----------
    model : fitted model
    truth : sparse matrix or array, or dense array, shape (n_users, n_items), optional
        Actual values. Unknown are those not stored in a sparse matrix, or NaN in a dense array. By default the targets
        of the fit: ratings, likes (1) and dislikes (0), or the preferences of `ImplicitALS` and `LogisticMF`.
    users, items : array of int, optional
        Rows and columns. By default the 12 users with the most known values and the 12 items with the most known
        values of these users, in order of their numbers.
    user_names, item_names : sequence, optional
        Names of all users or items of the model, not only of those shown. By default their numbers.
    color : {"error", "prediction"}
        Colour cells by predicted minus actual (grey where unknown) or by prediction.
    ax : matplotlib Axes, optional

    Returns
    -------
    matplotlib Axes

    Raises
    ------
    NotFittedError
        If the model is not fitted.
    IndexError
        If a user or item number is out of range.
    TypeError, ValueError
        If the shape of `truth` is not that of the model, `truth` is missing and the model does not hold its
        interactions, or the length of the names is not that of the side.
    """
    require_matplotlib(ax)
    model = snapshot_of(model)
    user_factors, item_factors = data.factors_of(model)
    check_choice("color", color, ("error", "prediction"))
    rows, columns, actual = data.table(model, truth, users, items, CELLS_WITH_TEXT)
    row_names = text.labels_of("user_names", user_names, rows, len(user_factors), "user")
    column_names = text.labels_of("item_names", item_names, columns, len(item_factors), "item")
    predicted = np.asarray(model.predict(rows[:, None], columns[None, :]), np.float64)

    m, n = predicted.shape
    small = m <= CELLS_WITH_TEXT and n <= CELLS_WITH_TEXT
    width, height = (0.75, 0.38) if small else (np.clip(8 / n, 0.02, 0.3), np.clip(8 / m, 0.02, 0.2))
    ax = new_axes(ax, (np.clip(2.2 + n * width, 4.2, 14), np.clip(1.6 + m * height, 2.4, 14)))
    if color == "error":
        errors = predicted - actual
        limit, extend = symmetric_limit(errors[np.isfinite(errors)])
        image = draw_image(ax, errors, "RdBu_r", limit)
        ax.set_facecolor("0.85")
        add_color_bar(ax, image, "predicted \N{MINUS SIGN} actual", extend)
    else:
        image = draw_image(ax, predicted, "Blues", None)
        add_color_bar(ax, image, "predicted", "neither")
    ax.set_xlabel("item" if item_names is None else "")
    ax.set_ylabel("user" if user_names is None else "")
    ax.set_title("predicted (actual)" if small else f"{m:,} users, {n:,} items")
    text.lay_out(ax)
    text.label_ticks(ax, "x", column_names, item_names is None)
    text.lay_out(ax)
    text.label_ticks(ax, "y", row_names, user_names is None)
    if small:
        text.lay_out(ax)
        text.label_cells(ax, image, predicted, actual)
    return ax


def plot_item_map(
    model: FactorModel, names: Names | None = None, *, items: ArrayLike | None = None,
    highlight: ArrayLike | None = None, method: Literal["pca"] = "pca", max_labels: int = 40, ax: Axes | None = None,
) -> Axes:  # fmt: skip
    """Plot a map of items on which similar items are close together.

    The map shows the first two principal components of the items' factors, without biases and normalized to length 1,
    so that distances reflect cosine similarity. The sign of each component is such that its most extreme item is on the
    positive side, which makes the map deterministic. The area of a dot grows with the item's number of interactions.
    Items are labelled in order of popularity, where a label overlaps no other at the current size of the Axes.

    Parameters
    ----------
    model : fitted model with at least two factors
    names : sequence, optional
        Names of all items of the model, not only of `items`. By default the item numbers.
    items : array of int, optional
        Items to show, at least three. By default the 300 with the most interactions, since the many items with few
        would dominate the map.
    highlight : int or array of int, optional
        Items, among `items`, to emphasize and label first, with a line to the dot where space is short.
    method : {"pca"}
        Projection onto the plane.
    max_labels : int
        Maximum number of labels.
    ax : matplotlib Axes, optional

    Returns
    -------
    matplotlib Axes

    Raises
    ------
    NotFittedError
        If the model is not fitted.
    IndexError
        If an item number is out of range.
    TypeError, ValueError
        If the model has only one factor, there are fewer than three items to show, highlighted items are not shown, or
        the length of `names` is not the number of items.
    """
    require_matplotlib(ax)
    model = snapshot_of(model)
    item_factors = data.factors_of(model)[1]
    factors = np.asarray(latent(model, item_factors), np.float64)
    check_choice("method", method, ("pca",))
    check_integer("max_labels", max_labels, 0)
    if factors.shape[1] < 2:
        raise ValueError(
            f"an item map needs a model with at least 2 factors, got {type(model).__name__} with 1: pass another model"
        )
    norms = np.linalg.norm(factors, axis=1)
    counts = data.counts_of(model, "item")
    marked = np.empty(0, np.int64) if highlight is None else data.distinct_items("highlight", highlight, len(factors))
    if items is None:
        ranked = data.most_popular(counts, len(factors))
        shown = np.union1d(ranked[norms[ranked] > 0][:ITEMS_MAPPED], marked)
    else:
        shown = data.distinct_items("items", items, len(factors))
    if len(shown) < 3:
        raise ValueError(f"an item map needs at least 3 items with non-zero factors, got {len(shown)}: pass more items")
    if not np.isin(marked, shown).all():
        absent = marked[~np.isin(marked, shown)][0]
        raise ValueError(f"highlight must be among the items shown, got {absent}: add it to items")
    labels = text.labels_of("names", names, shown, len(factors), "item")
    unit = factors[shown] / np.where(norms[shown] > 0, norms[shown], 1)[:, None]
    points, share = _principal_plane(unit)

    counts = counts[shown]
    bright = np.isin(shown, marked)
    area = 10 + 70 * counts / max(counts.max(), 1)
    ax = new_axes(ax, (8.0, 6.4))
    for which, color, alpha in ((~bright, BLUE, 0.35), (bright, ORANGE, 0.9)):
        if which.any():
            ax.scatter(points[which, 0], points[which, 1], s=area[which], color=color, alpha=alpha, linewidths=0)
    ax.margins(0.08)
    ax.set_aspect("equal", adjustable="datalim")  # distances are meaningful
    ax.set_xticks([])
    ax.set_yticks([])
    ax.set_xlabel(f"first component, {share[0]:.0%} of the variance")
    ax.set_ylabel(f"second component, {share[1]:.0%} of the variance")
    first = np.lexsort((shown, -counts, ~bright))
    radii = np.sqrt(area[first]) / 2
    text.label_points(ax, points[first], [labels[i] for i in first], radii, bright[first], max_labels)
    return ax


def _principal_plane(rows: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return coordinates on the first two principal components, and their shares of the variance."""
    centred = rows - rows.mean(axis=0)
    variances, directions = np.linalg.eigh(centred.T @ centred)
    points = centred @ directions[:, [-1, -2]]
    points *= np.where(points[np.abs(points).argmax(axis=0), [0, 1]] < 0, -1, 1)
    total = variances.sum()
    return points, np.maximum(variances[[-1, -2]], 0) / (total if total > 0 else 1)
