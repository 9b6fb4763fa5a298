"""The folders of Spark's ALSModel, read and written without Spark, and its calls, on frames in memory.

`ALSModel.load` reads what `pyspark.ml.recommendation.ALSModel.save` has written, and the other way round: a file
``metadata/part-00000`` with one line of JSON, and the Parquet folders ``userFactors`` and ``itemFactors`` with the
columns ``id`` (int32) and ``features`` (list of float32). Needs pyarrow: ``pip install "alternant[files]"``.
"""

from __future__ import annotations

import json
import os
import tempfile
import time
import uuid
from pathlib import Path
from typing import Any, Self

import narwhals as nw
import numpy as np
from numpy.typing import NDArray

from .._utils.validation import check_boolean, check_choice, check_integer
from ..data.io.frames import open_frame
from ..models import BiasedMF, ExplicitALS, ImplicitALS, internals
from ..models._bias_columns import bias_column

try:
    import pyarrow as pa
    import pyarrow.parquet as pq
except ImportError as _error:
    raise ImportError(
        'alternant.compat.spark needs pyarrow, which is not installed: pip install "alternant[files]"'
    ) from _error

CLASS = "org.apache.spark.ml.recommendation.ALSModel"
DEFAULTS = {"userCol": "user", "itemCol": "item", "predictionCol": "prediction", "coldStartStrategy": "nan"}
SIDES = {"user": "userFactors", "item": "itemFactors"}
FACTORS = pa.schema([
    pa.field("id", pa.int32(), nullable=False),
    pa.field("features", pa.list_(pa.field("element", pa.float32(), nullable=False))),
])  # fmt: skip


class ALSModel:
    """A model that is read, written and called as `pyspark.ml.recommendation.ALSModel` is.

    Parameters
    ----------
    model : ImplicitALS, ExplicitALS or BiasedMF
        A fitted model, whose ids, if it has any, are whole numbers.
    userCol, itemCol : str
        Columns of the ids of users and items.
    predictionCol : str
        Column that `transform` adds.
    coldStartStrategy : {"nan", "drop"}
        What `transform` does with pairs whose user or item the model does not know: predict NaN, or drop the row.

    Attributes
    ----------
    model
        The model, with all its methods: `recommend`, `fold_in_users`, `save` and so on.
    """

    def __init__(
        self,
        model: Any,
        *,
        userCol: str = "user",
        itemCol: str = "item",
        predictionCol: str = "prediction",
        coldStartStrategy: str = "nan",
    ) -> None:
        check_choice("coldStartStrategy", coldStartStrategy, ("nan", "drop"))
        self.model = model
        self.userCol = userCol
        self.itemCol = itemCol
        self.predictionCol = predictionCol
        self.coldStartStrategy = coldStartStrategy

    @classmethod
    def load(cls, path: str | os.PathLike[str], model_class: Any = None, **params: Any) -> Self:
        """Read a folder written by Spark or by `save`.

        Parameters
        ----------
        path : path
            A local folder.
        model_class : class of alternant, optional
            The class of `model`; by default `ExplicitALS` without biases, with Spark's scaling of lambda. Spark does
            not store what the factors were learned from, which matters only for new users and items.
        **params
            Parameters of `model_class`, for new users and items.

        Raises
        ------
        FileNotFoundError
            If there is no such folder.
        ValueError
            If it holds something else.
        """
        path = Path(path)
        metadata = _read_metadata(path)
        columns = {name: (metadata["defaultParamMap"] | metadata["paramMap"]).get(name) for name in DEFAULTS}
        (user_ids, X), (item_ids, Y) = (_read_factors(path / folder) for folder in SIDES.values())
        if model_class is None:
            model_class = ExplicitALS
            params = {"biases": False, "regularization_scaling": "count"} | params
        model = model_class.from_factors(X, Y, user_ids=user_ids, item_ids=item_ids, **params)
        return cls(model, **{name: value for name, value in columns.items() if value is not None})

    def save(self, path: str | os.PathLike[str], *, overwrite: bool = False) -> None:
        """Write a folder that Spark's ``ALSModel.load`` reads; it appears when it is complete.

        Biases and the mean become two more factors, as Spark's predictions are dot products.

        Parameters
        ----------
        path : path
            A local folder, which must not exist yet.
        overwrite : bool
            Replace it if it exists.

        Raises
        ------
        FileExistsError
            If there is something and `overwrite` is not set.
        TypeError, ValueError
            If Spark has no such predictions, or the ids are not whole numbers of 32 bits.
        """
        check_boolean("overwrite", overwrite)
        path = Path(path)
        tables = self._table("user"), self._table("item")
        if path.exists() and not overwrite:
            raise FileExistsError(f"{str(path)!r} exists: choose another folder, or pass overwrite=True")
        if not path.parent.is_dir():
            raise FileNotFoundError(f"there is no folder {str(path.parent)!r} to save a model in: create it first")
        with tempfile.TemporaryDirectory(prefix=".alternant-", dir=path.parent) as temporary:
            complete = Path(temporary, "new")
            for folder, table in zip(SIDES.values(), tables, strict=True):
                (complete / folder).mkdir(parents=True)
                pq.write_table(table, complete / folder / "part-00000.snappy.parquet")
                (complete / folder / "_SUCCESS").touch()
            (complete / "metadata").mkdir()
            (complete / "metadata" / "part-00000").write_text(json.dumps(self._metadata()) + "\n", encoding="utf-8")
            (complete / "metadata" / "_SUCCESS").touch()
            if path.exists():
                path.rename(Path(temporary, "old"))
            complete.rename(path)

    @property
    def rank(self) -> int:
        """The number of factors, with those of biases and mean."""
        return int(internals.factors(self.model)[0].shape[1])

    @property
    def userFactors(self) -> pa.Table:
        """The users' ids and factors, as a pyarrow table with the columns ``id`` and ``features``."""
        return self._table("user")

    @property
    def itemFactors(self) -> pa.Table:
        """The items' ids and factors, as a pyarrow table with the columns ``id`` and ``features``."""
        return self._table("item")

    def transform(self, dataset: Any) -> Any:
        """Return a frame with the column `predictionCol` added.

        Parameters
        ----------
        dataset : pandas, polars or pyarrow frame
            With the columns `userCol` and `itemCol`.
        """
        frame = open_frame("dataset", dataset)
        if self.predictionCol in frame.columns:
            raise ValueError(f"dataset has a column {self.predictionCol!r} already: drop it, or set predictionCol")
        users, items = (_whole_numbers(frame, name) for name in (self.userCol, self.itemCol))
        known = ~(np.isnan(users) | np.isnan(items))
        predictions = np.full(len(users), np.nan, np.float32)
        pairs = users[known].astype(np.int64), items[known].astype(np.int64)
        predictions[known] = self.model.predict(*pairs, unknown="nan")
        added = nw.from_dict({self.predictionCol: predictions}, backend=frame.implementation)
        frame = frame.with_columns(added[self.predictionCol])
        if self.coldStartStrategy == "drop":
            frame = frame.filter((~np.isnan(predictions)).tolist())
        return frame.to_native()

    def recommendForAllUsers(self, numItems: int) -> pa.Table:
        """Return the best items of every user, as Spark does: seen ones are not left out.

        Returns
        -------
        pyarrow.Table
            With the columns `userCol` and ``recommendations``, a list of ``{itemCol, rating}``.
        """
        return self._lists("user", np.arange(len(internals.factors(self.model)[0])), numItems)

    def recommendForAllItems(self, numUsers: int) -> pa.Table:
        """Return the users with the highest predictions of every item; see `recommendForAllUsers`."""
        return self._lists("item", np.arange(len(internals.factors(self.model)[1])), numUsers)

    def recommendForUserSubset(self, dataset: Any, numItems: int) -> pa.Table:
        """Return the best items of the users in the column `userCol` of a frame, each once, without unknown ones."""
        return self._lists("user", self._known(dataset, "user"), numItems)

    def recommendForItemSubset(self, dataset: Any, numUsers: int) -> pa.Table:
        """Return the users with the highest predictions of the items in the column `itemCol` of a frame."""
        return self._lists("item", self._known(dataset, "item"), numUsers)

    # Internals

    def _lists(self, kind: str, rows: NDArray[np.int64], k: int) -> pa.Table:
        sides = internals.factors(self.model)
        queries, ranked = sides if kind == "user" else sides[::-1]
        k = min(check_integer("numItems" if kind == "user" else "numUsers", k, 1), len(ranked))
        best, scores = internals.rank(self.model, np.ascontiguousarray(queries[rows]), ranked, k, None, None)
        own, other = (self.userCol, self.itemCol) if kind == "user" else (self.itemCol, self.userCol)
        found = internals.raw_ids(self.model, best.reshape(-1), "item" if kind == "user" else "user")
        pairs = pa.StructArray.from_arrays(
            [pa.array(found, pa.int32()), pa.array(scores.reshape(-1), pa.float32())], [other, "rating"]
        )
        lists = pa.ListArray.from_arrays(pa.array(np.arange(len(rows) + 1) * k, pa.int32()), pairs)
        ids = pa.array(internals.raw_ids(self.model, rows, kind), pa.int32())
        return pa.table({own: ids, "recommendations": lists})

    def _known(self, dataset: Any, kind: str) -> NDArray[np.int64]:
        """Return the row numbers of the users or items in a frame that the model has, each once."""
        column = self.userCol if kind == "user" else self.itemCol
        ids = _whole_numbers(open_frame("dataset", dataset), column)
        return np.unique(internals.known_rows(self.model, column, ids[~np.isnan(ids)].astype(np.int64), kind))

    def _metadata(self) -> dict[str, Any]:
        return {
            "class": CLASS,
            "timestamp": int(time.time() * 1000),
            "sparkVersion": "3.5.0",
            "uid": f"ALS_{uuid.uuid4().hex[:12]}",
            "paramMap": {name: getattr(self, name) for name in DEFAULTS},
            "defaultParamMap": DEFAULTS,
            "rank": self.rank,
        }

    def _table(self, kind: str) -> pa.Table:
        factors = _flat_factors(self.model)[0 if kind == "user" else 1]
        ids = internals.raw_ids(self.model, np.arange(len(factors)), kind)
        fits = (ids >= -(2**31)) & (ids < 2**31) if ids.dtype.kind in "iu" else np.zeros(len(ids), bool)
        if not fits.all():
            raise ValueError(
                f"{kind} ids must be whole numbers of 32 bits, as Spark has no others, but one is "
                f"{ids[~fits].tolist()[0]!r}: number them before the fit"
            )
        offsets = pa.array(np.arange(len(factors) + 1) * factors.shape[1], pa.int32())
        values = pa.array(factors.reshape(-1), pa.float32())
        lists = pa.ListArray.from_arrays(offsets, values, type=FACTORS.field("features").type)
        return pa.table([pa.array(ids, pa.int32()), lists], schema=FACTORS)


def _flat_factors(model: Any) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Return factors whose dot products are the model's predictions."""
    linear = isinstance(model, (ImplicitALS, ExplicitALS, BiasedMF))
    if not linear:
        raise TypeError(
            f"Spark's predictions are dot products, those of {type(model).__name__} are not: pass an ImplicitALS, "
            "ExplicitALS or BiasedMF"
        )
    if getattr(model, "rating_range", None) is not None:
        raise ValueError(
            f"Spark does not clip predictions, but the model has rating_range={model.rating_range!r}: call "
            "set_params(rating_range=None) first"
        )
    users, items = internals.factors(model)
    if model._has_biases():  # rows (x, b, 1) and (y, 1, c), and the prediction is mean + scale * their dot product
        items = items.astype(np.float64)
        items *= model._scale({}) if isinstance(model, BiasedMF) else 1.0
        items[:, bias_column("item")] += model.mean_
    return users.astype(np.float32), items.astype(np.float32)


def _whole_numbers(frame: nw.DataFrame[Any], name: str) -> NDArray[np.float64]:
    """Return a column of ids, NaN where it has none."""
    if name not in frame.columns:
        raise ValueError(f"dataset has no column {name!r}, only {', '.join(map(repr, frame.columns))}: rename one")
    column = frame[name]
    if not column.dtype.is_numeric():
        raise TypeError(f"the column {name!r} must have whole numbers, got {column.dtype}: convert it")
    ids: NDArray[np.float64] = column.cast(nw.Float64).to_numpy()
    known = ids[~np.isnan(ids)]
    if not np.array_equal(known, np.floor(known)) or np.abs(known).max(initial=0) >= 2**31:
        raise ValueError(f"the column {name!r} must have whole numbers of 32 bits, as Spark's ids are: convert it")
    return ids


def _read_metadata(path: Path) -> dict[str, Any]:
    parts = sorted((path / "metadata").glob("part-*"))
    if not parts:
        raise FileNotFoundError(f"there is no model of Spark in {str(path)!r}: pass the folder that save has written")
    lines = "".join(part.read_text(encoding="utf-8") for part in parts)
    try:
        metadata = json.loads(lines)
        found, _ = metadata["class"], (metadata["paramMap"], metadata["defaultParamMap"])
    except (ValueError, KeyError, TypeError):
        raise ValueError(f"{str(path)!r} has damaged metadata: save the model again") from None
    if found != CLASS:
        raise ValueError(
            f"{str(path)!r} holds a {found.rsplit('.', 1)[-1]}, not an ALSModel: if that is one of its stages, pass "
            "the folder of the stage"
        )
    return dict(metadata)


def _read_factors(path: Path) -> tuple[NDArray[np.int32], NDArray[np.float32]]:
    """Return the ids of a side in ascending order, and their factors."""
    if not any(path.glob("*.parquet")):
        raise FileNotFoundError(f"{str(path)!r} has no Parquet files: copy the whole folder that save has written")
    table = pq.read_table(path, columns=["id", "features"])
    ids = table["id"].to_numpy()
    features = table["features"].combine_chunks()
    values = features.flatten().to_numpy(zero_copy_only=False)
    if len(ids) == 0 or len(values) % len(ids) or (np.diff(features.offsets) * len(ids) != len(values)).any():
        raise ValueError(f"{str(path)!r} must have a list of factors for each id, all of one length")
    order = np.argsort(ids, kind="stable")
    return ids[order], values.reshape(len(ids), -1).astype(np.float32)[order]


__all__ = ["ALSModel"]
