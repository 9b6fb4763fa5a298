"""What `Interactions`, `Events` and `Features` show of themselves."""

from __future__ import annotations

from typing import Any

import numpy as np

from .._utils.display import Summary, Table, count, share, shorten

ROWS_SHOWN = 5
COLUMNS_SHOWN = 20
MOST_READ = 1_000_000  # values and events: more take seconds, and may be on a disk
LABELS_SHOWN = 6  # categories and tags of a row


def summary_of_interactions(interactions: Any) -> Summary:
    """Describe a snapshot of interactions: shape, density, what the values are, and the first pairs."""
    matrix = interactions._unverified.matrix
    (n_users, n_items), values, times = matrix.shape, matrix.data, interactions.times
    facts = {
        "shape": f"{count(n_users, 'user')} x {count(n_items, 'item')}",
        "pairs": f"{len(values):,} ({share(len(values), n_users * n_items)} of all)",
        "values": _kind_of_values(values, interactions._has_values, interactions.aggregate),
    }
    if times is not None and len(times):
        facts["times"] = _times(times)
    stop = min(int(np.searchsorted(matrix.indptr, ROWS_SHOWN)), n_users)
    rows = np.repeat(np.arange(stop), np.diff(matrix.indptr[: stop + 1]))[:ROWS_SHOWN]
    columns = [
        interactions._users.raw(rows).tolist(), interactions._items.raw(matrix.indices[:ROWS_SHOWN]).tolist(),
        _plain(values[:ROWS_SHOWN]),
    ]  # fmt: skip
    names = ["user", "item", "value"]
    if times is not None:
        names.append("time")
        columns.append(list(times[:ROWS_SHOWN]))
    return Summary("Interactions", facts, [_first(names, columns, len(values), "pair")])


def summary_of_events(events: Any) -> Summary:
    """Describe events: shape, the number of each kind, what the values are, and the first events."""
    table, (n_users, n_items) = events._table, events.shape
    values, times = table.values, events.times
    listed = f"{len(events):,}"
    if len(events) <= MOST_READ:
        pairs = len(np.unique(events._pair_keys()))
        listed += f" of {count(pairs, 'pair')} ({share(pairs, n_users * n_items)} of all)"
    facts = {
        "shape": f"{count(n_users, 'user')} x {count(n_items, 'item')}",
        "events": listed,
        "kinds": ", ".join(f"{shorten(kind, 20)} {number:,}" for kind, number in events.counts().items()),
        "values": "each event counts 1" if values is None else _range(values),
    }
    if times is not None and len(times):
        facts["times"] = _times(times)
    first = slice(ROWS_SHOWN)
    names = ["user", "item", "kind"]
    columns = [
        events._users.raw(table.users[first]).tolist(), events._items.raw(table.items[first]).tolist(),
        [events.kinds[code] for code in table.kinds[first]],
    ]  # fmt: skip
    if values is not None:
        names.append("value")
        columns.append(_plain(values[first]))
    if times is not None:
        names.append("time")
        columns.append(list(times[first]))
    return Summary("Events", facts, [_first(names, columns, len(events), "event")])


def summary_of_features(features: Any) -> Summary:
    """Describe features: shape, density, the columns and their kinds, and the first rows."""
    rows, width = features.shape
    columns = features._columns
    stored = sum(len(column) - column.n_missing if column.marks is None else column.marks.nnz for column in columns)
    facts = {
        "shape": f"{count(rows, 'row')} x {count(width, 'feature')} of {count(len(columns), 'column')}",
        "density": f"{share(stored, rows * width)} of the entries",
        "memory": f"{features.nbytes / 1e6:.1f} MB",
    }
    shown = columns[:COLUMNS_SHOWN]
    kinds = Table(
        ("column", "kind", "features", "missing"),
        [(column.name, column.kind, len(column.feature_names), column.n_missing) for column in shown],
        more=f"and {count(len(columns) - COLUMNS_SHOWN, 'more column')}" if len(columns) > COLUMNS_SHOWN else "",
    )
    first = range(min(rows, ROWS_SHOWN))
    cells = [features.ids[:ROWS_SHOWN].tolist(), *([_cell(column, row) for row in first] for column in columns[:6])]
    names = ["id", *(column.name for column in columns[:6])]
    return Summary("Features", facts, [kinds, _first(names, cells, rows, "row")])


def _first(names: list[str], columns: list[list[Any]], total: int, what: str) -> Table:
    rows = list(zip(*columns, strict=True))
    left = total - len(rows)
    return Table(names, rows, more=f"and {count(left, f'more {what}')}" if left else "")


def _kind_of_values(values: Any, given: bool, aggregate: str) -> str:
    merged = f", merged by {aggregate}"
    if not given:
        return f"none given: each row counts 1{merged}"
    return _range(values) + merged


def _range(values: Any) -> str:
    if not len(values):
        return "none"
    if len(values) > MOST_READ:
        return f"{_range(values[:MOST_READ])} (the first {MOST_READ:,})"
    low, high = values.min(), values.max()
    if low == high:
        return f"{low:g} for every one"
    kind = "whole numbers" if (values == np.round(values)).all() else "numbers"
    if low == 0 and high == 1 and kind == "whole numbers":
        return "0 and 1"
    return f"{kind} {low:.6g} to {high:.6g}"


def _times(times: Any) -> str:
    if len(times) > MOST_READ:
        return f"{_times(times[:MOST_READ])} (the first {MOST_READ:,})"
    return f"{shorten(times.min())} to {shorten(times.max())}"


def _plain(values: Any) -> list[Any]:
    return [int(value) if float(value).is_integer() else float(value) for value in values]


def _cell(column: Any, row: int) -> Any:
    """Return the number of a row, or its categories or tags."""
    if column.numbers is not None:
        return None if np.isnan(column.numbers[row]) else float(column.numbers[row])
    marks = column.marks.indices[column.marks.indptr[row] : column.marks.indptr[row + 1]]
    labels = [column.feature_names[at].removeprefix(f"{column.name}=") for at in marks[:LABELS_SHOWN]]
    return ", ".join(labels) + (f" and {len(marks) - LABELS_SHOWN} more" if len(marks) > LABELS_SHOWN else "")
