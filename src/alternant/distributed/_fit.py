"""The fit on a Dask cluster."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

import numpy as np
from distributed import Client

from .._utils.messages import parameter, refusal
from .._utils.validation import check_boolean, check_integer, check_pair
from ..data.csr import CSR
from ..data.interactions import Interactions
from ..data.internals import is_stored
from ..data.validation import is_sparse
from ..models import ExplicitALS, ImplicitALS
from ..models._checkpoint import Checkpoint, Snapshot
from ..models._fit_loop import FitLoop, FitOptions, History, Iteration, Stopping
from ..models.als.implicit_defaults import choose_objective, chosen_values
from ..models.als.momentum import Momentum
from ..models.als.trainer import _Alternation
from . import _shard
from ._cluster import Cluster
from ._explicit import ExplicitShardedSides
from ._implicit import ImplicitShardedSides
from ._parquet import Parquet, ParquetShards
from ._rows import RowShards, Shards
from ._shard import Settings
from ._sides import ShardedSides
from ._start import Start, starting_factors
from ._statistics import ShardedStatistics

if TYPE_CHECKING:
    from .._typing import Rated

Fittable = ImplicitALS | ExplicitALS
Model = TypeVar("Model", ImplicitALS, ExplicitALS)

PER_SHARD = 1 << 24  # rows of the source, by default
FEWEST_SHARDS = 8


def fit(
    model: Model, source: Parquet | Rated, client: Any, *, shards: int | None = None,
    checkpoint: str | os.PathLike[str] | None = None, every: int = 1, show_progress: bool | None = None,
) -> Model:  # fmt: skip
    """Fit a model to interactions that are divided over the workers of a Dask cluster.

    The users are divided into shards of about equally many interactions, which stay on a worker; all workers have the
    factors of all items. The half-sweeps are those of ``model.fit``, and so is the objective, within 1e-6 of its value:
    sums over the users of an item are formed in another order. The factors have the same bits for the same
    source and number of shards, on any number of workers and threads. A worker that is lost is replaced, without
    an effect on the result. A worker needs memory for its shards, 20 to 28 bytes an interaction and three times
    ``factors`` numbers a user, and for three times the item factors; the driver keeps those of each iteration.

    Parameters
    ----------
    model : ImplicitALS or ExplicitALS
        With any parameters but ``nonnegative=True``. It is fitted in place; until the fit has ended, it is unchanged.
        With ``warm_start=True`` and a `Parquet`, the users and items of the source that the model knows by their ids
        start from its factors, and those of the source are all that it has after the fit.
    source : Parquet, or Interactions, or sparse matrix, shape (n_users, n_items)
        A folder that the workers read, or interactions in memory, which are sent to them.
    client : distributed.Client
        Of a cluster whose workers have the same version of alternant, and the same backend and SIMD level.
    shards : int, optional
        Number of shards. By default, one for 16 million interactions, and at least 8: the number does not depend on the
        cluster. There should be as many as there are workers, or a few times more.
    checkpoint : path, optional
        A folder for the state of the fit, as for ``model.fit``, written by this process. A fit with the same
        parameters, source and number of shards resumes from there, on any cluster, and ends with the same bits.
    every : int
        With `checkpoint`: save it after this many iterations, and at the end.
    show_progress : bool, optional
        Whether to show a progress bar on stderr. By default, only on a terminal.

    Returns
    -------
    model
        The model given, with the attributes that ``model.fit`` sets.

    Raises
    ------
    TypeError, ValueError
        If the source or a parameter is invalid, or the model can't be distributed; the model is left unchanged.
    SingularRowError, OverflowError
        As ``model.fit``.
    WorkersLostError
        If workers are lost again and again, or none is left.
    SchedulerLostError
        If Dask's scheduler is lost.
    """
    options = FitOptions(None, "iteration", show_progress, checkpoint, every)
    with _fitting(model, source, client, shards, options) as fitted:
        done, cluster = fitted.done, fitted.sides.cluster
        finished = fitted.sides.finish(done.user_factors, done.item_factors)
        rows = _stacked(cluster.attempt(lambda: cluster.every("interactions")))
        model._assign(
            user_factors=finished.user_factors, item_factors=finished.item_factors, interactions_=rows,
            history_=fitted.history, n_iter_=len(fitted.history["objective"]), backend_=model._backend().name,
            **fitted.attributes, **fitted.divided.attributes(), **done.state, **finished.state,
        )  # fmt: skip
    return model


def fit_to_parquet(
    model: Fittable, source: Parquet | Rated, client: Any, folder: str | os.PathLike[str], *, k: int | None = None,
    exclude_seen: bool = True, shards: int | None = None, checkpoint: str | os.PathLike[str] | None = None,
    every: int = 1, show_progress: bool | None = None,
) -> dict[str, list[float]]:  # fmt: skip
    """Fit as `fit` does, but leave the factors of the users where they are: each worker writes those of its shards.

    The driver needs no memory for the users and the interactions, unless there is a checkpoint. The files have the
    columns ``id`` and ``features``, as those of Spark's ALSModel; they are those that `fit` would give the model.

    Parameters
    ----------
    model : ImplicitALS or ExplicitALS
        It is not changed.
    source, client, shards, checkpoint, every, show_progress
        As for `fit`.
    folder : path
        A folder that does not exist yet, on a file system that the workers share. It gets the folders
        ``user_factors``, ``item_factors`` and, with `k`, ``lists``, with a file for each shard.
    k : int, optional
        Also rank so many items for every user: the columns user, item, rank (from 1) and score.
    exclude_seen : bool
        Leave the items that a user has interacted with out of the lists.

    Returns
    -------
    dict of lists
        What `fit` stores as ``history_``.

    Raises
    ------
    FileExistsError
        If there is something at `folder`.
    TypeError, ValueError, SingularRowError, OverflowError, WorkersLostError, SchedulerLostError
        As `fit`.
    """
    options = FitOptions(None, "iteration", show_progress, checkpoint, every)
    k = None if k is None else check_integer("k", k, 1)
    check_boolean("exclude_seen", exclude_seen)
    target = Path(folder).absolute()
    if target.exists():
        raise FileExistsError(f"{str(target)!r} exists: choose another folder, or delete it")
    if not target.parent.is_dir():
        raise FileNotFoundError(f"there is no folder {str(target.parent)!r} to create {target.name!r} in")
    with _fitting(model, source, client, shards, options) as fitted:
        fitted.sides.write(fitted.done.user_factors, fitted.done.item_factors, fitted.divided, target, k, exclude_seen)
    return fitted.history


class _Fitted(NamedTuple):
    """The result of a fit, still on the workers."""

    sides: ShardedSides
    divided: Shards
    attributes: dict[str, Any]  # of the model, that do not depend on the factors
    done: Any  # an Iteration, whose user factors are UserFactors or (a finished checkpoint) an array
    history: History


@contextlib.contextmanager
def _fitting(model: Any, source: Any, client: Any, shards: int | None, options: FitOptions) -> Iterator[_Fitted]:
    """Fit, and yield the result while the workers hold it."""
    _check_model(model)
    _check_client(client)
    if shards is not None:
        shards = check_integer("shards", shards, 1)
    backend = model._backend()
    with model._guard.writer, Cluster(client) as cluster:
        _check_workers(cluster, backend)
        divided = _divide(model, source, cluster, shards)
        counts = cluster.attempt(lambda: cluster.every("degrees"))
        n_u, n_i = np.concatenate([users for users, _ in counts]), sum(items for _, items in counts)
        observed = ShardedStatistics(cluster, (n_u, n_i), np.dtype(model.dtype))
        settings = Settings(backend.name, model.solver, float(model.tol), model.max_cg_steps, model.num_threads)
        prepare = _implicit if isinstance(model, ImplicitALS) else _explicit
        start = starting_factors(model, divided, observed.shape)
        sides, attributes = prepare(model, cluster, divided.bounds, observed, settings, start)
        yield _Fitted(sides, divided, attributes, *_alternate(model, sides, options, start))


def _implicit(
    model: ImplicitALS, cluster: Cluster, bounds: list[int], observed: ShardedStatistics, settings: Settings,
    start: Start,
) -> tuple[ShardedSides, dict[str, Any]]:  # fmt: skip
    """Return the row problems of the model's fit and its attributes; finish the items to start from."""
    objective = choose_objective(model, observed)
    degrees = objective.degrees
    assert degrees is not None
    of_items = replace(objective, degrees=replace(degrees, users=np.empty(0, np.int64)))
    constant = sum(cluster.after_making("prepare", of_items, settings))
    start.items[start.drawn] = objective.finish_items(start.items[start.drawn], degrees.items[start.drawn])
    sides = ImplicitShardedSides(cluster, bounds, objective, constant, observed.dtype)
    return sides, {**chosen_values(objective, degrees), "_degrees": degrees}


def _explicit(
    model: ExplicitALS, cluster: Cluster, bounds: list[int], observed: ShardedStatistics, settings: Settings,
    start: Start,
) -> tuple[ShardedSides, dict[str, Any]]:  # fmt: skip
    """Return the row problems of the model's fit and its attributes."""
    if not observed.nnz:
        raise ValueError(f"source must contain at least one rating, got none in shape {observed.shape}")
    objective, mean = model._objective(), 0.0
    if model.biases:
        mean = observed.sum_of_values() / observed.nnz
        mean = float(getattr(model, "mean_", mean)) if start.users is not None else mean
    weight = sum(cluster.after_making("prepare", objective, settings))
    return ExplicitShardedSides(cluster, bounds, observed.counts[1], objective, mean, weight, observed.dtype), {}


class _Gathered(Checkpoint):
    """A checkpoint that gathers the users' factors from the workers."""

    def write(self, loop: dict[str, Any], snapshot: Snapshot) -> None:
        """Replace the file."""
        arrays = {name: np.asarray(array) for name, array in snapshot.arrays.items()}
        super().write(loop, Snapshot(arrays, snapshot.values))


def _alternate(
    model: Fittable, sides: ShardedSides, options: FitOptions, start: Start
) -> tuple[Iteration, History]:
    """Run the iterations of the fit, or those that are left of it."""
    solver = replace(model._solver(), narrow=False)
    momentum, objective = Momentum(solver.pool, model._accelerated()), None if model.warm_start else np.inf
    alternation = _Alternation(sides, start.users, start.items, solver, objective, momentum)
    digests = sides.cluster.attempt(lambda: sides.cluster.every("digest"))
    checkpoint = _Gathered.of(model, options, solver.backend, ["shards", *digests])
    if checkpoint is not None and checkpoint.saved is not None:
        alternation.restore(checkpoint.saved, checkpoint.loop["state"])
    last: list[tuple[Iteration, History]] = []

    def commit(done: Iteration, history: History) -> None:
        last[:] = [(done, history)]

    loop = FitLoop(
        model.iterations, Stopping(model.early_stopping), options, None, commit, type(model).__name__,
        checkpoint=checkpoint,
    )  # fmt: skip
    with loop:
        for _ in loop:
            loop.end(alternation.iterate(loop), alternation.snapshot)
    return last[0]


def _divide(model: Fittable, source: Any, cluster: Cluster, shards: int | None) -> Shards:
    """Make the shards."""
    dtype = np.dtype(model.dtype)
    divided: Shards
    if isinstance(source, Parquet):
        rated = float(model.missing_value) if isinstance(model, ExplicitALS) else None
        divided = ParquetShards(source, cluster, dtype, lambda rows: shards or _default_shards(rows), rated)
    elif isinstance(source, Interactions) and is_stored(source):
        raise TypeError(
            "source must not be in a store, which is on one machine: pass alternant.distributed.Parquet(folder, "
            "user=..., item=...) with the files that it was read from"
        )
    elif isinstance(source, Interactions) or is_sparse(source):
        matrix, ids = model._matrix_and_ids(source)
        rows = model._check_rows("source", matrix, dtype, copy=True)
        divided = RowShards(rows, ids, shards or _default_shards(len(rows.data)))
    else:
        raise TypeError(
            f"source must be a Parquet, Interactions or a SciPy sparse matrix, got {type(source).__name__}: for a "
            "folder, pass alternant.distributed.Parquet(folder, user=..., item=...)"
        )
    cluster.distribute(divided, len(divided.bounds) - 1)
    divided.made()
    return divided


def _default_shards(rows: int) -> int:
    return max(FEWEST_SHARDS, -(-rows // PER_SHARD))


def _check_client(client: Any) -> None:
    if not isinstance(client, Client) or client.asynchronous:
        found = "an asynchronous one" if isinstance(client, Client) else type(client).__name__
        raise TypeError(f"client must be a distributed.Client, got {found}: pass distributed.Client(address)")


def _check_model(model: Any) -> None:
    if not isinstance(model, Fittable):
        name = type(model).__name__
        raise TypeError(f"only ImplicitALS and ExplicitALS can be fitted on a cluster, got {name}: call its own fit")
    model._check_params()
    if not isinstance(model, ExplicitALS):
        return
    if model.nonnegative:
        raise ValueError("items are solved by conjugate gradients, got nonnegative=True: call the model's own fit")
    if not check_pair("regularization", model.regularization, ("users", "items"))[1]:
        raise refusal(
            ValueError,
            "items are solved by conjugate gradients, which their lambdas precondition, got "
            f"{parameter('regularization', model.regularization)}: raise it above 0, or call the model's own fit",
        )


def _check_workers(cluster: Cluster, backend: Any) -> None:
    """Raise unless there are workers, and all compute with the same bits."""
    if not cluster.workers():
        cluster.client.wait_for_workers(1, timeout=60)
    found = cluster.client.run(_shard.describe, backend.name)
    expected = _shard.describe(backend.name)
    for address, description in sorted(found.items()):
        if description != expected:
            raise ValueError(
                f"all workers must compute alike, but {address} has {description} and this process {expected}: install "
                "the same version, and set the environment variable ALTERNANT_SIMD to a level that all have"
            )


def _stacked(parts: list[CSR]) -> CSR:
    """Return the rows of all shards."""
    lengths = np.concatenate([np.diff(part.indptr) for part in parts])
    return CSR(
        np.concatenate([[0], np.cumsum(lengths)]),
        np.concatenate([part.indices for part in parts]),
        np.concatenate([part.data for part in parts]),
        (len(lengths), parts[0].shape[1]),
    )
