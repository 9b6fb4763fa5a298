"""Popularity: the same ranking for all users, the baseline that every model must beat."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar, Self

import numpy as np
from numpy.typing import NDArray

from .._utils.mapped import ENTRIES, release
from .._utils.validation import check_show_progress
from ..data.csr import CSR
from ..data.store import Store
from ._fold_in import FoldInUsersModel
from ._sklearn import check_unused
from ._traits import Traits

if TYPE_CHECKING:
    from .._typing import BackendName, Rated
    from ._partial_fit import Change


class Popularity(FoldInUsersModel):
    """Rank items by their number of interactions, the same for all users.

    A model with one factor: the popularity of an item, which is its score, and 1 for every user. Lists differ only in
    the seen items that they exclude.

    Parameters
    ----------
    weighted : bool
        Use the sum of an item's values instead of their number.
    num_threads : int or None
        Number of threads; None uses all that are available to the process.
    backend : {"auto", "cython", "numba", "numpy"}
        ``"auto"`` follows `alternant.set_backend` and ``ALTERNANT_BACKEND``.

    Attributes
    ----------
    user_factors : float64 array, shape (n_users, 1)
        Ones.
    item_factors : float64 array, shape (n_items, 1)
        The popularity of every item.
    interactions_ : CSR
        The interactions of the fit.
    backend_ : str
        The backend selected during the fit, which itself only counts.
    """

    traits: ClassVar[Traits] = Traits("implicit", "anything: the baseline that any model should beat", "counting")
    _fitted_state = ("backend_",)

    user_factors: NDArray[np.float64]
    item_factors: NDArray[np.float64]
    backend_: str

    def __init__(
        self, *, weighted: bool = False, num_threads: int | None = None, backend: BackendName = "auto"
    ) -> None:
        self.weighted = weighted
        self.num_threads = num_threads
        self.backend = backend
        self._check_params()

    def fit(self, interactions: Rated, y: Any = None, *, show_progress: bool | None = None) -> Self:
        """Count the interactions of every item.

        Parameters
        ----------
        interactions : Interactions, or sparse matrix or array, or dense array, shape (n_users, n_items)
            Sparse in any SciPy format; duplicates are summed into one interaction, stored zeros do not count. Dense,
            including lists of lists, with 0 where there is no interaction. A store without zeros is read in parts.
        y : None
            Not used; present for compatibility with scikit-learn.
        show_progress : bool, optional
            Not used: there are no iterations to show. Present so that models can be fitted by the same code.

        Returns
        -------
        self

        Raises
        ------
        TypeError, ValueError
            If the input or a parameter is invalid; the model is left unchanged.
        """
        self._check_params()
        check_unused(y)
        check_show_progress(show_progress)
        backend = self._backend().name
        matrix, ids = self._matrix_and_ids(interactions)
        if isinstance(matrix, Store):
            matrix.verify()
            user_items = matrix.users
        else:
            user_items = self._check_rows("interactions", matrix, np.dtype(np.float64), copy=True)
        self._assign(**self._counted(user_items), backend_=backend, **ids)
        return self

    def _counted(self, user_items: CSR) -> dict[str, Any]:
        n_users, n_items = user_items.shape
        popularity = np.zeros(n_items)
        for start in range(0, len(user_items.indices), ENTRIES):  # they may be in a store
            items, values = (part[start : start + ENTRIES] for part in (user_items.indices, user_items.data))
            # Dislikes do not add to popularity.
            np.add.at(popularity, items, np.asarray(values if self.weighted else values > 0, np.float64))
            release(items, values)
        factors = {"user_factors": np.ones((n_users, 1)), "item_factors": popularity[:, None]}
        return {**factors, "interactions_": user_items}

    def _stored_matrix(self, store: Store) -> Any:
        return super()._stored_matrix(store) if store.has_zeros else store  # which do not count

    def _learn_from(self, change: Change) -> None:
        self._assign(**self._counted(change.rows))

    def fold_in_users(self, user_items: Rated) -> NDArray[np.float64]:
        """Return the factors of new users: ones.

        Parameters
        ----------
        user_items : sparse matrix or array, shape (m, n_items)
            Their interactions.

        Returns
        -------
        float64 array, shape (m, 1)

        Raises
        ------
        NotFittedError, TypeError, ValueError
            Before `fit`, or if `user_items` is invalid.
        """
        ones: NDArray[np.float64] = super().fold_in_users(user_items)
        return ones

    def _fold_in(
        self, rows: CSR, fixed: NDArray[Any], kind: str, numbers: NDArray[np.int64] | None = None
    ) -> NDArray[np.float64]:
        return np.ones((rows.shape[0], 1))

    def search_space(self, rows: CSR | None = None) -> dict[str, Any]:
        """Raise: there is nothing to tune."""
        raise ValueError(
            "Popularity has nothing to tune: fit it as it is, or pass space={'weighted': [False, True]} to compare both"
        )
