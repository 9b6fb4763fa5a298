"""Metrics used by several commands."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from scipy.stats import rankdata

from alternant import kernels

if TYPE_CHECKING:
    import scipy.sparse as sp


def lists(X: np.ndarray, Y: np.ndarray, k: int, seen: sp.csr_array, threads: int) -> np.ndarray:
    """Return the k items with the largest dot products for each row of X, excluding seen ones."""
    X, Y = (np.ascontiguousarray(side, np.float32) for side in (X, Y))
    ids, scores = np.empty((len(X), k), np.int32), np.empty((len(X), k), np.float32)
    exclude = seen.indptr.astype(np.int64), seen.indices.astype(np.int32)
    kernels.top_k(X, Y, k, exclude, None, ids, scores, threads)
    return ids


def user_auc(users: np.ndarray, scores: np.ndarray, liked: np.ndarray) -> float:
    """Return the mean area under the ROC curve over users; those without both likes and dislikes are left out."""
    order = np.argsort(users, kind="stable")
    edges = np.flatnonzero(np.diff(users[order])) + 1
    values = []
    for own in np.split(order, edges):
        likes = liked[own] > 0
        positive, negative = int(likes.sum()), int((~likes).sum())
        if positive and negative:
            ranks = rankdata(scores[own])[likes].sum()
            values.append((ranks - positive * (positive + 1) / 2) / (positive * negative))
    return float(np.mean(values))
