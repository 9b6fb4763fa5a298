"""`Dataset`: the numbering of ids and the matrices of LightFM. `alternant.Interactions` does both in one call."""

from __future__ import annotations

from collections.abc import Hashable, Iterable
from typing import Any

import numpy as np
from scipy import sparse


class Dataset:
    """Numbers users, items and features in the order in which they are first seen, and builds matrices.

    Parameters
    ----------
    user_identity_features, item_identity_features : bool
        Whether each user (item) is a feature of its own, besides others.
    """

    def __init__(self, user_identity_features: bool = True, item_identity_features: bool = True) -> None:
        self._identity = {"user": user_identity_features, "item": item_identity_features}
        self._ids: dict[str, dict[Hashable, int]] = {"user": {}, "item": {}}
        self._features: dict[str, dict[Hashable, int]] = {"user": {}, "item": {}}

    def fit(
        self, users: Iterable[Any], items: Iterable[Any], user_features: Any = None, item_features: Any = None
    ) -> None:
        """Number users, items and names of features anew."""
        for names in (self._ids, self._features):
            names.update(user={}, item={})
        self.fit_partial(users, items, user_features, item_features)

    def fit_partial(
        self, users: Any = None, items: Any = None, user_features: Any = None, item_features: Any = None
    ) -> None:
        """Number users, items and names of features that have no number yet."""
        for kind, ids, features in (("user", users, user_features), ("item", items, item_features)):
            for one in () if ids is None else ids:
                self._ids[kind].setdefault(one, len(self._ids[kind]))
                if self._identity[kind]:
                    self._features[kind].setdefault(one, len(self._features[kind]))
            for name in () if features is None else features:
                self._features[kind].setdefault(name, len(self._features[kind]))

    def interactions_shape(self) -> tuple[int, int]:
        """Return the numbers of users and items."""
        return len(self._ids["user"]), len(self._ids["item"])

    def build_interactions(self, data: Iterable[Any]) -> tuple[sparse.coo_matrix, sparse.coo_matrix]:
        """Build matrices from triples (user, item, weight), or pairs, whose weight is 1.

        Returns
        -------
        interactions, weights : coo_matrix of int32 and of float32, shape (n_users, n_items)
            1 for each of `data`, and its weight.

        Raises
        ------
        ValueError
            If an id has no number, or an element of `data` is of another length.
        """
        entries = list(data)
        for entry in entries:
            if len(entry) not in (2, 3):
                raise ValueError(f"data must be tuples (user, item) or (user, item, weight), got {entry!r}")
        rows = [self._number("user", entry[0]) for entry in entries]
        columns = [self._number("item", entry[1]) for entry in entries]
        weights = np.array([entry[2] if len(entry) == 3 else 1.0 for entry in entries], np.float32)
        pairs = np.array(rows, np.int32), np.array(columns, np.int32)
        shape = self.interactions_shape()
        ones = np.ones(len(weights), np.int32)
        return sparse.coo_matrix((ones, pairs), shape), sparse.coo_matrix((weights, pairs), shape)

    def user_features_shape(self) -> tuple[int, int]:
        """Return the numbers of users and of their features."""
        return len(self._ids["user"]), len(self._features["user"])

    def item_features_shape(self) -> tuple[int, int]:
        """Return the numbers of items and of their features."""
        return len(self._ids["item"]), len(self._features["item"])

    def build_user_features(self, data: Iterable[Any], normalize: bool = True) -> sparse.csr_matrix:
        """Build a matrix of features from pairs (user, names of features) or (user, {name: weight}).

        Parameters
        ----------
        data : iterable of pairs
        normalize : bool
            Whether to divide each row by its sum.

        Returns
        -------
        csr_matrix of float32, shape `user_features_shape()`

        Raises
        ------
        ValueError
            If an id or a name has no number, or a row to be normalized is empty.
        """
        return self._build("user", data, normalize)

    def build_item_features(self, data: Iterable[Any], normalize: bool = True) -> sparse.csr_matrix:
        """Build a matrix of features of items; see `build_user_features`."""
        return self._build("item", data, normalize)

    def model_dimensions(self) -> tuple[int, int]:
        """Return the numbers of features of users and of items."""
        return len(self._features["user"]), len(self._features["item"])

    def mapping(self) -> tuple[dict[Any, int], dict[Any, int], dict[Any, int], dict[Any, int]]:
        """Return the numbers of users, of their features, of items, and of their features."""
        return self._ids["user"], self._features["user"], self._ids["item"], self._features["item"]

    def _number(self, kind: str, one: Any) -> int:
        if one not in self._ids[kind]:
            raise ValueError(f"the {kind} {one!r} has no number: call fit or fit_partial with it first")
        return self._ids[kind][one]

    def _build(self, kind: str, data: Iterable[Any], normalize: bool) -> sparse.csr_matrix:
        ids, features = self._ids[kind], self._features[kind]
        entries = [(row, features[one], 1.0) for one, row in ids.items()] if self._identity[kind] else []
        for datum in data:
            if len(datum) != 2:
                raise ValueError(f"data must be pairs ({kind}, features), got {datum!r}")
            row = self._number(kind, datum[0])
            weights = datum[1] if isinstance(datum[1], dict) else dict.fromkeys(datum[1], 1.0)
            for name, weight in weights.items():
                if name not in features:
                    raise ValueError(f"the feature {name!r} has no number: call fit or fit_partial with it first")
                entries.append((row, features[name], weight))
        rows, columns, values = zip(*entries, strict=True) if entries else ((), (), ())
        places = np.array(rows, np.int32), np.array(columns, np.int32)
        matrix = sparse.coo_matrix((np.array(values, np.float32), places), (len(ids), len(features))).tocsr()
        if normalize:
            sums = np.ravel(abs(matrix).sum(axis=1))
            if (np.diff(matrix.indptr) == 0).any():
                raise ValueError(
                    f"rows without features can't be normalized: pass features of every {kind}, or normalize=False"
                )
            matrix.data /= np.repeat(np.where(sums == 0, 1, sums), np.diff(matrix.indptr))
        return matrix
