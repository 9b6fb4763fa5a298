"""Search for settings that are good on every data set: at random first, then near the best so far."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING, Any

import numpy as np
from public_data import load

from alternant import Popularity
from alternant.evaluation import leave_one_out, ranking_metrics

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

Setting = dict[str, Any]
MAX_TEST_USERS = 10_000  # enough for a standard error of 0.003


def search(
    draw: Callable[[np.random.Generator], Setting],
    vary: Callable[[Setting, np.random.Generator], Setting],
    scores: list[Callable[[Setting], float]],
    trials: int,
) -> tuple[list[Setting], np.ndarray]:
    """Return settings and their scores, higher is better, one column for each of `scores`. The first has no entries."""
    rng = np.random.default_rng(0)
    settings: list[Setting] = [{}]
    results = evaluate(settings, scores)
    for trial in range(1, trials + 1):
        if trial > trials // 2:
            best = np.argsort(-relative_to_best(results))[:3]
            settings.append(vary(settings[int(rng.choice(best))], rng))
        else:
            settings.append(draw(rng))
        results = np.vstack([results, evaluate(settings[-1:], scores)])
    return settings, results


def evaluate(settings: list[Setting], scores: list[Callable[[Setting], float]]) -> np.ndarray:
    """Return the scores of settings, one row each."""
    results = []
    for setting in settings:
        results.append([score(setting) for score in scores])
        print(*np.round(results[-1], 4), json.dumps(setting), file=sys.stderr, flush=True)
    return np.array(results)


def relative_to_best(results: np.ndarray) -> np.ndarray:
    """Return the mean over columns of the quotient to the column's best."""
    return (results / results.max(axis=0)).mean(axis=1)


def print_ranking(
    names: list[str], baselines: dict[str, list[float]], settings: list[Setting], shown: np.ndarray,
    relative: np.ndarray,
) -> None:  # fmt: skip
    """Print a Markdown table: the baselines, the best 15 settings and the defaults."""
    print("| relative | " + " | ".join(names) + " | setting |")
    print("|" + "---|" * (len(names) + 2))
    for name, values in baselines.items():
        print("| | " + " | ".join(f"{value:.4f}" for value in values) + f" | {name} |")
    order = list(np.argsort(-relative)[:15])
    for row in order + [0] * (0 not in order):
        cells = " | ".join(f"{value:.4f}" for value in shown[row])
        print(f"| {relative[row]:.3f} | {cells} | {json.dumps(settings[row]) if row else 'the defaults'} |")


def climb(
    score: Callable[[Setting], float], moved: Callable[[Setting, str, int], Setting], names: list[str],
    start: Setting, trials: int,
) -> Setting:  # fmt: skip
    """Return the best setting found by moving one number after the other, as long as the score rises.

    `moved` returns a setting one step further in one number, up (1) or down (-1). The first trial is the start.
    """
    best, known = start, {json.dumps(start): score(start)}
    highest = known[json.dumps(start)]
    failed = 0  # moves since the last that helped
    moves = [(name, direction) for name in names for direction in (1, -1)]
    turn = 0
    while len(known) < trials and failed < len(moves):
        name, direction = moves[turn % len(moves)]
        trial = moved(best, name, direction)
        key = json.dumps(trial)
        if key not in known:
            known[key] = score(trial)
            print(round(known[key], 4), key, file=sys.stderr, flush=True)
        if known[key] > highest:
            best, highest, failed = trial, known[key], 0
        else:
            failed += 1
            turn += 1
    return best


def prepare(name: str, folder: Path, seeds: int) -> list:
    """Return (train, test, users to test) for each seed."""
    splits = []
    for seed in range(seeds):
        train, test = leave_one_out(load(name, folder), random_state=seed)
        users = np.flatnonzero(np.diff(test.indptr))
        if len(users) > MAX_TEST_USERS:
            users = np.sort(np.random.default_rng(seed).choice(users, MAX_TEST_USERS, replace=False))
        splits.append((train, test, users))
    return splits


def popularity(splits: list) -> float:
    """Return the mean NDCG@10 of the baseline."""
    return float(np.mean([
        ranking_metrics(Popularity().fit(train).recommend(users, k=10)[0], test[users]).ndcg
        for train, test, users in splits
    ]))  # fmt: skip
