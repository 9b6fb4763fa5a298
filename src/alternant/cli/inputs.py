"""Inputs of the commands: models, tables, titles and ids, as typed by users."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from .._utils.atomic import same_file
from .._utils.messages import Parameter, message_of
from ..data.events import Events
from ..data.features import Features
from ..data.interactions import Interactions
from ..data.io import files
from ..data.io.roles import NameOrPosition
from ..data.io.text import Dialect
from ..data.store.store import MANIFEST
from ..data.values import object_array, plain
from ..models import MODELS, FactorModel
from ..models.internals import model_ids, raw_ids

if TYPE_CHECKING:
    import argparse

SHORTCUTS = ("factors", "iterations", "regularization", "alpha", "random_state", "num_threads")
LEARNS_FROM = {"ratings": "ratings", "likes": "likes (1) and dislikes (0)"}
INPUTS = {"file": "FILE", "model_file": "MODEL", "titles": "--titles", "users_file": "--users-file",
          "user_features": "--user-features", "item_features": "--item-features"}  # fmt: skip


def refuse_inputs_as_output(arguments: argparse.Namespace) -> None:
    """Raise if the output is one of the command's inputs, under any name: it would be overwritten."""
    for name, called in INPUTS.items():
        given = getattr(arguments, name, None)
        if given is not None and arguments.output is not None and same_file(given, arguments.output):
            raise ValueError(
                f"--output must be a different file from {called}, got {arguments.output!r} and {given!r}, which are "
                "the same file and would be overwritten: choose another name"
            )


def make_model(arguments: argparse.Namespace) -> Any:
    """Return the model that the options ask for."""
    cls = MODELS[arguments.model]
    known = cls().get_params()
    given = {name: value for name in SHORTCUTS if (value := getattr(arguments, name)) is not None}
    if "epochs" in known and "iterations" in given:
        given["epochs"] = given.pop("iterations")
    for text in arguments.set or ():
        name, equals, value = text.partition("=")
        if not equals:
            raise ValueError(f"--set must be NAME=VALUE, got {text!r}")
        given[name] = _parse(value)
    for name in given:
        if name not in known:
            raise ValueError(f"{arguments.model} has no parameter {name!r}; it has {', '.join(known)}")
    return cls(**given)


def _parse(text: str) -> Any:
    try:
        value = json.loads(text)
    except ValueError:
        with contextlib.suppress(ValueError):  # such as .3, or a pair, with or without parentheses
            numbers = tuple(map(float, text.strip("() ").split(",")))
            return numbers if len(numbers) > 1 else numbers[0]
        return {"none": None, "true": True, "false": False}.get(text.lower(), text)
    return tuple(value) if isinstance(value, list) else value


def load_model(arguments: argparse.Namespace) -> Any:
    """Load a saved model, with its factors memory-mapped."""
    return FactorModel.load(arguments.model_file, mmap=True)


# Tables


def _column(text: str | None) -> str | None:
    return NameOrPosition(text) if text is not None and text.isdecimal() else text


def _quote(arguments: argparse.Namespace) -> str | None:
    return {None: "auto", True: '"', False: None}[arguments.quotes]


def require_values(arguments: argparse.Namespace) -> None:
    """Raise if a model of ratings or likes gets a table without a column of values: each would be 1."""
    feedback = MODELS[arguments.model].traits.feedback
    if feedback in LEARNS_FROM and arguments.value is None:
        raise ValueError(
            f"--model {arguments.model} learns from {LEARNS_FROM[feedback]}: name the column that holds them with "
            "--value"
        )


def require_columns(arguments: argparse.Namespace) -> None:
    """Raise unless there is a table, and its columns are named."""
    if not Path(arguments.file).exists():  # before questions about its columns
        raise FileNotFoundError(f"there is no file or store {arguments.file!r}")
    missing = [f"--{name}" for name in ("user", "item") if getattr(arguments, name) is None]
    if missing:
        raise ValueError(f"{' and '.join(missing)} must name the columns of {arguments.file!r}: pass them")


def open_store(arguments: argparse.Namespace) -> Interactions:
    """Return the interactions of a store, which have no columns to choose."""
    of_tables = ("user", "item", "value", "time", "kind", "weight", "half_life", "aggregate", "separator", "header")
    given = [name for name in of_tables if getattr(arguments, name) is not None]
    if given and (Path(arguments.file) / MANIFEST).is_file():
        ours = given[0] in ("user", "item", "value", "time", "aggregate")
        raise ValueError(
            f"{arguments.file!r} is a store, but --{given[0].replace('_', '-')} is for files: leave it out"
            + (", or call alternant ingest with it for another store" if ours else "")
        )
    if given:
        raise ValueError(
            f"{arguments.file!r} is a folder: --{given[0].replace('_', '-')} is for files; to read Parquet files of a "
            "folder into a store, call alternant ingest"
        )
    return Interactions.open(arguments.file)


def check_memory_limit(arguments: argparse.Namespace, model: Any, data: Any) -> None:
    """Raise for a memory limit if the model has none."""
    if arguments.memory_limit is not None and not model.fit_memory(*data.shape, data.nnz).streams:
        names = ", ".join(name for name in MODELS if MODELS[name]().fit_memory(1, 1, 1).streams)
        raise ValueError(f"--model {arguments.model} has no memory limit: choose one of {names}")


def read_interactions(arguments: argparse.Namespace) -> Interactions:
    """Read the table that a model is fitted on."""
    columns: dict[str, Any] = {name: _column(getattr(arguments, name)) for name in ("user", "item", "value", "time")}
    adds_up = MODELS[arguments.model].traits.feedback == "implicit"  # a sum of ratings or of likes is not one
    return Interactions.from_file(
        arguments.file, **columns, aggregate=arguments.aggregate or ("sum" if adds_up else "last"),
        separator=arguments.separator, header=arguments.header, quote=_quote(arguments), decimal=arguments.decimal,
    )  # fmt: skip


def read_events(arguments: argparse.Namespace) -> Events | None:
    """Read the table as events, if their kinds or ages matter, else return None."""
    if arguments.kind is None and arguments.half_life is None:
        if arguments.weight:
            raise ValueError("--weight needs the kinds of events: name their column with --kind")
        if getattr(arguments, "target", None) is not None:
            raise ValueError("--target needs the kinds of events: name their column with --kind")
        return None
    if MODELS[arguments.model].traits.feedback != "implicit":
        learns_from = LEARNS_FROM[MODELS[arguments.model].traits.feedback]
        raise ValueError(
            f"--model {arguments.model} learns from {learns_from}, which can't be weighted and added up: choose "
            "implicit-als"
        )
    if arguments.aggregate not in (None, "sum"):
        raise ValueError(f"--aggregate must be sum with --kind or --half-life, got {arguments.aggregate}: leave it out")
    columns: dict[str, Any] = {
        name: _column(getattr(arguments, name)) for name in ("user", "item", "kind", "value", "time")
    }
    return Events.from_file(
        arguments.file, **columns, separator=arguments.separator, header=arguments.header, quote=_quote(arguments),
        decimal=arguments.decimal,
    )  # fmt: skip


def weigh(events: Events, arguments: argparse.Namespace, now: Any = None) -> Interactions:
    """Return the interactions of events with the weights and the half-life of the options."""
    weights: dict[Any, float] | None = None
    if arguments.weight:
        kinds = {str(kind): kind for kind in events.kinds}
        weights = {}
        for text in arguments.weight:
            kind, equals, number = text.rpartition("=")
            if equals and kind not in kinds:
                listed = ", ".join(map(repr, kinds.values()))
                raise ValueError(f"--weight must be a kind of these events, {listed}, got {kind!r}")
            try:
                weights[kinds.get(kind, kind)] = float(number if equals else "")
            except ValueError:
                raise ValueError(f"--weight must be KIND=NUMBER, got {text!r}") from None
    half_life: Any = arguments.half_life
    with contextlib.suppress(TypeError, ValueError):  # with a unit, or None
        half_life = float(half_life)
    return events.interactions(weights, half_life=half_life, now=now)


def weigh_alike(
    train: Events, known: Events | None, arguments: argparse.Namespace
) -> tuple[Interactions, Interactions | None]:
    """Return the interactions of training events and of new users' events, if any, with ages until the same time."""
    if known is None:
        return weigh(train, arguments), None
    now = None
    if arguments.half_life is not None and train.times is not None and known.times is not None:
        now = max(train.times.max(), known.times.max())
    return weigh(train, arguments, now), weigh(known, arguments, now)


def kind_of(text: str | None, events: Events) -> Any:
    """Return the kind to predict, given as text."""
    kinds = {str(kind): kind for kind in events.kinds}
    if text is None and len(kinds) == 1:
        return events.kinds[0]
    if text not in kinds:
        found = "nothing" if text is None else repr(text)
        raise ValueError(f"--target must name the kind of event to predict, one of {', '.join(kinds)}, got {found}")
    return kinds[text]


def read_titles(model: Any, arguments: argparse.Namespace) -> dict[Any, str] | None:
    """Return the titles of a model's items, or None if no table of titles is given."""
    if arguments.titles is None:
        return None
    names = raw_ids(model, np.arange(len(model.item_factors)), "item").tolist()
    given: list[Any] = [_column(text) for text in arguments.title_columns or ()] or [0, 1]
    by_place = all(isinstance(column, (int, NameOrPosition)) for column in given)
    # With columns given by position, the first line is data if it begins with an item of the model: nothing else tells
    # a header from ids that are words.
    header = False if by_place and arguments.header is None else arguments.header
    called = _texts_by_id(arguments, given, header)
    if by_place and arguments.header is None and next(iter(called), None) not in set(map(str, names)):
        called = _texts_by_id(arguments, given, True)
    found = {name: called[str(name)] for name in names if str(name) in called}
    if called and names and not found:
        raise ValueError(
            f"{arguments.titles!r} must have titles of the model's items, such as {names[0]!r}, got ids such as "
            f"{next(iter(called))!r}: name its columns with --title-columns ID TITLE"
        )
    return found


def _texts_by_id(arguments: argparse.Namespace, given: list[Any], header: bool | None) -> dict[str, str]:
    """Return titles by id, as text: one table may have strings, because of an id 007, and the other numbers."""
    asked = dict(zip(("id", "title"), given, strict=True))
    table, columns = files.read(arguments.titles, asked, Dialect(arguments.separator, header, _quote(arguments)))
    ids, texts = (table.column(columns[role]).to_pylist() for role in ("id", "title"))
    known = ((one, text) for one, text in zip(ids, texts, strict=True) if one is not None and text is not None)
    return {str(plain("id", one)): str(text) for one, text in known}


# Features


def read_features(arguments: argparse.Namespace, kind: str) -> Features | None:
    """Return the features of users or items, or None if no table of them is given."""
    file = getattr(arguments, f"{kind}_features")
    if file is None:
        return None
    at = _column(getattr(arguments, f"{kind}_feature_id"))
    try:
        return Features.from_file(file, id=0 if at is None else at)
    except (TypeError, ValueError) as error:
        raise _about_features(error, f"--{kind}-feature-id") from None


def _about_features(error: Exception, option: str) -> Exception:
    """Return an error about a table of features, which has an option for its ids alone, with what helps here."""
    named = [part for part in getattr(error, "message_parts", ()) if isinstance(part, Parameter)]
    if named and named[0].name == "header":
        found = str(error).partition(", as columns are")[0]
        return ValueError(
            f"{found}: pass {option} NAME, with the name of the column of ids, if it is a header, else add one"
        )
    there = {"id": option}
    message = message_of(error, lambda one: str(one) if one.name not in there else
                         there[one.name] + ("" if one.value is None else f" {one.value}"))  # fmt: skip
    if any(one.name not in there for one in named):
        message += " (in Python, to Features.from_file: there is no option for this table)"
    return type(error)(message)


def add_new(model: Any, kind: str, features: Features | None) -> None:
    """Add the users or items of a table of features that a model does not know."""
    if features is None:
        return
    known = model_ids(model, kind)
    if known is None:
        raise ValueError(f"{kind} features need a model with {kind} ids: fit it with alternant fit")
    new = features.ids[known.find(features.ids) < 0]
    if len(new):
        add = model.partial_fit_users if kind == "user" else model.partial_fit_items
        add(new, **{f"{kind}_features": features.reindex(new)})


# Ids


def read_users(file: str) -> list[str]:
    """Read user ids from a file, one per line."""
    path = Path(file)
    if not path.exists() or path.is_dir():
        raise FileNotFoundError(f"there is no users file {str(path)!r}")
    try:
        lines = path.read_text(encoding="utf-8-sig").split("\n")  # spreadsheets write a byte-order mark
    except UnicodeDecodeError:
        raise ValueError(f"{str(path)!r} must be UTF-8 text with one user id per line") from None
    found = [line.strip() for line in lines if line.strip()]
    if not found:
        raise ValueError(f"{str(path)!r} must hold user ids, one per line, got none")
    return found


def to_ids(model: Any, texts: Iterable[str], kind: str, *, known_only: bool = True) -> Any:
    """Convert ids given as text to those of the model; it must know all of them unless `known_only` is False."""
    wanted = list(texts)
    known = model_ids(model, kind)
    count = len(getattr(model, f"{kind}_factors"))
    ids: Any
    if known is None or known.are_numbers:
        what = "row numbers" if known is None else "whole numbers"
        for text in wanted:
            if not text.removeprefix("-").isdecimal():
                raise ValueError(f"{kind} ids of this model are {what}, got {text!r}")
        bounds = np.iinfo(np.int64)
        ids = np.array([min(max(int(text), bounds.min), bounds.max) for text in wanted], np.int64)
        there = (ids >= 0) & (ids < count) if known is None else known.find(ids) >= 0
    else:
        ids = object_array(wanted)
        there = known.find(ids) >= 0
        if not there.all():  # among strings, some ids may be 1.5 or True
            by_text = {str(name): name for name in known.values.tolist()}
            ids = object_array([by_text.get(text, text) for text in wanted])
            there = known.find(ids) >= 0
    unknown = [text for text, found in zip(wanted, there.tolist(), strict=True) if not found]
    if unknown and known_only:
        more = f" and {len(unknown) - 1} more" if len(unknown) > 1 else ""
        such = f"such as {known.values[:1].tolist()[0]!r}" if known is not None and count else f"which has {count}"
        way = "leave them out" if len(unknown) < len(wanted) else "pass others"
        raise ValueError(f"{kind}s must be {kind}s of the fit, {such}, got {unknown[0]}{more}: {way}")
    return ids
