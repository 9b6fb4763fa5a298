"""Ranked lists as long tables, one row per user and item: titles, frames, Parquet and CSV files."""

from __future__ import annotations

import csv
import importlib.util
import os
import reprlib
from collections.abc import Callable, Iterator, KeysView, Mapping, Set
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..._utils.atomic import check_target, whole_file
from ..values import is_missing, object_array
from . import frames

Columns = dict[str, NDArray[Any]]
Write = Callable[[Columns], None]


def long_table(
    users: NDArray[Any], items: NDArray[Any], scores: NDArray[Any], titles: NDArray[Any] | None
) -> Columns:
    """Return the columns of a long table, without padding.

    Parameters
    ----------
    users : array, shape (m,)
    items, scores : arrays, shape (m, k)
        A score of -inf marks padding.
    titles : array, shape (m, k), or None
    """
    found = ~np.isneginf(scores)
    rows, places = np.nonzero(found)
    table = {"user": users[rows], "item": items[found], "score": scores[found], "rank": places + 1}
    if titles is not None:
        table["title"] = titles[found]
    return table


def column_names(columns: Any, with_titles: bool) -> dict[str, str]:
    """Return the names that a caller chose for the columns of a long table, by their usual names.

    Parameters
    ----------
    columns : mapping from names of `long_table` to others, or None
    with_titles : bool
        Whether the table has titles.
    """
    known = ["user", "item", "score", "rank", *(["title"] if with_titles else [])]
    if columns is None:
        return {name: name for name in known}
    if not isinstance(columns, Mapping) or not all(isinstance(name, str) and name for name in columns.values()):
        raise TypeError(f"columns must map names to names, as in {{'user': 'user_id'}}, got {columns!r}")
    others = [name for name in columns if name not in known]
    if others:
        raise ValueError(f"columns must rename some of {', '.join(known)}, got {others[0]!r}")
    names = {name: columns.get(name, name) for name in known}
    if len(set(names.values())) < len(names):
        raise ValueError(f"columns must have distinct names, got {', '.join(names.values())}")
    return names


def renamed(table: Columns, names: dict[str, str]) -> Columns:
    """Return a long table with other names of its columns."""
    return {names[name]: column for name, column in table.items()}


def titles_by_number(titles: Any, items: NDArray[Any]) -> NDArray[Any]:
    """Return the titles of all items, in the order of `items`; None for items without a title.

    Parameters
    ----------
    titles : mapping from ids to titles (a pandas Series too), frame with ids and titles, or sequence in items' order
    items : array
        The ids of the items.
    """
    if isinstance(titles, (str, bytes)) or not hasattr(titles, "__len__"):
        raise TypeError(
            "titles must be a mapping from item ids to titles, a list of all titles in the order of the items, or a "
            f"frame with ids and titles, got {type(titles).__name__}"
        )
    if isinstance(titles, Set) and not isinstance(titles, KeysView):
        raise TypeError(
            f"titles must be in the order of the items, got a {type(titles).__name__}, which is unordered: pass a "
            "list, or a mapping from item ids to titles"
        )
    if hasattr(titles, "to_dict") and hasattr(titles, "index") and not hasattr(titles, "columns"):  # a pandas Series
        titles = titles.to_dict()
    elif hasattr(titles, "columns"):
        titles = _titles_of_frame(titles)
    if not isinstance(titles, Mapping):
        listed = titles.tolist() if hasattr(titles, "tolist") else list(titles)
        if listed and isinstance(listed[0], (list, tuple, Mapping)):
            raise TypeError(
                f"titles must be single values, got {reprlib.repr(listed[0])} as the first one: pass a mapping from "
                "ids to titles, such as dict(pairs)"
            )
        if len(listed) != len(items):
            raise ValueError(
                f"titles must have one title for each of the {len(items)} items, in their order, got {len(listed)}: "
                "pass a mapping from ids to titles to name some of them"
            )
        return _titles_array(listed)
    found = [titles.get(item) for item in items.tolist()]
    if not any(item in titles for item in items.tolist()):
        raise ValueError(
            f"titles must name items by their ids, such as {items.tolist()[0]!r}, but match none of them: their "
            f"{len(titles)} keys look like {next(iter(titles), None)!r}"
        )
    return _titles_array(found)


def _titles_array(titles: list[Any]) -> NDArray[Any]:
    """Return titles, None where one is missing."""
    return object_array([None if is_missing(title) else title for title in titles])


def _titles_of_frame(frame: Any) -> dict[Any, Any]:
    opened = frames.open_frame("titles", frame)
    names = list(opened.columns)
    if {"item", "title"} <= set(names):
        names = ["item", "title"]
    if len(names) != 2:
        raise ValueError(
            "titles must have the columns 'item' and 'title', or two columns, ids and titles, got the columns "
            f"{names}: {_two_of(names)}"
        )
    ids, texts = (opened[name].to_list() for name in names)
    return dict(zip(ids, texts, strict=True))


def _two_of(names: list[str]) -> str:
    """Return what to pass instead of a frame with other columns."""
    if len(names) < 2:
        return "pass both (from pandas, frame.reset_index() has the index as a column)"
    called = next((name for name in names[1:] if "title" in str(name).casefold()), names[1])
    return f"keep two, as in frame[{[names[0], called]}]"


# Destinations of the tables of `recommend_all`


def destination(to: Any, name: str = "to") -> str:
    """Return the kind of destination, "function", ".csv", ".parquet" or "folder"; raise if it can't be written to."""
    if callable(to):
        return "function"
    if not isinstance(to, (str, os.PathLike)):
        raise TypeError(
            "to must be the name of a .parquet or .csv file or of a folder, or a function that takes a frame, got "
            f"{type(to).__name__}"
        )
    path, suffix = Path(to), Path(to).suffix.lower()
    folder = path.is_dir() or not suffix or os.fspath(to)[-1:] in ("/", os.sep)
    if not folder and suffix not in (".parquet", ".csv"):
        raise ValueError(
            f"{name} must end in .parquet or .csv, or name a folder, got {str(path)!r}: change the file name, or end "
            "that of a folder with a slash"
        )
    _check_folder(path) if folder else check_target(path, "lists")
    if (folder or suffix == ".parquet") and importlib.util.find_spec("pyarrow") is None:
        raise ImportError(
            f"{name}={str(path)!r} needs pyarrow, which is not installed: pip install 'alternant[files]', or write a "
            ".csv file"
        )
    return "folder" if folder else suffix


def _check_folder(folder: Path) -> None:
    if folder.is_dir():
        check_target(folder / "part", "lists")
        return
    if folder.exists():
        raise NotADirectoryError(f"{str(folder)!r} is a file: name a .parquet or .csv file, or a new folder for lists")
    check_target(folder, "lists")


@contextmanager
def open_writer(to: Any, names: list[str], library: str | None) -> Iterator[Write]:
    """Yield a function that writes long tables with these columns, one after another, to a function or a .csv file.

    `library` is that of the frames passed to a function.
    """
    if callable(to):
        yield lambda columns: to(frames.make_frame(columns, library))
        return
    with whole_file(to, "lists") as path, path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(_Lines(file), lineterminator="\r\n")  # which also quotes a carriage return
        writer.writerow(names)
        yield lambda columns: writer.writerows(zip(*map(_texts, columns.values()), strict=True))


class _Lines:
    """A file that ends its lines with a line feed alone."""

    def __init__(self, file: Any) -> None:
        self.file = file

    def write(self, line: str) -> None:
        self.file.write(line.removesuffix("\r\n") + "\n")


def _texts(column: NDArray[Any]) -> list[Any]:
    # As a Python number, a float32 would be written with the 17 digits of a float64.
    texts: list[Any] = (column.astype(str) if column.dtype == np.float32 else column).tolist()
    return [text.decode("utf-8", "backslashreplace") if isinstance(text, bytes) else text for text in texts]
