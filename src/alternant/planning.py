"""How much memory, disk and time a fit takes, known before it starts."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import scipy

from ._utils.memory import available_bytes, human_bytes
from ._utils.validation import check_integer

if TYPE_CHECKING:
    from scipy.sparse import csr_array

    from .models import FactorModel

# The fit that is timed: large enough for its factors not to fit in caches, and done in seconds. The work of models
# without factors grows with the square or the cube of the number of items.
TIMED, TIMED_WITHOUT_FACTORS = (100_000, 100_000, 2_000_000), (20_000, 2_000, 400_000)
MOST_INDEX = 2**31 - 1


@dataclass(frozen=True)
class Plan:
    """What a fit takes; as a string, a short table.

    Attributes
    ----------
    model : str
        The model, with its parameters.
    shape : (int, int)
        Number of users and number of items.
    interactions : int
        Number of pairs.
    in_memory : int
        Resident memory in bytes of a fit from a matrix in memory, that matrix included.
    from_store : int or None
        From a store, with the factors in memory; None if the model is not fitted from stores.
    least : int or None
        From a store, with the factors in files: the lowest `memory_limit`; None if the model has none.
    store : int
        Disk space of a store of these interactions; while it is written, three times as much.
    blocks : int
        Disk space that a fit from a store takes for the interactions in blocks, if the model is fitted in blocks.
    files : int
        Disk space of the factors' files, with `memory_limit`.
    model_file : int or None
        Size of the saved model without its interactions; None for models without factors.
    seconds_per_iteration : float or None
        Estimated from a fit of two million planted interactions on this machine; None if it was not timed.
    iterations : int
        Number of iterations (or epochs) of the fit.
    """

    model: str
    shape: tuple[int, int]
    interactions: int
    in_memory: int
    from_store: int | None
    least: int | None
    store: int
    blocks: int
    files: int
    model_file: int | None
    seconds_per_iteration: float | None
    iterations: int

    def __str__(self) -> str:
        n_users, n_items = self.shape
        lines = [
            f"{self.model}, {n_users:,} users x {n_items:,} items, {self.interactions:,} interactions",
            "",
            *(f"{name:<44}{text:>12}" for name, text in self._rows()),
            "",
            self._advice(),
        ]
        return "\n".join(lines)

    def _rows(self) -> list[tuple[str, str]]:
        rows = [("memory: interactions and factors in memory", human_bytes(self.in_memory))]
        if self.from_store is not None:
            rows += [("memory: interactions in a store", human_bytes(self.from_store))]
        if self.least is not None:
            rows += [("memory: factors in files, too", human_bytes(self.least, up=True))]
        if self.from_store is not None:
            rows += [("disk: the store", human_bytes(self.store))]
        if self.blocks:
            rows += [("disk: the interactions by block", human_bytes(self.blocks))]
        if self.least is not None:
            rows += [("disk: the factors' files", human_bytes(self.files))]
        if self.model_file is not None:
            rows += [("disk: the saved model, without interactions", human_bytes(self.model_file))]
        if self.seconds_per_iteration is not None:
            each, total = self.seconds_per_iteration, self.seconds_per_iteration * self.iterations
            if self.iterations > 1:
                rows += [("time: an iteration", duration(each))]
            fit = f"{self.iterations} iterations" if self.iterations > 1 else "the fit"
            rows += [(f"time: {fit}", duration(total))]
        return rows

    def _advice(self) -> str:
        """Return which way to go with the memory that is free."""
        free = available_bytes()
        if free is None:
            return "How much memory is free is not known on this system."
        have = f"{human_bytes(free)} of memory are free: "
        if self.in_memory <= free:
            return f"{have}fit(interactions) as it is."
        if self.from_store is not None and self.from_store <= free:
            return f"{have}read the interactions into a store, with Interactions.from_parquet(..., store=...)."
        if self.least is not None and self.least <= free:
            limit = human_bytes(max(0.9 * free, self.least), up=True).replace(" ", "")  # fit refuses less than `least`
            return f'{have}read the interactions into a store, and pass fit(..., memory_limit="{limit}").'
        fewer = "fewer items" if self.model_file is None else "fewer factors"
        return f"{have}too few; take {fewer}, a larger machine or several (docs/distributed.md)."


def plan(
    model: FactorModel, users: int, items: int, interactions: int, *, values: bool | None = None, timed: bool = True
) -> Plan:
    """Estimate the memory, disk space and time of a fit before there are data.

    Parameters
    ----------
    model : FactorModel
        An instance with the parameters of the fit; it is not changed.
    users, items, interactions : int
        Numbers of users, of items and of pairs of both.
    values : bool, optional
        Whether interactions have values other than 1, which take space in a store. By default, those of models that
        learn from ratings or likes have.
    timed : bool
        Whether to time a small fit, which takes some seconds.

    Returns
    -------
    Plan

    Raises
    ------
    TypeError, ValueError
        If a number is not a whole number of at least 1, or there are more interactions than pairs.
    """
    given: Any = model
    if isinstance(given, type) or not hasattr(given, "fit_memory"):
        raise TypeError(f"model must be an instance of a model, such as ImplicitALS(factors=64), got {model!r}")
    if values is None:
        values = model.traits.feedback != "implicit"
    for name, number in (("users", users), ("items", items), ("interactions", interactions)):
        check_integer(name, number, 1)
    if interactions > users * items:
        raise ValueError(
            f"interactions must be at most users times items, {users * items:,}, as events of one pair are merged, got "
            f"{interactions:,}"
        )
    memory = model.fit_memory(users, items, interactions)
    columns, itemsize = getattr(model, "factors", 0), np.dtype(getattr(model, "dtype", "float32")).itemsize
    factors = (users + items) * columns * itemsize
    index = sum(4 if other <= MOST_INDEX else 8 for other in (users, items))
    return Plan(
        model=repr(model),
        shape=(users, items),
        interactions=interactions,
        in_memory=memory.in_memory,
        from_store=memory.in_memory - memory.entries if memory.streams else None,
        least=memory.least if memory.files else None,
        store=interactions * (index + (8 if values else 0)) + 8 * (users + items) * 2,
        blocks=memory.disk - (itemsize * interactions if memory.disk and memory.values and not values else 0),
        files=memory.factors + memory.mapped,
        model_file=factors + 16 * (users + items) if columns else None,
        seconds_per_iteration=_seconds(model, users, items, interactions) if timed else None,
        iterations=_iterations(model),
    )


def duration(seconds: float) -> str:
    """Return a time in the unit that fits it."""
    for unit, size in (("h", 3600), ("min", 60), ("s", 1)):
        if seconds >= 2 * size:
            return f"{seconds / size:.3g} {unit}"
    return f"{1000 * seconds:.3g} ms"


def _seconds(model: FactorModel, users: int, items: int, interactions: int) -> float:
    """Return the estimated seconds of an iteration: those of a small one, in proportion to the work."""
    trial: Any = type(model)(**model.get_params())
    for name in ("iterations", "epochs"):
        if name in trial.get_params():
            trial.set_params(**{name: 2})
    timed = _planted(*(TIMED if hasattr(model, "factors") else TIMED_WITHOUT_FACTORS), trial.traits.feedback)
    work = trial.iteration_work(*timed.shape, timed.nnz)
    start = time.perf_counter()
    trial.fit(timed)
    spent = getattr(trial, "history_", {}).get("seconds")
    seconds = time.perf_counter() - start if spent is None else spent[-1] - (spent[-2] if len(spent) > 1 else 0)
    return float(seconds * model.iteration_work(users, items, interactions) / work)


def _planted(users: int, items: int, pairs: int, feedback: str) -> csr_array:
    """Return random interactions with popular and rare items."""
    rng = np.random.default_rng(0)
    rows, columns = rng.integers(0, users, pairs), (rng.random(pairs) ** 2 * items).astype(np.int64)
    keys = np.unique(rows * items + columns)
    values = np.ones(len(keys), np.float32)
    if feedback != "implicit":
        values = rng.integers(0 if feedback == "likes" else 1, 2 if feedback == "likes" else 6, len(keys)).astype("f4")
    return scipy.sparse.csr_array((values, (keys // items, keys % items)), shape=(users, items))


def _iterations(model: FactorModel) -> int:
    parameters = model.get_params()
    return int(parameters.get("iterations", parameters.get("epochs", 1)))
