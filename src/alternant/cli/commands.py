"""What the subcommands of ``alternant`` do: each takes the parsed arguments and prints its result on stdout."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import sys
import time
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from .. import models
from .._utils.atomic import check_target
from ..data.interactions import Interactions
from ..data.io import files
from ..data.io.roles import NameOrPosition
from ..data.io.text import Dialect
from ..data.values import object_array
from ..evaluation import evaluate, hold_out_users, leave_last_out, leave_one_out, random_split, split_by_time
from ..models import FactorModel, _storage
from .printing import plain, print_json, print_json_lists, print_lists, print_table, short, title

if TYPE_CHECKING:
    import argparse

SHORTCUTS = ("factors", "iterations", "regularization", "alpha", "random_state", "num_threads")


def fit(arguments: argparse.Namespace) -> None:
    """Read a table, fit a model on it and save that."""
    model = _make_model(arguments)
    target = Path(arguments.output)
    check_target(target, "a model")  # before the work, not after it
    data = _read(arguments)
    for kind, ids in (("user", data._users), ("item", data._items)):
        _storage.pack_ids(ids, kind)
    start = time.perf_counter()
    model.fit(data)
    seconds = time.perf_counter() - start
    model.save(target)
    if arguments.json:
        report = plain(dataclasses.asdict(data.describe()))
        print_json({**_summary(model), "seconds": seconds, "file": str(target), "data": report})
        return
    print(data.describe())
    print(f"\n{model!r}, fitted in {seconds:.1f} s\nsaved in {target}")


def recommend(arguments: argparse.Namespace) -> None:
    """Print or write ranked lists."""
    if arguments.output is not None and Path(arguments.output).suffix.lower() not in (".parquet", ".csv"):
        raise ValueError(f"--output must end in .parquet or .csv, got {arguments.output!r}")
    model = _load(arguments)
    titles = _titles(model, arguments)
    k = min(arguments.k, max(len(model.item_factors), 1))
    unknown = arguments.unknown.replace("-", "_")
    users = None if arguments.all else _ids(model, _user_texts(arguments), "user", unknown == "raise")
    options = {"users": users, "exclude_seen": not arguments.keep_seen, "unknown": unknown}
    if arguments.output is not None:
        rows = model.recommend_all(k, to=arguments.output, titles=titles, **options)
        if arguments.json:
            print_json({"file": arguments.output, "rows": rows})
        else:
            print(f"{rows:,} rows in {arguments.output}")
    elif arguments.json:
        print_json_lists(model.recommend_all(k, **options), titles, "user", "items")
        return
    else:
        print_lists(model.recommend_all(k, **options), titles, "user", "item")
    if not arguments.keep_seen:
        _tell_of_empty(model, users)


def similar(arguments: argparse.Namespace) -> None:
    """Print the neighbours of items."""
    model = _load(arguments)
    titles = _titles(model, arguments)
    items = _ids(model, arguments.items, "item")
    found = [(items, *model.similar_items(items, min(arguments.k, len(model.item_factors))))]
    (print_json_lists if arguments.json else print_lists)(found, titles, "item", "similar")


def explain(arguments: argparse.Namespace) -> None:
    """Print what each item of a user's history adds to a score."""
    model = _load(arguments)
    titles = _titles(model, arguments)
    if not hasattr(model, "explain"):
        raise ValueError(f"{arguments.model_file!r} holds {type(model).__name__}, which can't explain: ImplicitALS can")
    user, item = (_ids(model, [text], kind)[0] for text, kind in ((arguments.user, "user"), (arguments.item, "item")))
    found = model.explain(user, item)
    pairs = zip(found.items[: arguments.k].tolist(), found.contributions[: arguments.k].tolist(), strict=True)
    parts = [{"item": one, "contribution": part, **title(titles, one)} for one, part in pairs]
    if arguments.json:
        print_json({"user": plain(user), "item": plain(item), "score": found.score, "because_of": parts})
        return
    print(f"score {found.score:.4f}, of which")
    print_table(parts)


def evaluate_(arguments: argparse.Namespace) -> None:
    """Split a table, fit on one part, and print how well the model finds the other."""
    model = _make_model(arguments)
    ranked = [metric for metric in arguments.metrics or ["all"] if metric not in ("rmse", "mae")]
    if arguments.baseline and not ranked:
        raise ValueError("--baseline ranks and predicts no ratings: leave it out, or name another metric, such as ndcg")
    data = _read(arguments)
    lengths = sorted({min(k, data.shape[1]) for k in arguments.k or [10, 20, 100]})
    options: dict[str, Any] = {"k": lengths, "metrics": arguments.metrics}
    train, test, known = _split(data, arguments)
    if test.nnz == 0:
        raise ValueError(
            f"--split {arguments.split} must leave somebody something to find, got no interaction of "
            f"{arguments.file!r} that can be held out: nobody has more than one"
        )
    results = {}
    fitted = {type(model).__name__: model} | ({"Popularity": models.Popularity()} if arguments.baseline else {})
    for name, one in fitted.items():
        wanted = options if one is model or arguments.metrics is None else options | {"metrics": ranked}
        results[name] = evaluate(one.fit(train), test, user_items=known, **wanted)
    if arguments.json:
        print_json({"split": arguments.split, **{name: result.to_dict() for name, result in results.items()}})
        return
    for name, result in results.items():
        print(f"{name}, split {arguments.split}\n{result}" + ("\n" if name != list(results)[-1] else ""))


def model_info(arguments: argparse.Namespace) -> None:
    """Print what a model file holds."""
    model = _load(arguments)
    summary = _summary(model)
    if arguments.json:
        print_json(summary)
        return
    for name, value in summary.items():
        texts = [f"{key} {short(part)}" for key, part in value.items()] if isinstance(value, dict) else [short(value)]
        print(f"{name:<14}" + f"\n{'':14}".join(texts or ["-"]))


# What goes in


def _make_model(arguments: argparse.Namespace) -> Any:
    cls = models.MODELS[arguments.model]
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
        if "," in text:  # a pair, as Python writes it or plainly
            with contextlib.suppress(ValueError):
                return tuple(json.loads(part) for part in text.strip("() ").split(","))
        return {"none": None, "true": True, "false": False}.get(text.lower(), text)
    return tuple(value) if isinstance(value, list) else value


def _column(text: str | None) -> str | None:
    return NameOrPosition(text) if text is not None and text.isdecimal() else text


def _read(arguments: argparse.Namespace) -> Interactions:
    columns: dict[str, Any] = {name: _column(getattr(arguments, name)) for name in ("user", "item", "value", "time")}
    adds_up = models.MODELS[arguments.model].traits.feedback == "implicit"  # a sum of ratings, or of likes, is none
    aggregate = arguments.aggregate or ("sum" if adds_up else "last")
    return Interactions.from_file(
        arguments.file, **columns, aggregate=aggregate, separator=arguments.separator, header=arguments.header,
        quote=_quote(arguments), decimal=arguments.decimal,
    )  # fmt: skip


def _quote(arguments: argparse.Namespace) -> str | None:
    return {None: "auto", True: '"', False: None}[arguments.quotes]


def _load(arguments: argparse.Namespace) -> Any:
    return FactorModel.load(arguments.model_file, mmap=True)


def _user_texts(arguments: argparse.Namespace) -> list[str]:
    if arguments.users is not None:
        return list(arguments.users)
    path = Path(arguments.users_file)
    if not path.exists() or path.is_dir():
        raise FileNotFoundError(f"there is no file {str(path)!r} of users")
    try:
        lines = path.read_text(encoding="utf-8-sig").split("\n")  # spreadsheets write a byte-order mark
    except UnicodeDecodeError:
        raise ValueError(f"{str(path)!r} must be UTF-8 text with one user a line") from None
    found = [line.strip() for line in lines if line.strip()]
    if not found:
        raise ValueError(f"{str(path)!r} must hold users, one id a line, got none")
    return found


def _ids(model: Any, texts: Iterable[str], kind: str, must_know: bool = True) -> Any:
    """Return ids given as text as the model knows them; unless told otherwise, it must know them all."""
    wanted = list(texts)
    known = model._ids_of(kind)
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
        if not there.all():  # an id may be a 1.5 or True among strings
            by_text = {str(name): name for name in known.values.tolist()}
            ids = object_array([by_text.get(text, text) for text in wanted])
            there = known.find(ids) >= 0
    unknown = [text for text, found in zip(wanted, there.tolist(), strict=True) if not found]
    if unknown and must_know:
        more = f" and {len(unknown) - 1} more" if len(unknown) > 1 else ""
        such = f"such as {known.values[:1].tolist()[0]!r}" if known is not None and count else f"which has {count}"
        raise ValueError(f"{kind}s must be {kind}s of the fit, {such}, got {unknown[0]}{more}: leave them out")
    return ids


def _titles(model: Any, arguments: argparse.Namespace) -> dict[Any, str] | None:
    if arguments.titles is None:
        return None
    names = model._raw(np.arange(len(model.item_factors)), "item").tolist()
    given: list[Any] = [_column(text) for text in arguments.title_columns or ()] or [0, 1]
    by_place = all(isinstance(column, (int, NameOrPosition)) for column in given)
    # By place, it is data where it begins with an item of the model; only that tells, where ids are words.
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
    """Return titles by the text of ids: a table with one 007 has strings, where the other has numbers."""
    asked = dict(zip(("id", "title"), given, strict=True))
    table, columns = files.read(arguments.titles, asked, Dialect(arguments.separator, header, _quote(arguments)))
    ids, texts = (table.column(columns[role]).to_pylist() for role in ("id", "title"))
    return {str(one): str(text) for one, text in zip(ids, texts, strict=True) if one is not None and text is not None}


def _tell_of_empty(model: Any, users: Any) -> None:
    """Say on stderr who is in no row of a table, since nothing is left to list."""
    rows = np.arange(len(model.user_factors)) if users is None else model._asked("users", users, "user", "empty")[0]
    rows = rows[rows >= 0]
    empty = rows[np.diff(model._seen(rows, None).indptr) >= len(model.item_factors)]
    if len(empty):
        more = f" and {len(empty) - 1:,} more" if len(empty) > 1 else ""
        one = model._raw(empty[:1], "user").tolist()[0]
        said = f"nothing is left to list for user {one}{more}, all items being theirs: --keep-seen lists them"
        print(f"alternant: warning: {said}", file=sys.stderr)


def _split(data: Interactions, arguments: argparse.Namespace) -> tuple[Any, Any, Any]:
    seed, fraction = arguments.random_state or 0, arguments.fraction
    if arguments.split == "new-users":
        parts = hold_out_users(data, 0.1 if fraction is None else fraction, random_state=seed)
        return parts.train, parts.test, parts.fold_in
    if arguments.split in ("leave-last-out", "by-time") and arguments.time is None:
        raise ValueError(f"--split {arguments.split} needs to know when: name the column with --time")
    if arguments.split in ("leave-one-out", "leave-last-out"):
        if fraction is not None:
            raise ValueError(f"--fraction goes with --split random, by-time or new-users, got {arguments.split}")
        split = leave_one_out(data, random_state=seed) if arguments.split == "leave-one-out" else leave_last_out(data)
        return *split, None
    part = 0.2 if fraction is None else fraction
    split = random_split(data, part, random_state=seed) if arguments.split == "random" else split_by_time(data, part)
    return *split, None


# What comes out


def _summary(model: Any) -> dict[str, Any]:
    users, items = model._factors()
    named = {
        kind: "row numbers" if (ids := model._ids_of(kind)) is None else "whole numbers" if ids.are_numbers else "texts"
        for kind in ("user", "item")
    }
    last = {name: values[-1] for name, values in getattr(model, "history_", {}).items()}
    known = getattr(model, "interactions_", None)
    parameters = {name: str(value) if isinstance(value, type) else value for name, value in model.get_params().items()}
    chosen = {name: getattr(model, f"{name}_") for name, value in parameters.items()
              if isinstance(value, str) and value == "auto" and hasattr(model, f"{name}_")}  # fmt: skip
    summary = {
        "model": type(model).__name__,
        "users": len(users),
        "items": len(items),
        "columns": users.shape[1],
        "ids": named,
        "interactions": None if known is None else len(known.data),
        "parameters": parameters,
        "chosen": chosen,
        "fit": {"iterations": getattr(model, "n_iter_", None), **last},
    }
    shown: dict[str, Any] = plain(summary)
    return shown
