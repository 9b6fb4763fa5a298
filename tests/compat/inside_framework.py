"""The part of run_frameworks.py that runs in a framework's environment: its tests, or a fit and lists through it.

    python inside_framework.py OUTPUT tests [pytest's arguments]
    python inside_framework.py OUTPUT speed WAY DATA THREADS

With ALTERNANT_STAND_IN=implicit, the stand-in is installed first, in processes that the framework spawns, too.
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
from scipy import sparse

if name := os.environ.get("ALTERNANT_STAND_IN"):
    import alternant.compat

    alternant.compat.install(name)

# So regularized that both end with equal losses and lists; with less, lists depend on when solvers stop.
OPTIONS = {"factors": 64, "regularization": 20.0, "alpha": 2.0, "iterations": 15, "random_state": 0}
K = 10
FEW = 300  # users who get lists where a framework takes milliseconds for each


class Outcomes:
    """A pytest plugin that notes the outcome of each test."""

    def __init__(self) -> None:
        self.of: dict[str, str] = {}

    def pytest_runtest_logreport(self, report: Any) -> None:
        if report.failed or report.when == "call" or report.skipped:
            worse = self.of.get(report.nodeid) == "failed"
            self.of[report.nodeid] = "failed" if worse or report.failed else report.outcome


class Data:
    """Interactions for training and for testing."""

    def __init__(self, path: str) -> None:
        file = np.load(path)
        self.shape, test = tuple(file["shape"].tolist()), file["test"]
        self.user, self.item, self.count = (file[name][~test] for name in ("user", "item", "count"))
        self.test_user, self.test_item = file["user"][test], file["item"][test]

    def frame(self, user: str, item: str, count: str) -> Any:
        """Return the training part as a pandas frame."""
        import pandas as pd

        return pd.DataFrame({user: self.user, item: self.item, count: self.count})

    def ndcg(self, users: Any, items: Any) -> float:
        """Return the mean NDCG@10 of lists given as pairs, best first, over their users."""
        known = set(zip(self.test_user.tolist(), self.test_item.tolist(), strict=True))
        rank: dict[int, int] = {}
        gains = 0.0
        for user, item in zip(map(int, users), map(int, items), strict=True):
            rank[user] = rank.get(user, 0) + 1
            gains += ((user, item) in known) / np.log2(1 + rank[user])
        sizes = np.minimum(np.bincount(self.test_user)[list(rank)], K)
        best = np.cumsum(1 / np.log2(np.arange(2, K + 2)))
        return float(gains / best[sizes - 1].sum())


def als(threads: int) -> Any:
    """Return implicit's model, or the stand-in's."""
    from implicit.als import AlternatingLeastSquares

    return AlternatingLeastSquares(num_threads=threads, **OPTIONS)


def rectools(data: Data, threads: int, features: bool = False) -> tuple[float, float, float]:
    """RecTools' wrapper."""
    import pandas as pd
    from rectools import Columns
    from rectools.dataset import Dataset
    from rectools.models import ImplicitALSWrapperModel

    frame = data.frame(Columns.User, Columns.Item, Columns.Weight)
    frame[Columns.Datetime] = "2024-01-01"
    more = {}
    if features:
        groups = data.item % 20
        table = pd.DataFrame({"id": data.item, "value": groups, "feature": "group"}).drop_duplicates()
        more = {"item_features_df": table, "cat_item_features": ["group"]}
    dataset = Dataset.construct(frame, **more)
    start = time.perf_counter()
    model = ImplicitALSWrapperModel(als(threads), fit_features_together=features).fit(dataset)
    middle = time.perf_counter()
    lists = model.recommend(np.unique(data.user), dataset, k=K, filter_viewed=True)
    end = time.perf_counter()
    return middle - start, end - middle, data.ndcg(lists[Columns.User], lists[Columns.Item])


def rectools_with_features(data: Data, threads: int) -> tuple[float, float, float]:
    """RecTools' wrapper, with features of the items that are fitted together with the factors."""
    return rectools(data, threads, features=True)


def lenskit(data: Data, threads: int) -> tuple[float, float, float]:
    """LensKit's bridge in a pipeline."""
    from lenskit import recommend
    from lenskit.data import from_interactions_df
    from lenskit.implicit import ALS
    from lenskit.pipeline import topn_pipeline

    dataset = from_interactions_df(data.frame("user_id", "item_id", "rating"))
    options = {key: value for key, value in OPTIONS.items() if key != "alpha"}
    pipeline = topn_pipeline(ALS(weight=OPTIONS["alpha"], **options), n=K)
    start = time.perf_counter()
    pipeline.train(dataset)
    middle = time.perf_counter()
    users = np.unique(data.user)[:FEW].tolist()
    lists = [recommend(pipeline, user, K).ids() for user in users]
    end = time.perf_counter()
    return middle - start, end - middle, data.ndcg(np.repeat(users, list(map(len, lists))), np.concatenate(lists))


def replay(data: Data, threads: int) -> tuple[float, float, float]:
    """RePlay's wrapper, over Spark."""
    from replay.experimental.models import ImplicitWrap
    from replay.utils.spark_utils import convert2spark

    frame = data.frame("user_idx", "item_idx", "relevance")
    frame["timestamp"] = 0
    log = convert2spark(frame).cache()
    log.count()
    wrapper = ImplicitWrap(als(threads))
    start = time.perf_counter()
    wrapper.fit(log)
    middle = time.perf_counter()
    lists = wrapper.predict(log, k=K, users=list(range(FEW)), filter_seen_items=True).toPandas()
    end = time.perf_counter()
    lists = lists.sort_values(["user_idx", "relevance"], ascending=[True, False])
    return middle - start, end - middle, data.ndcg(lists["user_idx"], lists["item_idx"])


def recbole(data: Data, threads: int) -> tuple[float, float, float]:
    """RecBole's model, which calls `fit` once for each epoch, and its evaluation of all items."""
    from recbole.config import Config
    from recbole.data import create_dataset, data_preparation
    from recbole.utils import get_model, get_trainer, init_seed

    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder) / "planted"
        place.mkdir()
        parts = {"train": (data.user, data.item), "valid": (data.test_user[:K], data.test_item[:K]),
                 "test": (data.test_user, data.test_item)}  # fmt: skip
        for part, columns in parts.items():
            np.savetxt(place / f"planted.{part}.inter", np.column_stack(columns), "%d", "\t", comments="",
                       header="user_id:token\titem_id:token")  # fmt: skip
        config = Config(model="ALS", dataset="planted", config_dict={
            "data_path": folder, "benchmark_filename": list(parts), "load_col": {"inter": ["user_id", "item_id"]},
            "embedding_size": OPTIONS["factors"], "regularization": OPTIONS["regularization"],
            "alpha": OPTIONS["alpha"], "epochs": OPTIONS["iterations"], "train_neg_sample_args": None, "topk": K,
            "metrics": ["NDCG"], "valid_metric": f"NDCG@{K}", "use_gpu": False, "checkpoint_dir": folder,
            "eval_args": {"mode": "full", "order": "RO"}, "show_progress": False, "state": "WARNING",
        })  # fmt: skip
        init_seed(0, True)
        dataset = create_dataset(config)
        train, _, test = data_preparation(config, dataset)
        model = get_model("ALS")(config, train.dataset).to(config["device"])
        trainer = get_trainer(config["MODEL_TYPE"], "ALS")(config, model)
        start = time.perf_counter()
        trainer.fit(train, saved=False, verbose=False)
        middle = time.perf_counter()
        found = trainer.evaluate(test, load_best_model=False)
        end = time.perf_counter()
    return middle - start, end - middle, float(found[f"ndcg@{K}"])


def recommenders(data: Data, threads: int) -> tuple[float, float, float]:
    """The loop of a user of recommenders' metrics: fit, lists of all users in a frame, NDCG."""
    import pandas as pd
    from recommenders.evaluation.python_evaluation import ndcg_at_k

    matrix = sparse.csr_matrix((data.count, (data.user, data.item)), shape=data.shape)
    model, users = als(threads), np.arange(data.shape[0])
    start = time.perf_counter()
    model.fit(matrix, show_progress=False)
    middle = time.perf_counter()
    ids, scores = model.recommend(users, matrix, N=K)
    end = time.perf_counter()
    lists = {"userID": np.repeat(users, K), "itemID": ids.ravel(), "prediction": scores.ravel()}
    truth = pd.DataFrame({"userID": data.test_user, "itemID": data.test_item, "rating": 1.0})
    return middle - start, end - middle, float(ndcg_at_k(truth, pd.DataFrame(lists), k=K))


WAYS = {way.__name__: way for way in (rectools, rectools_with_features, lenskit, replay, recbole, recommenders)}


def main(arguments: list[str]) -> None:
    """Write outcomes of tests, or times and quality."""
    output, what, *rest = arguments
    if what == "tests":
        import pytest

        outcomes = Outcomes()
        pytest.main(["-q", "-p", "no:cacheprovider", *rest], plugins=[outcomes])
        Path(output).write_text(json.dumps(outcomes.of))
    else:
        way, data, threads = rest
        fit, lists, ndcg = WAYS[way](Data(data), int(threads))
        record = {"fit": fit, "lists": lists, "ndcg": ndcg, "load": os.getloadavg()[0]}
        Path(output).write_text(json.dumps(record))


if __name__ == "__main__":
    main(sys.argv[1:])
