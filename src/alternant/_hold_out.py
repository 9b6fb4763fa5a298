"""Hold a share of every row's entries out, to see how well the rest of the row finds them."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ._csr import CSR
from .kernels.sgd_reference import GOLDEN


def hold_out(rows: CSR, chosen: NDArray[np.bool_], keys: NDArray[Any], share: float) -> NDArray[np.bool_]:
    """Return which entries are held out: of a row's n `chosen` ones the ``max(1, floor(share n))`` of the least keys.

    A row with fewer than two chosen entries keeps them all.
    """
    owner, _ = rows.positions()
    entries = np.flatnonzero(chosen)
    entries = entries[np.lexsort((keys[entries], owner[entries]))]
    counts = np.bincount(owner[entries], minlength=rows.shape[0])
    place = np.arange(len(entries)) - np.repeat(np.cumsum(counts) - counts, counts)
    wanted = np.where(counts >= 2, np.maximum(1, np.floor(share * counts + 1e-9)), 0)
    held = np.zeros(len(rows.data), np.bool_)
    held[entries[place < np.repeat(wanted, counts)]] = True
    return held


def select(rows: CSR, keep: NDArray[np.bool_]) -> CSR:
    """Return the entries where `keep` holds, as rows of the same shape."""
    before = np.concatenate([[0], np.cumsum(keep)])
    return CSR(before[rows.indptr], rows.indices[keep], rows.data[keep], rows.shape)


def content_keys(rows: CSR, chosen: NDArray[np.bool_]) -> NDArray[np.uint64]:
    """Return a pseudo-random number for each entry, a function of its column and of the chosen columns of its row.

    So a row has the same numbers in whatever batch, and in whatever place of it, it comes.
    """
    owner, columns = rows.positions()
    hashed = _mix(columns.astype(np.uint64) + np.uint64(1))
    sums = np.zeros(rows.shape[0], np.uint64)
    np.add.at(sums, owner[chosen], hashed[chosen])  # modulo 2^64, so that the order does not matter
    return _mix(hashed ^ _mix(sums)[owner])


def _mix(z: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """Return SplitMix64's output for each number."""
    z = z * np.uint64(GOLDEN)
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return z ^ (z >> np.uint64(31))
