"""Parts of a store in memory, and a report of the whole in bounded memory."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..._utils.memory import available_bytes, human_bytes
from ..csr import CSR
from ..pairs import Pairs
from ..report import InteractionsReport
from .store import Store

PAIR = 40  # bytes of a pair in memory, with what is computed from it
STEP = 1 << 22  # values that are looked at together


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
    data, times = store.users.data, pairs.times
    middle = 1.0 if data.strides == (0,) else median(data)
    return InteractionsReport(
        n_users=n_users, n_items=n_items, n_interactions=store.nnz, density=store.nnz / (n_users * n_items),
        **vars(dropped), aggregate=aggregate, per_user=per_user, per_item=per_item,
        value_range=(store.least, middle, store.greatest),
        time_range=None if times is None else (
            min(times[at : at + STEP].min() for at in range(0, len(times), STEP)),
            max(times[at : at + STEP].max() for at in range(0, len(times), STEP)),
        ),
    )  # fmt: skip


def _spread(counts: NDArray[np.int64]) -> tuple[int, float, int]:
    return int(counts.min()), float(np.median(counts)), int(counts.max())


def median(values: NDArray[Any]) -> float:
    """Return the median of floats without a copy: bits of the two middle ones are found from the first to the last."""
    places = {(len(values) - 1) // 2, len(values) // 2}
    middle = [_at_rank(values, place) for place in sorted(places)]
    return float(np.mean(np.array(middle, values.dtype)))


def _at_rank(values: NDArray[Any], rank: int) -> Any:
    """Return the value that would be at a place if the values were sorted: 16 bits of it in each pass."""
    width = values.dtype.itemsize * 8
    unsigned = np.dtype(f"u{width // 8}")
    sign = unsigned.type(1 << (width - 1))
    prefix, known = 0, 0
    while known < width:
        shift = width - known - 16
        counts = np.zeros(1 << 16, np.int64)
        for start in range(0, len(values), STEP):
            bits = np.ascontiguousarray(values[start : start + STEP]).view(unsigned)
            ordered = np.where(bits & sign, ~bits, bits | sign)  # unsigned numbers in the order of the floats
            if known:
                ordered = ordered[(ordered >> unsigned.type(width - known)) == unsigned.type(prefix)]
            counts += np.bincount(((ordered >> unsigned.type(shift)) & unsigned.type(0xFFFF)).astype(np.int64),
                                  minlength=1 << 16)  # fmt: skip
        before = np.cumsum(counts)
        digit = int(np.searchsorted(before, rank, side="right"))
        rank -= int(before[digit] - counts[digit])
        prefix, known = prefix << 16 | digit, known + 16
    ordered_bits = unsigned.type(prefix)
    bits = ordered_bits ^ sign if ordered_bits & sign else ~ordered_bits
    return np.array(bits, unsigned).view(values.dtype)[()]
