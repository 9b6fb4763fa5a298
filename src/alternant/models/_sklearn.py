"""scikit-learn's manners, without scikit-learn: what its searches, cross-validation and pipelines ask a model for."""

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
    """A model that `sklearn.base.clone`, `GridSearchCV` and `Pipeline` take for one of their own."""

    traits: ClassVar[Traits]

    def score(self, interactions: Any, y: Any = None) -> float:
        """Say how well the model serves users whom it has not seen; greater is better.

        A fifth of every user's items, rounded down but at least one, is held out, the user's factors are found from
        the rest (`fold_in_users`), and the held-out items are what these should lead to. So in scikit-learn's
        cross-validation, which cuts a matrix into rows, a model is fitted on some users and scored on others
        (Liang et al. 2018). What is held out is a function of the user's items alone: not of the other users, nor of
        any seed.

        Parameters
        ----------
        interactions : as for `fit`, shape (m, n_items)
            Users the model has not seen; of those it was fitted on, the item factors have learnt the held-out items.
        y : None
            Not used; there because scikit-learn passes it.

        Returns
        -------
        float
            For models of choices (`ImplicitALS`, `LogisticMF`, `CosineMF`, `Popularity`) the mean NDCG@10 of the
            held-out positive items, 0 to 1, with a user's other items left out of the list. For models of ratings
            (`ExplicitALS`, `BiasedMF`) minus the root mean squared error of the held-out ratings. Users with fewer
            than two positive items (or ratings) do not count.

        Raises
        ------
        NotFittedError
            Before `fit`.
        TypeError, ValueError
            If `interactions` are not as required, or no user has two items to hold one out of.

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
                f"score needs a user with at least two {what}, to hold one out, got none among {rows.shape[0]} users: "
                "pass more users"
            )
        rest, test = rows.filter(~held), rows.filter(held)
        queries = model.fold_in_users(rest.to_scipy())
        if rates:
            owner, columns = test.positions()
            predicted = model._score(queries, items, owner, columns.astype(np.int64))
            return -float(np.sqrt(np.mean(np.square(predicted - test.data, dtype=np.float64))))
        from ..evaluation.metrics import ranking_metrics  # not above: evaluation may import models

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
    """Refuse a second matrix where scikit-learn passes targets, which no model uses: it would go unnoticed."""
    if len(getattr(y, "shape", ())) > 1:
        raise TypeError(
            f"y is not used, got {type(y).__name__} of shape {y.shape}: pass what to validate on by its name, "
            "validation=, where fit has it"
        )
