"""`compare_lists`: the lists of several models for one user, side by side."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from .._utils.display import Displayed, Summary, Table, count, shorten
from .._utils.guard import snapshot_of
from .._utils.validation import check_boolean, check_integer
from ..data.io import frames
from ..data.io.export import titles_by_number
from ..models import FactorModel, internals

if TYPE_CHECKING:
    from .._typing import Rated

HISTORY_SHOWN = 20
TITLE_WIDTH = 40  # characters
IN_ALL, HAD = " *", " (had)"


@dataclass(frozen=True)
class ListComparison(Displayed):
    """Lists of several models for one user, as returned by `compare_lists`; shown as a table.

    Attributes
    ----------
    user : id or None
        None for a new user.
    lists : dict of str to array
        The ids of the items by model, best first.
    scores : dict of str to float array
        Their scores, which are not comparable between models.
    history : list of ids
        The items with which the user has interacted.
    common : set of ids
        The items in all lists.
    titles : dict of ids to str
        The titles of the items above that have one.
    """

    user: Any
    lists: dict[str, NDArray[Any]]
    scores: dict[str, NDArray[np.floating[Any]]]
    history: list[Any]
    common: set[Any]
    titles: dict[Any, str]
    _library: str | None

    def moved(self, name: str, item: Any) -> int | None:
        """Return how many places higher an item is in a list than in the first one; None if it is not in both."""
        first, own = (self.lists[each].tolist() for each in (next(iter(self.lists)), name))
        return first.index(item) - own.index(item) if item in first and item in own else None

    def to_frame(self, library: str | None = None) -> Any:
        """Return the lists as a frame.

        Parameters
        ----------
        library : {"polars", "pandas", "pyarrow"}, optional
            By default that of the frame that the first model was fitted on, else the first one installed.

        Returns
        -------
        frame
            Columns model, rank (from 1), item, title (None without one), score, in_all (whether it is in all lists),
            had (whether the user has interacted with it) and moved (see `moved`).
        """
        rows = [
            (name, rank, item, self.titles.get(item), score, item in self.common, item in self.history,
             self.moved(name, item))
            for name, listed in self.lists.items()
            for rank, (item, score) in enumerate(zip(listed.tolist(), self.scores[name].tolist(), strict=True), 1)
        ]  # fmt: skip
        names = ("model", "rank", "item", "title", "score", "in_all", "had", "moved")
        columns = zip(*rows, strict=True) if rows else [()] * len(names)
        table = dict(zip(names, map(list, columns), strict=True))
        arrays = {name: _array(name, values) for name, values in table.items()}
        return frames.make_frame(arrays, library or self._library)

    def _summary(self) -> Summary:
        names = list(self.lists)
        first, *others = names
        length = max((len(listed) for listed in self.lists.values()), default=0)
        columns = ["rank", first]
        for name in others:
            columns += [name, "moved"]
        rows = [(rank + 1, *self._cells(rank)) for rank in range(length)]
        had = [self._title(item) for item in self.history[:HISTORY_SHOWN]]
        more = len(self.history) - len(had)
        facts = {
            "user": "new" if self.user is None else shorten(self.user),
            "had": ", ".join(had) + (f" and {more:,} more" if more > 0 else "") or "nothing",
        }
        legends = []
        if others:
            facts["in all lists"] = f"{len(self.common)} of {length}"
            legends += ["* in all lists", f"moved: places higher (+) or lower (-) than in the list of {first}"]
        if any(item in self.history for listed in self.lists.values() for item in listed.tolist()):
            legends.append("(had): of the user's history")
        table = Table(columns, rows, more="; ".join(legends))
        return Summary(f"Lists of {count(len(names), 'model')}", facts, [table])

    def _cells(self, rank: int) -> list[str]:
        cells = []
        for number, (name, listed) in enumerate(self.lists.items()):
            filled = rank < len(listed)
            item = listed.tolist()[rank] if filled else None
            in_all = len(self.lists) > 1 and item in self.common
            marks = (IN_ALL if in_all else "") + (HAD if item in self.history else "")
            cells.append(f"{self._title(item)}{marks}" if filled else "")
            if number:
                places = self.moved(name, item) if filled else None
                cells.append("" if not filled else "new" if places is None else f"{places:+d}" if places else "=")
        return cells

    def _title(self, item: Any) -> str:
        return shorten(self.titles.get(item, item), TITLE_WIDTH)


def compare_lists(
    models: Iterable[FactorModel] | Mapping[str, FactorModel],
    user: Any,
    k: int = 10,
    *,
    titles: Any = None,
    user_items: Rated | None = None,
    exclude_seen: bool = True,
) -> ListComparison:
    """Rank items for a user with several models, and show the lists side by side.

    Parameters
    ----------
    models : sequence of fitted models, or dict from names to them
        Models of the same items. Those of a sequence are named by their classes, with a number where two are alike.
    user : id or None
        A user of all fits; None for a new one, with `user_items`.
    k : int
        Number of items per list.
    titles : mapping, frame or sequence, optional
        As for `FactorModel.recommend_frame`.
    user_items : sparse matrix, shape (1, n_items), or Interactions of one user, optional
        The interactions of a new user.
    exclude_seen : bool
        Leave out the items with which the user has interacted.

    Returns
    -------
    ListComparison

    Raises
    ------
    NotFittedError, IndexError, TypeError, ValueError
        As `FactorModel.recommend`; and if `models` holds anything but models, or these have different items.
    """
    named = _named(models)
    check_integer("k", k, 1)
    check_boolean("exclude_seen", exclude_seen)
    (first_name, first), *others = named.items()
    ids = _item_ids(first)
    for name, model in others:
        if set(_item_ids(model).tolist()) != set(ids.tolist()):
            raise ValueError(
                f"models must know the same items, but those of {name!r} and {first_name!r} differ: fit both on the "
                "same interactions"
            )
    called = None if titles is None else dict(zip(ids.tolist(), titles_by_number(titles, ids).tolist(), strict=True))
    lists, scores = {}, {}
    for name, model in named.items():
        if user is None:
            found, values = model.recommend(user_items=user_items, k=k, exclude_seen=exclude_seen)
            if len(found) != 1:
                raise ValueError(f"user_items must have 1 row, that of the new user, got {len(found)}")
            found, values = found[0], values[0]
        else:
            found, values = model.recommend(user, k, exclude_seen=exclude_seen)
            if values.ndim != 1:
                raise ValueError(f"user must be a single id, got a list of {len(values)}: compare one user at a time")
        filled = values != -np.inf
        lists[name], scores[name] = found[filled], values[filled]
    history = _history(first, user, user_items)
    common = set.intersection(*(set(listed.tolist()) for listed in lists.values()))
    mentioned = {*history, *(item for listed in lists.values() for item in listed.tolist())}
    texts = {item: str(called[item]) for item in mentioned if called is not None and called.get(item) is not None}
    return ListComparison(user, lists, scores, history, common, texts, internals.library_of(first))


def _named(models: Any) -> dict[str, FactorModel]:
    if isinstance(models, Mapping):
        named = {str(name): model for name, model in models.items()}
    else:
        listed = [models] if isinstance(models, FactorModel) else list(models)
        classes = [type(model).__name__ for model in listed]
        names = [
            f"{name} {classes[: at + 1].count(name)}" if classes.count(name) > 1 else name
            for at, name in enumerate(classes)
        ]
        named = dict(zip(names, listed, strict=True))
    if not named:
        raise ValueError("models must hold at least one model, got none: pass fitted models")
    for model in named.values():
        if not isinstance(model, FactorModel):
            raise TypeError(f"models must be alternant models, got {type(model).__name__}: pass the models themselves")
    return {name: snapshot_of(model) for name, model in named.items()}


def _item_ids(model: FactorModel) -> NDArray[Any]:
    return internals.raw_ids(model, np.arange(len(internals.factors(model)[1])), "item")


def _history(model: Any, user: Any, user_items: Any) -> list[Any]:
    """Return the items that a user has had; none if the model does not hold its interactions."""
    if user is None:
        rows = internals.known_columns(model, "user_items", user_items, internals.factors(model)[1], -1)
    elif getattr(model, "interactions_", None) is None:
        return []
    else:
        rows = internals.seen(model, internals.row_numbers(model, "user", np.atleast_1d(user), "user"))
    history: list[Any] = internals.raw_ids(model, rows.indices, "item").tolist()
    return history


def _array(name: str, values: list[Any]) -> NDArray[Any]:
    if name in ("model", "title", "item", "moved"):
        plain = name == "item" and all(isinstance(value, int) for value in values)
        return np.array(values, np.int64 if plain else object)
    return np.array(values)
