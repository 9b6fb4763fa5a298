"""How objects show themselves: as text where they are printed, as HTML in a notebook.

An object describes itself once, as a `Summary`. Its HTML has no scripts and no colours of its own, so that it can be
read on light and on dark pages, and every text in it is escaped.
"""

from __future__ import annotations

import html
import math
import textwrap
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

LONGEST, MOST = 60, 1000  # characters of a value in a table, and of any other text
WIDTH, HEIGHT, MARGIN = 220, 44, 3  # of a curve, in pixels
MOST_POINTS = 200  # of a curve
NAME_WIDTH = 14  # of the first column of a text


@dataclass(frozen=True)
class Table:
    """Rows under column heads; `more` says what was left out, and `folded` hides the rows until they are asked for."""

    columns: Sequence[str]
    rows: Sequence[Sequence[Any]]
    title: str = ""
    more: str = ""
    folded: bool = False

    def lines(self) -> list[str]:
        """Return aligned lines of text."""
        cells = [[shorten(value, LONGEST // 2) for value in row] for row in (self.columns, *self.rows)]
        widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
        numeric = [_all_numbers(column) for column in zip(*self.rows, strict=True)] or [False] * len(widths)
        lines = [
            "  ".join(_aligned(*cell) for cell in zip(row, widths, numeric, strict=True)).rstrip() for row in cells
        ]
        return [*([self.title] if self.title else []), *lines, *([self.more] if self.more else [])]

    def html(self) -> str:
        """Return an HTML table."""
        numeric = [_all_numbers(column) for column in zip(*self.rows, strict=True)] or [False] * len(self.columns)
        align = [f' style="text-align:{"right" if number else "left"}"' for number in numeric]
        head = "".join(f"<th{at}>{escape(name)}</th>" for name, at in zip(self.columns, align, strict=True))
        body = "".join(
            "<tr>" + "".join(f"<td{at}>{escape(value)}</td>" for value, at in zip(row, align, strict=True)) + "</tr>"
            for row in self.rows
        )
        more = f"<div>{escape(self.more, MOST)}</div>" if self.more else ""
        table = f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>{more}"
        if self.folded:
            return f"<details><summary>{escape(self.title, MOST)}</summary>{table}</details>"
        return (f"<div><em>{escape(self.title, MOST)}</em></div>" if self.title else "") + table


@dataclass(frozen=True)
class Curve:
    """The values of a history."""

    name: str
    values: Sequence[float]

    def html(self) -> str:
        """Return a line in the colour of the text around it."""
        values = np.asarray(self.values, np.float64)
        values = values[np.linspace(0, len(values) - 1, min(len(values), MOST_POINTS)).round().astype(int)]
        finite = values[np.isfinite(values)]
        if len(finite) < 2:
            return ""
        low, span = finite.min(), np.ptp(finite) or 1.0
        x = np.linspace(MARGIN, WIDTH - MARGIN, len(values))
        y = MARGIN + (HEIGHT - 2 * MARGIN) * (1 - (values - low) / span)
        points = " ".join(f"{a:.1f},{b:.1f}" for a, b in zip(x, y, strict=True) if math.isfinite(b))
        label = escape(f"{self.name}: {self.values[0]:.6g} to {self.values[-1]:.6g} in {len(self.values)} steps", MOST)
        return (
            f'<svg role="img" aria-label="{label}" width="{WIDTH}" height="{HEIGHT}" viewBox="0 0 {WIDTH} {HEIGHT}">'
            f'<title>{label}</title><polyline points="{points}" fill="none" stroke="currentColor" stroke-width="1.5"/>'
            "</svg>"
        )


@dataclass(frozen=True)
class Summary:
    """A heading, facts by name, and tables; `curve` is drawn beside the fact of its name, in HTML only."""

    heading: str
    facts: dict[str, str] = field(default_factory=dict)
    tables: Sequence[Table] = ()
    curve: Curve | None = None

    def text(self) -> str:
        """Return the summary as lines of text; folded tables are left out."""
        lines = [self.heading]
        for name, value in self.facts.items():
            head, margin = f"{name:<{NAME_WIDTH}}", " " * NAME_WIDTH
            lines += textwrap.wrap(value, 80, initial_indent=head, subsequent_indent=margin, break_on_hyphens=False)
        for table in self.tables:
            if not table.folded:
                lines += ["", *table.lines()]
        return "\n".join(lines)

    def html(self) -> str:
        """Return the summary as HTML."""
        rows = []
        for name, value in self.facts.items():
            drawn = f"<br>{self.curve.html()}" if self.curve is not None and self.curve.name == name else ""
            head = f'<th scope="row" style="text-align:left;vertical-align:top">{escape(name)}</th>'
            rows.append(f'<tr>{head}<td style="text-align:left">{escape(value, MOST)}{drawn}</td></tr>')
        facts = f"<table><tbody>{''.join(rows)}</tbody></table>" if rows else ""
        parts = [f"<strong>{escape(self.heading, MOST)}</strong>", facts, *(table.html() for table in self.tables)]
        return f'<div style="overflow-x:auto">{"".join(parts)}</div>'


class Displayed:
    """An object that prints as its summary, which a notebook shows as HTML."""

    def _summary(self) -> Summary:
        raise NotImplementedError

    def __str__(self) -> str:
        return self._summary().text()

    def _repr_html_(self) -> str:
        return self._summary().html()


def escape(value: Any, most: int = LONGEST) -> str:
    """Return a value as text for HTML."""
    return html.escape(shorten(value, most))


def shorten(value: Any, most: int = LONGEST) -> str:
    """Return a value as one line of at most so many characters."""
    if value is None:
        return "-"
    if isinstance(value, (float, np.floating)):
        return f"{value:.6g}"
    if isinstance(value, np.datetime64):
        value = str(value).removesuffix(".000000000").replace("T", " ")
    text = " ".join(str(value).split())
    text = text if text.isprintable() else "".join(letter if letter.isprintable() else "\ufffd" for letter in text)
    return text if len(text) <= most else text[: most - 1] + "\N{HORIZONTAL ELLIPSIS}"


def count(number: int, singular: str) -> str:
    """Return a number and its noun."""
    return f"{number:,} {singular}{'' if number == 1 else 's'}"


def share(part: int, whole: int) -> str:
    """Return a part as a percentage with three digits."""
    return f"{100 * part / whole:.3g} %" if whole else "-"


def _all_numbers(values: Sequence[Any]) -> bool:
    return all(isinstance(value, (int, float, np.number)) and not isinstance(value, bool) for value in values)


def _aligned(text: str, width: int, number: bool) -> str:
    return text.rjust(width) if number else text.ljust(width)
