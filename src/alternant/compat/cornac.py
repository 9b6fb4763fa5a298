"""A `cornac.models.Recommender` around any model of alternant, for cornac's experiments, searches and metrics."""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING, Any, Self

import numpy as np
from numpy.typing import NDArray

from ..models import internals
from ..models._item_weights import ItemWeightsModel

if TYPE_CHECKING:  # cornac has no types

    class ScoreException(Exception): ...

    class ANNMixin: ...

    class Recommender:
        """What all recommenders of cornac have."""

        name: str
        trainable: bool
        verbose: bool
        num_users: int
        num_items: int

        def __init__(self, name: str, trainable: bool = True, verbose: bool = False) -> None: ...
        def fit(self, train_set: Any, val_set: Any = None) -> Self: ...
        def is_unknown_user(self, user_idx: int) -> bool: ...
        def is_unknown_item(self, item_idx: int) -> bool: ...
        def rate(self, user_idx: int, item_idx: int, clipping: bool = True) -> Any: ...
        def rank(self, user_idx: int, item_indices: Any = None, k: int = -1) -> tuple[Any, Any]: ...
        def recommend(
            self, user_id: Any, k: int = -1, remove_seen: bool = False, train_set: Any = None
        ) -> list[Any]: ...
        def save(self, save_dir: Any = None, save_trainset: bool = False, metadata: Any = None) -> str | None: ...
        @staticmethod
        def load(model_path: Any, trainable: bool = False) -> Any: ...
        @classmethod
        def _get_init_params(cls) -> list[str]: ...

    MEASURE_DOT: str
else:
    try:
        from cornac.exception import ScoreException
        from cornac.models.recommender import MEASURE_DOT, ANNMixin, Recommender
    except ImportError as _error:
        raise ImportError(
            "alternant.compat.cornac extends the recommenders of cornac, which is not installed: pip install cornac"
        ) from _error


class Alternant(Recommender, ANNMixin):
    """A model of alternant as a recommender of cornac 3.

    Users and items are known to the model by cornac's indices: user 3 of the training set is user 3 of `model`. Those
    that the training set does not have raise cornac's `ScoreException`, so that `rate` and `rank` use `default_score`.

    Parameters
    ----------
    model : a model of alternant
        Fitted in place by `fit`.
    name : str, optional
        Name in the tables of an experiment; by default the name of the model's class.
    threshold : float, optional
        For models of implicit feedback and likes: a value of at least this is positive feedback of value 1. Other
        values are left out by models of implicit feedback and dislikes for models of likes. None: all values are
        passed on as they are, a rating of 5 like five plays.
    trainable : bool
        False: `fit` only takes note of the training set, whose users and items must be those of the fitted `model`.
    verbose : bool
        Whether to show the progress bar of the fit.

    Raises
    ------
    TypeError
        If `model` is something else.
    ValueError
        If a model of ratings is given a threshold.
    """

    def __init__(
        self,
        model: Any,
        name: str | None = None,
        threshold: float | None = None,
        trainable: bool = True,
        verbose: bool = False,
    ) -> None:
        if isinstance(model, type) or not hasattr(model, "traits"):
            raise TypeError(f"model must be a model of alternant, such as ImplicitALS(), got {model!r:.60}")
        super().__init__(name=name or type(model).__name__, trainable=trainable, verbose=verbose)
        if threshold is not None and model.traits.feedback == "ratings":
            raise ValueError(
                f"threshold turns ratings into positive feedback, but {type(model).__name__} learns from ratings: "
                "leave it out"
            )
        self.model = model
        self.threshold = threshold

    def fit(self, train_set: Any, val_set: Any = None) -> Self:
        """Fit the model to a `cornac.data.Dataset`; `val_set` is not used."""
        if self.trainable:
            shows = "show_progress" in inspect.signature(self.model.fit).parameters
            options = {"show_progress": bool(self.verbose)} if shows else {}
            self.model.fit(self._feedback(train_set.csr_matrix), **options)
        else:
            self._check_model(train_set)
        super().fit(train_set, val_set)
        return self

    def score(self, user_idx: int, item_idx: int | None = None) -> Any:
        """Return the model's prediction for a user and an item, or for all items of the training set.

        Raises
        ------
        ScoreException
            If the training set does not have the user or the item.
        """
        if self.is_unknown_user(user_idx):
            raise ScoreException(f"the training set has no user {user_idx}")
        if item_idx is None:
            return self.model.predict(user_idx, np.arange(self.num_items))
        if self.is_unknown_item(item_idx):
            raise ScoreException(f"the training set has no item {item_idx}")
        return np.float64(self.model.predict(user_idx, item_idx))  # cornac calls its method item

    def clone(self, new_params: dict[str, Any] | None = None) -> Self:
        """Return an unfitted copy with new parameters, which may be those of the model, for cornac's searches."""
        own = {name: getattr(self, name) for name in self._get_init_params()}
        new_params = new_params or {}
        own |= {name: value for name, value in new_params.items() if name in own}
        own["model"] = type(own["model"])(**own["model"].get_params())
        own["model"].set_params(**{name: value for name, value in new_params.items() if name not in own})
        return type(self)(**own)

    # Approximate search

    @property
    def _ann_supported(self) -> bool:
        return not isinstance(self.model, ItemWeightsModel)  # whose users are sparse and as long as the catalogue

    def get_vector_measure(self) -> Any:
        """Return that vectors are compared by dot product."""
        return MEASURE_DOT

    def get_user_vectors(self) -> NDArray[Any]:
        """Return vectors of all users; their dot products with those of the items rank as `score` does."""
        return np.asarray(self.model.query_vectors(np.arange(self.num_users)))

    def get_item_vectors(self) -> NDArray[Any]:
        """Return vectors of all items."""
        return np.asarray(internals.ranking_vectors(self.model, internals.factors(self.model)[1]))

    def _check_model(self, train_set: Any) -> None:
        """Raise unless the model, which is not to be trained, may be that of the training set."""
        found = tuple(map(len, internals.factors(self.model)))
        expected = train_set.num_users, train_set.num_items
        if found != expected or self.model.user_ids_ is not None or self.model.item_ids_ is not None:
            raise ValueError(
                f"the model must be one of row numbers and of the {expected[0]} users and {expected[1]} items of the "
                f"training set, got {found[0]} users and {found[1]} items, or raw ids: leave out trainable=False"
            )

    def _feedback(self, ratings: Any) -> Any:
        """Return what the model learns from."""
        if self.threshold is None:
            return ratings
        feedback = ratings.copy()  # cornac keeps the matrix for its other models
        feedback.data = (ratings.data >= self.threshold).astype(np.float32)
        if self.model.traits.feedback == "implicit":
            feedback.eliminate_zeros()
        return feedback


__all__ = ["Alternant"]
