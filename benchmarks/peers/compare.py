"""Compare alternant with other libraries, in turn, in one process, on the same data and with as many factors.

"Seconds to" is the time to reach what the best peer reaches with its defaults after 15 iterations (ratings: after its
default number of them). Converting the data to a library's input format is not counted, all that its fit does is. A
library that does not stop between iterations is refitted with 1, 2, 4, 8 and all of its iterations. Seconds per
iteration exclude the first. The first round warms up, and is the one that is evaluated; seconds are medians of the
others. Memory is the peak that a fit of 2 iterations adds to a new process with the data and the library loaded.

`--at-least R` makes the command fail if an iteration of the first entry of alternant is less than R times as fast as
that of the fastest peer with the same objective, or if its objective is higher than that peer's after as many
iterations (from the same start: after any but the first, in which alternant stops early on rows); ratings: if alternant
does not reach the RMSE R times as soon as any peer. With or without it, the command fails if an entry of alternant that
`--only` does not leave out does not run. Ctrl-C ends it with exit status 130, after a table of the complete rounds.
"""

from __future__ import annotations

import argparse
import ast
import sys
import tempfile
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import scipy.sparse as sp

from ..common.command_line import exit_status, parser, picture_to_write
from ..common.results import Report
from .report import Measure, draw, table
from .runner import Entry, Interrupted, Outcome, run_in_turn, save_problem

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from .libraries import Problem


@dataclass
class Task:
    """A comparison: its libraries, data and measures.

    `problem` makes a `Problem` from the options and the arguments common to all problems; `evaluate` takes the problem,
    whether to make lists, the entry and what it learned; `check` returns what is wrong with an entry, if anything;
    `missed` returns the missed targets.
    """

    command: str
    doc: str
    unit: str
    iterations: int
    entries: Sequence[Entry]
    data: Sequence[str]
    measures: tuple[Measure, ...]
    problem: Callable[[argparse.Namespace, dict[str, Any]], Problem]
    evaluate: Callable[[Problem, bool, Entry, Any], dict[str, float]]
    missed: Callable[[Sequence[Outcome], float], list[str]]
    check: Callable[[int, Entry], str | None] = lambda _threads, _entry: None


def option(text: str) -> tuple[str, Any]:
    """Read NAME=VALUE; a value that is not a Python literal is a string."""
    name, separator, value = text.partition("=")
    if not (separator and name.isidentifier()):
        raise argparse.ArgumentTypeError(f"expected NAME=VALUE, as in max_cg_steps=5, got {text!r}")
    try:
        return name, ast.literal_eval(value)
    except (ValueError, SyntaxError):
        return name, value


def chosen(entries: Sequence[Entry], only: Sequence[str] | None) -> list[Entry]:
    """Return the libraries to run; a name stands for all entries that begin with its words."""
    if only is None:
        return list(entries)
    known = [entry.name for entry in entries]
    exact = [name for name in only if name in known]
    started = [name for name in only if name not in known]
    if unknown := [name for name in started if not any(k.startswith(f"{name} ") for k in known)]:
        sys.exit(f"no library is called {unknown[0]!r}: choose from {', '.join(map(repr, known))}")
    return [e for e in entries if e.name in exact or any(e.name.startswith(f"{name} ") for name in started)]


def as_float32(matrix: Any) -> sp.csr_array:
    """Return CSR with float32 values and int32 column numbers."""
    rows = sp.csr_array(matrix)
    indices, indptr = rows.indices.astype(np.int32), rows.indptr.astype(np.int32)
    return sp.csr_array((rows.data.astype(np.float32), indices, indptr), shape=rows.shape)


def not_run(outcomes: Sequence[Outcome]) -> list[str]:
    """Return why entries of alternant did not run."""
    return [f"{o.entry.name} did not run: {o.error}" for o in outcomes if o.entry.ours and o.error is not None]


def ours_and_peers(outcomes: Sequence[Outcome]) -> tuple[list[Outcome], list[Outcome]]:
    """Return the outcomes of alternant, and those of the others that ran."""
    ours = [outcome for outcome in outcomes if outcome.entry.ours]
    return ours, [outcome for outcome in outcomes if not outcome.entry.ours and outcome.error is None]


def parse(task: Task, arguments: Sequence[str]) -> argparse.Namespace:
    """Read the command line."""
    made = parser(
        task.command, f"{task.doc}\n{__doc__}", shape="ml1m", folder=None, factors=64, iterations=task.iterations,
        threads=2, rounds=5, at_least=None,
    )  # fmt: skip
    made.add_argument("--data", metavar="NAME", help="real data instead of --shape: " + ", ".join(task.data))
    made.add_argument("--regularization", type=float, default=0.01, help="lambda, for als")
    made.add_argument("--only", nargs="+", metavar="LIBRARY", help="as the table names them, or their first words")
    made.add_argument("--no-memory", action="store_true", help="leave out the processes that memory is measured in")
    made.add_argument("--no-lists", action="store_true", help="leave out NDCG@10, which takes longest on large data")
    made.add_argument("--alternant-option", type=option, action="append", default=[], metavar="NAME=VALUE",
                      help="a parameter of alternant's models; may be given several times")  # fmt: skip
    made.add_argument("--picture", type=picture_to_write, help="draw to this file")
    options = made.parse_args(arguments)
    if options.data is not None and options.data not in task.data:
        made.error(f"{task.command} takes no --data {options.data}: choose from {', '.join(task.data)}")
    if options.data not in (None, "msweb") and options.folder is None:
        made.error(f"--data {options.data} needs --folder, which holds one sub-folder a data set")
    return options


def compare(task: Task, options: argparse.Namespace, arguments: Sequence[str]) -> int:
    """Run the comparison and report it; return the exit status."""
    entries = chosen(task.entries, options.only)
    common = {"factors": options.factors, "iterations": options.iterations, "threads": options.threads,
              "alternant_options": dict(options.alternant_option)}  # fmt: skip
    problem = task.problem(options, common)
    evaluate = partial(task.evaluate, problem, not options.no_lists)
    measures = [m for m in task.measures if not (options.no_lists and m.key == "ndcg")]
    with tempfile.TemporaryDirectory() as folder:
        save_problem(problem, Path(folder))
        memory_from = None if options.no_memory else Path(folder)
        rounds, stopped = options.rounds, False
        try:
            outcomes = run_in_turn(
                entries, problem, evaluate, rounds, memory_from, partial(task.check, options.threads)
            )  # fmt: skip
        except Interrupted as interrupted:
            outcomes, rounds, stopped = interrupted.outcomes, interrupted.rounds, True
            if not rounds:
                raise
    m, n = problem.train.shape
    title = (f"{task.command}, {options.data or options.shape}: {m:,} x {n:,}, {problem.train.nnz:,} to learn from, "
             f"f = {options.factors}, float32, {options.threads} threads, rounds: {rounds}")  # fmt: skip
    report = Report(task.command, arguments, options.threads)
    columns, rows = table(outcomes, measures, task.unit)
    made = report.table(title, *columns)
    for row in rows:
        made.row(*row)
    if stopped:
        print(f"stopped after {rounds} of {options.rounds} rounds", file=sys.stderr)
        return 130
    report.write(options.json, outcomes=[outcome.facts() for outcome in outcomes])
    if options.picture is not None:
        draw(outcomes, measures[0], task.unit, title, options.picture)
    if options.at_least is None:
        return exit_status(not_run(outcomes))
    return exit_status(task.missed(outcomes, options.at_least))


def run(task: Task, arguments: Sequence[str]) -> int:
    """Run the command; exit 1 if a target is missed or alternant does not run, 130 if it is interrupted."""
    options = parse(task, arguments)
    try:
        return compare(task, options, arguments)
    except KeyboardInterrupt:
        print("stopped before a round was whole: there is nothing to compare", file=sys.stderr)
        return 130
