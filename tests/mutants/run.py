"""Break the code on purpose, one line at a time, and record which test notices.

    python tests/mutants/run.py [--suite full short] [--only NAME ...] [--jobs N] [--check]

Each record of mutants.py is applied to a copy of the tree, of which only the modules concerned are built again; its
tests run until the first failure. result.md has who caught it, in which suite, and in how many seconds. A mutant that
survives is a missing test (exit code 1); one whose text is no longer in the code must be adapted (exit code 2). The
full suite is `pytest --matrix`, the short one what `pytest tests` runs.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from queue import SimpleQueue

sys.path.insert(0, str(Path(__file__).parent))
from mutants import MUTANTS, Mutant

ROOT = Path(__file__).resolve().parents[2]
RESULT = Path(__file__).with_name("result.md")
SUITES = {"full": ["--matrix"], "short": []}
TIMEOUT = 900  # seconds for one run of pytest: a mutant may loop forever
COPIED = ("src", "tests", "benchmarks", "setup.py", "pyproject.toml", "README.md", "MANIFEST.in", "build", "LICENSE")
HEADER = """# Which test notices which mutant

Written by `python tests/mutants/run.py --suite full short`. The short suite is what `pytest tests` runs, the full one
every SIMD level and backend with every case (`pytest --matrix`). Where a test of the full suite has the implementation
first in its id (`[cython-avx512-float32-...`), it is one of the 8,700 cases that the short suite replaced; what is
marked SURVIVED was missed by these. "where" is the implementation that was changed; the seconds are from the start of
Python to the first failure, on a machine that was busy with other things. An empty cell has not been run yet on this
code; `--keep` runs what is missing.

| mutant | where | what is wrong | full suite: first test that fails | s | short suite: first test that fails | s |
|---|---|---|---|---|---|---|
"""
# Runs setup.py for those extension modules only whose name matches: a mutant of one kernel needs no other. Its C is
# compiled for one SIMD level; the object files of the others are those of the last whole build. (With the flags of any
# build: with -O1, which takes a third of the time, tests of accuracy fail without a mutant.)
BUILD = """
import glob, re, setuptools
whole = setuptools.setup
def only(**options):
    modules = [module for module in options["ext_modules"] if re.search({pattern!r}, module.name)]
    assert modules, [module.name for module in options["ext_modules"]]
    for module in modules if {level!r} else ():
        family = module.name.split(".")[-1].removesuffix("_cython")
        for name in module.levels:
            if name != {level!r}:
                module.extra_objects += glob.glob(f"build/temp*/{{name}}/**/{{family}}.o", recursive=True)
        module.levels = {{name: flags for name, flags in module.levels.items() if name == {level!r}}}
    whole(**options | {{"ext_modules": modules}})
setuptools.setup = only
exec(compile(open("setup.py").read(), "setup.py", "exec"), {{"__name__": "__main__", "__file__": "setup.py"}})
"""


def missing() -> list[str]:
    """Return what is wrong with the records: each text must be in one file, and there exactly once."""
    found = []
    for mutant in MUTANTS:
        texts = {path: path.read_text().count(mutant.old) for path in sorted((ROOT / mutant.folder).rglob(mutant.file))}
        if list(texts.values()) != [1]:
            files = ", ".join(f"{count} times in {path.relative_to(ROOT)}" for path, count in texts.items())
            found.append(f"{mutant.name}: {mutant.old!r} is {files or 'in no file, as there is no ' + mutant.file}")
    names = [mutant.name for mutant in MUTANTS]
    return found + [f"two mutants are called {name}" for name in {name for name in names if names.count(name) > 1}]


class Tree:
    """A copy of the tree, in which mutants are tried one after the other."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        for name in COPIED:
            source = ROOT / name
            if source.is_dir():
                shutil.copytree(source, folder / name, ignore=shutil.ignore_patterns("__pycache__", "mutants"))
            elif source.exists():
                shutil.copy2(source, folder / name)
        self.environment = {name: value for name, value in os.environ.items() if not name.startswith("ALTERNANT_")}
        self.environment |= {"PYTHONPATH": str(folder / "src"), "PYTHONDONTWRITEBYTECODE": "1", "MPLBACKEND": "agg"}
        self.build("the tree without mutants", "", "")

    def build(self, name: str, pattern: str, level: str) -> None:
        """Build the extension modules whose name matches, for one SIMD level (all of them if there is none named)."""
        code, printed = self.run(
            "-c", BUILD.format(pattern=pattern, level=level), "-q", "build_ext", "--inplace", timeout=1800
        )
        if code != 0:
            raise SystemExit(f"{name} does not compile:\n{printed[-3000:]}")

    def run(self, *command: str, timeout: float | None = None, **environment: str) -> tuple[int | None, str]:
        """Return the exit code (None: out of time) and what was printed."""
        process = subprocess.Popen(
            [sys.executable, *command], cwd=self.folder, env=self.environment | environment, text=True,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, start_new_session=True,
        )  # fmt: skip
        try:
            printed = process.communicate(timeout=timeout)[0]
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, 9)
            return None, process.communicate()[0]
        return process.returncode, printed

    def try_one(self, mutant: Mutant, suites: list[str]) -> dict[str, tuple[str, float]]:
        """Return by suite who caught a mutant ("" for nobody), and the seconds until then."""
        (path,) = (self.folder / mutant.folder).rglob(mutant.file)
        original, built = path.read_text(), {}
        pattern = mutant.module
        if pattern:
            compiled = [path for path in (self.folder / "src").rglob("*.so") if re.search(pattern, dotted(path))]
            compiled += (self.folder / "build").rglob(f"{mutant.family}.o")
            built = {path: path.read_bytes() for path in compiled}
        path.write_text(original.replace(mutant.old, mutant.new))
        try:
            if pattern:
                self.build(mutant.name, pattern, mutant.level or best_level())
            found: dict[str, tuple[str, float]] = {}
            for suite in sorted(suites, reverse=True):  # what the short one fails in is soon found in the full one
                function = re.search(r"::(\w+)", found["short"][0]) if "short" in found else None
                found[suite] = self.caught(mutant, suite, function[1] if function else "")
            return found
        finally:
            path.write_text(original)
            for compiled_file, content in built.items():  # now newer than the source
                compiled_file.write_bytes(content)

    def caught(self, mutant: Mutant, suite: str, function: str) -> tuple[str, float]:
        begin = time.monotonic()
        likely = mutant.likely(best_level())
        rest = "not numba" if mutant.where.startswith("cython") else ""  # Numba's kernels take their time to compile
        chosen = [f"{function} and {likely}", function, likely, rest] if function and likely else [likely, rest]
        for only in dict.fromkeys(chosen):  # first those tests that are likely to notice, then all that concern it
            with tempfile.TemporaryDirectory() as caches:
                code, printed = self.run(
                    "-m", "pytest", "-x", "-q", "-p", "no:cacheprovider", "--no-header", "-rfE", "--tb=line",
                    *SUITES[suite], *(("-k", only) if only else ()), *mutant.tests, timeout=TIMEOUT,
                    NUMBA_CACHE_DIR=caches, HYPOTHESIS_STORAGE_DIRECTORY=caches,
                )  # fmt: skip
            seconds = time.monotonic() - begin
            if code is None and only == likely:
                return "(runs into the time limit)", seconds
            if code is None:
                raise SystemExit(f"{mutant.name}: {TIMEOUT} s are not enough for {' '.join(mutant.tests)}")
            if code < 0:
                return f"(crashes with signal {-code})", seconds
            failed = re.search(r"^(?:FAILED|ERROR) (.+?)(?: - |$)", printed, re.MULTILINE)
            if code == 1 and failed:
                return re.sub(r".*tests/", "", failed[1], count=1), seconds
            if code not in (0, 5):
                raise SystemExit(f"{mutant.name}: pytest ended with {code}:\n{printed[-3000:]}")
        return "", seconds


def dotted(module: Path) -> str:
    """Return the name of a compiled module."""
    parts = module.parts[module.parts.index("src") + 1 :]
    return ".".join((*parts[:-1], parts[-1].split(".")[0]))


def best_level() -> str:
    """Return the SIMD level that is in force here."""
    from alternant.kernels import _registry

    cython = _registry._load("cython")
    if isinstance(cython, str):
        raise SystemExit(f"mutants need the compiled kernels: {cython}")
    return str(cython.simd)


def supported() -> tuple[str, ...]:
    """Return the SIMD levels that can run here."""
    from alternant.kernels import _cpu

    return tuple(_cpu.simd_levels())


def read_result() -> dict[str, dict[str, list[str]]]:
    """Return what result.md has, by mutant and suite: who caught it, and the seconds."""
    rows = {}
    for line in RESULT.read_text().splitlines() if RESULT.exists() else ():
        cells = [cell.strip() for cell in line.strip("|").split(" | ")]
        if len(cells) == 7 and cells[0] not in ("mutant", "---"):
            rows[cells[0].strip("` ")] = {"full": cells[3:5], "short": cells[5:7]}
    return rows


def write_result(rows: dict[str, dict[str, list[str]]]) -> None:
    """Write result.md, in the order of the records."""
    lines = []
    for mutant in MUTANTS:
        row = rows.get(mutant.name, {})
        cells = [f"`{mutant.name}`", mutant.where, mutant.why, *row.get("full", ["", ""]), *row.get("short", ["", ""])]
        lines.append("| " + " | ".join(cells) + " |\n")
    RESULT.write_text(HEADER + "".join(lines))


def main() -> int:
    """Try the mutants."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--suite", choices=SUITES, default=["short"], nargs="+")
    parser.add_argument("--only", nargs="+", metavar="NAME", help="regular expressions that names must contain one of")
    parser.add_argument("--jobs", type=int, default=1, help="how many are tried at the same time")
    parser.add_argument("--check", action="store_true", help="only see that every record still fits the code")
    parser.add_argument("--keep", action="store_true", help="leave out the mutants that result.md has")
    arguments = parser.parse_args()
    if problems := missing():
        print(*problems, sep="\n", file=sys.stderr)
        return 2
    chosen = [m for m in MUTANTS if not arguments.only or any(re.search(name, m.name) for name in arguments.only)]
    rows = read_result()
    if arguments.keep:
        chosen = [m for m in chosen if not all(rows.get(m.name, {}).get(suite, [""])[0] for suite in arguments.suite)]
    print(f"{len(chosen)} mutants of {len(MUTANTS)}", flush=True)
    if arguments.check or not chosen:
        return 0
    lock, trees = threading.Lock(), SimpleQueue()

    def attempt(mutant: Mutant) -> bool:
        if mutant.level not in ("", *supported()):
            print(f"{mutant.name}: this CPU does not support {mutant.level}", flush=True)
            return True
        tree = trees.get()
        try:
            found = tree.try_one(mutant, arguments.suite)
        finally:
            trees.put(tree)
        with lock:
            for suite, (by, seconds) in found.items():
                print(f"{mutant.name}, {suite}: {by or 'SURVIVED'}, {seconds:.0f} s", flush=True)
                rows.setdefault(mutant.name, {})[suite] = [by or "SURVIVED", f"{seconds:.0f}"]
            write_result(rows)
        return all(by for by, _ in found.values())

    with tempfile.TemporaryDirectory(prefix="mutants-") as folder:
        for job in range(arguments.jobs):
            trees.put(Tree(Path(folder, str(job))))
        with ThreadPoolExecutor(arguments.jobs) as pool:
            caught = list(pool.map(attempt, chosen))
    print(f"{sum(caught)} of {len(caught)} were caught")
    return 0 if all(caught) else 1


if __name__ == "__main__":
    sys.exit(main())
