"""Compare the speed of two revisions: fails if head is slower than base.

    python -m benchmarks compare-runs main                     # the working tree, including changes
    python -m benchmarks compare-runs v0.1 main --select top_k

Both are checked out and built, each into its own folder, and head's suites ``bench_*.py`` run against each in turn, in
a new process each time. The result of a process is the minimum time per call of each benchmark.

The rule: a benchmark fails if head is slower by more than 15 % and more than 5 ms. One call may take much less than
that, so a benchmark is judged by as many calls as take base 50 ms (`judgement.Limits.unit`): any of them can fail. The
ratio is that of neighbouring rounds. If its quartiles do not both lie within the limit, the benchmark gets as many
rounds again; it is slower if both then lie beyond the limit. If they lie on both sides, instructions decide: base and
head run under valgrind (small inputs, one thread, and AVX2 at most, since valgrind lacks AVX-512), and more than 15 %
more of them fail; otherwise, the difference counts as noise. Without valgrind, the median of the ratios decides, and
the table says so.

A benchmark that both have fails against base if base lacks something that head's suites call: the report says how many
were not compared for this reason.

Exits with 0 if no benchmark fails, 1 if one is slower or head can't run it, 2 if there is nothing to compare, also
because every benchmark fails against base.
"""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from .judgement import DISAGREE, Limits, Row, decide, report, rows_of

ROOT = Path(__file__).resolve().parents[2]
PYTEST = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--continue-on-collection-errors"]
# 5 rounds of 20 ms, of which the minimum counts. More processes are more informative than longer ones.
TIMING = ["--benchmark-min-time=0.02", "--benchmark-max-time=0.1", "--benchmark-min-rounds=5",
          "--benchmark-disable-gc", "--benchmark-timer=time.perf_counter"]  # fmt: skip
SAY = """
import alternant
info = alternant.backend_info()
print(alternant.__file__)
print(info["backend"], info["simd"], info["compiler"])
"""
SUITES = "benchmarks/suites"
VALGRIND = ["valgrind", "-q", "--tool=callgrind", "--callgrind-out-file=callgrind.%p"]


class CompareError(Exception):
    """There is nothing to compare; the message says why."""


@dataclass
class Side:
    """One revision: its checkout, its build, and the seconds per call of each benchmark in each round."""

    name: str
    tree: Path
    site: Path
    info: str = ""
    seconds: dict[str, list[float]] = field(default_factory=dict)

    def environment(self, **more: str) -> dict[str, str]:
        """Return an environment in which Python finds this side's build first."""
        return {**os.environ, "PYTHONPATH": str(self.site), "PYTHONDONTWRITEBYTECODE": "1", **more}


def run(command: Sequence[Any], **options: Any) -> str:
    """Run a command and return its output; raise CompareError with its last lines if it fails."""
    done = subprocess.run([str(part) for part in command], capture_output=True, text=True, check=False, **options)
    if done.returncode:
        last = "\n".join((done.stdout + done.stderr).splitlines()[-15:])
        raise CompareError(f"{' '.join(map(str, command))} failed with {done.returncode}:\n{last}")
    return done.stdout.strip()


def git(*arguments: Any) -> str:
    """Run git in the repository."""
    return run(["git", *arguments], cwd=ROOT)


@contextlib.contextmanager
def checked_out(tree: Path, revision: str, work: Path) -> Iterator[Side]:
    """Check out a revision and build it. Builds of the same sources in `work` are reused."""
    git("worktree", "add", "--detach", "--force", tree, revision)
    try:
        sources = git("rev-parse", f"{revision}:src", f"{revision}:setup.py", f"{revision}:pyproject.toml")
        site = work / f"built-{hashlib.sha256(sources.encode()).hexdigest()[:12]}"
        if not site.exists():
            build(tree, site)
        side = Side(tree.name, tree, site)
        where, side.info = run([sys.executable, "-c", SAY], env=side.environment(), cwd=work).splitlines()
        if site not in Path(where).parents:
            raise CompareError(f"{tree.name} is built into {site}, but Python imports {where}: unset PYTHONPATH")
        yield side
    finally:
        git("worktree", "remove", "--force", tree)


def tools_are_here() -> bool:
    """Whether the build requirements are installed, so that pip need not fetch them (see pyproject.toml)."""
    try:
        setuptools, cython = (version(name).split(".") for name in ("setuptools", "cython"))
    except PackageNotFoundError:
        return False
    return int(setuptools[0]) >= 77 and (int(cython[0]), int(cython[1])) >= (3, 1)


def build(tree: Path, site: Path) -> None:
    """Install a checkout into a folder."""
    print(f"building {tree.name} ...", file=sys.stderr, flush=True)
    install = [sys.executable, "-m", "pip", "install", "-q", "--disable-pip-version-check", "--no-deps", "--target"]
    if tools_are_here():
        install.insert(-1, "--no-build-isolation")
    unfinished = site.with_suffix(".part")
    shutil.rmtree(unfinished, ignore_errors=True)
    run([*install, unfinished, tree], env={**os.environ, "ALTERNANT_BUILD": "required"})
    unfinished.rename(site)


def suites(tree: Path) -> list[str]:
    """Return the files of benchmarks in a checkout."""
    return sorted(path.relative_to(tree).as_posix() for path in (tree / "benchmarks").rglob("bench_*.py"))


def collect(side: Side, select: str) -> set[str]:
    """Return the names of the benchmarks in a side's own suites, as if their files were in SUITES.

    A benchmark is thus the same on both sides if its file was moved.
    """
    files = suites(side.tree)
    if not files:
        return set()
    command = [*PYTEST, "--collect-only", "-k", select, *files]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=side.tree, env=side.environment())
    lines = [line for line in done.stdout.splitlines() if line.startswith("benchmarks/") and "::" in line]
    return {f"{SUITES}/{line[line.index('bench_'):]}" for line in lines}


def time_round(side: Side, tree: Path, names: Sequence[str], select: str) -> dict[str, Any]:
    """Run suites (or single benchmarks) against one side; add the seconds and return the parameters of each."""
    with tempfile.TemporaryDirectory() as folder:
        result = Path(folder, "times.json")
        command = [*PYTEST, *TIMING, f"--benchmark-json={result}", "-k", select, *names]
        done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=tree, env=side.environment())
        text = result.read_text() if result.exists() else ""
    if done.returncode:
        print(f"against {side.name}:\n{done.stdout[-4000:]}{done.stderr[-2000:]}", file=sys.stderr)
    # pytest-benchmark saves nothing if every benchmark fails.
    found = {one["fullname"]: one for one in json.loads(text)["benchmarks"]} if text else {}
    for name, one in found.items():
        side.seconds.setdefault(name, []).append(one["stats"]["min"])
    return {name: one["params"] for name, one in found.items()}


def time_rounds(base: Side, head: Side, names: Sequence[str], rounds: int, select: str) -> dict[str, Any]:
    """Run the two sides in turn, alternating which goes first; return the parameters of each benchmark."""
    parameters: dict[str, Any] = {}
    for number in range(rounds):
        print(f"round {number + 1} of {rounds} ...", file=sys.stderr, flush=True)
        for side in (base, head) if number % 2 == 0 else (head, base):
            parameters |= time_round(side, head.tree, names, select)
            if not base.seconds:
                raise CompareError(f"no benchmark of head's suites that matches {select!r} runs against base")
    return parameters


def instructions(side: Side, tree: Path, names: Sequence[str], parameters: dict[str, Any]) -> dict[str, int]:
    """Count the instructions of calls of each benchmark, by callgrind; leave out those that can't be counted."""
    cases = [[*name.split("[")[0].split("::"), parameters[name]] for name in names]
    more = {"ALTERNANT_BENCHMARKS_TINY": "1", "PYTHONHASHSEED": "0", "OMP_NUM_THREADS": "1",
            "OPENBLAS_NUM_THREADS": "1"}  # fmt: skip
    environment = side.environment(**more)
    if environment.get("ALTERNANT_SIMD") == "avx512":
        del environment["ALTERNANT_SIMD"]  # valgrind does not support it: the best remaining level is chosen
    with tempfile.TemporaryDirectory() as folder:
        Path(folder, "cases.json").write_text(json.dumps(cases))
        command = [*VALGRIND, sys.executable, "-m", "benchmarks.gate.count_calls", "cases.json"]
        environment["PYTHONPATH"] += os.pathsep + str(tree)
        done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=folder, env=environment)
        if done.returncode:
            print(f"valgrind failed on {side.name}:\n{done.stderr[-2000:]}", file=sys.stderr)
        totals: dict[str, list[int]] = {}
        for line in done.stdout.splitlines():
            case, _, process = json.loads(line)
            totals.setdefault(names[case], []).append(total(Path(folder, f"callgrind.{process}")))
    return {name: counts[1] - counts[0] for name, counts in totals.items() if len(counts) == 2}


def total(file: Path) -> int:
    """Read the total from callgrind's file."""
    return next(int(line.split()[1]) for line in file.read_text().splitlines() if line.startswith("totals:"))


def settle(rows: list[Row], base: Side, head: Side, parameters: dict[str, Any], limits: Limits) -> list[str]:
    """Decide by instructions where times could not; return notes for the report."""
    names = [row.name for row in rows if row.verdict == DISAGREE]
    if not names:
        return []
    counts: list[dict[str, int]] = [{}, {}]
    if shutil.which("valgrind"):
        print(f"counting instructions of {len(names)} benchmarks ...", file=sys.stderr, flush=True)
        counts = [instructions(side, head.tree, names, parameters) for side in (base, head)]
    left = []
    for row in rows:
        if row.verdict == DISAGREE:
            before, after = (side.get(row.name, 0) for side in counts)
            decide(row, after / before if before > 0 and after > 0 else None, limits)
            left += [] if before > 0 and after > 0 else [row.name]
    settled = len(names) - len(left)
    notes = [
        f"Times could not decide {len(names)} benchmarks; instructions (AVX2 at most, one thread) settled {settled}."
    ]
    if left:
        why = "could not count" if shutil.which("valgrind") else "is not installed"
        notes.append(f"valgrind {why} for {len(left)} of them, whose verdict is that of the median time.")
    return notes


def compare(base: Side, head: Side, options: argparse.Namespace) -> tuple[str, bool]:
    """Time both sides, judge, and write the report."""
    limits = Limits(options.percent, options.milliseconds, options.unit / 1000)
    names = collect(base, options.select), collect(head, options.select)
    if not names[1]:
        raise CompareError(f"head has no benchmark in {SUITES}/bench_*.py that matches {options.select!r}")
    parameters = time_rounds(base, head, suites(head.tree), options.rounds, options.select)
    rows = rows_of(base.seconds, head.seconds, *names, limits)
    doubtful = [row.name for row in rows if row.verdict in (DISAGREE, "slower")]
    if doubtful:
        time_rounds(base, head, doubtful, options.rounds, options.select)
        rows = rows_of(base.seconds, head.seconds, *names, limits)
    notes = settle(rows, base, head, parameters, limits)
    notes.append(f"{options.rounds} rounds, each of which runs both; base: {base.info}; head: {head.info}. Judged is "
                 f"the time of as many calls as take base {options.unit:g} ms.")  # fmt: skip
    return report(rows, limits, notes)


def parse(arguments: Sequence[str]) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks compare-runs", description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )  # fmt: skip
    parser.add_argument("base", help="git revision")
    parser.add_argument("head", nargs="?", help="git revision; by default the checkout, with what git tracks in it")
    parser.add_argument("--rounds", type=int, default=5, help="how often each side runs")
    parser.add_argument("--percent", type=float, default=15.0, help="how much slower a benchmark may become")
    parser.add_argument("--milliseconds", type=float, default=5.0, help="... or by how much of a unit of work")
    parser.add_argument("--unit", type=float, default=50.0, help="milliseconds of base that are a unit of work")
    parser.add_argument("--select", default="not numba", help="which benchmarks, as pytest's -k")
    parser.add_argument("--output", type=Path, help="write the report there, too")
    parser.add_argument("--work", type=Path, help="folder in which builds are kept and found again")
    options = parser.parse_args(arguments)
    if options.rounds < 1 or min(options.percent, options.milliseconds, options.unit) <= 0:
        parser.error("--rounds must be at least 1, --percent, --milliseconds and --unit more than 0")
    return options


def main(arguments: Sequence[str]) -> int:
    """Run the command."""
    options = parse(arguments)
    with tempfile.TemporaryDirectory() as temporary:
        work = (options.work or Path(temporary)).resolve()
        work.mkdir(parents=True, exist_ok=True)
        try:
            base_revision = git("rev-parse", "--verify", f"{options.base}^{{commit}}")
            head = options.head or git("stash", "create") or "HEAD"
            head_revision = git("rev-parse", "--verify", f"{head}^{{commit}}")
            trees = Path(temporary, "base"), Path(temporary, "head")  # never in --work: a killed run leaves them behind
            with (
                checked_out(trees[0], base_revision, work) as base,
                checked_out(trees[1], head_revision, work) as head_side,
            ):
                text, good = compare(base, head_side, options)
            status = 0 if good else 1
        except CompareError as error:
            text, status = f"### Benchmarks\n\nNothing was compared.\n\n```\n{error}\n```\n", 2
    print(text)
    if options.output:
        options.output.write_text(text, encoding="utf-8")
    return status
