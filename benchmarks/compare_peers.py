"""Compare alternant with other libraries, in one process, in turn, on the same data and with as many factors.

    pip install ".[peers,plot]"
    python benchmarks/compare_peers.py weighted --shape ml20m --output ml20m.md --picture ml20m.png
    python benchmarks/compare_peers.py weighted --data lastfm-hetrec2011 --folder FOLDER
    python benchmarks/compare_peers.py weighted --only alternant implicit --at-least 2.5
    python benchmarks/compare_peers.py explicit --data ml-latest-small --folder FOLDER

weighted   ALS on implicit feedback: confidence 1 + r, the same constant lambda, the same start where the library takes
           one. One function recomputes every library's objective in float64; where a library minimises another one,
           NDCG@10 of one held-out interaction a user (of 20,000 users, if there are more) stands for it. Real r are
           replaced by log(1 + r).
explicit   ratings: each library's defaults but for factors and threads; RMSE of a tenth of the ratings, held out.

"Seconds to" is what it takes to reach what the best peer reaches with its defaults, after 15 iterations (explicit:
after its default number of them). Converting the data to what a library takes is not counted, all that its fit does is.
A library that does not stop between iterations is fitted anew with 1, 2, 4, 8 and all of its iterations. Seconds an
iteration are those after the first. The first round warms up and is the one that is evaluated; seconds are medians of
the others. Memory is the peak that a fit of 2 iterations adds to that of a new process with the data and the library
loaded.

`--at-least R` makes the command fail where the first library of alternant is less than R times as fast an iteration as
the fastest peer with the same objective, or its objective is higher than that peer's after as many iterations (after
any but the first, in which alternant leaves rows early, from the same start); explicit: where alternant is less than R
times as soon as any peer at the RMSE. With it or without, the command fails where one of alternant that `--only` does
not leave out does not run. Ctrl-C ends it with exit status 130, after a table of the rounds that are whole.
"""

from __future__ import annotations

import argparse
import ast
import sys
import tempfile
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import public_data
import scipy.sparse as sp
from command_line import at_least, exit_status, file_to_write, folder, picture_to_write
from machine import machine_line
from peer_report import Measure, draw, fastest, table
from peer_runs import Adapter, Interrupted, Outcome, Problem, run_in_turn, save_problem
from peers_als import WEIGHTED, ndcg, objective, other_objective
from peers_ratings import RATINGS
from shapes import SHAPES, shaped

from alternant.evaluation import leave_one_out, random_split

if TYPE_CHECKING:
    from collections.abc import Sequence

ADAPTERS = {"weighted": WEIGHTED, "explicit": RATINGS}
DATA = {"weighted": public_data.LOADERS, "explicit": public_data.RATINGS}
UNITS = {"weighted": "iteration", "explicit": "iteration or epoch"}
MEASURES = {
    "weighted": (
        Measure("objective", "objective", ".6g", 1e-6),
        Measure("ndcg", "NDCG@10", ".4f", 1e-3, higher=True),
    ),
    "explicit": (Measure("rmse", "RMSE", ".4f", 1e-4),),
}


def option(text: str) -> tuple[str, Any]:
    """Read NAME=VALUE; a value that is no Python literal is a string."""
    name, separator, value = text.partition("=")
    if not (separator and name.isidentifier()):
        raise argparse.ArgumentTypeError(f"expected NAME=VALUE, as in max_cg_steps=5, got {text!r}")
    try:
        return name, ast.literal_eval(value)
    except (ValueError, SyntaxError):
        return name, value


def chosen(adapters: Sequence[Adapter], only: Sequence[str] | None) -> list[Adapter]:
    """Return the libraries to run; a name stands for all whose name begins with its words."""
    if only is None:
        return list(adapters)
    known = [adapter.name for adapter in adapters]
    exact = [name for name in only if name in known]
    started = [name for name in only if name not in known]
    if unknown := [name for name in started if not any(k.startswith(f"{name} ") for k in known)]:
        sys.exit(f"no library is called {unknown[0]!r}: choose from {', '.join(map(repr, known))}")
    return [a for a in adapters if a.name in exact or any(a.name.startswith(f"{name} ") for name in started)]


def weighted_problem(options: argparse.Namespace, common: dict[str, Any]) -> Problem:
    """Hold out one interaction of each user; every library starts from the same small positive numbers."""
    if options.data is None:
        matrix = shaped(options.shape)
    else:
        matrix = public_data.load(options.data, options.folder)
        matrix.data = np.log1p(matrix.data)
    train, test = leave_one_out(as_float32(matrix), random_state=0)
    rng = np.random.default_rng(42)
    start = tuple(rng.random((n, options.factors), dtype=np.float32) * 0.01 for n in train.shape)
    return Problem(as_float32(train), test, start, regularization=options.regularization, **common)


def explicit_problem(options: argparse.Namespace, common: dict[str, Any]) -> Problem:
    """Hold out a tenth of the ratings."""
    real = options.data is not None
    matrix = public_data.load_ratings(options.data, options.folder) if real else shaped(options.shape)
    train, test = random_split(as_float32(matrix), 0.1, random_state=0)
    return Problem(as_float32(train), test.tocoo(), **common)


def as_float32(matrix: Any) -> sp.csr_array:
    """Return CSR with float32 values and int32 column numbers."""
    rows = sp.csr_array(matrix)
    indices, indptr = rows.indices.astype(np.int32), rows.indptr.astype(np.int32)
    return sp.csr_array((rows.data.astype(np.float32), indices, indptr), shape=rows.shape)


def evaluate_factors(
    problem: Problem, lists: bool, adapter: Adapter, learned: tuple[np.ndarray, np.ndarray]
) -> dict[str, float]:
    """Return NDCG@10, if lists are to be made, and the objective where the library minimises this one."""
    X, Y = (np.asarray(side) for side in learned)
    reached = {"ndcg": ndcg(problem, X, Y)} if lists else {}
    if adapter.same_objective:
        reached["objective"] = objective(problem.train, X, Y, problem.regularization)
    return reached


def evaluate_predictions(problem: Problem, _lists: bool, _: Adapter, predictions: np.ndarray) -> dict[str, float]:
    """Return the error on the held-out ratings."""
    return {"rmse": float(np.sqrt(np.mean(np.square(predictions - problem.test.data, dtype=np.float64))))}


PROBLEMS = {"weighted": weighted_problem, "explicit": explicit_problem}
CHECKS = {"weighted": other_objective, "explicit": lambda _threads, _adapter: None}
EVALUATORS = {"weighted": evaluate_factors, "explicit": evaluate_predictions}


def missed(outcomes: Sequence[Outcome], task: str, at_least: float) -> list[str]:
    """Return what keeps alternant from being so many times as fast."""
    ours = [outcome for outcome in outcomes if outcome.adapter.ours]
    if not ours:
        return ["alternant did not run"]
    if reasons := not_run(ours):
        return reasons
    peers = [outcome for outcome in outcomes if not outcome.adapter.ours and outcome.error is None]
    if task == "explicit":
        return _late(ours, peers, at_least)
    peer = fastest([outcome for outcome in peers if outcome.adapter.same_objective])
    if peer is None:
        return ["no peer with the same objective ran"]
    reasons = []
    if (ratio := peer.each / ours[0].each) < at_least:
        reasons.append(f"{ours[0].adapter.name} is {ratio:.2f} times as fast as {peer.adapter.name}, not {at_least:g}")
    compared = sorted(n for n in ours[0].quality.keys() & peer.quality.keys() if n <= ours[0].adapter.iterations)
    for n in compared[1:] if peer.adapter.same_start else compared[-1:]:
        mine, theirs = (outcome.quality[n]["objective"] for outcome in (ours[0], peer))
        if mine > theirs * (1 + 1e-6):
            reasons.append(f"after iteration {n}, the objective is {mine:.9g}; {peer.adapter.name}'s is {theirs:.9g}")
    return reasons


def not_run(outcomes: Sequence[Outcome]) -> list[str]:
    """Return why libraries of alternant did not run."""
    return [f"{o.adapter.name} did not run: {o.error}" for o in outcomes if o.adapter.ours and o.error is not None]


def _late(ours: Sequence[Outcome], peers: Sequence[Outcome], at_least: float) -> list[str]:
    (measure,) = MEASURES["explicit"]
    target = measure.target(peers)
    if target is None:
        return ["no peer ran"]
    soon, theirs = (
        min((s for outcome in outcomes if (s := measure.seconds(outcome, target)) is not None), default=np.inf)
        for outcomes in (ours, peers)
    )
    if theirs / soon >= at_least:
        return []
    return [f"alternant needs {soon:.3f} s to an RMSE of {target:.4f}, the soonest peer {theirs:.3f} s"]


def parse(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("task", choices=list(ADAPTERS))
    parser.add_argument("--shape", choices=list(SHAPES), default="ml1m", help="random data of this shape")
    parser.add_argument("--data", metavar="NAME", help="real data instead; " + "; ".join(
        f"{task}: {', '.join(names)}" for task, names in DATA.items()))  # fmt: skip
    parser.add_argument("--folder", type=folder, help="that holds the real data, one sub-folder a data set")
    parser.add_argument("--factors", type=at_least(1), default=64)
    parser.add_argument("--regularization", type=float, default=0.01, help="lambda of weighted")
    parser.add_argument("--iterations", type=at_least(2), help="at most, at least 2; default 20, explicit 30")
    parser.add_argument("--threads", type=at_least(1), default=2)
    parser.add_argument("--rounds", type=at_least(1), default=5, help="after the one that warms up")
    parser.add_argument("--only", nargs="+", metavar="LIBRARY", help="as the table names them, or their first words")
    parser.add_argument("--no-memory", action="store_true", help="leave out the processes that memory is measured in")
    parser.add_argument("--no-lists", action="store_true", help="leave out NDCG@10, which takes longest on large data")
    parser.add_argument("--alternant-option", type=option, action="append", default=[], metavar="NAME=VALUE",
                        help="a parameter of alternant's models; may be given several times")  # fmt: skip
    parser.add_argument("--at-least", type=float, help="exit 1 below this ratio; see above")
    parser.add_argument("--output", type=file_to_write, help="write the table to this file, too")
    parser.add_argument("--picture", type=picture_to_write, help="draw to this file")
    options = parser.parse_args(arguments)
    if options.iterations is None:
        options.iterations = {"weighted": 20, "explicit": 30}[options.task]
    if options.data is not None and options.data not in DATA[options.task]:
        names = ", ".join(DATA[options.task])
        parser.error(f"{options.task} takes no --data {options.data}: choose from {names}")
    if options.data not in (None, "msweb") and options.folder is None:
        parser.error(f"--data {options.data} needs --folder, which holds one sub-folder a data set")
    return options


def compare(options: argparse.Namespace) -> int:
    """Run the comparison and write the table; return the exit status."""
    adapters = chosen(ADAPTERS[options.task], options.only)
    common = {"factors": options.factors, "iterations": options.iterations, "threads": options.threads,
              "alternant_options": dict(options.alternant_option)}  # fmt: skip
    problem = PROBLEMS[options.task](options, common)
    evaluate = partial(EVALUATORS[options.task], problem, not options.no_lists)
    check = partial(CHECKS[options.task], options.threads)
    measures = [m for m in MEASURES[options.task] if not (options.no_lists and m.key == "ndcg")]
    with tempfile.TemporaryDirectory() as folder:
        save_problem(problem, Path(folder))
        memory_from = None if options.no_memory else Path(folder)
        rounds, stopped = options.rounds, False
        try:
            outcomes = run_in_turn(adapters, problem, evaluate, rounds, memory_from, check)
        except Interrupted as interrupted:
            outcomes, rounds, stopped = interrupted.outcomes, interrupted.rounds, True
            if not rounds:
                raise
    m, n = problem.train.shape
    title = (f"{options.task}, {options.data or options.shape}: {m:,} x {n:,}, {problem.train.nnz:,} to learn from, "
             f"f = {options.factors}, float32, {options.threads} threads, rounds: {rounds}")  # fmt: skip
    text = "\n".join([
        machine_line(options.threads), "", title, "", table(outcomes, measures, UNITS[options.task])
    ])  # fmt: skip
    print(text)
    if stopped:
        print(f"stopped after {rounds} of {options.rounds} rounds", file=sys.stderr)
        return 130
    if options.output is not None:
        options.output.write_text(text + "\n", encoding="utf-8")
    if options.picture is not None:
        draw(outcomes, measures[0], UNITS[options.task], title, options.picture)
    if options.at_least is None:
        return exit_status(not_run(outcomes))
    return exit_status(missed(outcomes, options.task, options.at_least))


def main() -> int:
    """Run the command; exit 1 if a target is missed or alternant does not run, 130 if it is interrupted."""
    options = parse()
    try:
        return compare(options)
    except KeyboardInterrupt:
        print("stopped before a round was whole: there is nothing to compare", file=sys.stderr)
        return 130


if __name__ == "__main__":
    sys.exit(main())
