"""The report of `Interactions.describe`: how many rows of a table were kept, dropped and merged."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from .pairs import Pairs


@dataclass
class DroppedRows:
    """How many rows were read, and how many of them were dropped or merged, by reason."""

    n_rows: int
    n_missing_ids: int = 0
    n_missing_values: int = 0
    n_missing_times: int = 0
    n_merged: int = 0

    @property
    def n_kept(self) -> int:
        """Rows that were not dropped."""
        return self.n_rows - self.n_missing_ids - self.n_missing_values - self.n_missing_times

    def __add__(self, other: DroppedRows) -> DroppedRows:
        counts = zip(vars(self).values(), vars(other).values(), strict=True)
        return DroppedRows(*(mine + theirs for mine, theirs in counts))


@dataclass(frozen=True)
class InteractionsReport:
    """The report of `Interactions.describe`; prints as a table.

    Attributes
    ----------
    n_users, n_items, n_interactions : int
        Users, items, and pairs with an entry.
    density : float
        Fraction of all pairs that have an entry.
    n_rows : int
        Rows read, including appended ones.
    n_missing_ids, n_missing_values, n_missing_times : int
        Rows dropped because of a missing user or item; of the others, a missing value (NaN); of the rest, a missing
        time.
    n_merged : int
        Rows that share their pair with an earlier one.
    per_user, per_item : (int, float, int)
        Minimum, median and maximum of the number of pairs.
    value_range : (float, float, float)
        Minimum, median and maximum.
    time_range : tuple or None
        First and last time.
    """

    n_users: int
    n_items: int
    n_interactions: int
    density: float
    n_rows: int
    n_missing_ids: int
    n_missing_values: int
    n_missing_times: int
    n_merged: int
    aggregate: str
    per_user: tuple[int, float, int]
    per_item: tuple[int, float, int]
    value_range: tuple[float, float, float]
    time_range: tuple[Any, Any] | None

    @classmethod
    def of(cls, pairs: Pairs, dropped: DroppedRows, aggregate: str) -> InteractionsReport:
        """Compute the counts."""
        matrix, times = pairs.matrix, pairs.times
        n_users, n_items = matrix.shape
        spread = [
            (int(counts.min(initial=counts.max(initial=0))), float(np.median(counts)) if len(counts) else 0.0,
             int(counts.max(initial=0)))
            for counts in (np.diff(matrix.indptr), np.bincount(matrix.indices, minlength=n_items))
        ]  # fmt: skip
        values = matrix.data if len(matrix.data) else np.array([np.nan])
        return cls(
            n_users=n_users, n_items=n_items, n_interactions=len(matrix.data),
            density=len(matrix.data) / max(n_users * n_items, 1), **vars(dropped), aggregate=aggregate,
            per_user=spread[0], per_item=spread[1],
            value_range=(float(values.min()), float(np.median(values)), float(values.max())),
            time_range=(times.min(), times.max()) if times is not None and len(times) else None,
        )  # fmt: skip

    def __str__(self) -> str:
        left_out = {"id": self.n_missing_ids, "value": self.n_missing_values, "time": self.n_missing_times}
        lines = {
            "users": f"{self.n_users:,}",
            "items": f"{self.n_items:,}",
            "interactions": f"{self.n_interactions:,} ({self.density:.3g} of all pairs)",
            "rows read": f"{self.n_rows:,}",
            **{f"  without {what}": f"{count:,}, left out" for what, count in left_out.items() if count},
            "  repeated pairs": f"{self.n_merged:,} rows, merged by {self.aggregate}" if self.n_merged else "none",
            "per user": f"{self.per_user[0]:,} to {self.per_user[2]:,}, median {self.per_user[1]:,g}",
            "per item": f"{self.per_item[0]:,} to {self.per_item[2]:,}, median {self.per_item[1]:,g}",
            "values": "{:g} to {:g}, median {:g}".format(*(self.value_range[at] for at in (0, 2, 1))),
        }
        if self.time_range is not None:
            lines["times"] = "{} to {}".format(*self.time_range)
        return "\n".join(f"{name:<18}{text}" for name, text in lines.items())
