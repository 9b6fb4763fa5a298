"""`alternant.compat.spark`: folders of Spark's ALSModel; Spark itself is needed only for the round trip at the end."""

import importlib.util
import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from scipy import sparse

pd = pytest.importorskip("pandas", reason="pandas is not installed")
pl = pytest.importorskip("polars", reason="polars is not installed")
pa = pytest.importorskip("pyarrow", reason="pyarrow is not installed")
pq = pytest.importorskip("pyarrow.parquet", reason="pyarrow is not installed")

from alternant import EASE, BiasedMF, ExplicitALS, ImplicitALS, Interactions  # noqa: E402
from alternant.compat.spark import ALSModel  # noqa: E402
from alternant.compat.spark_scoring import predict, recommend  # noqa: E402

rng = np.random.default_rng(0)
USERS, ITEMS = np.array([-7, 3, 20, 2**31 - 1]), np.array([100, 101, 5, 9, 30])
X, Y = rng.normal(size=(4, 3)).astype(np.float32), rng.normal(size=(5, 3)).astype(np.float32)
RATINGS = np.where(rng.random((12, 9)) < 0.6, rng.integers(1, 6, (12, 9)), np.nan)
SCRIPT = Path(__file__).with_name("spark_round_trip.py")


def write_as_spark(folder, parameters=(), model="org.apache.spark.ml.recommendation.ALSModel"):
    """Write what Spark writes: parts in no order, one of them empty, check sums beside them."""
    for name, ids, factors in (("userFactors", USERS, X), ("itemFactors", ITEMS, Y)):
        (folder / name).mkdir(parents=True)
        for part, rows in enumerate((slice(0, 1), slice(1, 1), slice(1, None))):
            columns = [pa.array(ids[rows], pa.int32()), pa.array(factors[rows].tolist(), pa.list_(pa.float32()))]
            file = folder / name / f"part-0000{part}-c000.snappy.parquet"
            pq.write_table(pa.table(columns, ["id", "features"]), file)
            file.with_name(f".{file.name}.crc").write_bytes(b"crc")
        (folder / name / "_SUCCESS").touch()
    metadata = {
        "class": model,
        "timestamp": 0,
        "sparkVersion": "4.1.0",
        "uid": "ALS_0123456789ab",
        "paramMap": {"userCol": "who", "blockSize": 4096} | dict(parameters),
        "defaultParamMap": {"coldStartStrategy": "nan", "itemCol": "item", "predictionCol": "prediction"},
        "rank": 3,
    }
    (folder / "metadata").mkdir()
    (folder / "metadata" / "part-00000-c000.txt").write_text(json.dumps(metadata) + "\n")
    (folder / "metadata" / ".part-00000-c000.txt.crc").write_bytes(b"crc")
    return folder


@pytest.fixture
def folder(tmp_path):
    return write_as_spark(tmp_path / "als")


# Reading


def test_a_folder_of_spark_becomes_a_model_with_ids(folder):
    loaded = ALSModel.load(folder)
    order = np.argsort(ITEMS)
    np.testing.assert_array_equal(loaded.model.user_ids_, USERS)
    np.testing.assert_array_equal(loaded.model.item_ids_, ITEMS[order])
    np.testing.assert_array_equal(loaded.model.item_factors, Y[order])
    assert (loaded.userCol, loaded.itemCol, loaded.rank) == ("who", "item", 3)
    best, scores = loaded.model.recommend(20, k=2, exclude_seen=False)
    np.testing.assert_array_equal(best, ITEMS[np.argsort(-(Y @ X[2]))[:2]])
    np.testing.assert_allclose(scores, np.sort(Y @ X[2])[:-3:-1], rtol=1e-6)


def test_the_class_of_the_model_can_be_chosen(folder):
    model = ALSModel.load(folder, ImplicitALS, weighting="hu", alpha=3.0, regularization=0.1).model
    assert isinstance(model, ImplicitALS)
    assert model.alpha == 3.0
    assert model.fold_in_users(sparse.csr_array(np.ones((1, 5)))).shape == (1, 3)
    explicit = ALSModel.load(folder, regularization=0.3).model
    assert (explicit.regularization, explicit.regularization_scaling, explicit.biases) == (0.3, "count", False)


# Predictions


@pytest.mark.parametrize("library", [pd.DataFrame, pl.DataFrame, pa.table])
def test_predictions_are_added_to_a_frame_of_the_same_library(folder, library):
    frame = library({"who": [3, 20, 3], "item": [5, 100, 77], "hour": [1, 2, 3]})
    found = ALSModel.load(folder).transform(frame)
    assert type(found) is type(frame)
    predictions = np.asarray(found["prediction"])
    np.testing.assert_allclose(predictions, [X[1] @ Y[2], X[2] @ Y[0], np.nan], rtol=1e-6)
    assert predictions.dtype == np.float32
    assert np.asarray(found["hour"]).tolist() == [1, 2, 3]


def test_rows_of_pandas_keep_their_labels(tmp_path):
    frame = pd.DataFrame({"who": [3, 99, 20], "item": [5, 5, 100]}, index=["a", "b", "c"])
    model = ALSModel.load(write_as_spark(tmp_path / "als", {"coldStartStrategy": "drop"}))
    found = model.transform(frame)
    assert found.index.tolist() == ["a", "c"]
    np.testing.assert_allclose(found["prediction"], [X[1] @ Y[2], X[2] @ Y[0]], rtol=1e-6)
    assert "prediction" not in frame


def test_pairs_with_unknown_or_missing_ids_are_dropped_on_request(tmp_path):
    model = ALSModel.load(write_as_spark(tmp_path / "als", {"coldStartStrategy": "drop", "predictionCol": "p"}))
    for who in (pl.Series([3, None, 1, 20]), pl.Series([3.0, np.nan, 1.0, 20.0])):
        found = model.transform(pl.DataFrame({"who": who, "item": [5, 5, 5, None]}))
        assert found["who"].to_list() == [3]
        assert found["p"].to_list() == pytest.approx([X[1] @ Y[2]])


@pytest.mark.parametrize(
    ("columns", "error", "message"),
    [
        ({"user": [1], "item": [1]}, ValueError, "dataset has no column 'who', only 'user', 'item': rename one"),
        ({"who": ["a"], "item": [1]}, TypeError, "the column 'who' must have whole numbers, got String: convert it"),
        ({"who": [1.5], "item": [1]}, ValueError, "the column 'who' must have whole numbers of 32 bits"),
        ({"who": [2**31], "item": [1]}, ValueError, "the column 'who' must have whole numbers of 32 bits"),
        ({"who": [1], "item": [1], "prediction": [0]}, ValueError, "has a column 'prediction' already: drop it"),
    ],
)
def test_columns_of_ids_are_checked(folder, columns, error, message):
    with pytest.raises(error, match=message):
        ALSModel.load(folder).transform(pl.DataFrame(columns))


def test_lists_have_the_columns_of_spark(folder):
    model = ALSModel.load(folder)
    lists = model.recommendForAllUsers(2)
    pairs = pa.struct([("item", pa.int32()), ("rating", pa.float32())])
    assert lists.schema == pa.schema([("who", pa.int32()), ("recommendations", pa.list_(pairs))])
    for row in lists.to_pylist():
        scores = Y @ X[row["who"] == USERS][0]
        assert [pair["item"] for pair in row["recommendations"]] == ITEMS[np.argsort(-scores)[:2]].tolist()
        assert row["recommendations"][1]["rating"] == pytest.approx(np.sort(scores)[-2], rel=1e-6)
    by_item = {row["item"]: row["recommendations"] for row in model.recommendForAllItems(9).to_pylist()}
    assert [pair["who"] for pair in by_item[9]] == USERS[np.argsort(-(X @ Y[3]))].tolist(), "as many as there are"


def test_lists_of_a_subset_are_those_of_known_ids_once(folder):
    model, everything = ALSModel.load(folder), ALSModel.load(folder).recommendForAllUsers(1).to_pylist()
    subset = pl.DataFrame({"who": [20, 8, 20, None, -7], "item": [30, 30, 30, 4, None]})
    assert model.recommendForUserSubset(subset, 1).to_pylist() == [everything[0], everything[2]]
    assert model.recommendForItemSubset(subset, 1)["item"].to_pylist() == [30]


# Writing


def test_a_folder_has_the_layout_of_spark(tmp_path):
    model = ImplicitALS.from_factors(X, Y, user_ids=USERS, item_ids=ITEMS)
    ALSModel(model, userCol="who", coldStartStrategy="drop").save(tmp_path / "als")
    table = pq.read_table(tmp_path / "als" / "userFactors")
    assert table.schema.field("id") == pa.field("id", pa.int32(), nullable=False)
    assert table.schema.field("features").type.value_type == pa.float32()
    assert table["id"].to_pylist() == USERS.tolist()
    np.testing.assert_array_equal(np.array(table["features"].to_pylist(), np.float32), X)
    metadata = json.loads((tmp_path / "als" / "metadata" / "part-00000").read_text())
    assert metadata["class"] == "org.apache.spark.ml.recommendation.ALSModel"
    assert metadata["rank"] == 3
    assert metadata["paramMap"]["userCol"] == "who"
    loaded = ALSModel.load(tmp_path / "als")
    assert loaded.coldStartStrategy == "drop"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["als"], "nothing is left beside it"


@pytest.mark.parametrize(
    ("model", "width"),
    [
        (ExplicitALS(factors=2, random_state=0), 4),
        (ExplicitALS(factors=2, biases=False, random_state=0), 2),
        (BiasedMF(factors=2, random_state=0), 4),
        (ImplicitALS(factors=2, random_state=0), 2),
    ],
)
def test_predictions_stay_the_same_with_biases_and_mean_as_factors(tmp_path, model, width):
    model.fit(sparse.csr_array(np.nan_to_num(RATINGS)) if isinstance(model, ImplicitALS) else RATINGS)
    ALSModel(model).save(tmp_path / "als")
    loaded = ALSModel.load(tmp_path / "als")
    assert loaded.rank == width
    pairs = np.arange(12)[:, None], np.arange(9)
    np.testing.assert_allclose(loaded.model.predict(*pairs), model.predict(*pairs), rtol=1e-5)


def test_an_existing_folder_is_replaced_on_request_only(folder, tmp_path):
    model = ALSModel(ImplicitALS.from_factors(X[:2], Y))
    with pytest.raises(FileExistsError, match="exists: choose another folder, or pass overwrite=True"):
        model.save(folder)
    assert ALSModel.load(folder).userFactors.num_rows == 4
    model.save(folder, overwrite=True)
    assert ALSModel.load(folder).userFactors.num_rows == 2
    with pytest.raises(FileNotFoundError, match=r"there is no folder .* to save a model in: create it first"):
        model.save(tmp_path / "none" / "als")


@pytest.mark.parametrize(
    ("model", "error", "message"),
    [
        (lambda: EASE().fit(sparse.csr_array(np.nan_to_num(RATINGS))), TypeError, "those of EASE are not: pass an I"),
        (lambda: BiasedMF(rating_range=(1, 5)).fit(RATINGS), ValueError, r"call set_params\(rating_range=None\) first"),
        (
            lambda: ImplicitALS(factors=2).fit(Interactions.from_arrays(["ann"], [1], [1.0])),
            ValueError,
            "user ids must be whole numbers of 32 bits, as Spark has no others, but one is 'ann': number them before",
        ),
        (
            lambda: ImplicitALS.from_factors(X, Y, item_ids=2**31 - 3 + np.arange(5)),
            ValueError,
            "item ids must be whole numbers of 32 bits.* but one is 2147483648: number",
        ),
    ],
)
def test_what_spark_cannot_hold_is_refused(tmp_path, model, error, message):
    with pytest.raises(error, match=message):
        ALSModel(model()).save(tmp_path / "als")
    assert not list(tmp_path.iterdir())


def test_what_is_no_model_of_spark_is_refused(tmp_path, folder):
    with pytest.raises(FileNotFoundError, match=r"there is no model of Spark in .*: pass the folder that save has"):
        ALSModel.load(tmp_path)
    pipeline = write_as_spark(tmp_path / "pipeline", model="org.apache.spark.ml.PipelineModel")
    with pytest.raises(ValueError, match="holds a PipelineModel, not an ALSModel: if that is one of its stages, pass"):
        ALSModel.load(pipeline)
    with pytest.raises(ValueError, match="coldStartStrategy must be one of 'nan', 'drop', got 'skip'"):
        ALSModel(ImplicitALS.from_factors(X, Y), coldStartStrategy="skip")
    for part in (folder / "itemFactors").glob("*.parquet"):
        part.unlink()
    with pytest.raises(FileNotFoundError, match="itemFactors' has no Parquet files: copy the whole folder"):
        ALSModel.load(folder)
    (folder / "metadata" / "part-00000-c000.txt").write_text("{")
    with pytest.raises(ValueError, match="has damaged metadata: save the model again"):
        ALSModel.load(folder)


# Inside Spark's jobs


def test_batches_are_ranked_and_predicted_from_a_file(tmp_path):
    path = tmp_path / "model"
    ImplicitALS.from_factors(X, Y, user_ids=[f"u{user}" for user in USERS], item_ids=ITEMS).save(path)
    batch = pa.record_batch({"who": ["u20", None, "nobody"], "what": [5, 5, 9], "hour": [1, 2, 3]})
    (lists,) = recommend(path, 2, user="who", item="what", exclude_seen=False)([batch])
    best = np.argsort(-(Y @ X[2]))[:2]
    assert lists.schema.names == ["who", "what", "rank", "score"]
    assert lists["who"].to_pylist() == ["u20", "u20"]
    assert lists["what"].to_pylist() == ITEMS[best].tolist()
    assert (lists["rank"].to_pylist(), lists["rank"].type, lists["score"].type) == ([1, 2], pa.int32(), pa.float32())
    assert not list(recommend(path, 2, user="who", exclude_seen=False)([batch.slice(1)])), "nobody is known"
    (scored,) = predict(path, user="who", item="what", prediction="p")([batch])
    assert scored.schema.names == ["who", "what", "hour", "p"]
    np.testing.assert_allclose(scored["p"].to_numpy(), [X[2] @ Y[2], np.nan, np.nan], rtol=1e-6)
    with pytest.raises(ValueError, match="the frame has no column 'user', only 'who', 'what', 'hour': rename one"):
        list(recommend(path)([batch]))
    with pytest.raises(ValueError, match="k must be at least 1, got 0"):
        recommend(path, 0)


@pytest.mark.skipif(importlib.util.find_spec("pyspark") is None, reason="pyspark is not installed")
@pytest.mark.skipif(shutil.which("java") is None, reason="Java is not installed")
def test_models_travel_to_spark_and_back(tmp_path):
    done = subprocess.run(
        [sys.executable, str(SCRIPT)], cwd=tmp_path, capture_output=True, text=True, check=False, timeout=280
    )
    assert done.returncode == 0, done.stderr[-3000:]
    assert "all equal" in done.stdout
