"""The curves of `alternant.plotting.plot_history`."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from matplotlib.axes import Axes

SAME_SCALE = 10  # keys whose values differ by more than this factor get different axes
# Of Okabe and Ito, whom all kinds of colour vision can tell apart; their yellow is too pale for a line.
COLORS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
STYLES: tuple[Any, ...] = ("-", "--", ":", "-.", (0, (5, 1, 1, 1, 1, 1)), (0, (1, 4)))
CURVE_WITH_DOTS = 30  # points up to which each gets a dot: a fit of one iteration has no line


def chosen_keys(models: Mapping[str, Any], keys: str | Iterable[str] | None) -> list[str]:
    """Return the keys to draw; each must be in one history, and each history must have one."""
    recorded = list(dict.fromkeys(key for model in models.values() for key in model.history_))
    if keys is None:
        chosen = [key for key in recorded if key == "objective" or key.startswith("validation_")]
    else:
        chosen = list(dict.fromkeys([keys] if isinstance(keys, str) else keys))
    unknown = [key for key in chosen if key not in recorded]
    if unknown or not chosen:
        found = repr(unknown[0]) if unknown else "none"
        raise ValueError(f"keys must be among {', '.join(map(repr, recorded))} (the keys of history_), got {found}")
    for name, model in models.items():
        if not set(chosen) & set(model.history_):
            raise ValueError(f"keys must hold one that {name} has recorded, {', '.join(model.history_)}, got {chosen}")
    return chosen


def two_scales(models: Mapping[str, Any], keys: list[str]) -> tuple[list[str], list[str]]:
    """Divide the keys between a left and a right axis by the size of their values."""
    size = {key: _size([model.history_[key] for model in models.values() if key in model.history_]) for key in keys}
    left: list[str] = []
    right: list[str] = []
    for key in keys:
        for side in (left, right):
            if all(_comparable(size[key], size[other]) for other in side):
                side.append(key)
                break
        else:
            sizes = ", ".join(f"{key} (about {size[key]:.2g})" for key in keys)
            raise ValueError(f"keys must fit on two scales, got {sizes}: draw fewer of them in one picture")
    return left, right


def draw(ax: Axes, models: Mapping[str, Any], keys: list[str], scales: tuple[list[str], list[str]], x: str) -> None:
    """Draw the curves, the legend and the names of the axes."""
    from matplotlib.ticker import MaxNLocator

    left, right = scales
    sides = {"left": (ax, left), "right": (ax.twinx(), right)} if right else {"left": (ax, left)}
    several = len(models) > 1
    colors = _colors(len(models) if several else len(keys))
    for target, own in sides.values():
        for key in own:
            style = STYLES[keys.index(key) % len(STYLES)]
            for number, (name, model) in enumerate(models.items()):
                if key not in model.history_:
                    continue
                values = np.asarray(model.history_[key], np.float64)
                target.plot(
                    model.history_["seconds"] if x == "seconds" else np.arange(1, len(values) + 1), values,
                    color=colors[number if several else keys.index(key)], linestyle=style, linewidth=1.8,
                    marker="o" if len(values) <= CURVE_WITH_DOTS else None, markersize=3.5,
                    label=f"{name}: {_words(key)}",
                )  # fmt: skip
        target.set_ylabel(", ".join(map(_words, own)))
        target.ticklabel_format(axis="y", style="sci", scilimits=(-3, 5), useMathText=True)
        if not several and len(sides) > 1 and len(own) == 1:  # the colour says which curve the numbers belong to
            color = colors[keys.index(own[0])]
            target.tick_params(axis="y", labelcolor=color)
            target.yaxis.label.set_color(color)
    if x == "seconds":
        ax.set_xlabel("seconds since the fit began")
    else:
        ax.xaxis.set_major_locator(MaxNLocator(integer=True))
        ax.set_xlabel(" or ".join(sorted({_unit(model) for model in models.values()}, reverse=True)))
    for target, _ in sides.values():
        target.spines["top"].set_visible(False)
        target.spines["right"].set_visible(len(sides) > 1)
    _legend([target for target, _ in sides.values()], models, keys, colors)


def _legend(axes: list[Axes], models: Mapping[str, Any], keys: list[str], colors: list[Any]) -> None:
    """Explain colours and line styles, where the least is covered."""
    from matplotlib.lines import Line2D

    entries = []
    if len(models) > 1:
        entries = [Line2D([], [], color=color, label=name) for name, color in zip(models, colors, strict=True)]
    if len(keys) > 1:
        for number, key in enumerate(keys):
            color = "0.35" if len(models) > 1 else colors[number]
            style = STYLES[number % len(STYLES)]
            entries.append(Line2D([], [], color=color, linestyle=style, label=_words(key)))
    if entries:
        # On the last Axes, or else its curves would be drawn over the legend; loc="best" knows only one Axes' curves.
        axes[-1].legend(handles=entries, loc=_emptiest_place(axes, 0.08 + 0.07 * len(entries)), framealpha=0.9)


def _emptiest_place(axes: list[Axes], height: float) -> Any:
    points = np.concatenate([_along(ax, line.get_xdata(), line.get_ydata()) for ax in axes for line in ax.lines])
    # Places of a legend, and the middles of what it covers.
    places = {
        "upper right": (0.75, 1 - height / 2), "lower left": (0.25, height / 2), "center right": (0.75, 0.5),
        "upper left": (0.25, 1 - height / 2), "lower right": (0.75, height / 2),
    }  # fmt: skip
    filled = {
        name: (np.abs(points - middle) < (0.25, height / 2)).all(axis=1).sum() for name, middle in places.items()
    }
    return min(filled, key=lambda name: filled[name])


def _along(ax: Axes, x: Any, y: Any) -> NDArray[Any]:
    """Return places along a curve, as fractions of the Axes; a segment counts as much as its points are apart."""
    ax.get_xlim(), ax.get_ylim()  # autoscaling waits for somebody to ask
    at = np.linspace(0, len(x) - 1, 200)
    curve = np.stack([np.interp(at, np.arange(len(x)), np.asarray(values, np.float64)) for values in (x, y)], axis=1)
    return (ax.transData + ax.transAxes.inverted()).transform(curve)


def _colors(count: int) -> list[Any]:
    if count <= len(COLORS):
        return list(COLORS[:count])
    from matplotlib import colormaps

    return list(colormaps["viridis"](np.linspace(0, 0.92, count)))


def _size(histories: list[list[float]]) -> float:
    values = np.abs(np.concatenate([np.asarray(values, np.float64) for values in histories]))
    values = values[np.isfinite(values)]
    return float(np.median(values)) if values.size else 0.0


def _comparable(a: float, b: float) -> bool:
    return not a or not b or 1 / SAME_SCALE <= a / b <= SAME_SCALE


def _unit(model: Any) -> str:
    return "epoch" if hasattr(model, "epochs") else "iteration"


def _words(key: str) -> str:
    return key.replace("_", " ").replace("rmse", "RMSE").replace("cg ", "CG ")
