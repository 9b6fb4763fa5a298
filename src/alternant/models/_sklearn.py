"""scikit-learn's estimator interface, without importing scikit-learn, for its searches, pipelines and checks."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Self

import numpy as np
from numpy.typing import NDArray

from .._utils.validation import check_choice
from ..data.interactions import Interactions
from ..data.io import frames
from ..data.validation import shape_of
from ._state import NotFittedError

if TYPE_CHECKING:
    from .._typing import Rated
    from ._traits import Traits

PAIRS = 1 << 20  # predicted at a time
OUTPUTS = ("default", "pandas", "polars")


class ScikitLearnModel:
    """The part of a model that makes it work with `sklearn.base.clone`, `GridSearchCV` and `Pipeline`."""

    traits: ClassVar[Traits]

    def score(self, interactions: Rated, y: Any = None) -> float:
        """Score the model on new users; higher is better.

        A fifth of every user's items, rounded down but at least one, is held out; the user is folded in from the rest
        (`fold_in_users`), and predictions are compared with the held-out items. In scikit-learn's cross-validation,
        which splits a matrix by rows, a model is thus fitted on some users and scored on others (Liang et al. 2018).
        Which items are held out depends only on the user's items: not on other users, nor on a seed.
        `alternant.evaluation.scorer` scores by other metrics in the same way.

        Parameters
        ----------
        interactions : as for `fit`, shape (m, n_items)
            Users that are not in the fit, whose item factors would have learned the held-out items.
        y : None
            Not used; present for compatibility with scikit-learn.

        Returns
        -------
        float
            For models of implicit feedback and likes (`ImplicitALS`, `EASE`, `LogisticMF`, `CosineMF`, `Popularity`),
            the mean NDCG@10 of the held-out positive items, 0 to 1; lists exclude the user's other items. For models
            of ratings (`ExplicitALS`, `BiasedMF`), minus the root mean squared error of the held-out ratings. Users
            with fewer than two positive items (or ratings) are ignored.

        Raises
        ------
        NotFittedError
            Before `fit`.
        TypeError, ValueError
            If `interactions` are invalid, or no user has two items.

        References
        ----------
        D. Liang, R. G. Krishnan, M. D. Hoffman, T. Jebara, "Variational Autoencoders for Collaborative Filtering",
        WWW 2018.
        """
        from ..evaluation import scorer  # evaluation imports models

        return float(scorer("neg_rmse" if self.traits.feedback == "ratings" else "ndcg@10")(self, interactions, y))

    def _predict_rows(self, interactions: Any) -> NDArray[Any]:
        """Return the predictions of all items for new users, a row each."""
        model: Any = self
        self._check_features(interactions)
        users, items = model._factors()
        shape = shape_of(interactions)
        if len(shape) < 2:
            raise ValueError(
                f"predict without items takes the interactions of new users, shape (m, {len(items)}), got shape "
                f"{shape}: pass items, too, or Reshape your data with numpy.reshape(users, (1, -1))"
            )
        rows = model._known_columns("users", interactions, items, "item", len(users))
        queries = model.fold_in_users(rows.to_scipy())
        out: NDArray[Any] = np.empty((rows.shape[0], len(items)), items.dtype)
        columns = np.arange(len(items))
        for start in range(0, len(out), height := max(1, PAIRS // len(items))):
            block = np.arange(start, min(start + height, len(out)))
            pairs = np.repeat(block, len(items)), np.tile(columns, len(block))
            out[block] = model._score(queries, items, *pairs).reshape(-1, len(items))
        return out

    @property
    def n_features_in_(self) -> int:
        """The number of items, which scikit-learn calls features; no attribute before the fit."""
        model: Any = self
        count: int | None = model._snapshot()._count("item")
        if count is None:
            raise NotFittedError(f"this {type(self).__name__} is not fitted yet: call fit(interactions) first")
        return count

    def _check_features(self, interactions: Any) -> None:
        """Raise, in scikit-learn's words, if a matrix does not have a column for each item of the fit."""
        model: Any = self
        model._check_fitted()
        shape = shape_of(interactions)
        if len(shape) == 2 and shape[1] != self.n_features_in_ and not isinstance(interactions, Interactions):
            raise ValueError(
                f"X has {shape[1]} features, but {type(self).__name__} is expecting {self.n_features_in_} features as "
                "input: pass one column per item of the fit"
            )

    def __sklearn_is_fitted__(self) -> bool:
        return getattr(self, "user_factors", None) is not None and getattr(self, "item_factors", None) is not None

    def __sklearn_tags__(self) -> Any:
        from sklearn.utils import InputTags, Tags, TargetTags, TransformerTags  # only scikit-learn (>= 1.6) calls this

        gaps, likes = self.traits.feedback != "implicit", self.traits.feedback == "likes"
        return Tags(
            estimator_type=None,
            target_tags=TargetTags(required=False),
            transformer_tags=TransformerTags(preserves_dtype=[]) if hasattr(self, "transform") else None,
            input_tags=InputTags(sparse=True, allow_nan=gaps, categorical=likes),
        )


class Transformer:
    """The part of a model that makes it a transformer: users' factors are the features for a later step.

    The base class `sklearn.base.TransformerMixin` would mean importing scikit-learn.
    """

    _sklearn_output_config: dict[str, str]  # a name that `sklearn.base.clone` copies

    def fit_transform(self, interactions: Rated, y: Any = None, **fit_params: Any) -> Any:
        """Fit the model and return ``transform(interactions)``.

        These are not exactly the `user_factors` of the fit, which come from one more or one less half-sweep or epoch:
        users of the fit and new users are treated alike.

        Parameters
        ----------
        interactions, y, **fit_params
            As for `fit`.

        Returns
        -------
        array or frame, shape (n_users, factors)
        """
        model: Any = self
        return model.fit(interactions, y, **fit_params).transform(interactions)

    def transform(self, interactions: Rated) -> Any:
        """Return users' factors as features: those of `fold_in_users` without biases.

        Parameters
        ----------
        interactions : as for `fit`, shape (m, n_items)

        Returns
        -------
        array, shape (m, factors), or the frame chosen by `set_output`

        Raises
        ------
        NotFittedError
            Before `fit`.
        TypeError, ValueError
            If `interactions` are invalid.
        """
        model: Any = self
        model._check_features(interactions)
        users, items = model._factors()
        rows = model._known_columns("interactions", interactions, items, "item", len(users))
        features = np.ascontiguousarray(model._latent(model._fold_in(rows, items, "user")))
        output = getattr(self, "_sklearn_output_config", {}).get("transform")
        if output is None and (sklearn := sys.modules.get("sklearn")) is not None:
            output = sklearn.get_config()["transform_output"]
        if output in (None, "default"):
            return features
        return frames.make_frame(dict(zip(self.get_feature_names_out(), features.T, strict=True)), output)

    def get_feature_names_out(self, input_features: Any = None) -> NDArray[Any]:
        """Return the names of the columns of `transform`: the name of the class and a number, as in scikit-learn.

        Parameters
        ----------
        input_features : list of str, optional
            Not used; present for compatibility with scikit-learn.
        """
        model: Any = self
        factors = model._latent(model._side("item")).shape[1]
        if input_features is not None and len(input_features) != model.n_features_in_:
            raise ValueError(
                f"input_features should have length equal to the number of items, {model.n_features_in_}, got "
                f"{len(input_features)}: leave it out"
            )
        return np.array([f"{type(self).__name__.lower()}{number}" for number in range(factors)], object)

    def set_output(self, *, transform: Literal["default", "pandas", "polars"] | None = None) -> Self:
        """Choose what `transform` returns, as scikit-learn's transformers do.

        Parameters
        ----------
        transform : {"default", "pandas", "polars"}, optional
            An array or a frame; None leaves it as it is. Without a choice, `sklearn.set_config` decides.
        """
        if transform is not None:
            check_choice("transform", transform, OUTPUTS)
            model: Any = self
            model._commit({"_sklearn_output_config": {"transform": transform}})
        return self


def check_unused(y: Any, *, validation: bool = False) -> None:
    """Raise for a matrix as scikit-learn's targets, which no model uses: it would be ignored silently.

    With `validation`, there is a parameter of that name, which may have been meant.
    """
    if len(getattr(y, "shape", ())) > 1:
        meant = ", or pass validation data as validation=" if validation else ""
        raise TypeError(
            f"y is not used and must be None, got {type(y).__name__} of shape {y.shape}: leave it out{meant}"
        )
