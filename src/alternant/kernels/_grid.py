"""The grid on which stochastic gradient descent runs in parallel, and how a matrix is cut into one."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from .._utils.threads import resolve_num_threads
from . import _checks as check
from ._registry import Backend, active_backend

MOST_BLOCKS = 64  # a side; the numbers of the blocks then fit in 16 bits, which NumPy sorts by radix
PIECE = 1 << 20  # entries counted at a time
FEWEST_ENTRIES = 64  # a block on average: fewer are not worth handing to a thread


class Factors(NamedTuple):
    """Two sides of a biased factorization."""

    X: NDArray[Any]  # (m, f)
    Y: NDArray[Any]  # (n, f)
    row_bias: NDArray[Any]  # (m,)
    column_bias: NDArray[Any]  # (n,)


class Grid(NamedTuple):
    """Entries of an m x n matrix in B x B blocks.

    Block ``(a, b)`` has the rows from ``row_edges[a]`` and the columns from ``column_edges[b]`` up to the next edge,
    and owns the entries from ``block_indptr[a * B + b]`` up to ``block_indptr[a * B + b + 1]``.
    """

    row_edges: NDArray[np.int64]  # (B + 1,)
    column_edges: NDArray[np.int64]  # (B + 1,)
    block_indptr: NDArray[np.int64]  # (B * B + 1,)
    rows: NDArray[np.int32]  # (nnz,)
    columns: NDArray[np.int32]  # (nnz,)

    @property
    def blocks(self) -> int:
        """B, the number of blocks on a side."""
        return len(self.row_edges) - 1

    @classmethod
    def whole(cls, rows: Any, columns: Any, m: int, n: int) -> Grid:
        """One block: the entries are taken one after the other."""
        check.fits_int32(rows=m, columns=n)
        rows, columns = _as_int32("rows", rows), _as_int32("columns", columns)
        return cls(np.array([0, m]), np.array([0, n]), np.array([0, len(rows)]), rows, columns)

    def diagonals(self, order: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return the schedule that takes every block once: round ``d`` takes the blocks ``(a, (a + order[d]) % B)``.

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
        """Raise unless this is a grid of an m x n matrix."""
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


class Cut(NamedTuple):
    """A matrix cut into a grid. Row ``r`` of the grid is row ``row_order[r]`` of the matrix, and so for the columns."""

    grid: Grid
    row_order: NDArray[np.int64]  # (m,)
    column_order: NDArray[np.int64]  # (n,)
    entries: NDArray[np.int64]  # (nnz,): the matrix's entry that each entry of the grid is


def block_count(m: int, n: int, nnz: int) -> int:
    """Return B: as many blocks as many threads can use, but no more than the entries are worth.

    More blocks cut the entries of a row into shorter runs, and rows are fetched once for each run: on 20 million
    entries of 138,000 rows an epoch takes twice as long with 32 as with 16.
    """
    wanted = 16 if nnz < 1 << 27 else 32
    return int(max(1, min(wanted, np.sqrt(nnz / FEWEST_ENTRIES), m, n)))


def cut(
    indptr: NDArray[np.int64], indices: NDArray[Any], n: int, blocks: int, rng: np.random.Generator,
    num_threads: int | None = None, backend: Backend | None = None,
) -> Cut:  # fmt: skip
    """Cut a CSR matrix of n columns into blocks x blocks blocks of about as many entries each.

    Rows and columns are dealt out to the blocks at random: were new users and new items neighbours, as they are in most
    data, a few blocks would hold most entries. Within a block they keep their order. More blocks than rows or columns
    leave some of them empty. `num_threads` and `backend` (by default the one in force) do not change the result.

    Raises
    ------
    TypeError, ValueError
        If the matrix is not a whole CSR matrix of n columns, or `blocks` is not between 1 and 64.
    """
    check_whole(indptr, indices, len(indptr) - 1, n, blocks)
    row_block, row_order, row_edges = _deal(np.diff(indptr), blocks, rng)
    column_block, column_order, column_edges = _deal(column_counts(indices, n), blocks, rng)
    block_indptr, rows, columns, entries = (backend or active_backend()).sort_into_blocks(
        indptr, indices, row_block, column_block, _positions(row_order), _positions(column_order), blocks,
        resolve_num_threads(num_threads),
    )  # fmt: skip
    return Cut(Grid(row_edges, column_edges, block_indptr, rows, columns), row_order, column_order, entries)


def check_whole(indptr: NDArray[np.int64], indices: NDArray[Any], m: int, n: int, blocks: int) -> None:
    """Raise unless this is all of an m x n matrix, and a number of blocks that it can be cut into."""
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


def column_counts(indices: NDArray[Any], n: int) -> NDArray[np.int64]:
    """Count the entries of each column, piece by piece: NumPy widens all indices that it counts at once."""
    counts = np.zeros(n, np.int64)
    for start in range(0, len(indices), PIECE):
        counts += np.bincount(indices[start : start + PIECE], minlength=n)
    return counts


def _deal(
    counts: NDArray[np.int64], blocks: int, rng: np.random.Generator
) -> tuple[NDArray[np.uint8], NDArray[np.int64], NDArray[np.int64]]:
    """Deal rows out at random; return the block of each, the rows block by block, and the blocks' edges."""
    shuffled = rng.permutation(len(counts))
    edges = _edges(counts[shuffled], blocks)
    block = np.empty(len(counts), np.uint8)
    block[shuffled] = np.repeat(np.arange(blocks, dtype=np.uint8), np.diff(edges))
    return block, np.argsort(block, kind="stable"), edges


def _positions(order: NDArray[np.int64]) -> NDArray[np.int32]:
    positions = np.empty(len(order), np.int32)
    positions[order] = np.arange(len(order), dtype=np.int32)
    return positions


def _edges(counts: NDArray[np.int64], blocks: int) -> NDArray[np.int64]:
    """Cut rows where the entries before them reach equal parts; where one row has several parts, some stay empty."""
    before = np.concatenate([[0], np.cumsum(counts)])
    edges = np.searchsorted(before, before[-1] * np.arange(blocks + 1) / blocks)
    edges[0], edges[-1] = 0, len(counts)
    return np.maximum.accumulate(edges).astype(np.int64)
