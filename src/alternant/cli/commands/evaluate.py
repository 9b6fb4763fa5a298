"""``alternant evaluate``: hold out part of a table, and measure how well a model predicts it."""

from __future__ import annotations

import glob
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..._utils.lock import FolderLock
from ...data.events import Events
from ...evaluation import (
    blocked_split,
    evaluate,
    hold_out_users,
    leave_last_out,
    leave_one_out,
    random_split,
    split_by_time,
    split_kind,
)
from ...models import Popularity
from ..inputs import (
    check_memory_limit,
    kind_of,
    make_model,
    open_store,
    read_events,
    read_interactions,
    require_columns,
    require_values,
    weigh_alike,
)
from ..options import add_memory_limit, add_model, add_table, positive
from ..printing import print_json

if TYPE_CHECKING:
    import argparse

    from ...data.interactions import Interactions

HELP = "hold out part of a table, and measure how well a model predicts it"
EXAMPLE = "evaluate ratings.csv --user userId --item movieId --baseline -k 10"
SPLITS: dict[str, Callable[..., Any]] = {
    "random": random_split, "blocked": blocked_split, "leave-one-out": leave_one_out, "leave-last-out": leave_last_out,
    "by-time": split_by_time, "new-users": hold_out_users,
}  # fmt: skip


def add_options(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    add_table(parser, stores=True)
    add_model(parser)
    add_memory_limit(parser)
    parser.add_argument("--split", choices=tuple(SPLITS), default="random", metavar="NAME",
                        help=f"how to split the table: {', '.join(SPLITS)} (default: random)")  # fmt: skip
    parser.add_argument("--fraction", type=float, metavar="X", help="fraction to hold out (default: 0.2 for random, "
                        "blocked and by-time, 0.1 for new-users)")  # fmt: skip
    parser.add_argument("--target", metavar="KIND", help="with --kind: the kind of event to hold out; held-out pairs "
                        "lose their events of other kinds, too")  # fmt: skip
    parser.add_argument("-k", nargs="+", type=positive, metavar="K", help="list lengths (default: 10 20 100)")
    parser.add_argument("--metrics", nargs="+", metavar="NAME", help="metrics, such as ndcg recall auc (default: all)")
    parser.add_argument("--baseline", action="store_true", help="also measure the popularity baseline")


def run(arguments: argparse.Namespace) -> None:
    """Split a table, fit on one part, and print how well the model finds the other."""
    model = make_model(arguments)
    ranked = [metric for metric in arguments.metrics or ["all"] if metric not in ("rmse", "mae")]
    if arguments.baseline and not ranked:
        raise ValueError(
            "--baseline ranks items and doesn't predict ratings: leave it out, or name a ranking metric, such as ndcg"
        )
    store = Path(arguments.file).is_dir()
    if not store:
        require_columns(arguments)
        require_values(arguments)
    events = None if store else read_events(arguments)
    data: Any = open_store(arguments) if store else read_interactions(arguments) if events is None else events
    check_memory_limit(arguments, model, data)
    with _beside(Path(arguments.file).absolute()) if store else nullcontext() as folder:
        results = _measure(model, data, arguments, ranked, folder)
    if arguments.json:
        print_json({"split": arguments.split, **{name: result.to_dict() for name, result in results.items()}})
        return
    for name, result in results.items():
        print(f"{name}, split {arguments.split}\n{result}" + ("\n" if name != list(results)[-1] else ""))


@contextmanager
def _beside(store: Path) -> Iterator[str]:
    """Yield a folder for the parts of a store, and remove those that were left by a command that was killed.

    It is beside the store, as temporary folders of the system may be in memory.
    """
    prefix = f".alternant-parts-of-{store.name}-"
    for leftover in store.parent.glob(f"{glob.escape(prefix)}*"):
        with suppress(OSError):  # another command uses it
            FolderLock(leftover, "{}").release()
            shutil.rmtree(leftover)
    with tempfile.TemporaryDirectory(prefix=prefix, dir=store.parent) as folder:
        lock = FolderLock(Path(folder), "{}")
        try:
            yield folder
        finally:
            lock.release()  # Windows removes no file that is open


def _measure(
    model: Any, data: Any, arguments: argparse.Namespace, ranked: list[str], folder: str | None
) -> dict[str, Any]:
    """Return the evaluation of the model and, if wanted, of the baseline."""
    lengths = sorted({min(k, data.shape[1]) for k in arguments.k or [10, 20, 100]})
    options: dict[str, Any] = {"k": lengths, "metrics": arguments.metrics}
    train, test, known = _split(data, arguments) if folder is None else _split_store(data, arguments, folder)
    if isinstance(train, Events):
        train, known = weigh_alike(train, known, arguments)
    if test.nnz == 0:
        raise ValueError(
            f"--split {arguments.split} can't hold out any interaction of {arguments.file!r}: no user has more than one"
        )
    limit = {} if arguments.memory_limit is None else {"memory_limit": arguments.memory_limit}
    results = {type(model).__name__: evaluate(model.fit(train, **limit), test, user_items=known, **options)}
    if arguments.baseline:
        wanted = options if arguments.metrics is None else options | {"metrics": ranked}
        results["Popularity"] = evaluate(Popularity().fit(train), test, user_items=known, **wanted)
    return results


def _split_store(data: Interactions, arguments: argparse.Namespace, folder: str) -> tuple[Any, Any, None]:
    """Return the training data and the test data, as stores in a folder."""
    if arguments.split != "random":
        raise ValueError(f"a store is split at random, got --split {arguments.split}: leave it out")
    fraction = 0.2 if arguments.fraction is None else arguments.fraction
    stores = Path(folder) / "train", Path(folder) / "test"
    return *random_split(data, fraction, random_state=arguments.random_state or 0, stores=stores), None


def _split(data: Interactions | Events, arguments: argparse.Namespace) -> tuple[Any, Any, Any]:
    """Return the training data, the test data and, for new users, the data to fold in (otherwise None)."""
    seed, fraction = arguments.random_state or 0, arguments.fraction
    if arguments.split == "new-users":
        options: dict[str, Any] = {"n_users": 0.1 if fraction is None else fraction, "random_state": seed}
        if isinstance(data, Events):
            events = split_kind(data, kind_of(arguments.target, data), hold_out_users, **options)
            return events.train, events.test, events.fold_in
        parts = hold_out_users(data, **options)
        return parts.train, parts.test, parts.fold_in
    if arguments.split in ("leave-last-out", "by-time") and arguments.time is None:
        raise ValueError(f"--split {arguments.split} needs times: name their column with --time")
    options = {"random_state": seed} if arguments.split in ("random", "blocked", "leave-one-out") else {}
    if arguments.split in ("random", "blocked", "by-time"):
        options["fraction"] = 0.2 if fraction is None else fraction
    elif fraction is not None:
        raise ValueError(
            f"--fraction applies to --split random, blocked, by-time or new-users, got {arguments.split}: leave it out"
        )
    if isinstance(data, Events):
        return *split_kind(data, kind_of(arguments.target, data), SPLITS[arguments.split], **options), None
    return *SPLITS[arguments.split](data, **options), None
