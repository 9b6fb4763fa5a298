"""Events given as columns of row numbers (or ids) and values."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from .io import columns as convert
from .validation import row_numbers


def event_columns(events: tuple[Any, ...], named: bool = False) -> tuple[Any, Any, NDArray[Any] | None]:
    """Return users, items and values (None: 1 each) of events, checked; ids are left to `Interactions`."""
    if len(events) not in (2, 3):
        raise ValueError(f"events must be (users, items) or (users, items, values), got a tuple of {len(events)}")
    values = None if len(events) == 2 else convert.number_column("values", events[2])
    if values is not None and not np.isfinite(values).all():
        first = int(np.argmin(np.isfinite(values)))
        raise ValueError(
            f"values must be finite, got {values[first]} for event {first} ({int((~np.isfinite(values)).sum())} such "
            "values): leave these events out"
        )
    if named:
        return events[0], events[1], events[2] if len(events) == 3 else None
    users, items = (
        np.atleast_1d(row_numbers(name, ids, kind))
        for name, ids, kind in (("users", events[0], "user"), ("items", events[1], "item"))
    )
    lengths = {"users": users.shape, "items": items.shape} | ({} if values is None else {"values": np.shape(values)})
    if len(set(lengths.values())) > 1 or users.ndim != 1:
        found = ", ".join(f"{name} of shape {shape}" for name, shape in lengths.items())
        raise ValueError(f"users, items and values must have the same length, one entry per event, got {found}")
    for name, numbers in (("users", users), ("items", items)):
        if len(numbers) and not 0 <= numbers.min() <= numbers.max() < np.iinfo(np.int32).max:
            raise IndexError(
                f"{name} must lie between 0 and {np.iinfo(np.int32).max - 1}, got {numbers.min()} to {numbers.max()}"
            )
    return users.astype(np.int64), items.astype(np.int64), values
