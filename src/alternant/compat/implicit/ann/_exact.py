"""A wrapper of a model that passes all questions on to it: `ExactModel`."""

from __future__ import annotations

from typing import Any

from ..recommender_base import Lists, RecommenderBase


class ExactModel(RecommenderBase):
    """Answers as the model does that it wraps, with exact lists.

    Attributes
    ----------
    model : MatrixFactorizationBase
        The model.
    recommend_index, similar_items_index : None
        There are no indexes.
    """

    recommend_index = None
    similar_items_index = None

    def __init__(self, model: Any, approximate_similar_items: bool = True, approximate_recommend: bool = True) -> None:
        self.model = model
        self.approximate_similar_items = approximate_similar_items
        self.approximate_recommend = approximate_recommend

    def fit(self, user_items: Any, show_progress: bool = True, callback: Any = None) -> None:
        """Fit the model."""
        self.model.fit(user_items, show_progress, callback)

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
        """See `RecommenderBase.recommend`."""
        lists: Lists = self.model.recommend(
            userid, user_items, N, filter_already_liked_items, filter_items, recalculate_user, items
        )
        return lists

    def similar_users(self, userid: Any, N: int = 10, filter_users: Any = None, users: Any = None) -> Lists:
        """See `RecommenderBase.similar_users`."""
        lists: Lists = self.model.similar_users(userid, N, filter_users, users)
        return lists

    def similar_items(
        self,
        itemid: Any,
        N: int = 10,
        recalculate_item: bool = False,
        item_users: Any = None,
        filter_items: Any = None,
        items: Any = None,
    ) -> Lists:
        """See `RecommenderBase.similar_items`."""
        lists: Lists = self.model.similar_items(itemid, N, recalculate_item, item_users, filter_items, items)
        return lists

    def save(self, fileobj_or_path: Any) -> None:
        """Refuse: only the wrapped model can be saved."""
        raise NotImplementedError("there is no index to save: save model.model, and wrap it again when it is loaded")

    @classmethod
    def load(cls, fileobj_or_path: Any) -> Any:
        """Refuse: only the wrapped model can be loaded."""
        raise NotImplementedError("there is no index to load: load the model, and wrap it")
