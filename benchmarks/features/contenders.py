"""Models that learn from features: one function each from a split and settings to the scores of a task."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import scipy.sparse as sp

from alternant import BPR, ImplicitALS
from alternant.data.csr import CSR

if TYPE_CHECKING:
    from collections.abc import Callable

    from .sets import Split

TASKS = ("known", "new items", "new users")
STRENGTHS = (1 / 64, 1 / 16, 1 / 4, 1.0, 4.0, 16.0)


@dataclass(frozen=True)
class Contender:
    """A model, its settings (the first ones are its defaults), and how others are drawn."""

    fit: Callable[..., dict[str, np.ndarray]]
    draw: Callable[[np.random.Generator], dict[str, Any]]
    defaults: dict[str, Any]


def ours(data: Split, factors: int, seed: int, features: bool = True, **params: Any) -> dict[str, np.ndarray]:
    """`ImplicitALS`; without features, it does not rank new items."""
    relative = {name: params.pop(name) for name in ("regularization_by", "unobserved_by") if name in params}
    model = ImplicitALS(factors=factors, random_state=seed, **params)
    if relative:
        rows = data.train
        chosen = model.auto_parameters(CSR.of(rows.indptr, rows.indices, rows.data, rows.shape))
        model.set_params(
            regularization=tuple(relative["regularization_by"] * one for one in chosen["regularization"]),
            unobserved_weight=relative["unobserved_by"] * chosen["unobserved_weight"],
        )
    given = {"user_features": data.user_features, "item_features": data.item_features} if features else {}
    model.fit(data.train, show_progress=False, **given)
    X, Y = model.user_factors, model.item_factors
    of_new = {} if not features or data.new_user_features is None else {"user_features": data.new_user_features}
    if data.folded_in is None and not of_new:
        new_users = np.zeros((data.new_users.shape[0], X.shape[1]), X.dtype)
    else:
        new_users = model.fold_in_users(data.folded_in, **of_new)
    scores = {"known": X @ Y.T, "new users": new_users @ Y.T}
    if features and data.new_item_features is not None:
        scores["new items"] = X @ model.fold_in_items(item_features=data.new_item_features).T
    return scores


def draw_ours(rng: np.random.Generator) -> dict[str, Any]:
    """Draw as `tune` does: around what "auto" chooses."""
    return {
        "regularization_by": _log_uniform(rng, 1 / 16, 4), "unobserved_by": _log_uniform(rng, 2**-2.5, 2**2.5),
        "degree_normalization": (0.25, float(rng.uniform(0, 0.5))),
        "popularity_exponent": float(rng.uniform(0, 0.6)),
        "iterations": int(rng.integers(4, 17)),
    }


def draw_ours_with_features(rng: np.random.Generator) -> dict[str, Any]:
    """Draw the strength of the regressions, too."""
    return draw_ours(rng) | {"feature_regularization": ("auto", *STRENGTHS)[rng.integers(0, len(STRENGTHS) + 1)]}


def ranked(data: Split, factors: int, seed: int, **params: Any) -> dict[str, np.ndarray]:
    """`BPR`."""
    model = BPR(factors=factors, random_state=seed, **params)
    given = {"user_features": data.user_features, "item_features": data.item_features}
    model.fit(data.train, show_progress=False, **given)
    X, Y = model.user_factors, model.item_factors
    of_new = {} if data.new_user_features is None else {"user_features": data.new_user_features}
    scores = {"known": X @ Y.T, "new users": model.fold_in_users(data.folded_in, **of_new) @ Y.T}
    if data.new_item_features is not None:
        scores["new items"] = X @ model.fold_in_items(item_features=data.new_item_features).T
    return scores


def draw_ranked(rng: np.random.Generator) -> dict[str, Any]:
    """Draw as `tune` does."""
    return {
        "learning_rate": _log_uniform(rng, 0.05, 0.5), "regularization": _log_uniform(rng, 0.005, 0.1),
        "bias_regularization": _log_uniform(rng, 1e-4, 0.1), "feature_weight": _log_uniform(rng, 0.3, 30),
        "feature_regularization": ("auto", *STRENGTHS)[rng.integers(0, len(STRENGTHS) + 1)],
    }  # fmt: skip


def irspack(data: Split, factors: int, seed: int, **params: Any) -> dict[str, np.ndarray]:
    """Run irspack's feature-aware iALS."""
    from irspack.recommenders.ials import IALSRecommender

    given = {}
    if data.user_features is not None:
        given["user_features"] = _with_constant(data.user_features)
    if data.item_features is not None:
        given["item_features"] = _with_constant(data.item_features)
    model = IALSRecommender(
        sp.csr_matrix(data.train), n_components=factors, random_seed=seed, n_threads=1,
        **{name: value for name, value in params.items() if name[:6] != "lambda" or f"{name[7:]}s" in given}, **given,
    )  # fmt: skip
    model.start_learning()
    for _ in range(params.get("train_epochs", model.train_epochs)):
        model.run_epoch()
    X, Y = model.get_user_embedding(), model.get_item_embedding()
    if data.folded_in is None:
        new_users = model.compute_user_embedding_from_features(_with_constant(data.new_user_features))
    else:
        new_users = model.compute_user_embedding(sp.csr_matrix(data.folded_in))
    scores = {"known": X @ Y.T, "new users": new_users @ Y.T}
    if data.new_item_features is not None:
        scores["new items"] = X @ model.compute_item_embedding_from_features(_with_constant(data.new_item_features)).T
    return scores


def draw_irspack(rng: np.random.Generator) -> dict[str, Any]:
    """Draw around its own ranges; its upper bound of `reg`, 0.1, is too low for short histories."""
    of_features = _log_uniform(rng, 1e-2, 1e4)
    return {
        "alpha0": _log_uniform(rng, 3e-3, 1), "reg": _log_uniform(rng, 1e-3, 1),
        "lambda_user_feature": of_features, "lambda_item_feature": of_features,
        "train_epochs": int(rng.integers(4, 17)),
    }  # fmt: skip


def lightfm(data: Split, factors: int, seed: int, epochs: int = 30, **params: Any) -> dict[str, np.ndarray]:
    """LightFM: a user or an item is the sum of the embeddings of its features, one of which is its own.

    It does not fold in: the histories of new users without features are part of the fit.
    """
    from lightfm import LightFM

    model = LightFM(no_components=factors, random_state=seed, **params)
    rows = data.train if data.folded_in is None else sp.vstack([data.train, data.folded_in])
    m, n = data.train.shape
    users, items = _with_identity(data.user_features, m), _with_identity(data.item_features, n)
    pairs = rows.tocoo()
    pairs = sp.coo_matrix((pairs.data, (pairs.row.astype(np.int32), pairs.col.astype(np.int32))), shape=rows.shape)
    model.fit(pairs, user_features=users, item_features=items, epochs=epochs, num_threads=1)
    X, (c, Y) = model.get_user_representations(users)[1], model.get_item_representations(items)
    new = X[m:]
    if data.folded_in is None:
        new = model.get_user_representations(_padded(data.new_user_features, m))[1]
    scores = {"known": X[:m] @ Y.T + c, "new users": new @ Y.T + c}
    if data.new_item_features is not None:
        c, Y = model.get_item_representations(_padded(data.new_item_features, n))
        scores["new items"] = X[:m] @ Y.T + c
    return scores


def draw_lightfm(rng: np.random.Generator) -> dict[str, Any]:
    """Draw around its defaults, with its two ranking losses."""
    return {
        "loss": str(rng.choice(["warp", "bpr"])), "learning_rate": _log_uniform(rng, 0.01, 0.2),
        "item_alpha": _log_uniform(rng, 1e-7, 1e-3), "user_alpha": _log_uniform(rng, 1e-7, 1e-3),
        "epochs": int(rng.integers(5, 81)),
    }  # fmt: skip


def without_features(data: Split, factors: int, seed: int, **params: Any) -> dict[str, np.ndarray]:
    """Leave the features out."""
    return ours(data, factors, seed, features=False, **params)


def popularity(data: Split, factors: int, seed: int) -> dict[str, np.ndarray]:  # noqa: ARG001
    """Rank known items by their numbers of users."""
    counts = np.bincount(data.train.indices, minlength=data.train.shape[1])[None]
    users = {"known": data.train.shape[0], "new users": data.new_users.shape[0]}
    return {task: np.repeat(counts, rows, axis=0) for task, rows in users.items()}


CONTENDERS = {
    "alternant": Contender(ours, draw_ours_with_features, {}),
    "alternant, without features": Contender(without_features, draw_ours, {}),
    "alternant, BPR": Contender(ranked, draw_ranked, {}),
    "irspack": Contender(
        irspack, draw_irspack, {"alpha0": 0.1, "lambda_user_feature": 1.0, "lambda_item_feature": 1.0}
    ),
    "LightFM": Contender(lightfm, draw_lightfm, {"loss": "warp"}),
    "popularity": Contender(popularity, lambda _: {}, {}),
}


def _log_uniform(rng: np.random.Generator, low: float, high: float) -> float:
    return float(np.exp(rng.uniform(np.log(low), np.log(high))))


def _with_constant(features: sp.csr_array) -> sp.csr_matrix:
    return sp.csr_matrix(sp.hstack([features, np.ones((features.shape[0], 1))], format="csr"))


def _with_identity(features: sp.csr_array | None, n: int) -> sp.csr_matrix | None:
    return None if features is None else _narrow(sp.hstack([sp.identity(n), features]))


def _padded(features: sp.csr_array, n: int) -> sp.csr_matrix:
    """Return features of new rows, which have no embedding of their own."""
    return _narrow(sp.hstack([sp.csr_array((features.shape[0], n)), features]))


def _narrow(matrix: sp.sparray) -> sp.csr_matrix:
    rows = sp.csr_matrix(matrix, dtype=np.float32)
    rows.indices, rows.indptr = rows.indices.astype(np.int32), rows.indptr.astype(np.int32)
    return rows
