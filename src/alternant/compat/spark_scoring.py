"""Any saved model inside Spark's jobs: functions for ``DataFrame.mapInArrow``, over a memory-mapped file.

Each Python worker of Spark maps the file that `save` has written, so that all workers of a machine share one copy. The
file must be at the same path on all machines: on a shared file system, or sent with ``SparkContext.addFile``. Needs
pyarrow, as ``mapInArrow`` itself does, and no Spark in this process.
"""

from __future__ import annotations

import functools
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from .._utils.validation import check_boolean, check_integer
from ..models._base import FactorModel

if TYPE_CHECKING:
    from collections.abc import Iterable

    import pyarrow as pa

    Mapped = Callable[[Iterable[pa.RecordBatch]], Iterator[pa.RecordBatch]]


def recommend(
    path: str | os.PathLike[str], k: int = 10, *, user: str = "user", item: str = "item", exclude_seen: bool = True,
    num_threads: int = 1,
) -> Mapped:  # fmt: skip
    """Return a function for ``mapInArrow`` that ranks items for the users of a column.

    ``users.mapInArrow(recommend("visits.safetensors", k=10), "user long, item long, rank int, score float")``; the
    types of the ids are those of the model.

    Parameters
    ----------
    path : path
        A file that `save` has written, with interactions if seen items are to be left out.
    k : int
        Number of items per user.
    user, item : str
        The column of the users' ids, and that of the items in the result.
    exclude_seen : bool
        Leave out the items that a user has interacted with.
    num_threads : int
        Threads of each Python worker; Spark runs one worker for each core.

    Returns
    -------
    function
        From batches with the column `user` to batches with a row for each item: the columns `user`, `item`, ``rank``
        (int32, from 1) and ``score`` (float32), best first. Users whom the model does not know have no rows.
    """
    k = check_integer("k", k, 1)
    check_boolean("exclude_seen", exclude_seen)
    threads = check_integer("num_threads", num_threads, 1)
    return functools.partial(_recommend, _checked(path), k, user, item, exclude_seen, threads)


def predict(
    path: str | os.PathLike[str], *, user: str = "user", item: str = "item", prediction: str = "prediction",
    num_threads: int = 1,
) -> Mapped:  # fmt: skip
    """Return a function for ``mapInArrow`` that adds a column of predictions, NaN where the model knows no such pair.

    ``pairs.mapInArrow(predict("visits.safetensors"), "user long, item long, prediction float")``

    Parameters
    ----------
    path : path
        A file that `save` has written.
    user, item : str
        The columns of the ids.
    prediction : str
        The column to add, of float32.
    num_threads : int
        Threads of each Python worker.

    Returns
    -------
    function
        From batches with the columns `user` and `item` to the same batches with one column more.
    """
    threads = check_integer("num_threads", num_threads, 1)
    return functools.partial(_predict, _checked(path), user, item, prediction, threads)


def _recommend(
    path: str, k: int, user: str, item: str, exclude_seen: bool, threads: int, batches: Iterable[pa.RecordBatch]
) -> Iterator[pa.RecordBatch]:
    import pyarrow as pa

    model, columns = _model(path, threads), {"user": user, "item": item}
    for batch in batches:
        users = _ids(batch, user).drop_null().to_numpy(zero_copy_only=False)
        lists = model.recommend_frame(
            users, k, columns=columns, library="pyarrow", exclude_seen=exclude_seen, unknown="empty"
        )
        ranks, scores = lists["rank"].cast(pa.int32()), lists["score"].cast(pa.float32())
        named = {user: lists[user], item: lists[item], "rank": ranks, "score": scores}
        yield from pa.table(named).combine_chunks().to_batches()


def _predict(
    path: str, user: str, item: str, prediction: str, threads: int, batches: Iterable[pa.RecordBatch]
) -> Iterator[pa.RecordBatch]:
    import pyarrow as pa

    model = _model(path, threads)
    for batch in batches:
        users, items = _ids(batch, user), _ids(batch, item)
        known = np.flatnonzero(users.is_valid().to_numpy(False) & items.is_valid().to_numpy(False))
        values = np.full(len(batch), np.nan, np.float32)
        if len(known):
            pairs = (one.take(pa.array(known)).to_numpy(zero_copy_only=False) for one in (users, items))
            values[known] = model.predict(*pairs, unknown="nan")
        yield pa.RecordBatch.from_arrays(
            [*batch.columns, pa.array(values, pa.float32())], names=[*batch.schema.names, prediction]
        )


def _checked(path: str | os.PathLike[str]) -> str:
    if not os.fspath(path):
        raise ValueError("path must be that of a model file, got an empty one: pass what save has written")
    return str(Path(path).absolute())


@functools.lru_cache(maxsize=2)
def _model(path: str, threads: int) -> Any:
    """Return a model of this worker, mapped once."""
    return FactorModel.load(path, mmap=True).set_params(num_threads=threads)


def _ids(batch: pa.RecordBatch, name: str) -> Any:
    if name not in batch.schema.names:
        found = ", ".join(map(repr, batch.schema.names))
        raise ValueError(f"the frame has no column {name!r}, only {found}: rename one")
    return batch.column(name)


__all__ = ["predict", "recommend"]
