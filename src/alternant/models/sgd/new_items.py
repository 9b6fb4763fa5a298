"""Where new items begin, if no steps can be taken for them alone: at the mean of the known items most like them."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...data.csr import CSR

NEIGHBOURS = 5
ALIKE = 3.0  # at most this ratio between the numbers of users of a new item and of a known one


def like_known_items(rows: CSR, known: CSR, factors: NDArray[Any]) -> NDArray[Any]:
    """Return factors of new items: means over the most similar items that occur about as often, weighted by cosine.

    A few epochs do not bring a random vector to where it belongs, and what lists depend on most is the popularity of an
    item, which lengths and biases express. An item that is like none of them begins at the mean item.

    Parameters
    ----------
    rows : CSR, shape (k, n_users)
        The users of each new item, those with values above 0.
    known : CSR, shape (n_users, n_items)
        The interactions of the known items.
    factors : array, shape (n_items, columns)
    """
    users = (rows.filter(rows.data > 0).to_scipy() > 0).astype(np.float64)
    items = (known.filter(known.data > 0).to_scipy() > 0).astype(np.float64)
    own, counts = users.sum(axis=1), np.maximum(1, items.sum(axis=0))
    together = (users @ items).tocsr()
    out = np.repeat(factors.mean(axis=0, dtype=np.float64)[None], len(own), axis=0)
    for row, count in enumerate(own):
        entries = slice(*together.indptr[row : row + 2])
        columns, common = together.indices[entries], together.data[entries]
        cosines = common / np.sqrt(count * counts[columns])
        cosines[np.abs(np.log(count / counts[columns])) > np.log(ALIKE)] = 0
        best = np.argsort(-cosines, kind="stable")[:NEIGHBOURS]
        if len(best) and cosines[best[0]] > 0:
            out[row] = np.average(factors[columns[best]], axis=0, weights=cosines[best])
    return out.astype(factors.dtype)
