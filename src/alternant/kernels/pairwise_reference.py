"""Pairwise learning to rank in plain NumPy: one triple at a time, all arithmetic of a step in float64.

Cost per triple: ``5 f`` multiply-adds and the nonlinear function of the difference, plus the candidates drawn: each
takes a search of the row and, for the hinge loss, ``f`` multiply-adds.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from .._utils.splitmix import GOLDEN, mix
from ._rounds import Adaptive, Popular, Rounds, Sides, Triples
from ._thresholds import PAIRWISE_CANDIDATES
from .sgd_reference import quiet, sigmoid

if TYPE_CHECKING:
    from numpy.typing import NDArray


def draw_triples(
    indptr: NDArray[np.int64],
    indices: NDArray[np.int32],
    rounds: Rounds,
    sides: Sides,
    popular: Popular | None = None,
    adaptive: Adaptive | None = None,
    rank_weight: NDArray[np.float64] | None = None,
    verify: bool = True,
    part: tuple[int, int] = (0, 1),
    seed: int = 0,
    epoch: int = 0,
    num_threads: int | None = None,  # noqa: ARG001 - one thread; the signature is the contract's
    keys: NDArray[np.int64] | None = None,
) -> Triples:
    """See `alternant.kernels.draw_triples`."""
    X, Y, bias = sides
    n, most = len(Y), PAIRWISE_CANDIDATES if rank_weight is None else len(rank_weight)
    state = mix(seed + GOLDEN * (epoch + 1))
    drawn: list[tuple[int, int, int, float]] = []
    for u in range(len(indptr) - 1):
        row = indices[indptr[u] : indptr[u + 1]]
        known = set(row.tolist()) if verify else set()
        row_key = mix(state + GOLDEN * ((u if keys is None else int(keys[u])) + 1))
        for place, i in enumerate(row.tolist()):
            if (indptr[u] + place - part[0]) % part[1]:
                continue
            key = mix(row_key + GOLDEN * (place + 1))
            for k, j in enumerate(_candidates(key, n, X[u], popular, adaptive, most)):
                if j == i or j in known:
                    continue
                x = X[u].astype(np.float64)
                if rank_weight is None or bias[i] + x @ Y[i] < 1 + (bias[j] + x @ Y[j]):
                    drawn.append((u, i, j, 1.0 if rank_weight is None else float(rank_weight[k])))
                    break
    return _grouped(drawn, rounds, None if rank_weight is None else X.dtype)


def _candidates(
    key: int, n: int, x: NDArray[Any], popular: Popular | None, adaptive: Adaptive | None, most: int
) -> Iterator[int]:
    """Yield columns; the two halves of a 64-bit hash are two numbers."""
    if adaptive is not None:
        weights = np.append(x.astype(np.float64), 1)  # of the factors, and of the bias
        sums = np.cumsum(np.abs(weights) * adaptive.spread)
        reach = -np.expm1(-adaptive.rate * n)
    for k in range(most):
        number = mix(key + GOLDEN * (k + 1))
        high, low = number >> 32, number & 0xFFFFFFFF
        if adaptive is not None and sums[-1] > 0:
            factor = min(int(np.searchsorted(sums, high * 2.0**-32 * sums[-1], side="right")), len(sums) - 1)
            rank = min(int(-np.log1p(-low * 2.0**-32 * reach) / adaptive.rate), n - 1)
            yield int(adaptive.order[factor, rank if weights[factor] > 0 else n - 1 - rank])
        elif popular is not None:
            yield int(np.searchsorted(popular.thresholds, high, side="right")) - 1
        else:
            yield high * n >> 32


def _grouped(drawn: list[tuple[int, int, int, float]], rounds: Rounds, dtype: np.dtype[Any] | None) -> Triples:
    """Sort triples by task, keeping the order within each."""
    rows, positives, negatives = (np.array([triple[k] for triple in drawn], np.int32) for k in range(3))
    weight = np.array([triple[3] for triple in drawn])
    blocks = rounds.column_block
    task = rounds.task[rounds.row_block[rows], blocks[positives], blocks[negatives]]
    order = np.argsort(task, kind="stable")
    indptr = np.concatenate([[0], np.cumsum(np.bincount(task, minlength=rounds.number * rounds.tasks))])
    weights = None if dtype is None else weight[order].astype(dtype)
    return Triples(indptr.astype(np.int64), rows[order], positives[order], negatives[order], weights)


@quiet
def pairwise_epoch(
    triples: Triples,
    rounds: Rounds,  # noqa: ARG001 - triples are in the order of the tasks
    sides: Sides,
    squares: Sides | None,
    loss: Literal["logistic", "hinge"],
    learning_rate: float,
    regularization: tuple[float, float, float, float],
    update_columns: bool = True,
    num_threads: int | None = None,  # noqa: ARG001
) -> tuple[NDArray[np.float64], int]:
    """See `alternant.kernels.pairwise_epoch`."""
    X, Y, bias = sides
    lambda_x, lambda_p, lambda_n, lambda_c = regularization
    losses, correct = [0.0] * (len(triples.indptr) - 1), 0
    owner = np.repeat(np.arange(len(losses)), np.diff(triples.indptr)).tolist()

    def move(side: int, row: int, gradient: Any) -> None:
        if squares is not None:
            squares[side][row] += gradient * gradient
            gradient = gradient / np.sqrt(squares[side][row], dtype=np.float64)
        sides[side][row] -= learning_rate * gradient

    for t, (u, i, j) in enumerate(zip(triples.rows, triples.positives, triples.negatives, strict=True)):
        w = 1.0 if triples.weight is None else float(triples.weight[t])
        x, p, n = X[u].astype(np.float64), Y[i].astype(np.float64), Y[j].astype(np.float64)
        c_i, c_j = float(bias[i]), float(bias[j])
        d = float(c_i - c_j + x @ (p - n))
        correct += d > 0
        if loss == "hinge":
            if d >= 1:
                continue
            losses[owner[t]] += w * (1 - d)
            g = w
        else:
            losses[owner[t]] += w * (max(-d, 0.0) + float(np.log1p(np.exp(-abs(d)))))
            g = w * sigmoid(-d)
        move(0, u, lambda_x * x - g * (p - n))
        if update_columns:
            move(1, i, lambda_p * p - g * x)
            move(1, j, lambda_n * n + g * x)
            move(2, i, lambda_c * c_i - g)
            move(2, j, lambda_c * c_j + g)
    return np.array(losses), correct
