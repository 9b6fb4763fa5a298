"""The schedule of pairwise steps: rounds of tasks that share no rows and no columns."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from .._utils.threads import map_parallel
from . import _checks as check

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from .._typing import Reals

MOST_BLOCKS = 64  # of columns: the table of tasks then has 131,072 numbers


class Sides(NamedTuple):
    """The two sides of a factorization with biases of the columns."""

    X: Reals  # (m, f)
    Y: Reals  # (n, f)
    column_bias: Reals  # (n,)


class Rounds(NamedTuple):
    """A schedule: ``rounds * tasks`` tasks, of which those of a round touch different rows and different columns.

    A triple of a row, a positive and a negative column belongs to task ``task[a, b, c]``, where a, b, c are the blocks
    of the three; task ``t`` belongs to round ``t // tasks``.
    """

    row_block: NDArray[np.uint8]  # (m,)
    column_block: NDArray[np.uint8]  # (n,)
    task: NDArray[np.int32]  # (A, B, B)
    tasks: int  # per round

    @property
    def number(self) -> int:
        """The number of rounds."""
        return int(self.task.max(initial=-1)) // self.tasks + 1

    @classmethod
    def one(cls, m: int, n: int) -> Rounds:
        """Return the schedule of a single task: triples are processed in the given order."""
        return cls(np.zeros(m, np.uint8), np.zeros(n, np.uint8), np.zeros((1, 1, 1), np.int32), 1)

    def row_blocks(self) -> NDArray[np.int64]:
        """Return the row block of each task."""
        blocks = np.zeros(self.number * self.tasks, np.int64)
        for block, tasks in enumerate(self.task):
            blocks[tasks] = block
        return blocks

    def reordered(self, order: NDArray[np.int64]) -> Rounds:
        """Return the schedule in which round ``r`` takes place ``order[r]``."""
        place, within = np.divmod(self.task, self.tasks)
        return self._replace(task=(order[place] * self.tasks + within).astype(np.int32))

    def check(self, m: int, n: int) -> None:
        """Raise an error unless this is a valid schedule for m rows and n columns."""
        check.fits_int32(rows=m, columns=n)
        task = self.task
        if not isinstance(task, np.ndarray) or task.dtype != np.int32 or task.ndim != 3 or len(set(task.shape[1:])) > 1:
            raise ValueError("task must be an int32 array of shape (A, B, B): pass a schedule of tournament()")
        if not task.flags.c_contiguous or not task.size or self.tasks < 1 or task.min() < 0:
            raise ValueError("task must be in C order and number the tasks from 0: pass a schedule of tournament()")
        for name, block, length, count in (
            ("row_block", self.row_block, m, task.shape[0]),
            ("column_block", self.column_block, n, task.shape[1]),
        ):
            check.vector(name, block, np.uint8, length)
            if block.max(initial=0) >= count:
                raise ValueError(f"{name} must be below {count} (the number of blocks), got {block.max()}")
        places = np.indices(task.shape)
        for name, blocks in (("row", [places[0]]), ("column", [places[1], places[2]])):
            key = np.concatenate([(task // self.tasks * task.shape[0 if name == "row" else 1] + each).reshape(-1)
                                  for each in blocks])  # fmt: skip
            tasks = np.tile(task.reshape(-1), len(blocks))
            order = np.lexsort((tasks, key))
            key, tasks = key[order], tasks[order]
            if ((key[1:] == key[:-1]) & (tasks[1:] != tasks[:-1])).any():
                raise ValueError(f"the tasks of a round must not share {name} blocks: pass a schedule of tournament()")


class Triples(NamedTuple):
    """Rows with a positive and a negative column each, grouped by task: task ``t`` owns ``indptr[t]:indptr[t + 1]``."""

    indptr: NDArray[np.int64]  # (rounds * tasks + 1,)
    rows: NDArray[np.int32]  # (k,)
    positives: NDArray[np.int32]  # (k,)
    negatives: NDArray[np.int32]  # (k,)
    weight: Reals | None  # (k,); None for 1

    def of_tasks(self, first: int, last: int) -> Triples:
        """Return the triples of consecutive tasks."""
        part = slice(self.indptr[first], self.indptr[last])
        weight = None if self.weight is None else self.weight[part]
        indptr = self.indptr[first : last + 1] - self.indptr[first]
        return Triples(indptr, self.rows[part], self.positives[part], self.negatives[part], weight)

    def check(self, rounds: Rounds, dtype: np.dtype[np.generic]) -> None:
        """Raise an error unless every triple is in its task."""
        count, k = rounds.number * rounds.tasks, len(self.rows)
        check.vector("triples.indptr", self.indptr, np.int64, count + 1)
        if self.indptr[0] != 0 or self.indptr[-1] != k or (np.diff(self.indptr) < 0).any():
            raise ValueError(f"triples.indptr must rise from 0 to {k} (the number of triples) and never fall")
        for name, bound in (("rows", rounds.row_block), ("positives", rounds.column_block),
                            ("negatives", rounds.column_block)):  # fmt: skip
            ids = getattr(self, name)
            check.vector(f"triples.{name}", ids, np.int32, k)
            if k and not 0 <= ids.min() <= ids.max() < len(bound):
                raise ValueError(
                    f"triples.{name} must lie between 0 and {len(bound) - 1}, got {ids.min()} to {ids.max()}"
                )
        if self.weight is not None:
            check.vector("triples.weight", self.weight, dtype, k)
            check.finite(weight=self.weight)
        if (self.positives == self.negatives).any():
            raise ValueError("triples must have different positive and negative columns: leave the others out")
        blocks = rounds.column_block
        own = rounds.task[rounds.row_block[self.rows], blocks[self.positives], blocks[self.negatives]]
        if (own != np.repeat(np.arange(count), np.diff(self.indptr))).any():
            raise ValueError("triples must be grouped by task: pass what draw_triples returns for these rounds")


class Popular(NamedTuple):
    """The distribution in proportion to the popularity of columns.

    Column j is drawn if a random whole number from 0 to 2^32 - 1 is at least ``thresholds[j]`` and below
    ``thresholds[j + 1]``. Where to look for it follows from the leading bits of the number: they have a place in
    `guide`, and the column lies between the one there and the one at the next place.
    """

    thresholds: NDArray[np.int64]  # (n + 1,): rising from 0 to 2^32
    guide: NDArray[np.int32]  # (a power of 2, plus 1): the column of the least number with these leading bits

    @classmethod
    def of(cls, counts: NDArray[np.int64]) -> Popular:
        """Return the distribution for these counts, of 0 or more, whose sum is from 1 to 2^47 - 1.

        ``thresholds[j]`` is ``ceil(2^32 s_j / s_n)``, where ``s_j`` is the sum of the first j counts.
        """
        sums = np.concatenate([[0], np.cumsum(counts, dtype=np.int64)])
        total = int(sums[-1])
        if not 0 < total < 1 << 47 or counts.min() < 0:
            raise ValueError(f"counts must be 0 or more, with a sum from 1 to 2^47 - 1, got a sum of {total}")
        high, rest = np.divmod(sums << 16, total)  # a long division in base 2^16: the products would overflow
        low, rest = np.divmod(rest << 16, total)
        thresholds = np.asarray((high << 16) + low + (rest > 0))
        return cls(thresholds, _guide(thresholds))

    def check(self, n: int) -> None:
        """Raise an error unless this is a distribution of n columns."""
        check.vector("popular.thresholds", self.thresholds, np.int64, n + 1)
        if self.thresholds[0] != 0 or self.thresholds[-1] != 1 << 32 or (np.diff(self.thresholds) < 0).any():
            raise ValueError("popular.thresholds must rise from 0 to 2^32 and never fall: pass Popular.of(counts)")
        check.vector("popular.guide", self.guide, np.int32, len(_guide(self.thresholds)))
        if (self.guide != _guide(self.thresholds)).any():
            raise ValueError("popular.guide must be that of the thresholds: pass Popular.of(counts)")


def _guide(thresholds: NDArray[np.int64]) -> NDArray[np.int32]:
    n = len(thresholds) - 1
    bits = max(1, (n - 1).bit_length())
    least = np.arange(1 << bits) << (32 - bits)
    columns = np.searchsorted(thresholds, least, side="right") - 1
    return np.append(columns, n - 1).astype(np.int32)


class Adaptive(NamedTuple):
    """The distribution of Rendle and Freudenthaler (2014): negatives with a high score are more likely.

    A factor k is drawn in proportion to ``|x_uk| spread[k]``, a rank r in proportion to ``exp(-rate r)``, and the
    negative is the column of that rank by factor k, from the highest if ``x_uk`` is positive, else from the lowest. The
    bias is the last factor, for which all rows have 1: without it, columns whose bias grows are not drawn more often,
    and end up in all lists.
    """

    order: NDArray[np.int32]  # (f + 1, n): the columns by descending factor
    spread: NDArray[np.float64]  # (f + 1,): the standard deviation of each factor
    rate: float

    @classmethod
    def of(cls, Y: Reals, column_bias: Reals, rate: float, num_threads: int = 1) -> Adaptive:
        """Return the distribution for these factors and biases of the columns."""
        n, f = Y.shape
        order, spread = np.empty((f + 1, n), np.int32), np.empty(f + 1)

        def sort(k: int) -> None:
            column = np.ascontiguousarray(Y[:, k]) if k < f else column_bias
            order[k], spread[k] = np.argsort(-column, kind="stable"), column.std(dtype=np.float64)

        map_parallel(sort, range(f + 1), num_threads)
        return cls(order, spread, float(rate))


def tournament(row_block: NDArray[np.uint8], column_block: NDArray[np.uint8], blocks: int) -> Rounds:
    """Return a schedule in which every row block meets every pair of column blocks once.

    In a round-robin tournament of B column blocks, each of B - 1 days has B / 2 matches of disjoint pairs. B / 2 row
    blocks take turns at the matches of a day, so that a day is B / 2 rounds of B / 2 tasks. Triples with both columns
    in one block are processed on the first day.

    Parameters
    ----------
    row_block, column_block : uint8 arrays, shapes (m,) and (n,)
        Numbers from 0 to ``max(1, blocks // 2) - 1`` and to ``blocks - 1``.
    blocks : int
        B, 1 or an even number up to 64.
    """
    if blocks != 1 and not (2 <= blocks <= MOST_BLOCKS and blocks % 2 == 0):
        raise ValueError(f"blocks must be 1 or an even number up to {MOST_BLOCKS}, got {blocks}")
    half = max(1, blocks // 2)
    task = np.zeros((half, blocks, blocks), np.int32)
    match = np.arange(half)
    for day in range(blocks - 1):
        # The circle method: the last block stays, the others move on by one place each day.
        circle = np.append((np.arange(blocks - 1) + day) % (blocks - 1), blocks - 1)
        b, c = circle[:half], circle[::-1][:half]
        for turn in range(half):
            a, number = (match + turn) % half, (day * half + turn) * half + match
            task[a, b, c] = task[a, c, b] = number
            if day == 0:
                task[a, b, b] = task[a, c, c] = number
    return Rounds(row_block, column_block, task, half)
