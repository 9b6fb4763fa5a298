"""The answers of the page, as values that JSON can hold; any number of threads may ask at a time.

Ids are texts in both directions: in JavaScript, whole numbers from 2^53 are not exact.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ..cli.inputs import to_ids
from ..cli.printing import plain
from ..data.io.export import titles_by_number
from ..models import MODELS, FactorModel
from ..models.internals import factors, raw_ids, row_numbers, seen

if TYPE_CHECKING:
    import scipy.sparse

MOST = 1000  # items of a list, and of a history
MOST_PICKED = 1000
EXAMPLES = 5
BASE_SHARE = 1e-4  # of a score: less is rounding error


class Catalogue:
    """A fitted model and the titles of its items.

    Parameters
    ----------
    model : fitted model
        It may change meanwhile: each answer is from one state.
    titles : mapping, frame or sequence, optional
        As for `FactorModel.recommend_frame`.

    Raises
    ------
    NotFittedError, TypeError, ValueError
        If the model is not fitted, or `titles` match no item.
    """

    def __init__(self, model: FactorModel, titles: Any = None) -> None:
        self.model = model
        n_items = len(factors(model)[1])
        ids = raw_ids(model, np.arange(n_items), "item")
        self.titles: NDArray[Any] | None = None if titles is None else titles_by_number(titles, ids)
        known: Any = model
        counts = known._item_counts()
        popular = np.arange(n_items) if counts is None else np.argsort(-counts, kind="stable")
        names = ids.tolist()
        # In order of popularity: number, id as text, and what is searched.
        self._searched = [
            (int(at), str(names[at]), f"{names[at]} {self._title(at) or ''}".casefold()) for at in popular
        ]

    def describe(self) -> dict[str, Any]:
        """Return what the model is: class, parameters, sizes, some users, and which scores it explains."""
        users, items = factors(self.model)
        explains, knows_history = hasattr(self.model, "explain"), self._knows_history()
        some = np.linspace(0, len(users) - 1, min(EXAMPLES, len(users))).round().astype(int)
        return {
            "model": type(self.model).__name__,
            "parameters": repr(self.model),
            "n_users": len(users),
            "n_items": len(items),
            "users": [str(one) for one in raw_ids(self.model, some, "user").tolist()],
            "explains": explains and knows_history,
            "explains_picked": explains,
            "knows_history": knows_history,
            "most": min(MOST, len(items)),
        }

    def search(self, text: str, limit: int = 20) -> dict[str, Any]:
        """Return the items whose id or title contains every word of a text, the best matches first.

        Ids that are the text come first, then titles with words that begin with it; then the most popular.
        """
        words = text.casefold().split()
        if not words:
            return {"items": []}
        whole = " ".join(words)
        best: list[int] = []
        good: list[int] = []
        others: list[int] = []
        for at, name, searched in self._searched:
            if name.casefold() == whole:
                best.append(at)
            elif all(word in searched for word in words):
                begins = all(f" {word}" in f" {searched}" for word in words)
                (good if begins else others).append(at)
            if len(good) >= limit and best:
                break
        found = [*best, *good, *others][:limit]
        return {"items": [self._item(at) for at in found]}

    def recommend(self, user: str | None, items: Sequence[str], k: int = 10) -> dict[str, Any]:
        """Return a list for a user of the fit, or for a new user who has picked `items`; and the history."""
        k = min(k, MOST, len(factors(self.model)[1]))
        options: dict[str, Any] = {"exclude_seen": user is None or self._knows_history()}
        if user is None:
            rows, history = self._picked(items)
            ids, scores = self.model.recommend(user_items=rows, k=k, **options)
            ids, scores = ids[0], scores[0]
        else:
            who = self._user(user)
            history = self._history(who)
            ids, scores = self.model.recommend(who, k, **options)
        listed = self._rows(ids[scores != -np.inf])
        ranked = zip(listed, scores.tolist(), strict=False)
        return {
            "user": user,
            "history": [self._item(at) for at in history[:MOST]],
            "n_history": len(history),
            "items": [{**self._item(at), "score": plain(score)} for at, score in ranked],
        }

    def similar(self, item: str, k: int = 10) -> dict[str, Any]:
        """Return the items most similar to an item."""
        one = self._items([item])[0]
        k = min(k, MOST, len(factors(self.model)[1]))
        ids, scores = self.model.similar_items(raw_ids(self.model, np.array([one]), "item")[0], k)
        found = zip(self._rows(ids[scores != -np.inf]), scores.tolist(), strict=False)
        return {
            "item": self._item(one),
            "items": [{**self._item(at), "similarity": plain(score)} for at, score in found],
        }

    def explain(self, user: str | None, items: Sequence[str], item: str, k: int = 10) -> dict[str, Any]:
        """Return what each item of a history adds to the score of an item, the largest part first."""
        model: Any = self.model
        if not hasattr(model, "explain"):
            able = ", ".join(cls.__name__ for cls in MODELS.values() if hasattr(cls, "explain"))
            raise ValueError(f"{type(model).__name__} can't explain scores: models that can are {able}")
        one = self._items([item])[0]
        name = raw_ids(model, np.array([one]), "item")[0]
        if user is None:
            found = model.explain(None, name, user_items=self._picked(items)[0])
        elif self._knows_history():
            found = model.explain(self._user(user), name)
        else:
            raise ValueError(
                "this model was saved without the interactions of its fit, from which scores are explained: save it "
                "with interactions"
            )
        parts = zip(self._rows(found.items)[:k], found.contributions.tolist(), strict=False)
        base = float(found.score) - float(found.contributions.sum())
        return {
            "item": self._item(one),
            "score": plain(float(found.score)),
            "base": plain(base if abs(base) > BASE_SHARE * abs(found.score) else 0.0),
            "because_of": [{**self._item(at), "contribution": plain(part)} for at, part in parts],
        }

    # Internals

    def _knows_history(self) -> bool:
        users, items = factors(self.model)
        known = getattr(self.model, "interactions_", None)
        return known is not None and known.shape == (len(users), len(items))

    def _user(self, text: str) -> Any:
        return to_ids(self.model, [text], "user")[0]

    def _items(self, texts: Sequence[str]) -> NDArray[np.int64]:
        return row_numbers(self.model, "items", to_ids(self.model, texts, "item"), "item")

    def _rows(self, ids: NDArray[Any]) -> list[int]:
        """Return row numbers of items."""
        numbers: list[int] = row_numbers(self.model, "items", ids, "item").tolist() if len(ids) else []
        return numbers

    def _history(self, user: Any) -> list[int]:
        if not self._knows_history():
            return []
        rows = seen(self.model, row_numbers(self.model, "users", np.array([user]), "user"))
        order = np.argsort(-rows.data, kind="stable")
        history: list[int] = rows.indices[order].tolist()
        return history

    def _picked(self, items: Sequence[str]) -> tuple[scipy.sparse.csr_array, list[int]]:
        """Return the interactions of a new user who likes some items as much as users do, and their numbers."""
        from scipy import sparse

        if len(items) > MOST_PICKED:
            raise ValueError(f"at most {MOST_PICKED} items can be picked, got {len(items)}: leave some out")
        numbers = np.unique(self._items(items))
        known = getattr(self.model, "interactions_", None)
        liked = 1.0
        if known is not None and len(known.data):
            ratings = self.model.traits.feedback == "ratings"
            liked = float(known.data.max() if ratings else np.median(known.data[known.data > 0]))
        n_items = len(factors(self.model)[1])
        row = np.zeros(len(numbers), np.int64)
        rows = sparse.csr_array((np.full(len(numbers), liked), (row, numbers)), shape=(1, n_items))
        return rows, numbers.tolist()

    def _title(self, at: int) -> str | None:
        title = None if self.titles is None else self.titles[at]
        return None if title is None else str(title)

    def _item(self, at: int) -> dict[str, Any]:
        return {"item": str(raw_ids(self.model, np.array([at]), "item").tolist()[0]), "title": self._title(at)}
