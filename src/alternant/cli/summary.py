"""The summary of a model, as printed by `fit` and `info`."""

from __future__ import annotations

from typing import Any

from ..models.internals import factors, model_ids
from .printing import plain


def summary(model: Any) -> dict[str, Any]:
    """Return a summary of a fitted model that can be written as JSON."""
    users, items = factors(model)
    named = {}
    for kind in ("user", "item"):
        ids = model_ids(model, kind)
        named[kind] = "row numbers" if ids is None else "whole numbers" if ids.are_numbers else "texts"
    last = {name: values[-1] for name, values in getattr(model, "history_", {}).items()}
    known = getattr(model, "interactions_", None)
    parameters = {name: str(value) if isinstance(value, type) else value for name, value in model.get_params().items()}
    chosen = {name: getattr(model, f"{name}_") for name, value in parameters.items()
              if isinstance(value, str) and value == "auto" and hasattr(model, f"{name}_")}  # fmt: skip
    shown: dict[str, Any] = plain({
        "model": type(model).__name__,
        "users": len(users),
        "items": len(items),
        "columns": users.shape[1],
        "ids": named,
        "interactions": None if known is None else len(known.data),
        "parameters": parameters,
        "chosen": chosen,
        "fit": {"iterations": getattr(model, "n_iter_", None), **last},
    })
    return shown
