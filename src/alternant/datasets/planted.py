"""Planted data: implicit interactions drawn from factors that are known."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy import sparse

from .._utils.validation import check_integer, check_number, random_generator

if TYPE_CHECKING:
    from numpy.typing import NDArray

POPULARITY = 0.5  # standard deviation, over items, of the mean utility; that of all utilities is sqrt(1 + 0.5^2)
BLOCK = 1 << 22  # utilities held in memory at a time


@dataclass(frozen=True, eq=False)
class Planted:
    """Interactions and the factors they were drawn from; returned by `planted`.

    Attributes
    ----------
    interactions : scipy.sparse.csr_array of float32, shape (n_users, n_items)
        How often each user chose each item, at least 1 where stored.
    user_factors : float64 array, shape (n_users, factors)
        The planted users.
    item_factors : float64 array, shape (n_items, factors)
        The planted items: ``user_factors @ item_factors.T`` ranks every user's items as the truth does.
    """

    interactions: sparse.csr_array
    user_factors: NDArray[np.float64]
    item_factors: NDArray[np.float64]


def planted(
    n_users: int = 1000,
    n_items: int = 500,
    factors: int = 8,
    *,
    interactions_per_user: int = 20,
    noise: float = 0.25,
    random_state: Any = None,
) -> Planted:
    r"""Draw implicit interactions from known low-rank factors.

    The utility of item ``i`` to user ``u`` is :math:`x_u \cdot y_i`, with mean 0 and variance near 1. Each user
    chooses `interactions_per_user` different items, one after the other, each with probability proportional to

    .. math:: \exp(x_u \cdot y_i / \mathrm{noise})

    among those left (drawn as the greatest :math:`x_u \cdot y_i + \mathrm{noise} \cdot \mathrm{Gumbel}`), and uses it
    :math:`1 + \mathrm{Poisson}(\max(x_u \cdot y_i, 0))` times. Users agree a little: their factors have a common mean,
    which makes some items popular, less so than in most real data.

    Parameters
    ----------
    n_users, n_items : int
        Shape of the interactions.
    factors : int
        Rank of the utilities.
    interactions_per_user : int
        Number of different items every user chooses, at most `n_items`.
    noise : float
        Temperature of the choice: 0 takes the items of greatest utility, a large value takes any.
    random_state : int, numpy.random.Generator or None
        Seed; the same one gives the same data on every platform, as far as `numpy.random.Generator` and the last
        bits of floating-point arithmetic do.

    Returns
    -------
    Planted
        The interactions and their factors.

    Raises
    ------
    TypeError
        If a size is not a whole number or `noise` no number.
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
    interactions = sparse.csr_array(
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
    """Each user's `chosen` items in ascending order, and their utilities."""
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
