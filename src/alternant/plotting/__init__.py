"""Pictures of models, with Matplotlib: ``pip install 'alternant[plot]'``.

Each function draws on the Axes it is given, of any figure, or on those of a new pyplot figure, which a notebook shows
by itself, and returns the Axes. None shows or saves anything, or changes Matplotlib's settings.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from .._utils.guard import snapshot_of
from .._utils.validation import check_choice, check_integer
from ..models import FactorModel
from . import _data as data
from . import _history as history
from . import _labels as text

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.image import AxesImage

__all__ = ["plot_factors", "plot_history", "plot_item_map", "plot_predictions"]

CELLS_WITH_TEXT = 12  # rows and columns of a table whose cells are wide enough for numbers
ROWS_SHOWN = 30  # rows of a heat map, and
ITEMS_MAPPED = 300  # items of a map, where nobody has chosen any
# Of Okabe and Ito, whom all kinds of colour vision can tell apart.
BLUE, ORANGE = "#0072B2", "#D55E00"


def plot_history(
    models: Any,
    *,
    keys: str | Iterable[str] | None = None,
    labels: Iterable[str] | None = None,
    x: str = "iteration",
    ax: Axes | None = None,
) -> Axes:
    """Draw what one or several fits have recorded: objective, validation error, or other keys of `history_`.

    Keys that differ by more than a factor of 10 get an axis each: the second is on the right, its Axes the last of
    ``ax.figure.axes``. Colours tell several models apart, and line styles the keys.

    Parameters
    ----------
    models : model, sequence of models, or dict from names to models
        All fitted.
    keys : str or sequence of str, optional
        Keys of `history_`. By default ``"objective"`` and all that begin with ``"validation_"``.
    labels : sequence of str, optional
        Names of the models in the legend. By default their class, or the parameters in which they differ.
    x : {"iteration", "seconds"}
        What runs along the horizontal axis: iterations (epochs of SGD), or seconds since the fit began.
    ax : matplotlib Axes, optional

    Returns
    -------
    matplotlib Axes

    Raises
    ------
    NotFittedError
        If a model is not fitted.
    TypeError, ValueError
        If something else than models is given, one has no history, a key is in no history, the keys need more than two
        scales, or labels and models differ in number.
    """
    _require_matplotlib(ax)
    check_choice("x", x, ("iteration", "seconds"))
    named = data.named_models(models, labels)
    chosen = history.chosen_keys(named, keys)
    scales = history.two_scales(named, chosen)
    ax = _axes(ax, (6.4, 4.0))
    history.draw(ax, named, chosen, scales, x)
    return ax


def plot_factors(
    model: FactorModel, *, side: str = "items", rows: Any = None, names: Sequence[Any] | None = None,
    ax: Axes | None = None,
) -> Axes:  # fmt: skip
    """Draw factors as a heat map, a row for every item (or user), in colours that are symmetric about 0.

    Columns that hold biases are left out. Where single values are far from all others, the colours end before them.

    Parameters
    ----------
    model : fitted model
    side : {"items", "users"}
    rows : array of int, optional
        Row numbers, from top to bottom. By default those with the most interactions, 30 at most.
    names : sequence, optional
        A name for each item (or user) of the model, not only for `rows`. By default the row numbers.
    ax : matplotlib Axes, optional

    Returns
    -------
    matplotlib Axes

    Raises
    ------
    NotFittedError
        If the model is not fitted.
    IndexError
        If one of `rows` is unknown.
    TypeError, ValueError
        If `side` is not one of the two, or `names` has another length than the side.
    """
    _require_matplotlib(ax)
    model = snapshot_of(model)
    users, items = data.factors_of(model)
    check_choice("side", side, ("items", "users"))
    kind = side[:-1]
    factors = model._latent(items if side == "items" else users)
    shown = data.chosen("rows", rows, data.counts_of(model, kind), kind, ROWS_SHOWN)
    labels = text.chosen_names("names", names, shown, len(factors), kind)
    values = np.asarray(factors[shown], np.float64)
    limit, extend = _symmetric_limit(values)

    m, f = values.shape
    height = 1.2 + m * np.clip(12 / m, 0.095, 0.2)
    ax = _axes(ax, (np.clip(3.2 + 0.15 * f, 5, 12), np.clip(height, 2.2, 20)))
    image = _image(ax, values, "RdBu_r", limit)
    _color_bar(ax, image, "value", extend)
    text.settle(ax)
    text.name_cells(ax, "y", labels, names is None)
    text.settle(ax)
    text.name_cells(ax, "x", [str(factor) for factor in range(f)], True)
    ax.set_xlabel("factor")
    ax.set_ylabel(kind if names is None else "")
    ax.set_title(f"{kind} factors" if m == len(factors) else f"{kind} factors, {m:,} of {len(factors):,} {side}")
    return ax


def plot_predictions(
    model: FactorModel, truth: Any = None, *, users: Any = None, items: Any = None,
    user_names: Sequence[Any] | None = None, item_names: Sequence[Any] | None = None, color: str = "error",
    ax: Axes | None = None,
) -> Axes:  # fmt: skip
    """Draw a table of users x items: what the model predicts, and what is known.

    Up to 12 x 12 cells say "predicted (actual)", or "predicted" alone where nothing is known.

    Parameters
    ----------
    model : fitted model
    truth : sparse matrix or array, or dense array, shape (n_users, n_items), optional
        What the predictions should be. Unknown is what is not stored in a sparse matrix, and NaN in a dense array. By
        default what the model learned from the interactions of the fit: the ratings, what was liked (1) or not (0),
        or the preferences of `ImplicitALS` and `LogisticMF`.
    users, items : array of int, optional
        Rows and columns. By default the 12 users of whom most is known, and the 12 items of which these users know
        most, by number.
    user_names, item_names : sequence, optional
        A name for each user or item of the model, not only for those shown. By default their numbers.
    color : {"error", "prediction"}
        What the colours show: predicted less actual (grey where nothing is known), or predicted.
    ax : matplotlib Axes, optional

    Returns
    -------
    matplotlib Axes

    Raises
    ------
    NotFittedError
        If the model is not fitted.
    IndexError
        If a user or an item is unknown.
    TypeError, ValueError
        If `truth` has another shape than users x items of the model, or is needed because the model does not hold its
        interactions; if names have another length than the side.
    """
    _require_matplotlib(ax)
    model = snapshot_of(model)
    user_factors, item_factors = data.factors_of(model)
    check_choice("color", color, ("error", "prediction"))
    rows, columns, actual = data.table(model, truth, users, items, CELLS_WITH_TEXT)
    row_names = text.chosen_names("user_names", user_names, rows, len(user_factors), "user")
    column_names = text.chosen_names("item_names", item_names, columns, len(item_factors), "item")
    predicted = np.asarray(model.predict(rows[:, None], columns[None, :]), np.float64)

    m, n = predicted.shape
    small = m <= CELLS_WITH_TEXT and n <= CELLS_WITH_TEXT
    width, height = (0.75, 0.38) if small else (np.clip(8 / n, 0.02, 0.3), np.clip(8 / m, 0.02, 0.2))
    ax = _axes(ax, (np.clip(2.2 + n * width, 4.2, 14), np.clip(1.6 + m * height, 2.4, 14)))
    if color == "error":
        errors = predicted - actual
        limit, extend = _symmetric_limit(errors[np.isfinite(errors)])
        image = _image(ax, errors, "RdBu_r", limit)
        ax.set_facecolor("0.85")
        _color_bar(ax, image, "predicted \N{MINUS SIGN} actual", extend)
    else:
        image = _image(ax, predicted, "Blues", None)
        _color_bar(ax, image, "predicted", "neither")
    ax.set_xlabel("item" if item_names is None else "")
    ax.set_ylabel("user" if user_names is None else "")
    ax.set_title("predicted (actual)" if small else f"{m:,} users, {n:,} items")
    text.settle(ax)
    text.name_cells(ax, "x", column_names, item_names is None)
    text.settle(ax)
    text.name_cells(ax, "y", row_names, user_names is None)
    if small:
        text.settle(ax)
        text.fill_cells(ax, image, predicted, actual)
    return ax


def plot_item_map(
    model: FactorModel, names: Sequence[Any] | None = None, *, items: Any = None, highlight: Any = None,
    method: str = "pca", max_labels: int = 40, ax: Axes | None = None,
) -> Axes:  # fmt: skip
    """Draw a map of items: those that the model takes for alike are close together.

    The map is the plane of the first two principal components of the items' factors, biases left out, scaled to length
    1 so that distance goes by cosine. Each component points to the side of its most extreme item, so that equal factors
    give equal pictures. The area of a dot grows with the interactions of the item. Names are set from the most popular
    item down where they overlap no other, for the size that the Axes have at the time.

    Parameters
    ----------
    model : fitted model of at least two factors
    names : sequence, optional
        A name for each item of the model, not only for `items`. By default the item numbers.
    items : array of int, optional
        Items to show, at least three. By default those with the most interactions, 300 at most: the many of which
        little is known would shape the map.
    highlight : int or array of int, optional
        Items, among `items`, that stand out and are named first, with a line to their dot where it is crowded.
    method : {"pca"}
        How the plane is found.
    max_labels : int
        Names at most.
    ax : matplotlib Axes, optional

    Returns
    -------
    matplotlib Axes

    Raises
    ------
    NotFittedError
        If the model is not fitted.
    IndexError
        If an item is unknown.
    TypeError, ValueError
        If the model has one factor only, fewer than three items are to be shown, highlighted items are not shown, or
        `names` has another length than the model has items.
    """
    _require_matplotlib(ax)
    model = snapshot_of(model)
    item_factors = data.factors_of(model)[1]
    factors = np.asarray(model._latent(item_factors), np.float64)
    check_choice("method", method, ("pca",))
    check_integer("max_labels", max_labels, 0)
    if factors.shape[1] < 2:
        raise ValueError(f"a map needs a model of at least 2 factors, got {type(model).__name__} with 1: pass another")
    norms = np.linalg.norm(factors, axis=1)
    counts = data.counts_of(model, "item")
    marked = np.empty(0, np.int64) if highlight is None else data.distinct("highlight", highlight, len(factors))
    if items is None:
        ranked = data.most(counts, len(factors))
        shown = np.union1d(ranked[norms[ranked] > 0][:ITEMS_MAPPED], marked)
    else:
        shown = data.distinct("items", items, len(factors))
    if len(shown) < 3:
        raise ValueError(f"a map needs at least 3 items (with factors other than 0), got {len(shown)}: pass more items")
    if not np.isin(marked, shown).all():
        absent = marked[~np.isin(marked, shown)][0]
        raise ValueError(f"highlight must be among the items shown, got {absent}, which is not: add it to items")
    labels = text.chosen_names("names", names, shown, len(factors), "item")
    unit = factors[shown] / np.where(norms[shown] > 0, norms[shown], 1)[:, None]
    points, share = _principal_plane(unit)

    counts = counts[shown]
    bright = np.isin(shown, marked)
    area = 10 + 70 * counts / max(counts.max(), 1)
    ax = _axes(ax, (8.0, 6.4))
    for which, color, alpha in ((~bright, BLUE, 0.35), (bright, ORANGE, 0.9)):
        if which.any():
            ax.scatter(points[which, 0], points[which, 1], s=area[which], color=color, alpha=alpha, linewidths=0)
    ax.margins(0.08)
    ax.set_aspect("equal", adjustable="datalim")  # distances mean something
    ax.set_xticks([])
    ax.set_yticks([])
    ax.set_xlabel(f"first component, {share[0]:.0%} of the variance")
    ax.set_ylabel(f"second component, {share[1]:.0%} of the variance")
    first = np.lexsort((shown, -counts, ~bright))
    text.place(ax, points[first], [labels[i] for i in first], np.sqrt(area[first]) / 2, bright[first], max_labels)
    return ax


def _require_matplotlib(ax: Any) -> None:
    """Refuse to go on without Matplotlib, or with something else than an Axes."""
    try:
        from matplotlib.axes import Axes
    except ImportError as error:
        raise ImportError(
            f"alternant.plotting needs matplotlib, which can't be imported ({error}): pip install 'alternant[plot]'"
        ) from error
    if ax is not None and not isinstance(ax, Axes):
        raise TypeError(f"ax must be one matplotlib Axes or None, got {type(ax).__name__}: pass one, such as axes[0]")


def _axes(ax: Axes | None, size: tuple[float, float]) -> Axes:
    """Return the Axes to draw on; new ones are pyplot's, since a notebook shows no others by itself."""
    if ax is None:
        from matplotlib import pyplot

        return pyplot.subplots(figsize=(float(size[0]), float(size[1])), layout="constrained")[1]
    return ax


def _symmetric_limit(values: NDArray[np.float64]) -> tuple[float, str]:
    """Return where the colours end on both sides of 0, and at which ends of the colour bar values lie beyond it."""
    if not values.size or not values.any():
        return 1.0, "neither"
    greatest = float(np.abs(values).max())
    usual = float(np.quantile(np.abs(values), 0.99))
    limit = usual if 0 < 2 * usual < greatest else greatest
    ends = (values.min() < -limit, values.max() > limit)
    return limit, {(False, False): "neither", (True, False): "min", (False, True): "max", (True, True): "both"}[ends]


def _image(ax: Axes, values: NDArray[np.float64], colors: str, limit: float | None) -> AxesImage:
    """Draw an array, first row on top, in colours from -limit to limit, or between its least and greatest value."""
    ax.grid(False)
    least = None if limit is None else -limit
    return ax.imshow(
        values, cmap=colors, vmin=least, vmax=limit, aspect="auto", interpolation="nearest", origin="upper"
    )


def _color_bar(ax: Axes, image: AxesImage, label: str, extend: str) -> None:
    height = ax.get_window_extent().height * 72 / ax.figure.dpi
    ax.figure.colorbar(image, ax=ax, label=label, extend=extend, aspect=height / 12, extendfrac=12 / height, pad=0.02)


def _principal_plane(rows: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return coordinates in the first two principal components, and their shares of the variance."""
    centred = rows - rows.mean(axis=0)
    variances, directions = np.linalg.eigh(centred.T @ centred)
    points = centred @ directions[:, [-1, -2]]
    points *= np.where(points[np.abs(points).argmax(axis=0), [0, 1]] < 0, -1, 1)
    total = variances.sum()
    return points, np.maximum(variances[[-1, -2]], 0) / (total if total > 0 else 1)
