"""Compare default parameters with a search on public data.

    python -m benchmarks defaults implicit --folder FOLDER [--factors 64 128 256] [--data msweb gowalla my-shop ...]
    python -m benchmarks defaults biased --folder FOLDER --trials 40 --folds 1
    python -m benchmarks defaults cosine --folder FOLDER
    python -m benchmarks defaults logistic --folder FOLDER --try '{"factors": 32}' '{"learning_rate": 0.5}'

implicit   NDCG@20 on a fifth of the interactions, for each data set and number of factors: of popularity, of the
           values that "auto" chooses, of settings from other libraries, and of the best of a search over all parameters
           that the rules choose, on the same held-out interactions, so that its best is slightly optimistic. The test
           parts of gowalla and yelp2018 are not read; other sub-folders have a train.npz and a test.npz, as for
           `accuracy`, and what is held out is that test part.
biased     RMSE of held-out ratings, without and with a rating range.
cosine     AUC of each user's held-out likes against the user's held-out dislikes.
logistic   NDCG@10 of one held-out interaction per user.

The last three rank settings by the mean over data sets of their score relative to the best (for RMSE: the best relative
to theirs).
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import numpy as np
import scipy.sparse as sp

from alternant import ImplicitALS, Popularity
from alternant.evaluation import evaluate, random_split

from ..common.command_line import at_least, parser
from ..common.data import LOADERS, load
from ..common.results import Report
from . import sgd_spaces
from .search import Choice, Range, search
from .table import read

if TYPE_CHECKING:
    import argparse
    from collections.abc import Sequence
    from pathlib import Path

    from .search import Setting

MAX_USERS = 8000  # tested; the standard error is about 1 % of the value, and much less for differences
OTHERS = {
    "as implicit": {"weighting": "hu", "alpha": 1.0, "regularization": 0.01, "regularization_scaling": "none"},
    "alpha 40": {"weighting": "hu", "alpha": 40.0, "regularization": 10.0, "regularization_scaling": "none"},
}


def space(auto: ImplicitALS) -> dict[str, Range | Choice]:
    """Return the search space: the weight and both lambdas as multiples of what the rules chose, the rest directly."""
    return {
        "weighting": Choice(("ials", auto.weighting_)),
        "w0": Range(2**-3, 2**2, 2**0.5),
        "users_lambda": Range(2**-4, 2**2.5, 2**0.5), "items_lambda": Range(2**-4, 2**2.5, 2**0.5),
        "a": Range(0, 0.5, 0.07, logarithmic=False), "b": Range(0, 0.5, 0.07, logarithmic=False),
        "s": Range(-0.2, 0.7, 0.07, logarithmic=False),
        "iterations": Range(3, 16, 1, logarithmic=False, whole=True),
    }  # fmt: skip


def params_of(setting: Setting, auto: ImplicitALS) -> dict[str, Any]:
    """Return the parameters of a setting; an empty one stands for the defaults."""
    if not setting:
        return {}
    users, items = auto.regularization_
    return {
        "weighting": setting["weighting"], "unobserved_weight": auto.unobserved_weight_ * setting["w0"],
        "regularization": (users * setting["users_lambda"], items * setting["items_lambda"]),
        "degree_normalization": (setting["a"], setting["b"]), "popularity_exponent": setting["s"],
        "iterations": setting["iterations"],
    }  # fmt: skip


def ndcg(model: Any, test: sp.csr_array) -> float:
    """Return NDCG@20."""
    return evaluate(model, test, k=20, metrics=["ndcg"]).means["ndcg@20"]


def fit(train: sp.csr_array, factors: int, **params: Any) -> ImplicitALS:
    """Fit without a progress bar."""
    return ImplicitALS(factors=factors, random_state=0, **params).fit(train, show_progress=False)


def split(name: str, folder: Path) -> tuple[sp.csr_array, sp.csr_array]:
    """Return train and test, the latter of at most `MAX_USERS` users."""
    if name in LOADERS:
        train, test = random_split(load(name, folder), 0.2, random_state=0)
    else:
        train, test = (read(folder / name, part) for part in ("train", "test"))
    test = sp.csr_array(test, copy=True)
    users = np.flatnonzero(np.diff(test.indptr))
    left_out = np.random.default_rng(0).permutation(users)[MAX_USERS:]
    test.data[np.isin(np.repeat(np.arange(test.shape[0]), np.diff(test.indptr)), left_out)] = 0
    test.eliminate_zeros()
    return train, test


def implicit(options: argparse.Namespace, report: Report) -> None:
    """Tabulate the defaults of ImplicitALS and the best of a search, for each data set and number of factors."""
    table = report.table(
        f"NDCG@20; {options.trials} trials", "data", "f", "popularity", *OTHERS, "defaults", "best found",
        "defaults / best", "it has",
    )  # fmt: skip
    for name in options.data or LOADERS:
        train, test = split(name, options.folder)
        popularity = ndcg(Popularity().fit(train), test)
        for factors in options.factors:
            others = [ndcg(fit(train, factors, **params), test) for params in OTHERS.values()]
            auto = fit(train, factors)

            def score(setting: Setting, train=train, test=test, auto=auto) -> float:
                return ndcg(fit(train, auto.factors, **params_of(setting, auto)) if setting else auto, test)

            settings, results = search(space(auto), [score], options.trials)
            best = int(results[:, 0].argmax())
            values = popularity, *others, results[0, 0], results[best, 0]
            table.row(
                name, factors, *(f"{value:.4f}" for value in values), f"{results[0, 0] / results[best, 0]:.3f}",
                ", ".join(f"{name} {value}" for name, value in settings[best].items()) or "the defaults",
            )  # fmt: skip


def main(arguments: Sequence[str]) -> int:
    """Run the search and print the ranking."""
    made = parser("defaults", __doc__, folder=None, trials=60, factors=[64, 128, 256])
    made.add_argument("model", choices=["implicit", *sgd_spaces.MODELS])
    made.add_argument("--data", nargs="*", help="of the public data; by default all that the model is for")
    made.add_argument("--folds", type=at_least(1), default=2, help="of the folds of biased and cosine, take so many")
    made.add_argument("--try", nargs="*", type=json.loads, dest="tries", help="score these settings; no search")
    options = made.parse_args(arguments)
    known = LOADERS if options.model == "implicit" else sgd_spaces.MODELS[options.model].data
    if options.folder is None and (options.data or list(known)) != ["msweb"]:
        made.error("--folder is needed, which holds one sub-folder a data set")
    own = options.folder.glob("*/test.npz") if options.folder and options.model == "implicit" else ()
    choices = dict.fromkeys([*known, *(path.parent.name for path in own if path.with_name("train.npz").is_file())])
    if unknown := [name for name in options.data or () if name not in choices]:
        made.error(f"{options.model} takes no --data {unknown[0]}: choose from {', '.join(choices)}")
    if options.model == "implicit" and options.tries is not None:
        made.error("--try is for the models trained by gradient descent")
    report = Report("defaults", arguments)
    if options.model == "implicit":
        implicit(options, report)
    else:
        sgd_spaces.choose(options, report)
    report.write(options.json)
    return 0
