"""What the subcommands of ``alternant`` do: each takes the parsed arguments and prints its result on stdout."""

from __future__ import annotations

import dataclasses
import itertools
import json
import shutil
import sys
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from . import _files, models
from ._ids import object_array
from ._validation import check_integer
from ._whole_file import check_target
from .evaluation import (
    evaluate,
    hold_out_users,
    leave_last_out,
    leave_one_out,
    random_split,
    split_by_time,
)
from .interactions import Interactions
from .models import FactorModel

if TYPE_CHECKING:
    import argparse

MODELS = {
    "implicit-als": models.ImplicitALS,
    "explicit-als": models.ExplicitALS,
    "biased-mf": models.BiasedMF,
    "cosine-mf": models.CosineMF,
    "logistic-mf": models.LogisticMF,
    "popularity": models.Popularity,
}
RATINGS = ("explicit-als", "biased-mf", "cosine-mf")  # of a pair the newest counts: a sum of ratings is none
SHORTCUTS = ("factors", "iterations", "regularization", "alpha", "random_state", "num_threads")


def fit(arguments: argparse.Namespace) -> None:
    """Read a table, fit a model on it and save that."""
    model = _make_model(arguments)
    target = Path(arguments.output)
    check_target(target, "a model")  # before the work, not after it
    data = _read(arguments)
    start = time.perf_counter()
    model.fit(data)
    seconds = time.perf_counter() - start
    model.save(target)
    if arguments.json:
        report = _plain(dataclasses.asdict(data.describe()))
        _print_json({**_summary(model), "seconds": seconds, "file": str(target), "data": report})
        return
    print(data.describe())
    print(f"\n{model!r}, fitted in {seconds:.1f} s\nsaved in {target}")


def recommend(arguments: argparse.Namespace) -> None:
    """Print or write ranked lists."""
    model = _load(arguments)
    titles = _titles(model, arguments)
    check_integer("k", arguments.k, 1)
    users = None if arguments.all else _ids(model, _user_texts(arguments), "user")
    options = {"users": users, "exclude_seen": not arguments.keep_seen}
    if arguments.output is not None:
        rows = model.recommend_all(arguments.k, to=arguments.output, titles=titles, **options)
        done = {"file": arguments.output, "rows": rows}
        if arguments.json:
            _print_json(done)
        else:
            print(f"{rows:,} rows in {arguments.output}")
        return
    blocks = model.recommend_all(arguments.k, **options)
    _print_lists(blocks, titles, "user", "item", arguments.json)


def similar(arguments: argparse.Namespace) -> None:
    """Print the neighbours of items."""
    model = _load(arguments)
    titles = _titles(model, arguments)
    items = _ids(model, arguments.items, "item")
    _print_lists([(items, *model.similar_items(items, arguments.k))], titles, "item", "similar", arguments.json)


def explain(arguments: argparse.Namespace) -> None:
    """Print what each item of a user's history adds to a score."""
    model = _load(arguments)
    titles = _titles(model, arguments)
    if not hasattr(model, "explain"):
        raise ValueError(f"{arguments.model_file!r} holds {type(model).__name__}, which can't explain: ImplicitALS can")
    user, item = (_ids(model, [text], kind)[0] for text, kind in ((arguments.user, "user"), (arguments.item, "item")))
    found = model.explain(user, item)
    pairs = zip(found.items[: arguments.k].tolist(), found.contributions[: arguments.k].tolist(), strict=True)
    parts = [{"item": one, "contribution": part, **_title(titles, one)} for one, part in pairs]
    if arguments.json:
        _print_json({"user": _plain(user), "item": _plain(item), "score": found.score, "because_of": parts})
        return
    print(f"score {found.score:.4f}, of which")
    _print_table(parts)


def evaluate_(arguments: argparse.Namespace) -> None:
    """Split a table, fit on one part, and print how well the model finds the other."""
    model = _make_model(arguments)
    data = _read(arguments)
    options: dict[str, Any] = {"k": arguments.k or [10, 20, 100], "metrics": arguments.metrics}
    train, test, known = _split(data, arguments)
    results = {}
    fitted = {type(model).__name__: model} | ({"Popularity": models.Popularity()} if arguments.baseline else {})
    for name, one in fitted.items():
        wanted = dict(options)
        if one is not model and wanted["metrics"] is not None:
            wanted["metrics"] = [metric for metric in wanted["metrics"] if metric not in ("rmse", "mae")] or None
        results[name] = evaluate(one.fit(train), test, user_items=known, **wanted)
    if arguments.json:
        _print_json({"split": arguments.split, **{name: result.to_dict() for name, result in results.items()}})
        return
    for name, result in results.items():
        print(f"{name}, split {arguments.split}\n{result}" + ("\n" if name != list(results)[-1] else ""))


def model_info(arguments: argparse.Namespace) -> None:
    """Print what a model file holds."""
    model = _load(arguments)
    summary = _summary(model)
    if arguments.json:
        _print_json(summary)
        return
    for name, value in summary.items():
        texts = [f"{key} {_short(part)}" for key, part in value.items()] if isinstance(value, dict) else [_short(value)]
        print(f"{name:<14}" + f"\n{'':14}".join(texts or ["-"]))


# What goes in


def _make_model(arguments: argparse.Namespace) -> Any:
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
        return {"none": None, "true": True, "false": False}.get(text.lower(), text)
    return tuple(value) if isinstance(value, list) else value


def _read(arguments: argparse.Namespace) -> Interactions:
    columns = {
        name: int(text) if text is not None and text.isdecimal() else text
        for name, text in ((role, getattr(arguments, role)) for role in ("user", "item", "value", "time"))
    }
    aggregate = arguments.aggregate or ("last" if arguments.model in RATINGS else "sum")
    return Interactions.from_file(
        arguments.file, **columns, aggregate=aggregate, separator=arguments.separator,
        header=False if arguments.no_header else None,
    )  # fmt: skip


def _load(arguments: argparse.Namespace) -> Any:
    return FactorModel.load(arguments.model_file, mmap=True)


def _user_texts(arguments: argparse.Namespace) -> list[str]:
    if arguments.users is not None:
        return list(arguments.users)
    path = Path(arguments.users_file)
    if not path.is_file():
        raise FileNotFoundError(f"there is no file {str(path)!r} of users")
    try:
        lines = path.read_text(encoding="utf-8-sig").split("\n")  # spreadsheets write a byte-order mark
    except UnicodeDecodeError:
        raise ValueError(f"{str(path)!r} must be UTF-8 text with one user a line") from None
    found = [line.strip() for line in lines if line.strip()]
    if not found:
        raise ValueError(f"{str(path)!r} must hold users, one id a line, got none")
    return found


def _ids(model: Any, texts: Iterable[str], kind: str) -> Any:
    """Return ids given as text as the model knows them; which must know them all."""
    wanted = [text for text in texts if text]
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
    if unknown:
        more = f" and {len(unknown) - 1} more" if len(unknown) > 1 else ""
        such = f"such as {known.values[:1].tolist()[0]!r}" if known is not None and count else f"which has {count}"
        raise ValueError(f"{kind}s must be {kind}s of the fit, {such}, got {unknown[0]}{more}: leave them out")
    return ids


def _titles(model: Any, arguments: argparse.Namespace) -> dict[Any, str] | None:
    if arguments.titles is None:
        return None
    given = arguments.title_columns or ["0", "1"]
    columns = [int(text) if text.isdecimal() else text for text in given]
    table = _files.read(arguments.titles, {"user": columns[0], "item": columns[1]}, arguments.separator, None)
    ids, texts = (table.column(name).to_pylist() for name in ("user", "item"))
    # Found by their text: a list with one 007 has strings, where the other has numbers.
    called = {str(one): str(text) for one, text in zip(ids, texts, strict=True) if one is not None and text is not None}
    names = model._raw(np.arange(len(model.item_factors)), "item").tolist()
    found = {name: called[str(name)] for name in names if str(name) in called}
    if called and names and not found:
        raise ValueError(
            f"{arguments.titles!r} must have titles of the model's items, such as {names[0]!r}, got ids such as "
            f"{next(iter(called))!r}: name its columns with --title-columns ID TITLE"
        )
    return found


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
    summary = {
        "model": type(model).__name__,
        "users": len(users),
        "items": len(items),
        "columns": users.shape[1],
        "ids": named,
        "interactions": None if known is None else len(known.data),
        "parameters": parameters,
        "fit": {"iterations": getattr(model, "n_iter_", None), **last},
    }
    plain: dict[str, Any] = _plain(summary)
    return plain


def _print_lists(
    blocks: Iterable[tuple[Any, Any, Any]], titles: dict[Any, str] | None, of: str, column: str, as_json: bool
) -> None:
    rows = _rows(blocks, titles, of, column)
    if not as_json:
        _print_table(rows)
        return
    for group in _groups(rows):
        first = group[0]
        _print_json({of: first[of], f"{column}s" if column == "item" else column: [
            {name: value for name, value in row.items() if name != of} for row in group
        ]}, indent=None)  # fmt: skip


def _rows(blocks: Iterable[Any], titles: dict[Any, str] | None, of: str, column: str) -> Iterator[dict[str, Any]]:
    for who, ids, scores in blocks:
        for one, listed, values in zip(who.tolist(), ids.tolist(), scores, strict=True):
            for rank, (item, score) in enumerate(zip(listed, values, strict=True), 1):
                if score != -np.inf:
                    yield {of: one, column: item, "score": score, "rank": rank, **_title(titles, item)}


def _groups(rows: Iterator[dict[str, Any]]) -> Iterator[list[dict[str, Any]]]:
    """Cut rows where a new list begins."""
    group: list[dict[str, Any]] = []
    for row in rows:
        if row["rank"] == 1 and group:
            yield group
            group = []
        group.append(row)
    if group:
        yield group


def _title(titles: dict[Any, str] | None, item: Any) -> dict[str, Any]:
    return {} if titles is None else {"title": titles.get(item)}


def _print_table(rows: Iterable[dict[str, Any]]) -> None:
    """Print rows: aligned, within the width of a terminal, or separated by tabs where something else reads them."""
    rows = iter(rows)
    first = next(rows, None)
    if first is None:
        return
    if not sys.stdout.isatty():
        print("\t".join(first))
        for row in itertools.chain([first], rows):
            print("\t".join(_short(value, 8) for value in row.values()))
        return
    table = [first, *rows]
    texts = [list(first), *([_short(value) for value in row.values()] for row in table)]
    widths = [max(len(line[at]) for line in texts) for at in range(len(first))]
    numeric = [isinstance(value, (int, float, np.floating)) for value in first.values()]
    for line in texts:
        cells = [text.rjust(width) if number else text.ljust(width)
                 for text, width, number in zip(line, widths, numeric, strict=True)]  # fmt: skip
        print("  ".join(cells).rstrip()[: shutil.get_terminal_size().columns])


def _short(value: Any, digits: int = 4) -> str:
    if value is None:
        return "-"
    if isinstance(value, (float, np.floating)):
        value = float(value)
        return f"{value:.4f}" if digits == 4 and 1e-3 <= abs(value) < 1e4 else f"{value:.{digits}g}"
    return " ".join(str(value).split())


def _print_json(value: Any, indent: int | None = 2) -> None:
    print(json.dumps(_plain(value), indent=indent, allow_nan=False, ensure_ascii=False))


def _plain(value: Any) -> Any:
    """Return what JSON can hold: NumPy's scalars as Python's, what is not finite as None."""
    if isinstance(value, dict):
        return {str(name): _plain(part) for name, part in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(part) for part in value]
    if isinstance(value, np.float32):
        value = float(str(value))  # with its own 7 digits, not the 17 of a float64
    elif isinstance(value, np.generic) and value.dtype.kind in "biuf":
        value = value.item()
    if isinstance(value, float):
        return value if np.isfinite(value) else None
    return value if value is None or isinstance(value, (bool, int, str)) else str(value)
