"""Run the tests and the ways to implicit of other frameworks with implicit, and with the stand-in under its name.

    python tests/compat/run_frameworks.py FOLDER [--only rectools lenskit replay recbole recommenders]

FOLDER gets one folder for each framework: `src`, its repository at the tag below, cloned unless it is there, and
`venv`, an environment with the framework, implicit 0.7.3 and this checkout, unless there is one. No code of theirs is
part of this repository. First its tests of the bridge to implicit run twice: the run fails if one passes with implicit
and fails with the stand-in, unless DIFFERENCES says why. Then both fit and make lists through the framework, in turn,
each time in a process of its own; a ratio is the median of the rounds', with the least and the greatest.

RePlay needs Java 17, and LensKit's tests MovieLens latest-small in the folder FOLDER/lenskit/src/data/ml-latest-small.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median

import numpy as np

from alternant.datasets import planted

ROOT = Path(__file__).parents[2]
INSIDE = Path(__file__).with_name("inside_framework.py")
IMPLICIT = "implicit==0.7.3"
SHAPES = {  # users, items, interactions of each user
    "ml1m": (6_040, 3_706, 140),
    "larger": (40_000, 12_000, 100),
}


OTHER_START = "it sets factors in which users have other numbers than 1 beside the biases of items"


@dataclass(frozen=True)
class Framework:
    """Where a framework comes from, what it needs, its tests of implicit, and how they may differ."""

    repository: str
    revision: str
    requirements: tuple[str, ...]
    tests: tuple[str, ...] = ()
    differences: dict[str, str] = field(default_factory=dict)  # part of a test's id, and why it fails with the stand-in
    pytest: tuple[str, ...] = ("-c", os.devnull)
    ways: tuple[str, ...] = ()  # functions of inside_framework.py that fit and make lists
    shapes: tuple[str, ...] = tuple(SHAPES)
    environment: dict[str, str] = field(default_factory=dict)  # {src}: its checkout


FRAMEWORKS = {
    "rectools": Framework(
        "https://github.com/MobileTeleSystems/RecTools", "v0.17.0",
        ("rectools==0.17.0", "scipy==1.14.1", "pytest", "pytest-mock", "pytest-subtests"),
        tuple(f"tests/models/{name}.py" for name in (
            "test_implicit_als", "test_implicit_bpr", "test_implicit_knn", "rank/test_rank_implicit", "test_ease",
            "test_pure_svd", "test_vector",
        )),
        {"TestImplicitBPRWrapperModel::test_basic": OTHER_START, "TestImplicitBPRWrapperModel::test_i2i": OTHER_START},
        ways=("rectools", "rectools_with_features"),
    ),
    "lenskit": Framework(
        "https://github.com/lenskit/lkpy", "v2025.8.1",
        ("lenskit==2025.8.1", "pytest<9", "pytest-benchmark", "pytest-retry", "pytest-doctestplus", "hypothesis"),
        ("tests/implicit/test_implicit.py",), pytest=(), ways=("lenskit",),
    ),
    "replay": Framework(
        "https://github.com/sb-ai-lab/RePlay", "v0.21.7",
        ("numpy<2", "pandas<2.4", "polars<2", "scikit-learn<1.7", "pyarrow<22", "pyspark==3.4.4", "psutil<=7.0.0",
         "d3rlpy==2.8.1", "pytorch-optimizer<4", "lightning<=2.4.0", "numba", "matplotlib", "ipython", "setuptools<81",
         "hypothesis", "pytest"),
        ("tests/experimental/models/test_implicit_wrap.py",), ways=("replay",), shapes=("ml1m",),
        environment={"PYTHONPATH": "{src}", "REPLAY_JAR_PATH": "{src}/jars/replay_2.12-0.1_spark_3.4.jar",
                     "REPLAY_SPARK_MEMORY": "3"},
    ),
    # The last revision that had the model: version 1.2.1 was released without it.
    "recbole": Framework(
        "https://github.com/RUCAIBox/RecBole", "37640eea9f758560adfe993e200008b5ee939a9f^",
        ("numpy<2", "pandas<3", "torch", "colorlog==4.7.2", "colorama==0.4.4", "scikit-learn", "pyyaml", "tensorboard",
         "thop", "tabulate", "texttable", "psutil", "plotly"),
        ways=("recbole",), environment={"PYTHONPATH": "{src}"},
    ),
    # Never imported implicit; its users evaluate their own lists by its metrics. Of its dependencies, LightFM does not
    # build, and the metrics need none of the others.
    "recommenders": Framework("", "", ("--no-deps recommenders==1.2.1", "pandas<3", "scikit-learn"),
                              ways=("recommenders",)),
}  # fmt: skip


def prepare(name: str, folder: Path) -> None:
    """Clone the repository and make the environment, unless they are there."""
    framework, src, venv = FRAMEWORKS[name], folder / "src", folder / "venv"
    if framework.repository and not src.exists():
        subprocess.run(["git", "clone", "--quiet", "--filter=blob:none", framework.repository, src], check=True)
        subprocess.run(["git", "-C", src, "checkout", "--quiet", framework.revision], check=True)
    if not venv.exists():
        subprocess.run([sys.executable, "-m", "venv", venv], check=True)
        pip = [python(folder), "-m", "pip", "install", "--quiet"]
        alone = [part for part in framework.requirements if part.startswith("--no-deps ")]
        others = [part for part in framework.requirements if part not in alone]
        subprocess.run([*pip, *others, IMPLICIT, str(ROOT)], check=True)
        for requirement in alone:
            subprocess.run([*pip, *requirement.split()], check=True)


def python(folder: Path) -> str:
    """Return the interpreter of an environment."""
    return str(folder / "venv" / "bin" / "python")


def inside(name: str, folder: Path, stand_in: bool, threads: int, *arguments: str) -> object:
    """Run inside_framework.py in the framework's environment; return what it has written."""
    framework, output = FRAMEWORKS[name], folder / "output.json"
    output.unlink(missing_ok=True)
    environment = {key: value for key, value in os.environ.items() if key != "OPENBLAS_CORETYPE"}
    for key, value in framework.environment.items():
        added = value.format(src=folder / "src")
        environment[key] = f"{added}{os.pathsep}{environment.get(key, '')}" if key == "PYTHONPATH" else added
    # implicit asks its users to limit BLAS to one thread. RecBole and LensKit choose the number of threads themselves.
    environment |= {"OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": str(threads), "LK_NUM_THREADS": str(threads)}
    environment |= {"ALTERNANT_STAND_IN": "implicit" if stand_in else ""}
    command = [python(folder), str(INSIDE), str(output), *arguments]
    with (folder / f"{arguments[0]}-{'stand-in' if stand_in else 'implicit'}.log").open("w") as log:
        cwd = folder / "src" if framework.repository else folder
        subprocess.run(command, cwd=cwd, env=environment, stdout=log, stderr=subprocess.STDOUT, check=False)
    if not output.exists():
        sys.exit(f"{name} has not come to an end: see {log.name}")
    return json.loads(output.read_text())


def compare_tests(name: str, folder: Path, threads: int) -> list[str]:
    """Run the tests twice; print a row and the reasons; return the unexpected failures."""
    framework = FRAMEWORKS[name]
    arguments = ("tests", *framework.pytest, "--rootdir", ".", *framework.tests)
    real, ours = (inside(name, folder, stand_in, threads, *arguments) for stand_in in (False, True))
    counts = [Counter(outcomes.values()) for outcomes in (real, ours)]
    worse = [test for test, outcome in real.items() if outcome == "passed" and ours.get(test) != "passed"]
    reasons = {test: why for test in worse for part, why in framework.differences.items() if part in test}
    explained = "; ".join(f"{count} {why}" for why, count in Counter(reasons.values()).items())
    cells = (f"{each['passed']} passed, {each['failed']} failed" for each in counts)
    print(f"| {name} {framework.revision} | {' | '.join(cells)} | {explained} |", flush=True)
    return [f"{name}: {test} fails with the stand-in only" for test in worse if test not in reasons]


def make(shape: str, folder: Path) -> Path:
    """Write planted interactions, a fifth of each user's held out, unless they are there."""
    path = folder / f"{shape}.npz"
    if not path.exists():
        users, items, each = SHAPES[shape]
        matrix = planted(users, items, 16, interactions_per_user=each, random_state=0).interactions
        held_out = np.random.default_rng(1).permuted(np.tile(np.arange(each) < each // 5, (users, 1)), axis=1)
        table = {"user": np.repeat(np.arange(users), each), "item": matrix.indices, "count": matrix.data}
        np.savez(path, shape=(users, items), test=held_out.ravel(), **table)
    return path


def compare_speed(name: str, folder: Path, options: argparse.Namespace) -> None:
    """Fit and make lists in turn; print a row for each way and shape."""
    for way in FRAMEWORKS[name].ways:
        for shape in (shape for shape in options.shapes if shape in FRAMEWORKS[name].shapes):
            runs: dict[bool, list[dict[str, float]]] = {False: [], True: []}
            for round_ in range(options.rounds):
                for stand_in in (False, True) if round_ % 2 else (True, False):
                    data = str(make(shape, options.folder).resolve())
                    arguments = ("speed", way, data, str(options.threads))
                    runs[stand_in].append(inside(name, folder, stand_in, options.threads, *arguments))
            cells = []
            for part in ("fit", "lists"):
                ratios = [a[part] / b[part] for a, b in zip(runs[False], runs[True], strict=True)]
                real, ours = (median(run[part] for run in runs[key]) for key in (False, True))
                scatter = f"{min(ratios):.2f}, {max(ratios):.2f}"
                cells.append(f"{real:.2f} s, {ours:.2f} s | {median(ratios):.2f} ({scatter})")
            quality = ", ".join(f"{median(run['ndcg'] for run in runs[key]):.4f}" for key in (False, True))
            load = max(run["load"] for key in runs for run in runs[key])
            print(f"| {way}, {shape} | {' | '.join(cells)} | {quality} | {load:.0f} |", flush=True)


def main(arguments: list[str]) -> int:
    """Compare the frameworks; return 1 if a test fails unexpectedly."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--only", nargs="+", choices=list(FRAMEWORKS), default=list(FRAMEWORKS))
    parser.add_argument("--parts", nargs="+", choices=("tests", "speed"), default=("tests", "speed"))
    parser.add_argument("--shapes", nargs="+", choices=list(SHAPES), default=list(SHAPES))
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=2)
    options = parser.parse_args(arguments)
    unexpected: list[str] = []
    for name in options.only:
        (options.folder / name).mkdir(parents=True, exist_ok=True)
        prepare(name, (options.folder / name).resolve())
    if "tests" in options.parts:
        print("\n| tests of | implicit | stand-in | why |\n|---|---|---|---|")
        for name in (name for name in options.only if FRAMEWORKS[name].tests):
            unexpected += compare_tests(name, (options.folder / name).resolve(), options.threads)
    if "speed" in options.parts:
        print("\n| way, data | fit: implicit, stand-in | times as fast | lists: implicit, stand-in | times as fast "
              "| NDCG@10 | load |\n|---|---|---|---|---|---|---|")  # fmt: skip
        for name in options.only:
            compare_speed(name, (options.folder / name).resolve(), options)
    print("", *unexpected, sep="\n")
    return 1 if unexpected else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
