"""Parts of a store in memory, and a report of the whole in bounded memory."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..._utils.memory import available_bytes, human_bytes
from ..csr import CSR
from ..pairs import Pairs
from ..report import InteractionsReport
from .store import Store

PAIR = 40  # bytes of a pair in memory, with what is computed from it


def check_fits(pairs: int, what: str) -> None:
    """Raise if so many pairs do not fit in memory."""
    free = available_bytes()
    if free is not None and PAIR * pairs > free:
        raise MemoryError(
            f"{what} would take about {human_bytes(PAIR * pairs)} of {human_bytes(free)} memory: these interactions "
            "are in a store; choose fewer users with reindex(users=...)"
        )


def take_users(pairs: Pairs, rows: NDArray[np.int64] | None) -> Pairs:
    """Return the pairs of some users, in ascending order, or of all of them, in memory."""
    matrix = pairs.matrix
    chosen = np.arange(matrix.shape[0]) if rows is None else rows
    lengths = matrix.indptr[chosen + 1] - matrix.indptr[chosen]
    indptr = np.concatenate([[0], np.cumsum(lengths)])
    check_fits(int(indptr[-1]), "the pairs of these users")
    entries: Any = slice(None)
    if rows is not None:
        entries = np.repeat(matrix.indptr[chosen] - indptr[:-1], lengths) + np.arange(indptr[-1])
    others = (None if part is None else np.array(part[entries]) for part in (pairs.times, pairs.counts, pairs.summed))
    shape = len(chosen), matrix.shape[1]
    return Pairs(CSR(indptr, np.array(matrix.indices[entries]), np.array(matrix.data[entries]), shape), *others)


def report_of(store: Store, aggregate: str) -> InteractionsReport:
    """Return the report of `Interactions.describe`."""
    dropped, pairs = store.dropped(), store.pairs()
    n_users, n_items = store.shape
    per_user, per_item = (_spread(np.diff(side.indptr)) for side in (store.users, store.items))
    middle = 1.0 if store.users.data.strides == (0,) else _median(store)
    ends = None if pairs.times is None else [(piece.min(), piece.max()) for piece in store.pieces("users.times")]
    return InteractionsReport(
        n_users=n_users, n_items=n_items, n_interactions=store.nnz, density=store.nnz / (n_users * n_items),
        **vars(dropped), aggregate=aggregate, per_user=per_user, per_item=per_item,
        value_range=(store.least, middle, store.greatest),
        time_range=None if ends is None else (min(first for first, _ in ends), max(last for _, last in ends)),
    )  # fmt: skip


def _spread(counts: NDArray[np.int64]) -> tuple[int, float, int]:
    return int(counts.min()), float(np.median(counts)), int(counts.max())


def _median(store: Store) -> float:
    """Return the median of the values: the bits of the lower middle one are found 16 at a time, from the first on."""
    dtype = store.users.data.dtype
    width = dtype.itemsize * 8
    unsigned = np.dtype(f"u{dtype.itemsize}").type
    sign = unsigned(1 << (width - 1))

    def ordered() -> Iterator[NDArray[Any]]:
        """Yield the values as unsigned numbers that are in the same order."""
        for piece in store.pieces("users.data"):
            bits = piece.view(unsigned)
            yield np.where(bits & sign, ~bits, bits | sign)

    rank = (store.nnz - 1) // 2
    lower, left = 0, width
    while left:
        left -= 16
        counts = np.zeros(1 << 16, np.int64)
        for piece in ordered():
            digits = piece >> unsigned(left)
            if left + 16 < width:
                digits = digits[(digits >> unsigned(16)) == unsigned(lower)]
            counts += np.bincount((digits & unsigned(0xFFFF)).astype(np.int64), minlength=1 << 16)
        before = np.cumsum(counts)
        digit = int(np.searchsorted(before, rank, side="right"))
        rank -= int(before[digit] - counts[digit])
        lower = lower << 16 | digit
    middle = [lower]
    if store.nnz % 2 == 0 and rank + 1 < counts[digit]:
        middle.append(lower)
    elif store.nnz % 2 == 0:
        middle.append(min(int(piece[piece > lower].min(initial=2**width - 1)) for piece in ordered()))
    bits = np.array(middle, unsigned)
    return float(np.mean(np.where(bits & sign, bits ^ sign, ~bits).view(dtype)))
