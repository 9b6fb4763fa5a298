"""What a model shows of itself: parameters, data, quality and the history of its fit."""

from __future__ import annotations

import logging
import weakref
from typing import Any

from .._utils.display import Curve, Displayed, Summary, Table, count, share, shorten
from .._utils.guard import snapshot_of
from ._parameters import AUTO, is_default

log = logging.getLogger("alternant.fit")
TELLING = ("ndcg", "recall", "auc", "rmse", "mae", "coverage")  # metrics, if there is no room for all


class DisplayedModel(Displayed):
    """The part of a model that prints it, and shows it in a notebook."""

    def _summary(self) -> Summary:
        model: Any = snapshot_of(self)
        defaults, parameters = model._parameter_defaults(), model.get_params()
        changed = [name for name in parameters if not is_default(parameters[name], defaults[name])]
        chosen = {
            name: getattr(model, f"{name}_") for name, value in parameters.items()
            if isinstance(value, str) and value == AUTO and getattr(model, f"{name}_", None) not in (None, (None, None))
        }  # fmt: skip
        facts = {"parameters": _listed({name: parameters[name] for name in changed}) or "the defaults"}
        if chosen:
            facts["chosen"] = _listed(chosen)
        curve = None
        if model._count("user") is None or model._count("item") is None:
            facts["data"] = "none: not fitted yet"
        else:
            facts["data"] = _data(model)
            fitted: dict[str, Any] = model._guard.derived.get("parameters", parameters)
            if others := {name: old for name, old in fitted.items() if not is_default(parameters[name], old)}:
                facts["fitted with"] = _listed(others)  # what follows belongs to these, not to what `set_params` set
            history = getattr(model, "history_", None) or {}
            if quality := _quality(model, history):
                facts["quality"] = quality
            if "objective" in history:
                facts["objective"] = _progress(model, history)
                curve = Curve("objective", history["objective"])
        rows = [
            (f"{name} *" if name in changed else name, _value(parameters[name]),
             _value(chosen[name]) if name in chosen else "", _value(defaults[name]) if name in changed else "")
            for name in parameters
        ]  # fmt: skip
        table = Table(("parameter", "value", "chosen", "default"), rows, "all parameters (* changed)", folded=True)
        return Summary(type(model).__name__, facts, [table], curve)

    def _fitted_in(self, seconds: float) -> None:
        model: Any = self
        model._guard.derived["parameters"] = model.get_params()
        if log.isEnabledFor(logging.INFO):
            history = getattr(model, "history_", None) or {}
            done = f"; objective {_progress(model, history)}" if "objective" in history else ""
            log.info("%s: fitted on %s in %.2f s%s", type(self).__name__, _data(model), seconds, done)


def remember_quality(model: Any, means: dict[str, float], n_users: int) -> None:
    """Keep the last evaluation of a model, for display, until its factors change."""
    versions = _versions(model) if hasattr(model, "_guard") else None  # not a model of another library
    if versions is not None:
        model._guard.derived["quality"] = (versions, dict(means), n_users)


def _versions(model: Any) -> list[tuple[Any, int]] | None:
    """Return what changes with the factors, without keeping them in memory; None if that can't be known."""
    versions = [model._version(kind) for kind in ("user", "item")]
    if None in versions:
        return None
    return [(_Same(owner), changes) for owner, changes in versions]


class _Same:
    """A weak reference that is equal to others of the same object only, as long as it exists."""

    def __init__(self, value: Any) -> None:
        self.value = weakref.ref(value)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Same) and self.value() is not None and self.value() is other.value()

    __hash__ = None  # type: ignore[assignment]


def telling(means: dict[str, float]) -> dict[str, float]:
    """Return a few of the metrics of an evaluation, those at k for the shortest lists only."""
    kept: dict[str, str] = {}
    for name in means:
        kept.setdefault(name.partition("@")[0], name)
    chosen = [kept[metric] for metric in TELLING if metric in kept] or list(kept.values())
    return {name: means[name] for name in chosen}


def _value(value: Any) -> str:
    if isinstance(value, type):
        return value.__name__
    if isinstance(value, float):
        return f"{value:.6g}"
    if isinstance(value, (tuple, list)):
        return f"({', '.join(map(_value, value))})"
    return shorten(repr(value))


def _listed(values: dict[str, Any]) -> str:
    return ", ".join(f"{name}={_value(value)}" for name, value in values.items())


def _data(model: Any) -> str:
    users, items = model._count("user"), model._count("item")
    text = f"{count(users, 'user')} x {count(items, 'item')}"
    known = getattr(model, "interactions_", None)
    if known is not None:
        text += f", {count(len(known.data), 'interaction')} ({share(len(known.data), users * items)} of all pairs)"
    return text


def _quality(model: Any, history: dict[str, list[float]]) -> str:
    parts = []
    for name, values in history.items():
        if name.startswith("validation_") and values:
            parts.append(f"{name.replace('_', ' ')} {values[-1]:.4f}, at best {min(values):.4f}")
    versions, means, n_users = model._guard.derived.get("quality", (None, {}, 0))
    if versions is not None and versions == _versions(model):
        shown = ", ".join(f"{name} {value:.4f}" for name, value in telling(means).items())
        parts.append(f"{shown}, of {count(n_users, 'user')}")
    return "; ".join(parts)


def _progress(model: Any, history: dict[str, list[float]]) -> str:
    objective = history["objective"]
    unit = "epoch" if hasattr(model, "epochs") else "iteration"
    text = f"{objective[0]:.6g} to {objective[-1]:.6g} in {count(len(objective), unit)}"
    return f"{text}, {history['seconds'][-1]:.2f} s" if history.get("seconds") else text
