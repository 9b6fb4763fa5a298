"""Interactions of public data sets, from a folder that holds them; benchmarks/README.md describes its layout."""

from __future__ import annotations

import gzip
import sys
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import scipy.sparse as sp

from alternant.datasets import load_msweb
from alternant.evaluation import leave_one_out

if TYPE_CHECKING:
    from collections.abc import Callable


def _table(path: Path, delimiter: str) -> sp.csr_array:
    """Read user, item and value columns below one header line; ids are renumbered."""
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


def _published_split(name: str, folder: Path) -> sp.csr_array:
    """The train part of a published split, whose test part is only for `accuracy`."""
    return sp.csr_array(sp.load_npz(folder / name / "train.npz"))


def _liked_jokes(folder: Path) -> sp.csr_array:
    """Jokes rated above 4 of 10, as ones: 100 items, 23 per user."""
    liked = _jester(folder)
    liked.data = (liked.data > 4).astype(np.float64)
    liked.eliminate_zeros()
    return liked


def _jester(folder: Path) -> sp.csr_array:
    """Ratings from -9.95 to 10; some are exactly 0."""
    with np.load(folder / "jester-1" / "jester.npz") as file:
        return sp.csr_array((file["data"], file["indices"], file["indptr"]), shape=tuple(file["shape"]))


def _rated_books(folder: Path) -> sp.csr_array:
    """Only ratings from 1 to 10 (there is one stray 11), with the users and books that are left."""
    matrix = _table(folder / "book-crossing" / "ratings.csv.gz", ",").tocoo()
    rated = (matrix.data >= 1) & (matrix.data <= 10)
    users, items = (np.unique(ids[rated], return_inverse=True)[1] for ids in (matrix.row, matrix.col))
    return sp.csr_array((matrix.data[rated], (users, items)))


LOADERS: dict[str, Callable[[Path], sp.csr_array]] = {
    "msweb": lambda _: load_msweb().interactions,
    "ml-latest-small": lambda folder: _table(folder / "ml-latest-small" / "ratings.csv", ","),
    "steam-200k": lambda folder: _table(folder / "steam-200k" / "game_play.dat", "\t"),
    "lastfm-hetrec2011": lambda folder: _table(folder / "lastfm-hetrec2011" / "user_artists.dat", "\t"),
    "book-crossing": _book_crossing,
    "jester-1": _liked_jokes,
    "gowalla": partial(_published_split, "gowalla"),
    "yelp2018": partial(_published_split, "yelp2018"),
}

RATINGS: dict[str, Callable[[Path], sp.csr_array]] = {
    "ml-latest-small": LOADERS["ml-latest-small"],
    "book-crossing": _rated_books,
    "jester-1": _jester,
}
RATING_RANGES = {"ml-latest-small": (0.5, 5.0), "book-crossing": (1.0, 10.0), "jester-1": (-10.0, 10.0)}
LIKED_FROM = {"ml-latest-small": 4.0, "jester-1": 0.005}  # ratings of jester-1 have two decimals: all above 0


def _read(loaders: dict[str, Callable[[Path], sp.csr_array]], name: str, folder: Path) -> sp.csr_array:
    try:
        return loaders[name](folder)
    except OSError as error:
        sys.exit(f"can't read {name}: {error}")


def load(name: str, folder: Path) -> sp.csr_array:
    """Return a data set as users x items."""
    return _read(LOADERS, name, folder)


def load_ratings(name: str, folder: Path, max_users: int | None = None) -> sp.coo_array:
    """Return explicit ratings as users x items; with `max_users`, of the first users and the items they rated."""
    ratings = _read(RATINGS, name, folder)[:max_users].tocoo()
    rated, columns = np.unique(ratings.col, return_inverse=True)
    return sp.coo_array((ratings.data, (ratings.row, columns)), shape=(ratings.shape[0], len(rated)))


def load_likes(name: str, folder: Path, max_users: int | None = None) -> sp.coo_array:
    """Return likes (1) and dislikes (0, stored) as users x items."""
    ratings = load_ratings(name, folder, max_users)
    return with_data(ratings, (ratings.data >= LIKED_FROM[name]).astype(np.float32))


def with_data(matrix: sp.coo_array, data: np.ndarray, keep: np.ndarray | slice = slice(None)) -> sp.coo_array:
    """Return a matrix with other values, and optionally only some of the entries; zeros stay stored."""
    return sp.coo_array((data[keep], (matrix.row[keep], matrix.col[keep])), shape=matrix.shape)


def folds(ratings: sp.coo_array, count: int, seed: int = 0) -> list[tuple[sp.coo_array, sp.coo_array]]:
    """Return (train, test) for each fold of a cross-validation over the entries."""
    parts = []
    for held in np.array_split(np.random.default_rng(seed).permutation(ratings.nnz), count):
        test = np.zeros(ratings.nnz, bool)
        test[held] = True
        parts.append((with_data(ratings, ratings.data, ~test), with_data(ratings, ratings.data, test)))
    return parts


MAX_TEST_USERS = 10_000  # enough for a standard error of 0.003


def one_left_out(name: str, folder: Path, seed: int = 0) -> tuple[sp.csr_array, sp.csr_array, np.ndarray]:
    """Return train, test with one interaction per user, and the users to test."""
    train, test = leave_one_out(load(name, folder), random_state=seed)
    users = np.flatnonzero(np.diff(test.indptr))
    if len(users) > MAX_TEST_USERS:
        users = np.sort(np.random.default_rng(seed).choice(users, MAX_TEST_USERS, replace=False))
    return train, test, users
