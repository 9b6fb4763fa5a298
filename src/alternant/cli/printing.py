"""Output of the commands: ranked lists and tables, JSON for scripts."""

from __future__ import annotations

import itertools
import json
import shutil
import sys
from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np

from .._utils.guard import Guarded

Titles = dict[Any, str] | None


def print_lists(blocks: Iterable[tuple[Any, Any, Any]], titles: Titles, of: str, column: str) -> None:
    """Print a table with a row for each item of each list.

    Parameters
    ----------
    blocks : iterable of (ids, ids of items, scores)
        As `recommend_all` yields them.
    titles : dict or None
    of, column : str
        The names of the first two columns.
    """
    lists = _lists(blocks, titles, column)
    print_table({of: one, **row} for one, rows in lists for row in rows)


def print_json_lists(blocks: Iterable[tuple[Any, Any, Any]], titles: Titles, of: str, column: str) -> None:
    """Print each list, even if it is empty, as one line of JSON."""
    for one, rows in _lists(blocks, titles, "item"):
        print_json({of: one, column: rows}, indent=None)


def _lists(blocks: Iterable[Any], titles: Titles, column: str) -> Iterator[tuple[Any, list[dict[str, Any]]]]:
    for who, ids, scores in blocks:
        for one, listed, values in zip(who.tolist(), ids.tolist(), scores, strict=True):
            ranked = enumerate(zip(listed, values, strict=True), 1)
            yield (
                one,
                [
                    {column: item, "score": score, "rank": rank, **title(titles, item)}
                    for rank, (item, score) in ranked
                    if score != -np.inf
                ],
            )


def title(titles: Titles, item: Any) -> dict[str, Any]:
    """Return the title of an item as an entry for its row; nothing if there are no titles."""
    return {} if titles is None else {"title": titles.get(item)}


def print_table(rows: Iterable[dict[str, Any]]) -> None:
    """Print rows: on a terminal aligned and cut to its width, elsewhere separated by tabs."""
    rows = iter(rows)
    first = next(rows, None)
    if first is None:
        return
    if not sys.stdout.isatty():
        print("\t".join(first))
        for row in itertools.chain([first], rows):
            print("\t".join(short(value, 8) if name == "title" else _field(value) for name, value in row.items()))
        return
    table = [first, *rows]
    texts = [list(first), *([short(value) for value in row.values()] for row in table)]
    widths = [max(len(line[at]) for line in texts) for at in range(len(first))]
    numeric = [isinstance(value, (int, float, np.floating)) for value in first.values()]
    for line in texts:
        cells = [text.rjust(width) if number else text.ljust(width)
                 for text, width, number in zip(line, widths, numeric, strict=True)]  # fmt: skip
        print("  ".join(cells).rstrip()[: shutil.get_terminal_size().columns])


def _field(value: Any) -> str:
    """Format a value for a table whose columns are separated by tabs; as in a file of text, quotes enclose a tab."""
    if isinstance(value, str) and (value.startswith('"') or not value.isprintable()):
        quoted = value.replace('"', '""')
        return f'"{quoted}"'
    return short(value, 8)


def short(value: Any, digits: int = 4) -> str:
    """Format a value for a table."""
    if value is None:
        return "-"
    if isinstance(value, (float, np.floating)):
        value = float(value)
        return f"{value:.4f}" if digits == 4 and 1e-3 <= abs(value) < 1e4 else f"{value:.{digits}g}"
    if isinstance(value, (list, tuple)):
        return ", ".join(short(part, digits) for part in value)
    text = str(value)
    return text if text.isprintable() else repr(text)[1:-1]


def print_json(value: Any, indent: int | None = 2) -> None:
    """Print a value as JSON; unless the stream is UTF-8, non-ASCII characters are escaped."""
    escape = (sys.stdout.encoding or "").lower().replace("-", "") != "utf8"
    print(json.dumps(plain(value), indent=indent, allow_nan=False, ensure_ascii=escape))


def plain(value: Any) -> Any:
    """Convert a value for JSON: NumPy scalars to Python's, numbers that are not finite to None."""
    if isinstance(value, dict):
        return {str(name): plain(part) for name, part in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(part) for part in value]
    if isinstance(value, np.float32):
        value = float(str(value))  # with the digits of a float32, not the 17 of a float64
    elif isinstance(value, np.generic) and value.dtype.kind in "biuf":
        value = value.item()
    if isinstance(value, float):
        return value if np.isfinite(value) else None
    if isinstance(value, Guarded):  # a model, whose text has many lines
        return repr(value)
    return value if value is None or isinstance(value, (bool, int, str)) else str(value)
