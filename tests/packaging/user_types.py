"""The types that a user sees, and mistakes that are reported; read by check_types.py, never run.

Each "type: ignore" marks a mistake: if a checker no longer reports it, the comment is an error.
"""

from collections.abc import Iterator
from typing import Any, assert_type

import numpy as np
import optuna
import polars as pl
from numpy.typing import NDArray
from scipy.sparse import coo_matrix, csr_array

import alternant
from alternant import (
    EASE,
    BiasedMF,
    CosineMF,
    Events,
    ExplicitALS,
    FactorModel,
    FitState,
    ImplicitALS,
    Interactions,
    Popularity,
    evaluation,
    kernels,
    plotting,
    tuning,
)
from alternant.models._sparse_rows import SparseRows

Ids = NDArray[Any]
Reals = NDArray[np.floating[Any]]
Matrix = csr_array[Any]


def data(frame: pl.DataFrame, column: list[int]) -> None:
    table = Interactions.from_frame(frame, user="u", item="i", aggregate="last")
    assert_type(table.append(frame).reindex(users=column)[:2], Interactions)
    Interactions.from_frame(column, user="u", item="i")  # type: ignore[arg-type]
    Interactions.from_arrays(column, column, aggregate="latest")  # type: ignore[arg-type]
    alternant.ImplicitASL()  # type: ignore[attr-defined]


def events(frame: pl.DataFrame) -> None:
    table = Events.from_frame(frame, user="u", item="i", kind="k", time="t")
    assert_type(table.interactions({"view": 0.2}, half_life="30d", now="2024-01-01"), Interactions)
    assert_type(evaluation.split_kind(table, "view", evaluation.leave_one_out), tuple[Events, Interactions])
    assert_type(tuning.tune(ImplicitALS, table, kind="view").best_model, ImplicitALS | Any)
    table.interactions({"view": "much"})  # type: ignore[dict-item]


def lists(model: ImplicitALS, table: Interactions, users: NDArray[np.int64]) -> None:
    assert_type(ImplicitALS(weighting="log").fit(table), ImplicitALS)
    assert_type(ImplicitALS.load("model.safetensors"), ImplicitALS)
    assert_type(model.recommend("ann"), tuple[Ids, Reals])
    assert_type(model.recommend_all(), Iterator[tuple[Ids, Ids, Reals]])
    assert_type(model.recommend_all(to="lists.csv", titles={1: "Go"}), int)
    assert_type(model.predict("ann", 3), float)
    assert_type(model.predict("ann", [3, 4]), Reals)
    assert_type(model.predict(users, 3), Reals)
    assert_type(model.predict(table), Reals)
    assert_type(model.fold_in_users(table), Reals)
    assert_type(model.user_factors, Reals)
    assert_type(model.history_, dict[str, list[float]])
    assert_type(EASE().fit(table).user_factors, SparseRows)
    assert_type(EASE().fold_in_users(table), SparseRows)
    assert_type(len(model.user_ids_) + len(CosineMF().update(1, 2, True).item_factors), int)
    assert_type(model.explain(model.user_ids_[0], 1).contributions, NDArray[np.float64])
    ImplicitALS(weighting="logarithmic")  # type: ignore[arg-type]
    ImplicitALS().fit([[0, 1], [1, 0]])
    ImplicitALS().fit("plays.csv")  # type: ignore[arg-type]
    BiasedMF().fit([[0, 1], [1, 0]]).recommend(0, unknown="ignore")  # type: ignore[arg-type]


def half_sweeps(state: FitState) -> bool:
    return state.solved == "users" and float(abs(state.errors).max()) < 1e-3


def fits(models: list[FactorModel], ratings: list[list[float]], table: Interactions) -> None:
    for model in [*models, ImplicitALS(), Popularity()]:
        model.fit(table)
    for named in {"one": ExplicitALS(), "other": BiasedMF()}.values():
        assert_type(named.fit(ratings).recommend(user_items=ratings), tuple[Ids, Reals])
    ExplicitALS().fit(np.array(ratings), callback=half_sweeps, callback_at="half_sweep")
    ExplicitALS().fit(ratings, callback=lambda: True)  # type: ignore[misc, arg-type]


def splits(table: Interactions, matrix: Matrix, either: Interactions | Matrix, old: "coo_matrix[Any]") -> None:
    assert_type(evaluation.leave_one_out(table, random_state=0), tuple[Interactions, Interactions])
    assert_type(next(evaluation.k_fold(table)), tuple[Interactions, Interactions])
    assert_type(evaluation.random_split(matrix, 0.2), tuple[Matrix, Matrix])
    assert_type(evaluation.blocked_split(table, 0.2), tuple[Interactions, Interactions])
    assert_type(evaluation.split_by_time(old, at="2020"), tuple[Matrix, Matrix])
    assert_type(evaluation.leave_last_out(either)[0], Interactions | Matrix)
    new = evaluation.hold_out_users(table)
    assert_type(new.fold_in, Interactions)
    result = evaluation.evaluate(Popularity().fit(new.train), new.test, user_items=new.fold_in, k=10)
    assert_type(result.per_user["ndcg@10"], NDArray[np.float64])
    assert_type(result.difference(result, "ndcg@10").low, float)
    evaluation.leave_one_out(new)  # type: ignore[call-overload]


def searches(table: Interactions, study: optuna.Study) -> None:
    found = tuning.tune(ImplicitALS, table, {"alpha": (0.1, 1.0)}, study=study)
    assert_type(found, tuning.TuneResult[ImplicitALS])
    assert_type(found.study, optuna.Study)
    assert_type(found.best_model.recommend(0), tuple[Ids, Reals] | Any)
    assert_type(tuning.tune(EASE(), table), tuning.TuneResult[EASE])
    tuning.tune(int, table)  # type: ignore[type-var]


def plots(model: ImplicitALS, titles: NDArray[np.str_], shown: NDArray[np.int32]) -> None:
    plotting.plot_history([model, model]).set_title("two")
    plotting.plot_predictions(model, users=shown, items=[0, 1], item_names=titles).figure.set_dpi(100)
    plotting.plot_factors(model, side="user")  # type: ignore[arg-type]


def hot_loops(X: NDArray[np.float32], rows: NDArray[np.int64]) -> None:
    kernels.score_pairs(rows, rows, X, X, np.empty(3, np.float32))
    kernels.score_pairs(rows, rows, rows, X, np.empty(3, np.float32))  # type: ignore[arg-type]
    with kernels.use_backend("numpy") as backend:
        assert_type(backend.solve_rows(rows, rows, X, 1.0, X, X, X, X, method="cg"), int)
    assert_type(kernels.backend_info()["simd"], str | None)
    kernels.set_backend("cuda")  # type: ignore[arg-type]
