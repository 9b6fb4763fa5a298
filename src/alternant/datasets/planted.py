"""Planted data: implicit interactions drawn from known factors."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import scipy

from .._utils.validation import check_integer, check_number, random_generator

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from scipy.sparse import csr_array

    from .._typing import Seed

POPULARITY = 0.5  # standard deviation of the items' mean utilities; that of all utilities is sqrt(1 + 0.5^2)
BLOCK = 1 << 22  # utilities in memory at a time


@dataclass(frozen=True, eq=False)
class Planted:
    """Interactions and the factors that they were drawn from, as returned by `planted`.

    Attributes
    ----------
    interactions : scipy.sparse.csr_array of float32, shape (n_users, n_items)
        Number of times that each user chose each item, at least 1 where stored.
    user_factors : float64 array, shape (n_users, factors)
        Planted factors of the users.
    item_factors : float64 array, shape (n_items, factors)
        Planted factors of the items; ``user_factors @ item_factors.T`` are the true utilities.
    """

    interactions: csr_array[np.float32]
    user_factors: NDArray[np.float64]
    item_factors: NDArray[np.float64]


def planted(
    n_users: int = 1000,
    n_items: int = 500,
    factors: int = 8,
    *,
    interactions_per_user: int = 20,
    noise: float = 0.25,
    random_state: Seed = None,
) -> Planted:
    r"""Draw implicit interactions from known low-rank factors.

    The utility of item ``i`` for user ``u`` is :math:`x_u \cdot y_i`, with mean 0 and variance near 1. Each user draws
    `interactions_per_user` items without replacement, each with probability proportional to

    .. math:: \exp(x_u \cdot y_i / \mathrm{noise})

    among the remaining items (implemented as the largest
    :math:`x_u \cdot y_i + \mathrm{noise} \cdot \mathrm{Gumbel}`), and interacts with each
    :math:`1 + \mathrm{Poisson}(\max(x_u \cdot y_i, 0))` times. User factors have a common mean, which makes some items
    popular, though less so than in most real data.

    Parameters
    ----------
    n_users, n_items : int
        Shape of the interactions.
    factors : int
        Rank of the utilities.
    interactions_per_user : int
        Number of distinct items per user, at most `n_items`.
    noise : float
        Temperature of the choice: 0 chooses the items of greatest utility, a large value nearly uniformly.
    random_state : int, numpy.random.Generator or None
        Seed; the same seed gives the same data on every platform, up to the stability of `numpy.random.Generator` and
        floating-point rounding.

    Returns
    -------
    Planted

    Raises
    ------
    TypeError
        If a size is not an integer, or `noise` is not a number.
    ValueError
        If a size is below 1, `interactions_per_user` exceeds `n_items`, or `noise` is negative or not finite.

    References
    ----------
    W. Kool, H. van Hoof, M. Welling, "Stochastic Beams and Where to Find Them: The Gumbel-Top-k Trick for Sampling
    Sequences Without Replacement", ICML 2019.
    """
    n_users, n_items = check_integer("n_users", n_users, 1), check_integer("n_items", n_items, 1)
    factors, chosen = (
        check_integer("factors", factors, 1),
        check_integer("interactions_per_user", interactions_per_user, 1),
    )
    if chosen > n_items:
        raise ValueError(f"interactions_per_user must be at most n_items ({n_items}), got {chosen}")
    noise = check_number("noise", noise, 0)
    rng = random_generator(random_state)

    scale = factors**-0.25  # a sum of `factors` products of two such normals has variance 1
    user_factors = rng.normal(scale=scale, size=(n_users, factors))
    item_factors = rng.normal(scale=scale, size=(n_items, factors))
    user_factors[:, 0] += POPULARITY / scale

    indices, utilities = _choose(user_factors, item_factors, chosen, noise, rng)
    counts = 1 + rng.poisson(np.maximum(utilities, 0))
    indptr = np.arange(0, indices.size + 1, chosen)
    interactions = scipy.sparse.csr_array(
        (counts.ravel().astype(np.float32), indices.ravel(), indptr), shape=(n_users, n_items)
    )
    return Planted(interactions, user_factors, item_factors)


def _choose(
    user_factors: NDArray[np.float64],
    item_factors: NDArray[np.float64],
    chosen: int,
    noise: float,
    rng: np.random.Generator,
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Return each user's `chosen` items in ascending order, and their utilities."""
    n_users, n_items = len(user_factors), len(item_factors)
    indices = np.empty((n_users, chosen), dtype=np.int64)
    utilities = np.empty((n_users, chosen))
    rows = max(1, BLOCK // n_items)
    for start in range(0, n_users, rows):
        block = slice(start, start + rows)
        utility = user_factors[block] @ item_factors.T
        keys = utility + noise * rng.gumbel(size=utility.shape)
        best = np.sort(np.argpartition(keys, n_items - chosen, axis=1)[:, n_items - chosen :], axis=1)
        indices[block] = best
        utilities[block] = np.take_along_axis(utility, best, axis=1)
    return indices, utilities
