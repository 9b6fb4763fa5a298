"""Run by test_spark.py in a folder of its own: models written by Spark and by alternant, each read by the other."""

import numpy as np
import pyarrow as pa
from pyspark.ml.recommendation import ALS
from pyspark.ml.recommendation import ALSModel as SparkModel
from pyspark.sql import SparkSession

from alternant import ExplicitALS, ImplicitALS, Interactions
from alternant.compat.spark import ALSModel
from alternant.compat.spark_scoring import predict, recommend

COLUMNS = {"userCol": "who", "itemCol": "what"}
OPTIONS = {"spark.ui.enabled": "false", "spark.sql.shuffle.partitions": "2", "spark.default.parallelism": "2"}


def ratings():
    """Ratings as triples; users have negative ids, too."""
    rng = np.random.default_rng(0)
    users, items = np.nonzero(rng.random((15, 12)) < 0.6)
    return [(int(3 * u - 5), int(i + 100), float(rng.integers(1, 6))) for u, i in zip(users, items, strict=True)]


def compare(theirs, ours, pairs):
    """Check that predictions and lists of the two models are equal."""
    rows = theirs.transform(pairs).collect()
    table = pa.table({name: [row[name] for row in rows] for name in COLUMNS.values()})
    found = ours.transform(table)["prediction"].to_numpy()
    np.testing.assert_allclose(found, [row["prediction"] for row in rows], rtol=1e-5)
    for name, own, other in (("recommendForAllUsers", "who", "what"), ("recommendForAllItems", "what", "who")):
        expected = {row[own]: row["recommendations"] for row in getattr(theirs, name)(4).collect()}
        lists = {row[own]: row["recommendations"] for row in getattr(ours, name)(4).to_pylist()}
        assert lists.keys() == expected.keys()
        for one, listed in lists.items():
            assert [pair[other] for pair in listed] == [pair[other] for pair in expected[one]]
            scores = [pair["rating"] for pair in expected[one]]
            np.testing.assert_allclose([pair["rating"] for pair in listed], scores, rtol=1e-5)


def compare_new_users(folder, data, model_class=None, **params):
    """Check that users folded in get the factors that Spark has computed last, those of the users."""
    model = ALSModel.load(folder, model_class, solver="cholesky", **params).model
    folded = model.fold_in_users(data.reindex(users=model.user_ids_, items=model.item_ids_))
    np.testing.assert_allclose(folded, model.user_factors, rtol=1e-4, atol=1e-5)


def score_inside(spark):
    """Check lists and predictions of a model with texts as ids, computed by Spark's workers."""
    rng = np.random.default_rng(1)
    users, items = (rng.integers(0, size, 300).astype(str) for size in (40, 15))
    model = ImplicitALS(factors=3, random_state=0).fit(Interactions.from_arrays(users, items))
    model.save("visits.safetensors")
    frame = spark.createDataFrame([(user,) for user in [*model.user_ids_, "nobody"]], ["who"]).repartition(2)
    lists = frame.mapInArrow(
        recommend("visits.safetensors", k=4, user="who", item="what"),
        "who string, what string, rank int, score float",
    )
    expected = model.recommend_frame(k=4, users=model.user_ids_, library="pyarrow")
    found = sorted((row["who"], row["rank"], row["what"], row["score"]) for row in lists.collect())
    columns = (expected[name].to_pylist() for name in ("user", "rank", "item", "score"))
    assert found == sorted(zip(*columns, strict=True))
    pairs = spark.createDataFrame([("1", "2"), ("nobody", "2"), (None, "3")], "who string, what string")
    scored = pairs.mapInArrow(
        predict("visits.safetensors", user="who", item="what"), "who string, what string, prediction float"
    ).collect()
    assert scored[0]["prediction"] == np.float32(model.predict("1", "2"))
    assert np.isnan([row["prediction"] for row in scored[1:]]).all()


def main():
    builder = SparkSession.builder.master("local[1]")
    for name, value in OPTIONS.items():
        builder = builder.config(name, value)
    spark = builder.getOrCreate()
    rows = ratings()
    frame = spark.createDataFrame(rows, ["who", "what", "stars"])
    pairs = spark.createDataFrame([*rows, (-5, 999, 1.0), (998, 100, 1.0)], frame.columns)  # and unknown ones

    data = Interactions.from_arrays(*zip(*rows, strict=True), aggregate="last")
    estimator = ALS(rank=3, maxIter=3, ratingCol="stars", seed=0, regParam=0.2, alpha=2.0, **COLUMNS).setNumBlocks(1)
    trained = estimator.fit(frame)
    trained.save("by_spark")
    compare(trained, ALSModel.load("by_spark"), pairs)
    compare_new_users("by_spark", data, regularization=0.2)
    estimator.setImplicitPrefs(True).fit(frame).save("implicit")
    implicit = {"weighting": "hu", "alpha": 2.0, "regularization_scaling": "count"}
    compare_new_users("implicit", data, ImplicitALS, regularization=0.2, **implicit)

    model = ExplicitALS(factors=3, random_state=0).fit(data)
    ours = ALSModel(model, coldStartStrategy="nan", **COLUMNS)
    ours.save("by_alternant")
    read = SparkModel.load("by_alternant")
    assert (read.getUserCol(), read.getItemCol(), read.rank) == ("who", "what", 5)
    compare(read, ours, pairs)

    dropped = ALSModel(model, coldStartStrategy="drop", **COLUMNS)
    dropped.save("dropped")
    assert SparkModel.load("dropped").transform(pairs).count() == len(rows)
    score_inside(spark)
    spark.stop()
    print("all equal")  # noqa: T201 - what the test waits for


if __name__ == "__main__":
    main()
