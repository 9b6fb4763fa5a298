"""The fit on a Dask cluster."""

from __future__ import annotations

import os
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

import numpy as np

from .._utils.validation import check_integer
from ..data.csr import CSR
from ..data.interactions import Interactions
from ..data.validation import is_sparse
from ..models import ImplicitALS
from ..models._checkpoint import Checkpoint
from ..models._fit_loop import FitLoop, FitOptions, History, Iteration, Stopping
from ..models.als.implicit_defaults import chosen_values
from ..models.als.momentum import Momentum
from ..models.als.trainer import _Alternation
from . import _shard
from ._cluster import Cluster
from ._defaults import choose_objective
from ._parquet import Parquet, ParquetShards
from ._rows import RowShards
from ._shard import Settings
from ._sides import ShardedSides

if TYPE_CHECKING:
    from .._typing import Rated

Model = TypeVar("Model", bound=ImplicitALS)

PER_SHARD = 1 << 24  # rows of the source, by default
FEWEST_SHARDS = 8


class Shards(Protocol):
    """A source whose users have been divided."""

    bounds: list[int]
    n_items: int

    def create(self, cluster: Cluster, number: int, address: str) -> Any:
        """Return a future of making a shard on a worker."""

    def made(self) -> None:
        """Free what was needed to make the shards for the first time."""

    def attributes(self) -> dict[str, Any]:
        """Return the model's attributes that name its users and items."""


def fit(
    model: Model, source: Parquet | Rated, client: Any, *, shards: int | None = None,
    checkpoint: str | os.PathLike[str] | None = None, every: int = 1, show_progress: bool | None = None,
) -> Model:  # fmt: skip
    """Fit a model to interactions that are divided over the workers of a Dask cluster.

    The users are divided into shards of about equally many interactions, which stay on a worker; all workers have the
    factors of all items. The half-sweeps are those of ``model.fit``, and so is the objective, within 1e-6 of its value:
    sums over the users of an item are formed in another order. The factors have the same bits for the same
    source and number of shards, on any number of workers and threads. A worker that is lost is replaced, without
    an effect on the result. A worker needs memory for its shards, 20 bytes an interaction and ``factors`` numbers a
    user, and three times the item factors; the driver has the item factors of each iteration, too.

    Parameters
    ----------
    model : ImplicitALS
        With any parameters but ``warm_start=True``. It is fitted in place; until the fit has ended, it is unchanged.
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
    _check_model(model)
    options = FitOptions(None, "iteration", show_progress, checkpoint, every)
    if shards is not None:
        shards = check_integer("shards", shards, 1)
    threads = model.num_threads
    backend = model._backend()
    with model._guard.writer, Cluster(client) as cluster:
        _check_workers(cluster, backend)
        divided = _divide(model, source, cluster, shards)
        degrees = cluster.attempt(lambda: cluster.every("degrees"))
        n_u, n_i = np.concatenate([users for users, _ in degrees]), sum(items for _, items in degrees)
        objective = choose_objective(model, cluster, n_u, n_i)
        assert objective.degrees is not None
        settings = Settings(backend.name, model.solver, float(model.tol), model.max_cg_steps, threads)
        of_items = replace(objective, degrees=replace(objective.degrees, users=np.empty(0, np.int64)))
        constant = sum(cluster.after_making("prepare", of_items, settings))
        sides = ShardedSides(cluster, objective, divided.bounds, constant, np.dtype(model.dtype))
        done, history = _alternate(model, sides, options)
        finished = sides.finish(done.user_factors, done.item_factors)
        rows = _stacked(cluster.attempt(lambda: cluster.every("interactions")))
        model._assign(
            user_factors=finished.user_factors, item_factors=finished.item_factors, interactions_=rows,
            history_=history, n_iter_=len(history["objective"]), backend_=backend.name, _degrees=objective.degrees,
            **chosen_values(objective, objective.degrees), **divided.attributes(), **finished.state,
        )  # fmt: skip
    return model


def _alternate(model: ImplicitALS, sides: ShardedSides, options: FitOptions) -> tuple[Iteration, History]:
    """Run the iterations of the fit, or those that are left of it."""
    objective, degrees = sides.objective, sides.objective.degrees
    assert degrees is not None
    solver = replace(model._solver(), narrow=False)
    _, Y = model._start(0, len(degrees.items))
    momentum = Momentum(solver.pool, model._accelerated())
    alternation = _Alternation(sides, None, objective.finish_items(Y, degrees.items), solver, np.inf, momentum)
    digests = sides.cluster.attempt(lambda: sides.cluster.every("digest"))
    checkpoint = Checkpoint.of(model, options, solver.backend, ["shards", *digests])
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


def _divide(model: ImplicitALS, source: Any, cluster: Cluster, shards: int | None) -> Shards:
    """Make the shards."""
    dtype = np.dtype(model.dtype)
    divided: Shards
    if isinstance(source, Parquet):
        divided = ParquetShards(source, cluster, dtype, lambda rows: shards or _default_shards(rows))
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


def _check_model(model: Any) -> None:
    if not isinstance(model, ImplicitALS):
        name = type(model).__name__
        raise TypeError(f"only an ImplicitALS can be fitted on a cluster, got {name}: call its own fit")
    model._check_params()
    if model.warm_start:
        raise ValueError("a fit on a cluster begins anew: call set_params(warm_start=False), or model.fit(...)")


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
