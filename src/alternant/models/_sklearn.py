"""scikit-learn's estimator interface, without scikit-learn, for its searches, cross-validation and pipelines."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from ..data.hold_out import content_keys, hold_out

if TYPE_CHECKING:
    from ..data.csr import CSR
    from ._traits import Traits

HELD_OUT_SHARE = 0.2
LIST_LENGTH = 10


class ScikitLearnModel:
    """The part of a model that makes it work with `sklearn.base.clone`, `GridSearchCV` and `Pipeline`."""

    traits: ClassVar[Traits]

    def score(self, interactions: Any, y: Any = None) -> float:
        """Score the model on new users; higher is better.

        A fifth of every user's items, rounded down but at least one, is held out; the user is folded in from the rest
        (`fold_in_users`), and predictions are compared with the held-out items. In scikit-learn's cross-validation,
        which splits a matrix by rows, a model is thus fitted on some users and scored on others (Liang et al. 2018).
        Which items are held out depends only on the user's items: not on other users, nor on a seed.

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
        check_unused(y)
        model: Any = self
        rates = self.traits.feedback == "ratings"
        users, items = model._factors()
        rows: CSR = model._known_columns("interactions", interactions, items, "item", len(users))
        chosen = np.ones(len(rows.data), np.bool_) if rates else rows.data > 0
        held = hold_out(rows, chosen, content_keys(rows, chosen), HELD_OUT_SHARE)
        if not held.any():
            what = "ratings" if rates else "positive interactions"
            raise ValueError(
                f"score needs a user with at least two {what}, one of which is held out, got none among "
                f"{rows.shape[0]} users: pass more users"
            )
        rest, test = rows.filter(~held), rows.filter(held)
        queries = model.fold_in_users(rest.to_scipy())
        if rates:
            owner, columns = test.positions()
            predicted = model._score(queries, items, owner, columns.astype(np.int64))
            return -float(np.sqrt(np.mean(np.square(predicted - test.data, dtype=np.float64))))
        from ..evaluation.metrics import ranking_metrics  # evaluation may import models: avoid a cycle

        ids, _ = model._rank(queries, items, LIST_LENGTH, (rest.indptr, rest.indices), None)
        return ranking_metrics(ids, test.to_scipy()).ndcg

    def __sklearn_is_fitted__(self) -> bool:
        return getattr(self, "user_factors", None) is not None and getattr(self, "item_factors", None) is not None

    def __sklearn_tags__(self) -> Any:
        from sklearn.utils import InputTags, Tags, TargetTags  # only scikit-learn (1.6 or later) calls this

        rates = self.traits.feedback == "ratings"
        return Tags(
            estimator_type=None,
            target_tags=TargetTags(required=False),
            input_tags=InputTags(two_d_array=rates, sparse=True, allow_nan=rates),
        )


def check_unused(y: Any) -> None:
    """Raise for a matrix as scikit-learn's targets, which no model uses: it would be ignored silently."""
    if len(getattr(y, "shape", ())) > 1:
        raise TypeError(
            f"y is not used and must be None, got {type(y).__name__} of shape {y.shape}: pass validation data as "
            "validation=, if fit has this parameter"
        )
