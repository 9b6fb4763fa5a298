"""Interactions of public data sets from a folder that holds them; see README.md for where they come from."""

from __future__ import annotations

import gzip
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import scipy.sparse as sp

from alternant.datasets import load_msweb

if TYPE_CHECKING:
    from collections.abc import Callable


def _table(path: Path, delimiter: str) -> sp.csr_array:
    """Read user, item, value columns under one header line; ids are renumbered."""
    with gzip.open(path, "rt") if path.suffix == ".gz" else path.open() as file:
        columns = np.loadtxt(file, delimiter=delimiter, skiprows=1, usecols=(0, 1, 2))
    users = np.unique(columns[:, 0], return_inverse=True)[1]
    items = np.unique(columns[:, 1], return_inverse=True)[1]
    return sp.csr_array((columns[:, 2], (users, items)))


def _book_crossing(folder: Path) -> sp.csr_array:
    """All interactions count once: most are implicit and stored as 0."""
    matrix = _table(folder / "book-crossing" / "ratings.csv.gz", ",")
    matrix.data[:] = 1
    return matrix


LOADERS: dict[str, Callable[[Path], sp.csr_array]] = {
    "msweb": lambda _: load_msweb().interactions,
    "ml-latest-small": lambda folder: _table(folder / "ml-latest-small" / "ratings.csv", ","),
    "steam-200k": lambda folder: _table(folder / "steam-200k" / "game_play.dat", "\t"),
    "lastfm-hetrec2011": lambda folder: _table(folder / "lastfm-hetrec2011" / "user_artists.dat", "\t"),
    "book-crossing": _book_crossing,
}


def load(name: str, folder: Path) -> sp.csr_array:
    """Return a data set as users x items."""
    return LOADERS[name](folder)
