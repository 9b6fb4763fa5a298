"""Random interactions with the shapes of well-known data sets: for timing, not for quality."""

from __future__ import annotations

import numpy as np
import scipy.sparse as sp

SHAPES = {  # users, items, interactions drawn (duplicates merge: ml1m keeps about 862,000)
    "ml1m": (6_040, 3_706, 1_000_000),
    "ml20m": (138_000, 27_000, 20_000_000),
    "lastfm360k": (360_000, 160_000, 17_500_000),
    "suites": (4_000, 6_000, 250_000),  # for benchmarks/suites
    "suites-tiny": (200, 400, 6_000),  # the same under valgrind, which is fifty times slower
}


def shaped(name: str, seed: int = 0) -> sp.csr_array:
    """Make one matrix: users' activity is log-normal, items' popularity follows Zipf's law, values are 1 to 5."""
    n_users, n_items, wanted = SHAPES[name]
    rng = np.random.default_rng(seed)
    activity = rng.lognormal(0, 1.1, n_users)
    popularity = 1 / np.arange(1, n_items + 1) ** 0.9
    rng.shuffle(popularity)
    draws = int(wanted * 1.35)
    users = _sample(activity, rng.random(draws))
    items = _sample(popularity, rng.random(draws))
    pairs = np.unique(users * n_items + items)
    if len(pairs) > wanted:
        pairs = rng.choice(pairs, wanted, replace=False)
    values = rng.integers(1, 6, len(pairs)).astype(np.float32)
    matrix = sp.csr_array((values, (pairs // n_items, pairs % n_items)), shape=(n_users, n_items))
    matrix.sort_indices()
    return matrix


def _sample(weights: np.ndarray, uniform: np.ndarray) -> np.ndarray:
    """Invert the distribution function."""
    return np.searchsorted(np.cumsum(weights / weights.sum()), uniform).clip(0, len(weights) - 1).astype(np.int64)
