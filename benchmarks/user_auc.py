"""How well scores tell a user's likes from the same user's dislikes."""

from __future__ import annotations

import numpy as np
from scipy.stats import rankdata


def user_auc(users: np.ndarray, scores: np.ndarray, liked: np.ndarray) -> float:
    """Return the mean over users of the area under the ROC curve; users without both kinds are left out."""
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
