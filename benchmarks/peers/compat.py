"""Compare `alternant.compat.implicit` with implicit, call by call.

    pip install ".[peers]"
    python -m benchmarks compat
    python -m benchmarks compat --shape ml20m --rounds 3 --only fit recommend

Both get the same arguments, and take turns call by call in one process. They rank, explain and fold in with the same
factors. BLAS is limited to one thread for implicit, as it asks its users to do. A ratio is the median of the rounds'
ratios, with the least and the greatest of them; that of processor time is less disturbed by what else the machine does,
but counts threads that wait for each other. What a call computes is compared as well: after a fit the loss (of
Hu, Koren, Volinsky 2008) or, of the other models, NDCG@10 on a fifth of the interactions.
"""

from __future__ import annotations

import os
import sys
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import scipy.sparse as sp
import threadpoolctl

import alternant.compat.implicit as stand_in
from alternant.compat.implicit import nearest_neighbours as stand_in_neighbours
from alternant.compat.implicit.cpu import als as stand_in_als
from alternant.compat.implicit.cpu import lmf as stand_in_lmf
from alternant.compat.implicit.evaluation import ndcg_at_k, train_test_split

from ..common.command_line import exit_status, parser
from ..common.results import Report
from ..common.shapes import shaped
from ..common.timing import take_turns

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable, Sequence

ONE_BY_ONE = 300  # users or items of the calls for one at a time
SEVERAL = 1000


@dataclass(frozen=True)
class Call:
    """One row: what both libraries do with the same data, and what is compared of their results, if anything."""

    name: str
    run: Callable[[Any], Any]
    result: Callable[[Any], str] = lambda _: ""


@dataclass(frozen=True)
class Library:
    """The modules of one of the two libraries, and a fitted model with the factors that both share."""

    als: Any
    lmf: Any
    neighbours: Any
    evaluation: Any
    blas: int | None
    model: Any


class Data:
    """A fifth of the entries held out, and the users and items of single calls."""

    def __init__(self, matrix: sp.csr_array) -> None:
        self.train, self.test = train_test_split(sp.csr_matrix(matrix).astype(np.float32), 0.8, random_state=0)
        self.by_item = self.train.T.tocsr()
        self.users = np.arange(matrix.shape[0])
        draw = np.random.default_rng(0).permutation
        self.some_users, self.some_items = (draw(n)[:SEVERAL] for n in matrix.shape)

    def ndcg(self, model: Any) -> str:
        """Return a model's NDCG@10."""
        return f"{ndcg_at_k(model, self.train, self.test, show_progress=False):.4f}"


def fits(data: Data, options: argparse.Namespace) -> list[Call]:
    """Return the fits."""

    def als(factors: int, use_cg: bool) -> Call:
        def run(library: Library) -> Any:
            model = library.als.AlternatingLeastSquares(
                factors=factors, use_cg=use_cg, iterations=options.iterations, num_threads=options.threads,
                random_state=0,
            )  # fmt: skip
            model.fit(data.train, show_progress=False)
            return model

        def loss(model: Any) -> str:
            X, Y = model.user_factors, model.item_factors
            return f"{stand_in_als.calculate_loss(data.train, X, Y, model.regularization):.6f}"

        solver = "" if use_cg else ", use_cg=False"
        return Call(f"ALS.fit, f = {factors}{solver}, {options.iterations} iterations", run, loss)

    def logistic(library: Library) -> Any:
        model = library.lmf.LogisticMatrixFactorization(
            iterations=options.iterations, num_threads=options.threads, random_state=0
        )
        model.fit(data.train, show_progress=False)
        return model

    made = [als(factors, use_cg) for use_cg in (True, False) for factors in options.factors]
    return [*made, Call(f"LMF.fit, {options.iterations} iterations", logistic, data.ndcg)]


def lists(data: Data, _options: argparse.Namespace) -> list[Call]:
    """Return the rankings."""

    def one_by_one(library: Library) -> None:
        for user in data.some_users[:ONE_BY_ONE]:
            library.model.recommend(user, data.train[user])

    def similar(library: Library) -> None:
        for item in data.some_items[:ONE_BY_ONE]:
            library.model.similar_items(item)

    def metrics(library: Library) -> Any:
        return library.evaluation.ranking_metrics_at_k(library.model, data.train, data.test, show_progress=False)

    return [
        Call("recommend, all users", lambda library: library.model.recommend(data.users, data.train)),
        Call(f"recommend, {ONE_BY_ONE} users, one a call", one_by_one),
        Call(f"similar_items, {ONE_BY_ONE} items, one a call", similar),
        Call("similar_items, all items", lambda library: library.model.similar_items(np.arange(data.train.shape[1]))),
        Call("ranking_metrics_at_k", metrics, lambda found: f"{found['ndcg']:.4f}"),
    ]


def rows(data: Data, _options: argparse.Namespace) -> list[Call]:
    """Return the calls for given interactions of some users or items."""
    few = data.some_users[:ONE_BY_ONE]

    def recalculate(library: Library) -> None:
        for user in few:
            library.model.recalculate_user(user, data.train[user])

    def recommend(library: Library) -> None:
        for user in few:
            library.model.recommend(user, data.train[user], recalculate_user=True)

    def explain(library: Library) -> None:
        for user in few[:50]:
            library.model.explain(user, data.train, data.some_items[0])

    def partial_fit(ids: np.ndarray, of_users: bool) -> Callable[[Library], None]:
        matrix = data.train[ids] if of_users else data.by_item[ids]

        def run(library: Library) -> None:
            getattr(library.model, "partial_fit_users" if of_users else "partial_fit_items")(ids, matrix)

        return run

    return [
        Call(f"recalculate_user, {ONE_BY_ONE} users, one a call", recalculate),
        Call(f"recommend with recalculate_user, {ONE_BY_ONE} users, one a call", recommend),
        Call(f"partial_fit_users, {len(data.some_users)} users", partial_fit(data.some_users, True)),
        Call(f"partial_fit_items, {len(data.some_items)} items", partial_fit(data.some_items, False)),
        Call("explain, 50 users, one a call", explain),
    ]


def neighbours(data: Data, options: argparse.Namespace) -> list[Call]:
    """Return a fit of nearest neighbours, and rankings by what it has found."""
    fitted: dict[Any, Any] = {}

    def fit(library: Library) -> Any:
        model = fitted[library.neighbours] = library.neighbours.CosineRecommender(num_threads=options.threads)
        model.fit(data.train, show_progress=False)
        return model

    def recommend(library: Library) -> None:
        fitted[library.neighbours].recommend(data.users, data.train)

    def one_by_one(library: Library) -> None:
        for user in data.some_users[:ONE_BY_ONE]:
            fitted[library.neighbours].recommend(user, data.train[user])

    return [
        Call("CosineRecommender.fit, K = 20", fit, data.ndcg),
        Call("CosineRecommender.recommend, all users", recommend),
        Call(f"CosineRecommender.recommend, {ONE_BY_ONE} users, one a call", one_by_one),
    ]


GROUPS = {"fit": fits, "recommend": lists, "rows": rows, "neighbours": neighbours}


def libraries(data: Data, options: argparse.Namespace) -> tuple[Library, Library]:
    """Return the stand-in and implicit, each with a model of the same factors."""
    import implicit
    import implicit.evaluation
    from implicit import nearest_neighbours
    from implicit.cpu import als, lmf

    made = []
    for package, cpu, logistic, knn, blas in (
        (stand_in, stand_in_als, stand_in_lmf, stand_in_neighbours, None), (implicit, als, lmf, nearest_neighbours, 1),
    ):  # fmt: skip
        model = cpu.AlternatingLeastSquares(factors=options.factors[0], num_threads=options.threads, random_state=0)
        if made:
            model.user_factors, model.item_factors = (
                side.copy() for side in (made[0].model.user_factors, made[0].model.item_factors)
            )
        else:
            model.fit(data.train, show_progress=False)
        made.append(Library(cpu, logistic, knn, package.evaluation, blas, model))
    return made[0], made[1]


def measure(call: Call, both: tuple[Library, Library], rounds: int) -> tuple[np.ndarray, list[str]]:
    """Return the seconds and the processor time of each round, of the stand-in and of implicit; and both results."""
    last: list[Any] = [None, None]

    def timed(index: int) -> tuple[float, float]:
        with threadpoolctl.threadpool_limits(both[index].blas, "blas"):
            start = time.perf_counter(), time.process_time()
            last[index] = call.run(both[index])
            return time.perf_counter() - start[0], time.process_time() - start[1]

    times = take_turns({str(i): lambda i=i: timed(i) for i in (0, 1)}, rounds)
    return np.array(list(times.values())), [call.result(each) for each in last]


def main(arguments: Sequence[str]) -> int:
    """Run the comparison; exit 1 if a target is missed."""
    made = parser("compat", __doc__, shape="ml1m", factors=[64, 128], iterations=15, threads=2, rounds=7, at_least=0.0)
    made.add_argument("--only", nargs="+", choices=list(GROUPS), default=list(GROUPS))
    options = made.parse_args(arguments)
    data = Data(shaped(options.shape))
    try:
        both = libraries(data, options)
    except ImportError as error:
        sys.exit(f"this benchmark needs implicit ({error}): pip install 'alternant[peers]'")
    report = Report("compat", arguments, options.threads, "implicit")
    users, items = data.train.shape
    table = report.table(
        f"{options.shape}: {users:,} x {items:,}, {data.train.nnz:,} interactions; f = {options.factors[0]}",
        "", "implicit", "stand-in", "times as fast", "lowest, highest", "processor time", "implicit's result",
        "stand-in's",
    )  # fmt: skip
    missed = []
    for call in (call for group in options.only for call in GROUPS[group](data, options)):
        times, results = measure(call, both, options.rounds)
        ratios = times[1] / times[0]
        ours, theirs = np.median(times[..., 0], axis=1)
        fast, processor = np.median(ratios, axis=0)
        scatter = f"{ratios[:, 0].min():.2f}, {ratios[:, 0].max():.2f}"
        table.row(call.name, f"{theirs:.4f} s", f"{ours:.4f} s", f"{fast:.2f}", scatter, f"{processor:.2f}",
                  *results[::-1])  # fmt: skip
        if fast < options.at_least:
            missed.append(f"{call.name}: {fast:.2f} times as fast, not {options.at_least:g}")
    report.note(f"Load average at the end: {os.getloadavg()[0]:.0f} on {os.cpu_count()} CPUs.")
    report.write(options.json)
    return exit_status(missed)
