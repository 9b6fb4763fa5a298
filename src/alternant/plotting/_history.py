"""The curves of `alternant.plotting.plot_history`."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from matplotlib.axes import Axes

SAME_SCALE = 10  # keys whose values differ by more than this factor get different axes
# The colour-blind-safe palette of Okabe and Ito, without its yellow, which is too pale for lines.
COLORS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
STYLES: tuple[Any, ...] = ("-", "--", ":", "-.", (0, (5, 1, 1, 1, 1, 1)), (0, (1, 4)))
MAX_MARKERS = 30  # curves of at most so many points get markers: a single iteration draws no line


def chosen_keys(models: Mapping[str, Any], keys: str | Iterable[str] | None) -> list[str]:
    """Return the keys to plot; each must be in some history, and each history must hold one of them."""
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
            own = ", ".join(model.history_)
            raise ValueError(f"keys must hold one of {own} (the history_ of {name}), got {chosen}")
    return chosen


def assign_axes(models: Mapping[str, Any], keys: list[str]) -> tuple[list[str], list[str]]:
    """Assign the keys to the left and right y-axes by the magnitude of their values."""
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
            raise ValueError(f"keys must fit on two scales, got {sizes}: plot fewer of them at a time")
    return left, right


def draw(ax: Axes, models: Mapping[str, Any], keys: list[str], scales: tuple[list[str], list[str]], x: str) -> None:
    """Draw the curves, the legend and the axis labels."""
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
                    marker="o" if len(values) <= MAX_MARKERS else None, markersize=3.5,
                    label=f"{name}: {label_of(key)}",
                )  # fmt: skip
        target.set_ylabel(", ".join(map(label_of, own)))
        target.ticklabel_format(axis="y", style="sci", scilimits=(-3, 5), useMathText=True)
        if not several and len(sides) > 1 and len(own) == 1:  # tick labels in the colour of the curve
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
    """Add a legend of colours and line styles, where it covers the fewest points."""
    from matplotlib.lines import Line2D

    entries = []
    if len(models) > 1:
        entries = [Line2D([], [], color=color, label=name) for name, color in zip(models, colors, strict=True)]
    if len(keys) > 1:
        for number, key in enumerate(keys):
            color = "0.35" if len(models) > 1 else colors[number]
            style = STYLES[number % len(STYLES)]
            entries.append(Line2D([], [], color=color, linestyle=style, label=label_of(key)))
    if entries:
        # On the last Axes, whose curves would otherwise cover the legend; loc="best" ignores the curves of other Axes.
        axes[-1].legend(handles=entries, loc=_legend_location(axes, 0.08 + 0.07 * len(entries)), framealpha=0.9)


def _legend_location(axes: list[Axes], height: float) -> Any:
    points = np.concatenate([_sampled(ax, line.get_xdata(), line.get_ydata()) for ax in axes for line in ax.lines])
    # Locations of a legend, and the centres of the areas they cover.
    locations = {
        "upper right": (0.75, 1 - height / 2), "lower left": (0.25, height / 2), "center right": (0.75, 0.5),
        "upper left": (0.25, 1 - height / 2), "lower right": (0.75, height / 2),
    }  # fmt: skip
    covered = {
        name: (np.abs(points - centre) < (0.25, height / 2)).all(axis=1).sum() for name, centre in locations.items()
    }
    return min(covered, key=lambda name: covered[name])


def _sampled(ax: Axes, x: Any, y: Any) -> NDArray[Any]:
    """Return points along a curve in Axes coordinates, evenly spaced in the index of its data."""
    ax.get_xlim(), ax.get_ylim()  # triggers autoscaling, which is lazy
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


def label_of(key: str) -> str:
    return key.replace("_", " ").replace("rmse", "RMSE").replace("cg ", "CG ")
