"""The interface of all models: `RecommenderBase`."""

from __future__ import annotations

import warnings
from abc import ABC, abstractmethod
from os import PathLike, fspath
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

Lists = tuple[NDArray[Any], NDArray[Any]]


class ModelFitError(ValueError):
    """A model has learned, or would learn, numbers that are not finite."""


class RecommenderBase(ABC):
    """What all recommenders have in common."""

    @abstractmethod
    def fit(self, user_items: Any, show_progress: bool = True, callback: Any = None) -> None:
        """Train the model.

        Parameters
        ----------
        user_items : CSR matrix, shape (n_users, n_items)
            How much each user likes each item.
        show_progress : bool
            Whether to draw a progress bar.
        callback : callable, optional
            Called after each iteration or epoch.
        """

    @abstractmethod
    def recommend(
        self,
        userid: Any,
        user_items: Any,
        N: int = 10,
        filter_already_liked_items: bool = True,
        filter_items: Any = None,
        recalculate_user: bool = False,
        items: Any = None,
    ) -> Lists:
        """Recommend items to one user or to several.

        Parameters
        ----------
        userid : int or array of m ints
            The users.
        user_items : CSR matrix, shape (m, n_items), or None
            One row for each user of the call, not the matrix of the fit: the items that the user has liked. It may be
            None if neither `filter_already_liked_items` nor `recalculate_user` is set.
        N : int
            Length of the lists.
        filter_already_liked_items : bool
            Leave out the items of `user_items`.
        filter_items : array of ints, optional
            Further items to leave out, for all users.
        recalculate_user : bool
            Compute the user's factors from `user_items`, instead of taking those of the fit.
        items : array of ints, optional
            The only items to rank. Not together with `filter_items`.

        Returns
        -------
        ids : int array, shape (N,), or (m, N) for several users
        scores : array of the same shape
            Descending. If fewer than N items are left, those that were left out follow with the lowest number of the
            dtype as score, and then the id -1 with the same score.
        """

    @abstractmethod
    def similar_users(self, userid: Any, N: int = 10, filter_users: Any = None, users: Any = None) -> Lists:
        """Find the users nearest to one user or to several, by cosine.

        Parameters
        ----------
        userid : int or array of m ints
            The users.
        N : int
            Length of the lists.
        filter_users : array of ints, optional
            Users to leave out.
        users : array of ints, optional
            The only users to rank. Not together with `filter_users`.

        Returns
        -------
        ids, scores : arrays, shape (N,), or (m, N) for several users
        """

    @abstractmethod
    def similar_items(
        self,
        itemid: Any,
        N: int = 10,
        recalculate_item: bool = False,
        item_users: Any = None,
        filter_items: Any = None,
        items: Any = None,
    ) -> Lists:
        """Find the items nearest to one item or to several, by cosine.

        Parameters
        ----------
        itemid : int or array of m ints
            The items.
        N : int
            Length of the lists.
        recalculate_item : bool
            Compute the factors of `itemid` from `item_users`, instead of taking those of the fit.
        item_users : CSR matrix, shape (m, n_users), optional
            The users who have liked each item of the call.
        filter_items : array of ints, optional
            Items to leave out.
        items : array of ints, optional
            The only items to rank. Not together with `filter_items`.

        Returns
        -------
        ids, scores : arrays, shape (N,), or (m, N) for several items
        """

    @abstractmethod
    def save(self, fileobj_or_path: Any) -> None:
        """Save the model in the format of `numpy.savez`, as implicit does: to a path or to an open binary file."""

    @classmethod
    def load(cls, fileobj_or_path: Any) -> Self:
        """Load a model saved by this class or by that of implicit, from a path or from an open binary file."""
        model = cls()
        for name, value in read_npz(fileobj_or_path).items():
            setattr(model, name, value)
        return model

    def rank_items(self, userid: Any, user_items: Any, selected_items: Any, recalculate_user: bool = False) -> Lists:
        """Deprecated in implicit: `recommend` with `items`, including those already liked."""
        warnings.warn("rank_items is deprecated: call recommend with items=", DeprecationWarning, stacklevel=2)
        return self.recommend(
            userid,
            user_items,
            filter_already_liked_items=False,
            recalculate_user=recalculate_user,
            items=selected_items,
        )

    @staticmethod
    def _check_factors(user_factors: NDArray[Any], item_factors: NDArray[Any]) -> None:
        if not (np.isfinite(user_factors).all() and np.isfinite(item_factors).all()):
            raise ModelFitError("the fit has led to factors that are not finite: raise the regularization")


def read_npz(fileobj_or_path: Any) -> dict[str, Any]:
    """Return the contents of a model's file: arrays, plain numbers, and `dtype` as a NumPy dtype; nothing is unpickled.

    As `numpy.savez` does, paths get the suffix .npz if they lack it.
    """
    if isinstance(fileobj_or_path, (str, PathLike)):
        path = fspath(fileobj_or_path)
        fileobj_or_path = path if path.endswith(".npz") else f"{path}.npz"
    with np.load(fileobj_or_path, allow_pickle=False) as data:
        values = {name: array if array.ndim else array.item() for name, array in data.items()}
    if "dtype" in values:
        values["dtype"] = np.dtype(values["dtype"])
    return values


def write_npz(fileobj_or_path: Any, values: dict[str, Any]) -> None:
    """Write a model's file without what is None or would have to be pickled, such as a Generator."""
    plain = {name: value for name, value in values.items() if np.asarray(value).dtype != object}
    np.savez(fileobj_or_path, **plain)
