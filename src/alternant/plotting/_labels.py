"""What `alternant.plotting` writes into its pictures: names of rows, numbers in cells, names that don't overlap."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.image import AxesImage

LONGEST_NAME = 32
LEAST_FONT, LEAST_NUMBER, GREATEST_FONT = 5.5, 7.0, 9.0  # points
LETTER = 0.62  # width of a digit by the font size
GAP = 2.0  # points between a dot and its name
# Where a name may stand, by its anchor: the side of the dot first on which it reads best.
SIDES = ((1, 0), (-1, 0), (0, 1), (0, -1), (1, 1), (-1, 1), (1, -1), (-1, -1))
FARTHEST = 90  # points that the name of a highlighted item may be away from its dot


def chosen_names(name: str, names: Sequence[Any] | None, rows: NDArray[np.int64], count: int, kind: str) -> list[str]:
    """Return the names of some rows, cut to a readable length; their numbers where there are no names."""
    if names is None:
        return [str(row) for row in rows]
    if isinstance(names, (str, bytes)) or not hasattr(names, "__len__"):
        raise TypeError(f"{name} must be a sequence of names, one for each {kind}, got {type(names).__name__}")
    if len(names) != count:
        raise ValueError(f"{name} must be {count}, one for each {kind} of the model, got {len(names)}: pass them all")
    every = list(names)  # a frame's column has its own way with [row]
    return [_short(str(every[row])) for row in rows]


def name_cells(ax: Axes, axis: str, names: list[str], numbers: bool) -> None:
    """Name the rows (axis "y") or columns ("x") of an image, in letters as small as need be, or not all of them."""
    n = len(names)
    pitch = _length(ax, axis) / n
    # The font size at which every name has room: numbers of columns stand upright, names of columns are slanted.
    room = pitch / (LETTER * max(map(len, names)) + 0.8) if axis == "x" and numbers else 0.82 * pitch
    font = float(np.clip(room, LEAST_NUMBER if numbers else LEAST_FONT, GREATEST_FONT))
    step = int(np.ceil(font / room))
    if numbers:
        step = next(size * 10**power for power in range(10) for size in (1, 2, 5) if size * 10**power >= step)
    kept = range(0, n, step)
    style: dict[str, Any] = {"fontsize": font, "parse_math": False}
    if axis == "x" and not numbers:
        style.update(rotation=45, ha="right", rotation_mode="anchor")
    (ax.set_xticks if axis == "x" else ax.set_yticks)(kept, [names[i] for i in kept], **style)
    ax.tick_params(axis="x" if axis == "x" else "y", length=0)


def fill_cells(ax: Axes, image: AxesImage, predicted: NDArray[np.float64], actual: NDArray[np.float64]) -> None:
    """Write "predicted (actual)" into every cell, black or white, whichever stands out."""
    greatest = np.abs(predicted).max()
    decimals = 2 if greatest < 2 else 1 if greatest < 100 else 0
    # Adding 0 turns -0.0 into 0.0.
    left = [[f"{np.round(p, decimals) + 0.0:.{decimals}f}" for p in row] for row in predicted]
    right = [["" if np.isnan(a) else f"({a:.4g})" for a in row] for row in actual]
    width = _length(ax, "x") / predicted.shape[1]
    height = _length(ax, "y") / predicted.shape[0]
    widest = [max(len(cell) for row in part for cell in row) for part in (left, right)]
    one_line = min(width / (LETTER * (sum(widest) + 2)), 0.6 * height)
    two_lines = min(width / (LETTER * (max(widest) + 1)), 0.38 * height)
    # On one line where it can be read.
    between, font = (" ", one_line) if one_line >= min(two_lines, LEAST_NUMBER) else ("\n", two_lines)
    shown: Any = image.get_array()
    colors = image.to_rgba(shown)
    for row, column in np.ndindex(predicted.shape):
        light = np.ma.getmaskarray(shown)[row, column] or colors[row, column, :3] @ (0.299, 0.587, 0.114) > 0.5
        cell = left[row][column] + (between + right[row][column] if right[row][column] else "")
        ax.text(
            column, row, cell, ha="center", va="center", fontsize=float(np.clip(font, 3, GREATEST_FONT)),
            color="black" if light else "white", linespacing=1.0,
        )  # fmt: skip


def settle(ax: Axes) -> None:
    """Let the figure lay itself out, since distances on paper depend on it."""
    ax.figure.canvas.figure.draw_without_rendering()


def place(
    ax: Axes, points: NDArray[np.float64], names: list[str], radii: NDArray[np.float64], bold: NDArray[np.bool_],
    most: int,
) -> None:  # fmt: skip
    """Set names beside dots, the first first: where one overlaps no other, on the side that hides the fewest dots."""
    from matplotlib.patheffects import withStroke

    settle(ax)
    to_points = 72 / ax.figure.dpi
    dots = ax.transData.transform(points) * to_points
    frame = np.asarray(ax.get_window_extent().extents) * to_points + (GAP, GAP, -GAP, -GAP)
    halo = [withStroke(linewidth=2, foreground="white", alpha=0.8)]  # names lie over other dots
    boxes = np.empty((0, 4))
    ruler = ax.text(0, 0, "", parse_math=False)
    for index, name in enumerate(names):
        if len(boxes) >= most:
            break
        style: dict[str, Any] = {"fontsize": 9 if bold[index] else 8, "fontweight": "bold" if bold[index] else "normal"}
        ruler.update({"text": name, **style})
        extent = ruler.get_window_extent()
        size = np.array([extent.width, extent.height]) * to_points * 1.05 + 1  # letters are wider at some resolutions
        found = _free_place(dots[index], radii[index] + GAP, size, boxes, dots, frame, FARTHEST if bold[index] else 0)
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


def _free_place(
    dot: NDArray[np.float64], gap: float, size: NDArray[np.float64], boxes: NDArray[np.float64],
    dots: NDArray[np.float64], frame: NDArray[np.float64], farthest: float,
) -> tuple[NDArray[np.float64], bool] | None:  # fmt: skip
    """Return a box (left, bottom, right, top) beside the dot, and whether it is so far that it needs a line."""
    for distance in np.arange(0, farthest + 1, 15):
        best, least = None, np.inf
        for side in SIDES:
            reach = (gap + distance) / np.hypot(*side)
            centre = dot + np.array(side) * (reach + size / 2)
            box = np.concatenate([centre - size / 2, centre + size / 2])
            if (box[:2] < frame[:2]).any() or (box[2:] > frame[2:]).any():
                continue
            if ((boxes[:, :2] < box[2:]) & (boxes[:, 2:] > box[:2])).all(axis=1).any():
                continue
            hidden = ((dots > box[:2]) & (dots < box[2:])).all(axis=1).sum()
            if hidden < least:
                best, least = box, hidden
        if best is not None:
            return best, bool(distance)
    return None


def _length(ax: Axes, axis: str) -> float:
    """Return the length of an axis in points, as far as it is known before the layout is."""
    extent = ax.get_window_extent()
    return float(extent.height if axis == "y" else extent.width) * 72 / ax.figure.dpi


def _short(name: str) -> str:
    name = " ".join(name.split())
    return name if len(name) <= LONGEST_NAME else name[: LONGEST_NAME - 1].rstrip() + "…"
