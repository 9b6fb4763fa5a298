"""Hold the defaults of ImplicitALS against a search on each data set: NDCG@20 of a fifth of the interactions.

    python benchmarks/choose_defaults.py FOLDER [--trials 60] [--factors 64 128 256] [--data msweb gowalla ...]

The rules behind ``"auto"`` are in alternant.models.als.implicit_defaults. For each data set and number of factors, this
prints the NDCG of popularity, of the defaults, of settings that other libraries have as theirs, and of the best of a
search. That draws all parameters that the rules choose, half of the trials over wide ranges around what they chose and
half near the best so far, on the same held-out interactions: its best is a little better than new data would give.
The test parts of gowalla and yelp2018 are not looked at.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import numpy as np
import scipy.sparse as sp
from public_data import LOADERS, load

from alternant import ImplicitALS, Popularity
from alternant.evaluation import evaluate, random_split

MOST_USERS = 8000  # tested: a standard error of about 1 % of the value, and much less of differences
OTHERS = {
    "as implicit": {"weighting": "hu", "alpha": 1.0, "regularization": 0.01, "regularization_scaling": "none"},
    "alpha 40": {"weighting": "hu", "alpha": 40.0, "regularization": 10.0, "regularization_scaling": "none"},
}


def ndcg(model: Any, test: sp.csr_array) -> float:
    """Return NDCG@20."""
    return evaluate(model, test, k=20, metrics=["ndcg"]).means["ndcg@20"]


def fit(train: sp.csr_array, factors: int, **params: Any) -> ImplicitALS:
    """Fit quietly."""
    return ImplicitALS(factors=factors, random_state=0, **params).fit(train, show_progress=False)


def draw(auto: ImplicitALS, rng: np.random.Generator) -> dict[str, Any]:
    """Draw around what the rules chose: weights and lambda by factors, exponents over their whole range."""
    return {
        "weighting": str(rng.choice(["ials", auto.weighting_])),
        "unobserved_weight": auto.unobserved_weight_ * 2 ** rng.uniform(-3, 2),
        "regularization": tuple(value * 2 ** rng.uniform(-4, 2.5) for value in auto.regularization_),
        "degree_normalization": (rng.uniform(0, 0.5), rng.uniform(0, 0.5)),
        "popularity_exponent": rng.uniform(0, 0.6),
        "iterations": int(rng.integers(5, 16)),
    }


def vary(params: dict[str, Any], rng: np.random.Generator) -> dict[str, Any]:
    """Change each number a little."""
    return {
        "weighting": params["weighting"],
        "unobserved_weight": params["unobserved_weight"] * 2 ** rng.normal(0, 0.5),
        "regularization": tuple(value * 2 ** rng.normal(0, 0.5) for value in params["regularization"]),
        "degree_normalization": tuple(np.clip(params["degree_normalization"] + rng.normal(0, 0.07, 2), 0, 1).tolist()),
        "popularity_exponent": max(0.0, params["popularity_exponent"] + rng.normal(0, 0.07)),
        "iterations": max(3, params["iterations"] + int(rng.integers(-2, 3))),
    }


def search(train: sp.csr_array, test: sp.csr_array, auto: ImplicitALS, trials: int) -> tuple[float, dict[str, Any]]:
    """Return the best value of that many trials, the defaults being one of them, and its setting."""
    rng = np.random.default_rng(0)
    best: tuple[float, dict[str, Any]] = (ndcg(auto, test), {})
    drawn: tuple[float, dict[str, Any]] = (-1.0, {})
    for trial in range(trials):
        params = vary(drawn[1], rng) if trial >= trials // 2 else draw(auto, rng)
        value = ndcg(fit(train, auto.factors, **params), test)
        drawn = max(drawn, (value, params), key=lambda found: found[0])
    return max(best, drawn, key=lambda found: found[0])


def prepare(name: str, folder: Path) -> tuple[sp.csr_array, sp.csr_array]:
    """Return train and test, the latter of so many users at most."""
    train, test = random_split(load(name, folder), 0.2, random_state=0)
    test = sp.csr_array(test)
    users = np.flatnonzero(np.diff(test.indptr))
    left_out = np.random.default_rng(0).permutation(users)[MOST_USERS:]
    test.data[np.isin(np.repeat(np.arange(test.shape[0]), np.diff(test.indptr)), left_out)] = 0
    test.eliminate_zeros()
    return train, test


def main() -> None:
    """Print the table, a line as soon as it is known."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path, help="folder with one sub-folder per data set")
    parser.add_argument("--trials", type=int, default=60)
    parser.add_argument("--factors", type=int, nargs="+", default=[64, 128, 256])
    parser.add_argument("--data", nargs="*", default=list(LOADERS), choices=list(LOADERS))
    options = parser.parse_args()
    print("| data | f | popularity | " + " | ".join(OTHERS) + " | defaults | best found | defaults / best | it has |")
    print("|---" * (7 + len(OTHERS)) + "|")
    for name in options.data:
        train, test = prepare(name, options.folder)
        popularity = ndcg(Popularity().fit(train), test)
        for factors in options.factors:
            others = [ndcg(fit(train, factors, **params), test) for params in OTHERS.values()]
            auto = fit(train, factors)
            own = ndcg(auto, test)
            best, params = search(train, test, auto, options.trials)
            cells = [f"{value:.4f}" for value in (popularity, *others, own, best)]
            cells += [f"{own / best:.3f}", shown(params, auto)]
            print(f"| {name} | {factors} | {' | '.join(cells)} |", flush=True)


def shown(params: dict[str, Any], auto: ImplicitALS) -> str:
    """Return a setting in terms of what the rules chose."""
    if not params:
        return "the defaults"
    a, b = params["degree_normalization"]
    w0 = params["unobserved_weight"] / auto.unobserved_weight_
    lambdas = [given / own for given, own in zip(params["regularization"], auto.regularization_, strict=True)]
    return (
        f"{params['weighting']}, w0 x {w0:.2f}, lambda x {lambdas[0]:.2f}, {lambdas[1]:.2f}, a {a:.2f}, b {b:.2f}, "
        f"s {params['popularity_exponent']:.2f}, {params['iterations']} iterations"
    )


if __name__ == "__main__":
    main()
