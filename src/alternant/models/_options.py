"""Keyword arguments that a method lacks, refused with the name of the model and a way out."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from typing import Any

OF_ITERATIONS = ("callback", "callback_at", "checkpoint", "every", "memory_limit")  # parameters of `fit`


def refuse_unknown(model: Any, method: Callable[..., Any], options: dict[str, Any]) -> None:
    """Raise a TypeError for the first keyword argument of a call that the method does not have."""
    known = _keywords(method)
    if known is None or options.keys() <= known:
        return
    unknown, name = next(option for option in options if option not in known), type(model).__name__
    if unknown in ("user_features", "item_features"):
        if unknown in (_keywords(type(model).fit) or ()):
            where = "recommend(None, " if unknown == "user_features" else "fold_in_items("
            raise TypeError(
                f"{method.__name__} takes no {unknown}: leave them out, or call {where}{unknown}=...) for new ones"
            )
        raise TypeError(
            f"{unknown} need a model that learns from features, got {name}: use ImplicitALS, ExplicitALS or BPR, or "
            "leave them out"
        )
    if method.__name__ == "fit" and unknown in OF_ITERATIONS:
        raise TypeError(
            f"{unknown} needs a model that is fitted by iterations, got {name}: leave it out, or use ImplicitALS"
        )
    if method.__name__ == "fit" and unknown == "validation":
        raise TypeError(f"{unknown} needs a model that is fitted in epochs, got {name}: leave it out, or use BPR")
    # Python's message would name the class that defines the method, which may be one of ours.
    raise TypeError(f"{name}.{method.__name__} has no parameter {unknown!r}: leave it out")


@functools.lru_cache(maxsize=1024)
def _keywords(method: Callable[..., Any]) -> frozenset[str] | None:
    """Return the names of the keyword arguments of a method; None if it takes any."""
    parameters = inspect.signature(method).parameters.values()
    if any(one.kind is one.VAR_KEYWORD for one in parameters):
        return None
    return frozenset(one.name for one in parameters if one.kind in (one.POSITIONAL_OR_KEYWORD, one.KEYWORD_ONLY))
