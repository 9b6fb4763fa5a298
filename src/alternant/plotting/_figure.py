"""Axes, images and colour bars of `alternant.plotting`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.image import AxesImage

LONGEST_NAME = 50


def require_matplotlib(ax: Any) -> None:
    """Raise unless Matplotlib is installed and `ax` is an Axes or None."""
    try:
        from matplotlib.axes import Axes
    except ImportError as error:
        raise ImportError(
            f"alternant.plotting needs matplotlib, which cannot be imported ({error}): pip install 'alternant[plot]'"
        ) from error
    if ax is not None and not isinstance(ax, Axes):
        raise TypeError(f"ax must be a matplotlib Axes or None, got {type(ax).__name__}: pass one, such as axes[0]")


def new_axes(ax: Axes | None, size: tuple[float, float]) -> Axes:
    """Return the Axes to draw on; new ones are made by pyplot, since notebooks display only its figures."""
    if ax is None:
        from matplotlib import pyplot

        return pyplot.subplots(figsize=(float(size[0]), float(size[1])), layout="constrained")[1]
    return ax


def symmetric_limit(values: NDArray[np.float64]) -> tuple[float, str]:
    """Return the limit of the symmetric colour scale, and the ends at which values exceed it."""
    if not values.size or not values.any():
        return 1.0, "neither"
    maximum = float(np.abs(values).max())
    typical = float(np.quantile(np.abs(values), 0.99))
    limit = typical if 0 < 2 * typical < maximum else maximum
    ends = (values.min() < -limit, values.max() > limit)
    return limit, {(False, False): "neither", (True, False): "min", (False, True): "max", (True, True): "both"}[ends]


def draw_image(ax: Axes, values: NDArray[np.float64], colors: str, limit: float | None) -> AxesImage:
    """Draw an array, first row on top, with colours from -limit to limit or, for None, from minimum to maximum."""
    ax.grid(False)
    minimum = None if limit is None else -limit
    return ax.imshow(
        values, cmap=colors, vmin=minimum, vmax=limit, aspect="auto", interpolation="nearest", origin="upper"
    )


def add_color_bar(ax: Axes, image: AxesImage, label: str, extend: str) -> None:
    height = ax.get_window_extent().height * 72 / ax.figure.dpi
    ax.figure.colorbar(image, ax=ax, label=label, extend=extend, aspect=height / 12, extendfrac=12 / height, pad=0.02)


def new_panels(figure: Any, size: tuple[float, float]) -> tuple[Figure, list[Axes]]:
    """Return a figure, a new one for None, with two rows of two empty Axes."""
    require_matplotlib(None)
    from matplotlib.figure import FigureBase

    if figure is None:
        from matplotlib import pyplot

        figure = pyplot.figure(figsize=size, layout="constrained")
    elif not isinstance(figure, FigureBase):
        raise TypeError(f"figure must be a matplotlib Figure or None, got {type(figure).__name__}")
    panels = list(figure.subplots(2, 2).flat)
    for ax in panels:
        ax.spines["top"].set_visible(False)
        ax.spines["right"].set_visible(False)
    return figure, panels


def say(ax: Axes, sentence: str) -> None:
    """Write a sentence where there is nothing to draw."""
    ax.set_axis_off()
    ax.text(0.5, 0.5, sentence, transform=ax.transAxes, ha="center", va="center", color="0.4", wrap=True)


def plain_text(text: str) -> str:
    """Return a name as Matplotlib shows it unchanged, shortened if it is long: dollars would begin a formula."""
    return (text if len(text) <= LONGEST_NAME else f"{text[: LONGEST_NAME - 1]}…").replace("$", r"\$")
