"""Hold out a share of each row's entries, to see how well the rest of the row predicts them."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from .._utils.splitmix import GOLDEN, mix_array
from .csr import CSR


def hold_out(rows: CSR, chosen: NDArray[np.bool_], keys: NDArray[Any], share: float) -> NDArray[np.bool_]:
    """Return a mask of held-out entries: of a row's n `chosen` ones, ``floor(share n)`` with the smallest keys.

    It is one at least, and one is kept, but for a row with fewer than two chosen entries, which keeps them all.
    """
    owner, _ = rows.positions()
    entries = np.flatnonzero(chosen)
    entries = entries[np.lexsort((keys[entries], owner[entries]))]
    counts = np.bincount(owner[entries], minlength=rows.shape[0])
    place = np.arange(len(entries)) - np.repeat(np.cumsum(counts) - counts, counts)
    wanted = np.clip(np.floor(share * counts + 1e-9), 1, np.maximum(1, counts - 1)) * (counts >= 2)
    held = np.zeros(len(rows.data), np.bool_)
    held[entries[place < np.repeat(wanted, counts)]] = True
    return held


def content_keys(rows: CSR, chosen: NDArray[np.bool_]) -> NDArray[np.uint64]:
    """Return a pseudo-random number for each entry, a function of its column and of the chosen columns of its row.

    A row therefore gets the same numbers in any batch and at any position.
    """
    hashed = _hash_columns(rows)
    return _hash(hashed ^ row_keys(rows.filter(chosen))[rows.positions()[0]])


def row_keys(rows: CSR) -> NDArray[np.uint64]:
    """Return a pseudo-random number for each row, a function of its columns."""
    sums = np.zeros(rows.shape[0], np.uint64)
    np.add.at(sums, rows.positions()[0], _hash_columns(rows))  # modulo 2^64, so that the order does not matter
    return _hash(sums)


def _hash_columns(rows: CSR) -> NDArray[np.uint64]:
    return _hash(rows.indices.astype(np.uint64) + np.uint64(1))


def _hash(z: NDArray[np.uint64]) -> NDArray[np.uint64]:
    return mix_array(z * np.uint64(GOLDEN))
