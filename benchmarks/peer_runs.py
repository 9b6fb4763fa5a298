"""How compare_peers.py times libraries in turn, what it notes of each, and the memory that each takes."""

from __future__ import annotations

import contextlib
import importlib
import multiprocessing
import os
import signal
import sys
import time
from dataclasses import dataclass, field, replace
from functools import partial
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any

import numpy as np
import scipy.sparse as sp
import threadpoolctl

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from multiprocessing.connection import Connection

CHECKPOINTS = (1, 2, 4, 8, 15)  # of libraries that can't be looked at while they fit, and their last iteration


@dataclass(frozen=True)
class Problem:
    """What every library is given; weighted libraries that are fitted anew get `refits` iterations at most."""

    train: sp.csr_array
    test: sp.coo_array | None = None
    start: tuple[np.ndarray, np.ndarray] | None = None
    factors: int = 64
    regularization: float = 0.01
    iterations: int = 20
    refits: int = 15
    threads: int = 2
    alternant_options: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Adapter:
    """How a library is run, and what may be compared.

    `run` takes a `Problem` and a `Recorder`. `defaults` says whether the library solves like this when it is not told
    otherwise, `iterations` after how many iterations (or epochs) its quality counts, `blas` how many threads BLAS gets
    (None: as many as the library).
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

    @property
    def ours(self) -> bool:
        """Whether it is alternant."""
        return self.package == "alternant"

    def installed(self) -> str | None:
        """Return the version, or None."""
        try:
            return version(self.package)
        except PackageNotFoundError:
            return None


class Recorder:
    """Notes the seconds and, where it is to evaluate, the quality after each iteration of a fit.

    An adapter calls `begin` once its input has the form that its library takes, then `note` after each iteration, or
    `refit` where the library does not stop in between. What evaluation takes does not count.
    """

    def __init__(self, evaluate: Callable[[Any], dict[str, float]] | None = None) -> None:
        self.evaluate = evaluate
        self.seconds: dict[int, float] = {}
        self.quality: dict[int, dict[str, float]] = {}
        self._began = time.perf_counter()

    def begin(self) -> None:
        """Start the clock."""
        self._began = time.perf_counter()

    def note(self, iteration: int, learned: Callable[[], Any]) -> None:
        """Note an iteration; `learned` returns what is evaluated and is called only if it is."""
        now = time.perf_counter()
        self.seconds[iteration] = now - self._began
        if self.evaluate is not None:
            self.quality[iteration] = self.evaluate(learned())
            self._began += time.perf_counter() - now

    def refit(self, last: int, fit: Callable[[int], Callable[[], Any]]) -> None:
        """Fit anew with more and more iterations; with the first and the last number of them where time alone counts.

        `fit` returns what `learned` is for `note`.
        """
        checkpoints = sorted({*(n for n in CHECKPOINTS if n < last), last}) if self.evaluate else sorted({1, last})
        for iterations in checkpoints:
            self.begin()
            learned = fit(iterations)
            self.note(iterations, learned)


@dataclass
class Outcome:
    """What is known of one library after all rounds."""

    adapter: Adapter
    version: str | None = None
    error: str | None = None
    rounds: list[dict[int, float]] = field(default_factory=list)
    quality: dict[int, dict[str, float]] = field(default_factory=dict)
    megabytes: float | None = None

    @property
    def each(self) -> float:
        """Seconds an iteration: what those after the first took, the median of the rounds."""
        return median((t[max(t)] - t[min(t)]) / (max(t) - min(t)) for t in self.rounds)

    def seconds(self, iteration: int) -> float:
        """Seconds from the beginning of the fit; those between the timed iterations are interpolated."""
        return median(float(np.interp(iteration, list(t), list(t.values()))) for t in self.rounds)

    def value(self, measure: str) -> float | None:
        """Return the quality after the adapter's number of iterations, or the last number before it."""
        done = [n for n in self.quality if n <= self.adapter.iterations and measure in self.quality[n]]
        return self.quality[max(done)][measure] if done else None

    def seconds_to(self, measure: str, target: float, higher: bool, tolerance: float) -> float | None:
        """Return the seconds until a quality is reached but for this part of it; None if it never is."""
        sign = -1 if higher else 1
        for iteration, reached in sorted(self.quality.items()):
            if measure in reached and sign * reached[measure] <= sign * target + abs(target) * tolerance:
                return self.seconds(iteration)
        return None


class Interrupted(KeyboardInterrupt):
    """Ctrl-C; holds the outcomes of as many rounds as are whole."""

    def __init__(self, outcomes: list[Outcome], rounds: int) -> None:
        super().__init__()
        self.outcomes = outcomes
        self.rounds = rounds
        for outcome in outcomes:
            del outcome.rounds[rounds:]


def error_line(error: BaseException) -> str:
    """Return what went wrong in one line."""
    lines = str(error).strip().splitlines()
    return f"{type(error).__name__}: {lines[0] if lines else ''}"[:160].rstrip(": ")


def run_in_turn(
    adapters: Sequence[Adapter], problem: Problem, evaluate: Callable[[Adapter, Any], dict[str, float]], rounds: int,
    memory_from: Path | None, check: Callable[[Adapter], str | None],
) -> list[Outcome]:  # fmt: skip
    """Run all libraries in turn; the first round warms up, and is the one that is evaluated.

    With a folder for `memory_from`, each is run before in a process of its own: one that crashes there takes no part.
    Nor does one of which `check` returns what is wrong with it. Ctrl-C raises `Interrupted`.
    """
    outcomes = [Outcome(adapter, adapter.installed()) for adapter in adapters]
    whole = 0
    try:
        for outcome in outcomes:
            if outcome.version is None:
                outcome.error = "not installed"
            elif memory_from is not None:
                _note_memory(outcome, problem, memory_from)
        for outcome in outcomes:
            if outcome.error is None:
                outcome.error = _tried(outcome.adapter, problem, partial(check, outcome.adapter))
        for round_ in range(rounds + 1):
            for outcome in outcomes:
                if outcome.error is None:
                    _run(outcome, problem, None if round_ else partial(evaluate, outcome.adapter))
            whole = round_
    except KeyboardInterrupt:
        raise Interrupted(outcomes, whole) from None
    return outcomes


def _run(outcome: Outcome, problem: Problem, evaluate: Callable[[Any], dict[str, float]] | None) -> None:
    recorder = Recorder(evaluate)
    print(f"{outcome.adapter.name} ...", file=sys.stderr)
    outcome.error = _tried(outcome.adapter, problem, lambda: outcome.adapter.run(problem, recorder))
    if evaluate is not None:
        outcome.quality = recorder.quality
    elif outcome.error is None:
        outcome.rounds.append(recorder.seconds)


def _tried(adapter: Adapter, problem: Problem, run: Callable[[], str | None]) -> str | None:
    """Run with the threads of BLAS that serve the library best; return what goes wrong, so that the others go on."""
    try:
        with threadpoolctl.threadpool_limits(adapter.blas or problem.threads, "blas"):
            return run()
    except Exception as error:  # a library may raise anything
        return error_line(error)


# Memory: a new process loads the data, imports the library, and takes the peak of its memory before and after a fit.


def save_problem(problem: Problem, folder: Path) -> None:
    """Write the arrays that a new process loads."""
    for name in ("data", "indices", "indptr"):
        np.save(folder / f"{name}.npy", getattr(problem.train, name))
    for name, array in zip(("users", "items"), problem.start or (), strict=False):
        np.save(folder / f"{name}.npy", array)


def _note_memory(outcome: Outcome, problem: Problem, folder: Path) -> None:
    print(f"{outcome.adapter.name}: memory ...", file=sys.stderr)
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe(duplex=False)
    settings = replace(problem, train=None, test=None, start=None, iterations=2)
    arguments = theirs, outcome.adapter, settings, problem.train.shape, folder, problem.start is not None
    process = context.Process(target=_measure_memory, args=arguments)
    # Ctrl-C reaches both processes. The new one inherits that it ignores it, or it would print a traceback.
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
    connection: Connection, adapter: Adapter, settings: Problem, shape: tuple[int, int], folder: Path, started: bool
) -> None:
    arrays = (np.load(folder / f"{name}.npy") for name in ("data", "indices", "indptr"))
    train = sp.csr_array(tuple(arrays), shape=shape)
    start = tuple(np.load(folder / f"{name}.npy") for name in ("users", "items")) if started else None
    problem = replace(settings, train=train, test=None, start=start)
    try:
        importlib.import_module(adapter.module)
        forget_peak()
        before = peak()
        with threadpoolctl.threadpool_limits(adapter.blas or problem.threads, "blas"):
            adapter.run(problem, Recorder())
        connection.send(peak() - before if before else None)
    except Exception as error:  # reported in the table
        connection.send(error_line(error))


def peak() -> float:
    """Return the peak of this process's memory in MB, with that of a JVM that it started; 0 where unknown (Windows).

    Linux hands the peak of `getrusage` on from the parent to a new process, but not that in /proc.
    """
    if (own := Path("/proc/self/status")).exists():
        return sum(_peak_in(status) for status in [own, *Path("/proc").glob("[0-9]*/status")])
    try:
        import resource
    except ImportError:
        return 0.0
    unit = 1 if sys.platform == "darwin" else 1024  # bytes or KiB
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 1e6


def _peak_in(status: Path) -> float:
    """Return the peak in a file of /proc if it is that of this process or of its child, else 0."""
    try:
        facts = dict(line.split(":", 1) for line in status.read_text().splitlines() if ":" in line)
    except OSError:  # ended meanwhile
        return 0.0
    wanted = status.parent.name == "self" or int(facts["PPid"]) == os.getpid()
    return int(facts["VmHWM"].split()[0]) * 1024 / 1e6 if wanted and "VmHWM" in facts else 0.0


def forget_peak() -> None:
    """Let the peak start anew at what is taken now, where the system can (Linux)."""
    with contextlib.suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")
