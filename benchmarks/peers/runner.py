"""Running libraries in turn, recording each, and measuring its memory."""

from __future__ import annotations

import importlib
import multiprocessing
import signal
import sys
import time
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any

import numpy as np
import scipy.sparse as sp
import threadpoolctl

from ..common.memory import forget_peak, peak
from .libraries import Observer, installed

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from multiprocessing.connection import Connection

    from .libraries import Library, Problem

CHECKPOINTS = (1, 2, 4, 8, 15)  # for libraries that can't be observed during a fit, besides their last iteration


@dataclass(frozen=True)
class Entry:
    """One row of a comparison: how a library is run, and what may be compared.

    `run` takes a `Problem` and a `Recorder`. `defaults` says whether this is the library's default solver, `iterations`
    after how many iterations (or epochs) its quality counts, and `blas` is the number of threads of BLAS (None: as many
    as the library).
    """

    name: str
    package: str
    module: str
    run: Callable[[Problem, Recorder], None]
    iterations: int = 15
    same_objective: bool = True
    same_start: bool = True
    defaults: bool = True
    blas: int | None = None
    remark: str = ""

    @classmethod
    def of(cls, library: Library, run: Callable[[Problem, Recorder], None], name: str = "", **more: Any) -> Entry:
        """Make a row of a library, by default under its own name."""
        return cls(name or library.name, library.package, library.module, run, blas=library.blas, **more)

    @property
    def ours(self) -> bool:
        """Whether it is alternant."""
        return self.package == "alternant"


class Recorder(Observer):
    """Records the seconds and, if it has `evaluate`, the quality after each iteration of a fit.

    The time for evaluation does not count.
    """

    def __init__(self, evaluate: Callable[[Any], dict[str, float]] | None = None) -> None:
        self.evaluate = evaluate
        self.seconds: dict[int, float] = {}
        self.quality: dict[int, dict[str, float]] = {}
        self._began = time.perf_counter()

    def begin(self) -> None:
        """Start the clock."""
        self._began = time.perf_counter()

    def note(self, iteration: int, learned: Callable[[], Any]) -> bool:
        """Record an iteration; `learned` is called only if it is evaluated."""
        now = time.perf_counter()
        self.seconds[iteration] = now - self._began
        if self.evaluate is not None:
            self.quality[iteration] = self.evaluate(learned())
            self._began += time.perf_counter() - now
        return False

    def refit(self, last: int, fit: Callable[[int], Callable[[], Any]]) -> None:
        """Refit with increasing numbers of iterations; only with 1 and the last one if only time is measured."""
        checkpoints = sorted({*(n for n in CHECKPOINTS if n < last), last}) if self.evaluate else sorted({1, last})
        for iterations in checkpoints:
            self.begin()
            self.note(iterations, fit(iterations))


@dataclass
class Outcome:
    """The measurements of one entry in all rounds."""

    entry: Entry
    version: str | None = None
    error: str | None = None
    rounds: list[dict[int, float]] = field(default_factory=list)
    quality: dict[int, dict[str, float]] = field(default_factory=dict)
    megabytes: float | None = None

    @property
    def each(self) -> float:
        """Seconds per iteration after the first, as the median over rounds."""
        return median((t[max(t)] - t[min(t)]) / (max(t) - min(t)) for t in self.rounds)

    def seconds(self, iteration: int) -> float:
        """Seconds since the beginning of the fit, interpolated between timed iterations."""
        return median(float(np.interp(iteration, list(t), list(t.values()))) for t in self.rounds)

    def value(self, measure: str) -> float | None:
        """Return the quality after the entry's number of iterations, or the closest one below it."""
        done = [n for n in self.quality if n <= self.entry.iterations and measure in self.quality[n]]
        return self.quality[max(done)][measure] if done else None

    def facts(self) -> dict[str, Any]:
        """Return all measurements, for a file."""
        return {"name": self.entry.name, "version": self.version, "error": self.error, "rounds": self.rounds,
                "quality": self.quality, "megabytes": self.megabytes}  # fmt: skip

    def seconds_to(self, measure: str, target: float, higher: bool, tolerance: float) -> float | None:
        """Return the seconds until a quality is reached within a relative tolerance; None if it never is."""
        sign = -1 if higher else 1
        for iteration, reached in sorted(self.quality.items()):
            if measure in reached and sign * reached[measure] <= sign * target + abs(target) * tolerance:
                return self.seconds(iteration)
        return None


class Interrupted(KeyboardInterrupt):
    """Ctrl-C; holds the outcomes of the complete rounds."""

    def __init__(self, outcomes: list[Outcome], rounds: int) -> None:
        super().__init__()
        self.outcomes = outcomes
        self.rounds = rounds
        for outcome in outcomes:
            del outcome.rounds[rounds:]


def error_line(error: BaseException) -> str:
    """Return an error in one line."""
    lines = str(error).strip().splitlines()
    return f"{type(error).__name__}: {lines[0] if lines else ''}"[:160].rstrip(": ")


def run_in_turn(
    entries: Sequence[Entry], problem: Problem, evaluate: Callable[[Entry, Any], dict[str, float]], rounds: int,
    memory_from: Path | None, check: Callable[[Entry], str | None],
) -> list[Outcome]:  # fmt: skip
    """Run all libraries in turn; the first round warms up, and is the one that is evaluated.

    With a folder for `memory_from`, each is first run in its own process; one that crashes there does not take part,
    nor does one for which `check` returns a reason. Ctrl-C raises `Interrupted`.
    """
    outcomes = [Outcome(entry, installed(entry.package)) for entry in entries]
    whole = 0
    try:
        for outcome in outcomes:
            if outcome.version is None:
                outcome.error = "not installed"
            elif memory_from is not None:
                _note_memory(outcome, problem, memory_from)
        for outcome in outcomes:
            if outcome.error is None:
                outcome.error = _tried(outcome.entry, problem, partial(check, outcome.entry))
        for round_ in range(rounds + 1):
            for outcome in outcomes:
                if outcome.error is None:
                    _run(outcome, problem, None if round_ else partial(evaluate, outcome.entry))
            whole = round_
    except KeyboardInterrupt:
        raise Interrupted(outcomes, whole) from None
    return outcomes


def _run(outcome: Outcome, problem: Problem, evaluate: Callable[[Any], dict[str, float]] | None) -> None:
    recorder = Recorder(evaluate)
    print(f"{outcome.entry.name} ...", file=sys.stderr)
    outcome.error = _tried(outcome.entry, problem, lambda: outcome.entry.run(problem, recorder))
    if evaluate is not None:
        outcome.quality = recorder.quality
    elif outcome.error is None:
        outcome.rounds.append(recorder.seconds)


def _tried(entry: Entry, problem: Problem, run: Callable[[], str | None]) -> str | None:
    """Run with the best number of BLAS threads for the library; return any error, so that the others continue."""
    try:
        with threadpoolctl.threadpool_limits(entry.blas or problem.threads, "blas"):
            return run()
    except Exception as error:  # a library may raise anything
        return error_line(error)


# Memory: a new process loads the data, imports the library, and reads the peak of its memory before and after a fit.


def save_problem(problem: Problem, folder: Path) -> None:
    """Write the arrays that a new process loads."""
    for name in ("data", "indices", "indptr"):
        np.save(folder / f"{name}.npy", getattr(problem.train, name))
    for name, array in zip(("users", "items"), problem.start or (), strict=False):
        np.save(folder / f"{name}.npy", array)


def _note_memory(outcome: Outcome, problem: Problem, folder: Path) -> None:
    print(f"{outcome.entry.name}: memory ...", file=sys.stderr)
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe(duplex=False)
    settings = replace(problem, train=None, test=None, start=None, iterations=2)
    arguments = theirs, outcome.entry, settings, problem.train.shape, folder, problem.start is not None
    process = context.Process(target=_measure_memory, args=arguments)
    # Ctrl-C reaches both processes. The new one inherits the ignored signal, otherwise it would print a traceback.
    handler = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        process.start()
    finally:
        signal.signal(signal.SIGINT, handler)
    theirs.close()
    try:
        answer = ours.recv()
    except EOFError:
        process.join()
        answer = f"its process ended with code {process.exitcode}"
    except KeyboardInterrupt:
        process.terminate()
        raise
    process.join()
    if isinstance(answer, str):
        outcome.error = answer
    else:
        outcome.megabytes = answer


def _measure_memory(
    connection: Connection, entry: Entry, settings: Problem, shape: tuple[int, int], folder: Path, started: bool
) -> None:
    arrays = (np.load(folder / f"{name}.npy") for name in ("data", "indices", "indptr"))
    train = sp.csr_array(tuple(arrays), shape=shape)
    start = tuple(np.load(folder / f"{name}.npy") for name in ("users", "items")) if started else None
    problem = replace(settings, train=train, test=None, start=start)
    try:
        importlib.import_module(entry.module)
        forget_peak()
        before = peak()
        with threadpoolctl.threadpool_limits(entry.blas or problem.threads, "blas"):
            entry.run(problem, Recorder())
        connection.send(peak() - before if before else None)
    except Exception as error:  # reported in the table
        connection.send(error_line(error))
