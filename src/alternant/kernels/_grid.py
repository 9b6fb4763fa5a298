"""The block grid for parallel stochastic gradient descent, and the partitioning of a matrix into one."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from .._utils.mapped import column_counts
from .._utils.threads import resolve_num_threads
from . import _checks as check
from ._registry import Backend, active_backend

if TYPE_CHECKING:
    from .._typing import Integers, Reals

MOST_BLOCKS = 64  # per side; block numbers then fit in 16 bits, for which NumPy has a radix sort
FEWEST_ENTRIES = 64  # per block on average: fewer are not worth the overhead of a task


class Factors(NamedTuple):
    """The two sides of a biased factorization."""

    X: Reals  # (m, f)
    Y: Reals  # (n, f)
    row_bias: Reals  # (m,)
    column_bias: Reals  # (n,)


class Grid(NamedTuple):
    """The entries of an m x n matrix, grouped into B x B blocks.

    Block ``(a, b)`` covers rows ``row_edges[a]:row_edges[a + 1]`` and columns ``column_edges[b]:column_edges[b + 1]``,
    and owns entries ``block_indptr[k]:block_indptr[k + 1]`` with ``k = a * B + b``.
    """

    row_edges: NDArray[np.int64]  # (B + 1,)
    column_edges: NDArray[np.int64]  # (B + 1,)
    block_indptr: NDArray[np.int64]  # (B * B + 1,)
    rows: NDArray[np.int32]  # (nnz,)
    columns: NDArray[np.int32]  # (nnz,)

    @property
    def blocks(self) -> int:
        """B, the number of blocks per side."""
        return len(self.row_edges) - 1

    @classmethod
    def whole(cls, rows: Any, columns: Any, m: int, n: int) -> Grid:
        """Return a grid of one block: entries are processed in the given order."""
        check.fits_int32(rows=m, columns=n)
        rows, columns = _as_int32("rows", rows), _as_int32("columns", columns)
        return cls(np.array([0, m]), np.array([0, n]), np.array([0, len(rows)]), rows, columns)

    def diagonals(self, order: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return the schedule that processes every block once: round ``d`` has the blocks ``(a, (a + order[d]) % B)``.

        Parameters
        ----------
        order : int64 array, shape (B,)
            A permutation of 0 to B - 1.

        Returns
        -------
        int64 array, shape (B, B, 2)
        """
        rows = np.broadcast_to(np.arange(self.blocks), (self.blocks, self.blocks))
        return np.stack([rows, (rows + np.asarray(order, np.int64)[:, None]) % self.blocks], axis=2)

    def check(self, m: int, n: int) -> None:
        """Raise an error unless this is a valid grid of an m x n matrix."""
        check.fits_int32(rows=m, columns=n)
        if self.blocks < 1:
            raise ValueError(f"row_edges must have at least 2 edges, 0 and {m}, got {self.blocks + 1}")
        for name, edges, bound in (("row_edges", self.row_edges, m), ("column_edges", self.column_edges, n)):
            check.vector(name, edges, np.int64, self.blocks + 1)
            if edges[0] != 0 or edges[-1] != bound or (edges[1:] < edges[:-1]).any():
                raise ValueError(f"{name} must rise from 0 to {bound}, got {edges[0]} to {edges[-1]}")
        nnz = len(self.rows)
        check.vector("rows", self.rows, np.int32, nnz)
        check.vector("columns", self.columns, np.int32, nnz)
        check.vector("block_indptr", self.block_indptr, np.int64, self.blocks**2 + 1)
        lengths = np.diff(self.block_indptr)
        if self.block_indptr[0] != 0 or self.block_indptr[-1] != nnz or (lengths < 0).any():
            raise ValueError(f"block_indptr must rise from 0 to {nnz} (the number of entries) and never fall")
        block = np.repeat(np.arange(self.blocks**2), lengths)
        for name, ids, edges, at in (
            ("rows", self.rows, self.row_edges, block // self.blocks),
            ("columns", self.columns, self.column_edges, block % self.blocks),
        ):
            outside = (ids < edges[at]) | (ids >= edges[at + 1])
            if outside.any():
                entry = int(np.argmax(outside))
                where = divmod(int(block[entry]), self.blocks)
                raise ValueError(f"{name} must lie within their block's edges, got {ids[entry]} in block {where}")


def total_loss(losses: NDArray[np.float64]) -> float:
    """Add up the losses of tasks, shape (rounds, tasks): those of each round, then the rounds, in their order.

    An epoch in one call thus has the bits of one whose rounds are calls of their own, and whose totals are added up.
    """
    total = 0.0
    for tasks in losses.tolist():
        of_round = 0.0
        for loss in tasks:  # not `sum`, which compensates rounding errors from Python 3.12 on
            of_round += loss
        total += of_round
    return total


class Cut(NamedTuple):
    """A matrix partitioned into a grid, whose row ``r`` is row ``row_order[r]`` of the matrix; likewise for columns."""

    grid: Grid
    row_order: NDArray[np.int64]  # (m,)
    column_order: NDArray[np.int64]  # (n,)
    entries: NDArray[np.int64]  # (nnz,): position in the matrix of each entry of the grid


def block_count(m: int, n: int, nnz: int) -> int:
    """Return B: enough blocks for many threads, but no more than the number of entries justifies.

    More blocks split the entries of a row into shorter runs, and a row is loaded once per run: on 20 million entries
    in 138,000 rows, an epoch takes twice as long with B = 32 as with B = 16.
    """
    wanted = 16 if nnz < 1 << 27 else 32
    return int(max(1, min(wanted, np.sqrt(nnz / FEWEST_ENTRIES), m, n)))


def cut(
    indptr: NDArray[np.int64], indices: Integers, n: int, blocks: int, rng: np.random.Generator,
    num_threads: int | None = None, backend: Backend | None = None,
) -> Cut:  # fmt: skip
    """Partition a CSR matrix with n columns into blocks x blocks blocks of roughly equal numbers of entries.

    Rows and columns are assigned to blocks at random: in most data, new users and new items are adjacent, so that a
    few contiguous blocks would hold most entries. Within a block, rows and columns keep their order. If there are more
    blocks than rows or columns, some are empty. `num_threads` and `backend` (default: the active one) do not change
    the result.

    Raises
    ------
    TypeError, ValueError
        If this is not a complete CSR matrix with n columns, or `blocks` is not between 1 and 64.
    """
    check_whole(indptr, indices, len(indptr) - 1, n, blocks)
    row_block, row_order, row_edges = deal(np.diff(indptr), blocks, rng)
    column_block, column_order, column_edges = deal(column_counts(indices, n), blocks, rng)
    block_indptr, rows, columns, entries = (backend or active_backend()).sort_into_blocks(
        indptr, indices, row_block, column_block, positions(row_order), positions(column_order), blocks,
        resolve_num_threads(num_threads),
    )  # fmt: skip
    return Cut(Grid(row_edges, column_edges, block_indptr, rows, columns), row_order, column_order, entries)


def check_whole(indptr: NDArray[np.int64], indices: Integers, m: int, n: int, blocks: int) -> None:
    """Raise an error unless this is a complete m x n CSR matrix and `blocks` is valid."""
    check.fits_int32(rows=m, columns=n)
    check.csr(indptr, indices, m, n)
    if indptr[0] != 0 or indptr[-1] != len(indices):
        raise ValueError(f"indptr must rise from 0 to {len(indices)} (the number of entries), got {indptr[[0, -1]]}")
    if not 1 <= blocks <= MOST_BLOCKS:
        raise ValueError(f"blocks must be from 1 to {MOST_BLOCKS}, got {blocks}")


def _as_int32(name: str, ids: Any) -> NDArray[np.int32]:
    ids = np.asarray(ids)
    if ids.dtype != np.int32 and len(ids) and not (ids.min() >= 0 and ids.max() <= check.MOST_ROWS):
        raise ValueError(
            f"{name} must lie between 0 and {check.MOST_ROWS}, since ids are int32, got {ids.min()} to {ids.max()}"
        )
    return np.ascontiguousarray(ids, np.int32)


def deal(
    counts: NDArray[np.int64], blocks: int, rng: np.random.Generator
) -> tuple[NDArray[np.uint8], NDArray[np.int64], NDArray[np.int64]]:
    """Assign rows to blocks at random; return the block of each row, the rows ordered by block, and the block edges."""
    shuffled = rng.permutation(len(counts))
    edges = _edges(counts[shuffled], blocks)
    block = np.empty(len(counts), np.uint8)
    block[shuffled] = np.repeat(np.arange(blocks, dtype=np.uint8), np.diff(edges))
    return block, np.argsort(block, kind="stable"), edges


def positions(order: NDArray[np.int64]) -> NDArray[np.int32]:
    """Return the place of each row in an order."""
    places = np.empty(len(order), np.int32)
    places[order] = np.arange(len(order), dtype=np.int32)
    return places


def _edges(counts: NDArray[np.int64], blocks: int) -> NDArray[np.int64]:
    """Place edges at equal shares of the entries; if one row holds several shares, some blocks are empty."""
    before = np.concatenate([[0], np.cumsum(counts)])
    edges = np.searchsorted(before, before[-1] * np.arange(blocks + 1) / blocks)
    edges[0], edges[-1] = 0, len(counts)
    return np.maximum.accumulate(edges).astype(np.int64)
