"""``alternant fit``: from a table to a saved model."""

from __future__ import annotations

import dataclasses
import inspect
import time
from pathlib import Path
from typing import TYPE_CHECKING

from ..._utils.atomic import check_target
from ...data.internals import ids_of
from ...models.internals import check_can_be_saved
from ..inputs import (
    check_memory_limit,
    make_model,
    open_store,
    read_events,
    read_features,
    read_interactions,
    refuse_inputs_as_output,
    require_columns,
    require_values,
    weigh,
)
from ..options import add_feature_id, add_features, add_memory_limit, add_model, add_table, positive
from ..printing import plain, print_json
from ..summary import summary

if TYPE_CHECKING:
    import argparse

HELP = "fit a model on a table in a file, and save it"
EXAMPLE = "fit ratings.csv --user userId --item movieId -o model.safetensors"


def add_options(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    add_table(parser, stores=True)
    add_model(parser)
    for kind in ("user", "item"):
        add_features(parser, kind)
        add_feature_id(parser, kind)
    parser.add_argument("--checkpoint", metavar="FOLDER",
                        help="save the state of the fit here after each iteration: the same command, run again after "
                        "it was killed, resumes from there")  # fmt: skip
    parser.add_argument("--every", type=positive, default=1, metavar="N",
                        help="save it after each Nth iteration (default: 1)")  # fmt: skip
    add_memory_limit(parser)
    parser.add_argument("-o", "--output", required=True, metavar="FILE", help="where to save the model")


def run(arguments: argparse.Namespace) -> None:
    """Read a table, fit a model on it and save the model."""
    model = make_model(arguments)
    target = Path(arguments.output)
    check_target(target, "a model")  # before the work rather than after it
    refuse_inputs_as_output(arguments)
    store = Path(arguments.file).is_dir()
    if not store:
        require_columns(arguments)
        require_values(arguments)
    events = None if store else read_events(arguments)
    data = open_store(arguments) if store else (
        read_interactions(arguments) if events is None else weigh(events, arguments)
    )  # fmt: skip
    for kind in ("user", "item"):
        check_can_be_saved(ids_of(data, kind), kind)
    tables = {f"{kind}_features": read_features(arguments, kind) for kind in ("user", "item")}
    features = {name: table for name, table in tables.items() if table is not None}
    if features and not hasattr(model, "feature_regularization"):
        raise ValueError(f"--model {arguments.model} has no features: choose implicit-als, explicit-als or bpr")
    options = dict(features)
    if arguments.checkpoint is not None:
        if "checkpoint" not in inspect.signature(model.fit).parameters:
            raise ValueError(f"--model {arguments.model} has no iterations to save: leave out --checkpoint")
        folder = Path(arguments.checkpoint).resolve()
        if target.resolve() == folder or target.resolve().parent == folder:
            raise ValueError(
                f"--output must not be in the folder of --checkpoint, got {arguments.output!r}: choose another name"
            )
        options |= {"checkpoint": arguments.checkpoint, "every": arguments.every}
    check_memory_limit(arguments, model, data)
    if arguments.memory_limit is not None:
        options["memory_limit"] = arguments.memory_limit
    start = time.perf_counter()
    model.fit(data, **options)
    seconds = time.perf_counter() - start
    model.save(target)
    if arguments.json:
        report = plain(dataclasses.asdict(data.describe()))
        print_json({**summary(model), "seconds": seconds, "file": str(target), "data": report})
        return
    print(data.describe() if events is None else f"{events.describe()}\n\n{data.describe()}")
    for name, table in features.items():
        print(f"\n{name.replace('_', ' ')}: {table.describe()}")
    print(f"\n{model!r}, fitted in {seconds:.1f} s\nsaved in {target}")
