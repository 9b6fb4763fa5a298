"""Text of `alternant.plotting`: tick labels, numbers in cells and labels of points that do not overlap."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.image import AxesImage

    from .._typing import Names

MAX_LENGTH = 32
MIN_NAME_FONT, MIN_NUMBER_FONT, MAX_FONT = 5.5, 7.0, 9.0  # points
DIGIT_WIDTH = 0.62  # relative to the font size
GAP = 2.0  # points between a dot and its label
# Directions from a dot to its label, the most readable first.
SIDES = ((1, 0), (-1, 0), (0, 1), (0, -1), (1, 1), (-1, 1), (1, -1), (-1, -1))
MAX_DISTANCE = 90  # points between the dot and the label of a highlighted item


def labels_of(name: str, names: Names | None, rows: NDArray[np.int64], count: int, kind: str) -> list[str]:
    """Return the names of rows, truncated, or their numbers if there are no names."""
    if names is None:
        return [str(row) for row in rows]
    if isinstance(names, (str, bytes)) or not hasattr(names, "__len__"):
        raise TypeError(f"{name} must be a sequence of names, one per {kind}, got {type(names).__name__}")
    if len(names) != count:
        raise ValueError(
            f"{name} must have length {count}, one name per {kind} of the model, got {len(names)}: pass them all"
        )
    every = list(names)  # a frame's column may index by label
    return [_short(str(every[row])) for row in rows]


def label_ticks(ax: Axes, axis: str, names: list[str], numbers: bool) -> None:
    """Label the rows (axis "y") or columns ("x") of an image in a font that fits, leaving labels out if none does."""
    n = len(names)
    pitch = _length(ax, axis) / n
    # The font size at which every label fits: column numbers are horizontal, column names slanted.
    fitting = pitch / (DIGIT_WIDTH * max(map(len, names)) + 0.8) if axis == "x" and numbers else 0.82 * pitch
    font = float(np.clip(fitting, MIN_NUMBER_FONT if numbers else MIN_NAME_FONT, MAX_FONT))
    step = int(np.ceil(font / fitting))
    if numbers:
        step = next(size * 10**power for power in range(10) for size in (1, 2, 5) if size * 10**power >= step)
    kept = range(0, n, step)
    style: dict[str, Any] = {"fontsize": font, "parse_math": False}
    if axis == "x" and not numbers:
        style.update(rotation=45, ha="right", rotation_mode="anchor")
    (ax.set_xticks if axis == "x" else ax.set_yticks)(kept, [names[i] for i in kept], **style)
    ax.tick_params(axis="x" if axis == "x" else "y", length=0)


def label_cells(ax: Axes, image: AxesImage, predicted: NDArray[np.float64], actual: NDArray[np.float64]) -> None:
    """Write "predicted (actual)" into every cell, in black or white for contrast."""
    maximum = np.abs(predicted).max()
    decimals = 2 if maximum < 2 else 1 if maximum < 100 else 0
    # Adding 0 turns -0.0 into 0.0.
    left = [[f"{np.round(p, decimals) + 0.0:.{decimals}f}" for p in row] for row in predicted]
    right = [["" if np.isnan(a) else f"({a:.4g})" for a in row] for row in actual]
    width = _length(ax, "x") / predicted.shape[1]
    height = _length(ax, "y") / predicted.shape[0]
    widest = [max(len(cell) for row in part for cell in row) for part in (left, right)]
    one_line = min(width / (DIGIT_WIDTH * (sum(widest) + 2)), 0.6 * height)
    two_lines = min(width / (DIGIT_WIDTH * (max(widest) + 1)), 0.38 * height)
    # On one line if it is readable.
    between, font = (" ", one_line) if one_line >= min(two_lines, MIN_NUMBER_FONT) else ("\n", two_lines)
    shown: Any = image.get_array()
    colors = image.to_rgba(shown)
    for row, column in np.ndindex(predicted.shape):
        light = np.ma.getmaskarray(shown)[row, column] or colors[row, column, :3] @ (0.299, 0.587, 0.114) > 0.5
        cell = left[row][column] + (between + right[row][column] if right[row][column] else "")
        ax.text(
            column, row, cell, ha="center", va="center", fontsize=float(np.clip(font, 3, MAX_FONT)),
            color="black" if light else "white", linespacing=1.0,
        )  # fmt: skip


def lay_out(ax: Axes) -> None:
    """Run the layout of the figure, on which distances in points depend."""
    ax.figure.canvas.figure.draw_without_rendering()


def label_points(
    ax: Axes, points: NDArray[np.float64], names: list[str], radii: NDArray[np.float64], bold: NDArray[np.bool_],
    most: int,
) -> None:  # fmt: skip
    """Label dots in the given order, where a label overlaps no other, in the direction that hides the fewest dots."""
    from matplotlib.patheffects import withStroke

    lay_out(ax)
    to_points = 72 / ax.figure.dpi
    dots = ax.transData.transform(points) * to_points
    frame = np.asarray(ax.get_window_extent().extents) * to_points + (GAP, GAP, -GAP, -GAP)
    halo = [withStroke(linewidth=2, foreground="white", alpha=0.8)]  # labels may cover other dots
    boxes = np.empty((0, 4))
    ruler = ax.text(0, 0, "", parse_math=False)
    for index, name in enumerate(names):
        if len(boxes) >= most:
            break
        style: dict[str, Any] = {"fontsize": 9 if bold[index] else 8, "fontweight": "bold" if bold[index] else "normal"}
        ruler.update({"text": name, **style})
        extent = ruler.get_window_extent()
        size = np.array([extent.width, extent.height]) * to_points * 1.05 + 1  # text is wider at some resolutions
        found = _free_box(dots[index], radii[index] + GAP, size, boxes, dots, frame, MAX_DISTANCE if bold[index] else 0)
        if found is None:
            continue
        box, far = found
        boxes = np.vstack([boxes, box])
        ax.annotate(
            name, points[index], (box[:2] + box[2:]) / 2 - dots[index], textcoords="offset points", ha="center",
            va="center", parse_math=False, color="black" if bold[index] else "0.25",
            path_effects=halo, **style,
            arrowprops={"arrowstyle": "-", "color": "0.4", "linewidth": 0.7} if far else None,
        )  # fmt: skip
    ruler.remove()


def _free_box(
    dot: NDArray[np.float64], gap: float, size: NDArray[np.float64], boxes: NDArray[np.float64],
    dots: NDArray[np.float64], frame: NDArray[np.float64], farthest: float,
) -> tuple[NDArray[np.float64], bool] | None:  # fmt: skip
    """Return a free box (left, bottom, right, top) near the dot, and whether it needs a line to the dot."""
    for distance in np.arange(0, farthest + 1, 15):
        best, fewest = None, np.inf
        for side in SIDES:
            reach = (gap + distance) / np.hypot(*side)
            centre = dot + np.array(side) * (reach + size / 2)
            box = np.concatenate([centre - size / 2, centre + size / 2])
            if (box[:2] < frame[:2]).any() or (box[2:] > frame[2:]).any():
                continue
            if ((boxes[:, :2] < box[2:]) & (boxes[:, 2:] > box[:2])).all(axis=1).any():
                continue
            hidden = ((dots > box[:2]) & (dots < box[2:])).all(axis=1).sum()
            if hidden < fewest:
                best, fewest = box, hidden
        if best is not None:
            return best, bool(distance)
    return None


def _length(ax: Axes, axis: str) -> float:
    """Return the length of an axis in points, which may change until the layout is run."""
    extent = ax.get_window_extent()
    return float(extent.height if axis == "y" else extent.width) * 72 / ax.figure.dpi


def _short(name: str) -> str:
    name = " ".join(name.split())
    return name if len(name) <= MAX_LENGTH else name[: MAX_LENGTH - 1].rstrip() + "…"
