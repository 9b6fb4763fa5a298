"""Results of a command: printed as Markdown as they arrive, and written as JSON to be rendered later."""

from __future__ import annotations

import json
import shlex
import subprocess
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .machine import machine_line

if TYPE_CHECKING:
    from collections.abc import Sequence


class Table:
    """Rows of text under a title; each row is printed as soon as it is known."""

    def __init__(self, title: str, columns: Sequence[str]) -> None:
        self.title, self.columns = title, list(columns)
        self.rows: list[list[str]] = []
        print(f"\n{title}\n\n{header(columns)}", flush=True)

    def row(self, *cells: object) -> None:
        """Add a row."""
        self.rows.append([str(cell) for cell in cells])
        print(line(self.rows[-1]), flush=True)


class Report:
    """The tables of one run, with the information they need: command, date, machine, versions, commit."""

    def __init__(self, command: str, arguments: Sequence[str], threads: int | None = None, *peers: str) -> None:
        said = list(arguments)
        if "--json" in said:  # not part of the measurement
            place = said.index("--json")
            del said[place : place + 2]
        self.record: dict[str, Any] = {
            "command": shlex.join(["python", "-m", "benchmarks", command, *said]),
            "date": date.today().isoformat(), "machine": machine_line(threads, *peers), "commit": commit(),
        }  # fmt: skip
        self.tables: list[Table] = []
        self.notes: list[str] = []
        print(self.record["machine"])

    def table(self, title: str, *columns: str) -> Table:
        """Begin a table."""
        self.tables.append(Table(title, columns))
        return self.tables[-1]

    def note(self, text: str) -> None:
        """Print and keep a sentence below the tables."""
        self.notes.append(text)
        print(f"\n{text}", flush=True)

    def write(self, path: Path | None, **data: Any) -> None:
        """Write the record, with further data that a command reads back, if a file is given."""
        if path is not None:
            tables = [{"title": t.title, "columns": t.columns, "rows": t.rows} for t in self.tables]
            record = self.record | {"tables": tables, "notes": self.notes} | data
            path.write_text(json.dumps(record, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


def commit() -> str:
    """Return the checkout's commit, with a + if there are changes since; "" outside of a git repository."""
    command = ["git", "describe", "--always", "--dirty=+", "--abbrev=7", "--exclude=*"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=True, cwd=Path(__file__).parent)
    except (OSError, subprocess.CalledProcessError):
        return ""
    return done.stdout.strip()


def line(cells: Sequence[str]) -> str:
    """Return one row in Markdown."""
    return f"| {' | '.join(cell.replace('|', '/') for cell in cells)} |"


def header(columns: Sequence[str]) -> str:
    """Return the first two lines of a table in Markdown."""
    return f"{line(columns)}\n{'|---' * len(columns)}|"


def markdown(record: dict[str, Any]) -> str:
    """Return a record's tables in Markdown, with the notes and with command, date, machine and commit."""
    parts = []
    for table in record["tables"]:
        parts += [table["title"]] if table["title"] else []
        parts.append("\n".join([header(table["columns"]), *map(line, table["rows"])]))
    measured = [f"`{record['command']}`", record["date"], record["machine"]]
    measured += [f"commit {record['commit']}"] if record["commit"] else []
    parts += [*record.get("notes", []), f"<sub>{'; '.join(measured)}</sub>"]
    return "\n\n".join(parts)
