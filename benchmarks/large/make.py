"""Write planted interactions of any size as a folder of Parquet files, in bounded memory.

Popularity of items and activity of users follow Zipf and Mandelbrot's law with exponent 1: the share of rank r is
proportional to 1 / (r + q). Users and items belong to groups, and most events are within the user's group. With
--values, events within the group have higher ratings. The same seed writes the same rows on any number of threads.

    python -m benchmarks.large.make --users 20_000_000 --items 2_000_000 --interactions 1_000_000_000 --seed 0 FOLDER
"""

from __future__ import annotations

import argparse
import sys
from math import gcd
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from alternant._utils.splitmix import mix_array
from alternant._utils.threads import default_num_threads, map_parallel

from ..common.command_line import at_least

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

ROWS_PER_FILE, ROWS_PER_GROUP = 1 << 23, 1 << 20
GROUPS = 32
WITHIN = 0.7  # of the events are within the user's group
USER_OFFSET, ITEM_OFFSET = 1 / 100, 1 / 500  # q, as a share of all ranks


def ranks(uniform: NDArray[np.float64], count: int, offset: float) -> NDArray[np.int64]:
    """Return ranks from 0 to ``count - 1`` whose shares are proportional to ``1 / (rank + q)``, by inversion."""
    q = max(1.0, offset * count)
    found = q * np.exp(uniform * np.log1p(count / q)) - q
    return np.minimum(found.astype(np.int64), count - 1)


def shuffled(numbers: NDArray[np.int64], count: int) -> NDArray[np.int64]:
    """Return a permutation of 0 to ``count - 1``, so that ids tell nothing about ranks."""
    step = int(count * 0.6180339887498949) | 1
    while gcd(step, count) > 1:
        step += 1
    return numbers * step % count


def rows(rng: np.random.Generator, count: int, n_users: int, n_items: int, values: bool) -> dict[str, NDArray[Any]]:
    """Draw events.

    Parameters
    ----------
    rng : Generator
    count : int
        Number of events; some pairs may repeat.
    n_users, n_items : int
    values : bool
        Whether there are ratings from 1 to 5.
    """
    users = ranks(rng.random(count), n_users, USER_OFFSET)
    items = ranks(rng.random(count), n_items, ITEM_OFFSET)
    groups = (mix_array(users.astype(np.uint64)) % np.uint64(GROUPS)).astype(np.int64)
    within = rng.random(count) < WITHIN
    moved = items - items % GROUPS + groups  # the item of nearly the same rank that is in the user's group
    items = np.where(within & (moved < n_items), moved, items)
    dtype = np.int32 if max(n_users, n_items) <= np.iinfo(np.int32).max else np.int64
    made: dict[str, NDArray[Any]] = {
        "user": shuffled(users, n_users).astype(dtype), "item": shuffled(items, n_items).astype(dtype),
    }  # fmt: skip
    if values:
        level = 3.0 + (items % GROUPS == groups)
        made["value"] = np.clip(np.rint(level + rng.standard_normal(count)), 1, 5).astype(np.int8)
    return made


def write(folder: Path, n_users: int, n_items: int, n_interactions: int, seed: int, values: bool = False) -> None:
    """Write the files, in parallel."""

    def write_file(number: int) -> None:
        path = folder / f"part-{number:05}.parquet"
        left = min(ROWS_PER_FILE, n_interactions - number * ROWS_PER_FILE)
        writer = None
        for group in range(-(-left // ROWS_PER_GROUP)):
            rng = np.random.default_rng([seed, number, group])
            count = min(ROWS_PER_GROUP, left - group * ROWS_PER_GROUP)
            table = pa.table(rows(rng, count, n_users, n_items, values))
            if writer is None:
                writer = pq.ParquetWriter(path, table.schema, use_dictionary=False)
            writer.write_table(table)
        if writer is not None:
            writer.close()
        print(f"{path.name}: {left:,} rows", file=sys.stderr)

    map_parallel(write_file, range(-(-n_interactions // ROWS_PER_FILE)), default_num_threads())


def main(arguments: Sequence[str] | None = None) -> int:
    """Write a folder of files; return the exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.large.make", description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )  # fmt: skip
    for name, least in (("users", 1), ("items", 1), ("interactions", 1), ("seed", 0)):
        parser.add_argument(f"--{name}", type=at_least(least), required=name != "seed", default=0, metavar="N")
    parser.add_argument("--values", action="store_true", help="add a column of ratings from 1 to 5")
    parser.add_argument("folder", type=Path, help="a new or empty folder")
    options = parser.parse_args(arguments)
    options.folder.mkdir(parents=True, exist_ok=True)
    if any(options.folder.iterdir()):
        parser.error(f"{str(options.folder)!r} is not empty: name a new folder")
    write(options.folder, options.users, options.items, options.interactions, options.seed, options.values)
    return 0


if __name__ == "__main__":
    sys.exit(main())
