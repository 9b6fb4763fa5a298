"""Train-test splits of interactions.

Every split takes a SciPy sparse matrix (any format; duplicates are summed first) or `Interactions`, leaves it unchanged
and returns the same kind: matrices of the same shape, or `Interactions` with the same ids. Train and test are disjoint
and, except for `hold_out_users`, together hold all entries. The same `random_state` gives the same split on every
platform.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, Generic, NamedTuple, TypeVar, overload

import numpy as np
from numpy.typing import NDArray

from .._utils.messages import parameter, refusal
from .._utils.splitmix import GOLDEN, mix, mix_array
from .._utils.validation import check_integer, check_share, random_generator
from ..data.hold_out import hold_out
from ..data.internals import divide, is_stored
from ..data.io.columns import to_datetime
from ._table import Table

if TYPE_CHECKING:
    from scipy.sparse import csr_array

    from .._typing import Seed, Sparse, Split, Stores
    from ..data.interactions import Interactions

Part = TypeVar("Part")

@overload
def leave_one_out(interactions: Interactions, *, random_state: Seed = None) -> Split[Interactions]: ...
@overload
def leave_one_out(interactions: Sparse, *, random_state: Seed = None) -> Split[csr_array]: ...
def leave_one_out(interactions: Any, *, random_state: Any = None) -> tuple[Any, Any]:
    """Hold out one random positive interaction of every user with at least two interactions.

    Users with a single interaction, or without a positive one, have no test items.

    Parameters
    ----------
    interactions : sparse matrix or array, shape (n_users, n_items), or Interactions
        Any format, index type and dtype. Duplicates are summed first.
    random_state : int, numpy.random.Generator, numpy.random.RandomState or None
        Seed; the same seed gives the same split.

    Returns
    -------
    train, test : scipy.sparse.csr_array, shape (n_users, n_items), or Interactions
        Disjoint parts whose sum is `interactions`, both of its dtype (int64 if sums of duplicates overflow it).
        `test` holds at most one entry per row.

    Raises
    ------
    TypeError
        If `interactions` is not sparse or does not hold real numbers.
    ValueError
        If `interactions` is not two-dimensional, is corrupt, or holds NaN or infinite values.

    Examples
    --------
    >>> import numpy as np
    >>> from scipy import sparse
    >>> from alternant.evaluation import leave_one_out
    >>> train, test = leave_one_out(sparse.csr_array(np.eye(3) + np.eye(3, k=1)), random_state=0)
    >>> train.sum(axis=1).tolist(), test.sum(axis=1).tolist()
    ([1.0, 1.0, 1.0], [1.0, 1.0, 0.0])
    """
    table = Table(interactions)
    positive = np.flatnonzero(table.rows.data > 0)  # dislikes are not retrieval targets
    n_positive = np.bincount(table.owner[positive], minlength=table.rows.shape[0])
    known = np.bincount(table.owner[table.rows.data != 0], minlength=table.rows.shape[0])
    users = np.flatnonzero((known >= 2) & (n_positive >= 1))
    first = np.concatenate([[0], np.cumsum(n_positive)])[users]  # offset of each user's first positive entry
    rng = random_generator(random_state)
    held_out = np.zeros(len(table.rows.data), dtype=bool)
    held_out[positive[first + rng.integers(0, n_positive[users])]] = True
    return table.split(held_out)


@overload
def leave_k_out(interactions: Interactions, k: int = 5, *, random_state: Seed = None) -> Split[Interactions]: ...
@overload
def leave_k_out(interactions: Sparse, k: int = 5, *, random_state: Seed = None) -> Split[csr_array]: ...
def leave_k_out(interactions: Any, k: int = 5, *, random_state: Any = None) -> tuple[Any, Any]:
    """Hold out `k` random positive interactions of every user with more than `k` interactions.

    Parameters
    ----------
    interactions : as for `leave_one_out`
    k : int
        At least 1. Users with fewer positive interactions, or with none left for training, have no test items.
    random_state : as for `leave_one_out`

    Returns
    -------
    train, test
        As `leave_one_out`; `test` holds `k` entries or none per row.
    """
    table = Table(interactions)
    keys = random_generator(random_state).random(len(table.rows.data))
    return table.split(_k_smallest(table, check_integer("k", k, 1), keys))


@overload
def leave_last_out(interactions: Interactions, k: int = 1, *, times: Any = None) -> Split[Interactions]: ...
@overload
def leave_last_out(interactions: Sparse, k: int = 1, *, times: Any = None) -> Split[csr_array]: ...
def leave_last_out(interactions: Any, k: int = 1, *, times: Any = None) -> tuple[Any, Any]:
    """Hold out the latest `k` positive interactions of every user with more than `k` interactions.

    Parameters
    ----------
    interactions : as for `leave_one_out`
    k : int
        At least 1.
    times : array aligned with the data of a canonical CSR matrix, or sparse matrix of the same pairs, optional
        Time of every entry; not needed for `Interactions` made with ``time=``. Ties in time go to the higher item
        number as the later one.

    Returns
    -------
    train, test
        As `leave_one_out`.

    Raises
    ------
    ValueError
        If times are missing or do not match `interactions`; and as `leave_one_out`.
    """
    table = Table(interactions, times, timed=True)
    entries = np.arange(len(table.rows.data))
    rank = np.empty(len(entries))
    rank[np.lexsort((entries, table.times))] = -entries  # the latest first
    return table.split(_k_smallest(table, check_integer("k", k, 1), rank))


@overload
def random_split(
    interactions: Interactions, fraction: float = 0.2, *, random_state: Seed = None, stores: Stores | None = None
) -> Split[Interactions]: ...
@overload
def random_split(interactions: Sparse, fraction: float = 0.2, *, random_state: Seed = None) -> Split[csr_array]: ...
def random_split(
    interactions: Any, fraction: float = 0.2, *, random_state: Any = None, stores: Any = None
) -> tuple[Any, Any]:
    """Hold out a random fraction of all entries, including dislikes and ratings of 0.

    Parameters
    ----------
    interactions : as for `leave_one_out`
    fraction : float
        Between 0 and 1, exclusive. The number of entries is rounded, and neither part is empty.
    random_state : as for `leave_one_out`
    stores : (path, path), optional
        For `Interactions` in a store: new folders to write the stores of train and test to, in bounded memory. Each
        pair is held out with probability `fraction`, so that their number is not exactly that fraction, and they are
        others than those of a split in memory. A call that is repeated with the same whole number as `random_state`
        opens the stores that are there, and one after a call that was killed deletes what that has left.

    Returns
    -------
    train, test
        As `leave_one_out`, with any number of entries per row.

    Raises
    ------
    StoreError, OSError
        If a store is damaged; and with `stores`, if a folder holds something else, can't be written to, or is being
        written by another process, or the disk is full.
    TypeError, ValueError
        As `leave_one_out`, and if `stores` are given for interactions that are not in a store.
    """
    if stores is not None:
        return _split_store(interactions, fraction, random_state, stores)
    table = Table(interactions)
    size = len(table.rows.data)
    wanted = _count(fraction, size)
    held_out = np.zeros(size, bool)
    held_out[random_generator(random_state).permutation(size)[:wanted]] = True
    return table.split(held_out)


def _split_store(interactions: Any, fraction: float, random_state: Any, stores: Any) -> tuple[Any, Any]:
    share = check_share("fraction", fraction)
    if not hasattr(interactions, "reindex") or not is_stored(interactions):
        raise TypeError(
            f"stores are for Interactions in a store, got {type(interactions).__name__} in memory: leave out stores"
        )
    pair = isinstance(stores, (list, tuple)) and len(stores) == 2
    if not pair or not all(isinstance(path, (str, os.PathLike)) for path in stores):
        raise TypeError(f"stores must be two paths, of train and of test, got {stores!r}")
    paths = Path(stores[0]).absolute(), Path(stores[1]).absolute()
    if paths[0] == paths[1]:
        raise ValueError(f"stores must be two different paths, of train and of test, got {stores!r}")
    seed = int(random_generator(random_state).integers(1 << 63))
    start, columns = np.uint64(mix(seed)), np.uint64(interactions.shape[1])
    least = np.uint64(min(int(share * 2.0**64), (1 << 64) - 1))

    def held_out(users: NDArray[np.int64], items: NDArray[np.int64]) -> NDArray[np.bool_]:
        """Return whether a function of seed, user and item that is evenly spread is below the fraction."""
        pairs = users.astype(np.uint64) * columns + items.astype(np.uint64)
        return np.asarray(mix_array(start + np.uint64(GOLDEN) * (pairs + np.uint64(1))) < least)

    parts = divide(interactions, paths, held_out, {"kind": "random split", "fraction": share, "seed": seed})
    return parts[0], parts[1]


@overload
def split_by_time(
    interactions: Interactions, fraction: float | None = None, *, at: Any = None, times: Any = None
) -> Split[Interactions]: ...
@overload
def split_by_time(
    interactions: Sparse, fraction: float | None = None, *, at: Any = None, times: Any = None
) -> Split[csr_array]: ...
def split_by_time(
    interactions: Any, fraction: float | None = None, *, at: Any = None, times: Any = None
) -> tuple[Any, Any]:
    """Hold out the latest interactions: all entries from a point in time on.

    Parameters
    ----------
    interactions : as for `leave_one_out`
    fraction : float, optional
        Approximate fraction of entries to hold out; entries with the same time stay together. By default 0.2 if `at`
        is not given.
    at : number, date or string that numpy.datetime64 reads, optional
        Hold out the entries at this time or later.
    times : as for `leave_last_out`

    Returns
    -------
    train, test
        As `leave_one_out`. Users and items without an earlier entry have none in `train`.
    """
    if fraction is not None and at is not None:
        both = f"{parameter('fraction', fraction)} and at={at!r}"
        raise refusal(ValueError, f"split_by_time takes fraction or at, got {both}: pass one")
    table = Table(interactions, times, timed=True)
    if at is None:
        wanted = _count(0.2 if fraction is None else fraction, len(table.times))
        at = np.sort(table.times)[len(table.times) - wanted]
    elif table.times.dtype.kind == "M":
        try:
            at = to_datetime(at)
        except (TypeError, ValueError):
            raise ValueError(f"at must be a date, like the times, got {at!r}") from None
    elif isinstance(at, (str, bool)) or not np.isscalar(at) or np.isnan(at):
        raise ValueError(f"at must be a number, like the times, got {at!r}")
    held_out = table.times >= at
    if held_out.all() or not held_out.any():
        raise ValueError(
            f"train and test must both have entries, got {int((~held_out).sum())} before {at} and "
            f"{int(held_out.sum())} from then on: pass at between {table.times.min()} and {table.times.max()}"
        )
    return table.split(held_out)


@overload
def k_fold(
    interactions: Interactions, n_splits: int = 5, *, random_state: Seed = None
) -> Iterator[Split[Interactions]]: ...
@overload
def k_fold(interactions: Sparse, n_splits: int = 5, *, random_state: Seed = None) -> Iterator[Split[csr_array]]: ...
def k_fold(interactions: Any, n_splits: int = 5, *, random_state: Any = None) -> Iterator[tuple[Any, Any]]:
    """Divide the entries into random folds, and hold out each fold in turn.

    Parameters
    ----------
    interactions : as for `leave_one_out`
    n_splits : int
        Number of folds, at least 2.
    random_state : as for `leave_one_out`

    Returns
    -------
    iterator of (train, test)
        As `random_split`; each entry is in exactly one `test`.
    """
    table = Table(interactions)
    size = len(table.rows.data)
    if check_integer("n_splits", n_splits, 2) > size:
        raise ValueError(f"n_splits must be at most the number of entries, {size}, got {n_splits}")
    fold = random_generator(random_state).permutation(size) % n_splits
    return (table.split(fold == number) for number in range(n_splits))


class HeldOutUsers(NamedTuple, Generic[Part]):
    """The result of `hold_out_users`."""

    train: Part
    fold_in: Part
    test: Part
    users: NDArray[Any]


@overload
def hold_out_users(
    interactions: Interactions, n_users: float = 0.1, *, fold_in_fraction: float = 0.8, random_state: Seed = None
) -> HeldOutUsers[Interactions]: ...
@overload
def hold_out_users(
    interactions: Sparse, n_users: float = 0.1, *, fold_in_fraction: float = 0.8, random_state: Seed = None
) -> HeldOutUsers[csr_array]: ...
def hold_out_users(
    interactions: Any, n_users: int | float = 0.1, *, fold_in_fraction: float = 0.8, random_state: Any = None
) -> HeldOutUsers[Any]:
    """Hold out whole users, and split their interactions into fold-in and test (Liang et al. 2018).

    Fit on `train`, then ``evaluate(model, test, user_items=fold_in)``.

    Parameters
    ----------
    interactions : as for `leave_one_out`
    n_users : int or float
        Number of users to hold out, or a fraction of those with at least two positive interactions.
    fold_in_fraction : float
        Fraction of a user's positive interactions to fold in, rounded up; at least one is left for `test`.
    random_state : as for `leave_one_out`

    Returns
    -------
    HeldOutUsers
        ``train``, with the remaining users; ``fold_in`` and ``test``, with one row per held-out user; ``users``, the
        row numbers (for `Interactions`, ids) of the held-out users. All have the columns of `interactions`.

    References
    ----------
    D. Liang, R. G. Krishnan, M. D. Hoffman, T. Jebara, "Variational Autoencoders for Collaborative Filtering", WWW
    2018.
    """
    table = Table(interactions)
    positive = table.rows.data > 0
    eligible = np.flatnonzero(np.bincount(table.owner[positive], minlength=table.rows.shape[0]) >= 2)
    if isinstance(n_users, (float, np.floating)):
        wanted = _count(n_users, len(eligible), "n_users", "users with two positive interactions")
    else:
        wanted = check_integer("n_users", n_users, 1)
        if wanted >= table.rows.shape[0] or wanted > len(eligible):
            raise refusal(
                ValueError,
                f"{parameter('n_users')} must leave users to train on and be at most the {len(eligible)} with two "
                f"positive interactions, got {wanted} of {table.rows.shape[0]}",
            )
    check_share("fold_in_fraction", fold_in_fraction)
    rng = random_generator(random_state)
    users = np.sort(rng.permutation(eligible)[:wanted])
    keys = rng.random(len(table.rows.data))
    tested = hold_out(table.rows, positive, keys, 1 - fold_in_fraction)
    others = np.setdiff1d(np.arange(table.rows.shape[0]), users)
    fold_in, test = table.split(tested)
    if table.source is not None:
        ids = table.source.user_ids
        names = ids[users]
        return HeldOutUsers(table.source.reindex(users=ids[others]), fold_in.reindex(users=names),
                            test.reindex(users=names), names)  # fmt: skip
    whole = table.rows.to_scipy()
    return HeldOutUsers(whole[others], fold_in[users], test[users], users)


def _k_smallest(table: Table, k: int, keys: NDArray[Any]) -> NDArray[np.bool_]:
    """Mark the positive entries with the k smallest keys of each user who has enough interactions."""
    positive = np.flatnonzero(table.rows.data > 0)
    n_positive, known = (
        np.bincount(table.owner[entries], minlength=table.rows.shape[0])
        for entries in (positive, table.rows.data != 0)
    )
    users = (n_positive >= k) & (known > k)
    if not users.any():
        raise ValueError(
            f"k must leave training interactions, got {k}: no user has {k} positive interactions and one more to "
            "train on; pass a smaller k"
        )
    order = positive[np.lexsort((keys[positive], table.owner[positive]))]
    position = np.arange(len(order)) - np.repeat(np.cumsum(n_positive) - n_positive, n_positive)
    held_out = np.zeros(len(table.rows.data), bool)
    held_out[order[(position < k) & users[table.owner[order]]]] = True
    return held_out


def _count(fraction: Any, size: int, name: str = "fraction", of: str = "entries") -> int:
    """Return a fraction of `size` as a count that leaves neither part empty."""
    share = check_share(name, fraction)
    if size < 2:
        raise ValueError(f"a split needs at least two {of}, got {size}")
    return min(max(round(share * size), 1), size - 1)
