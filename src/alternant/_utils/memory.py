"""The memory that is still available to this process."""

from __future__ import annotations

import contextlib
import math
import operator
import os
import re
from pathlib import Path
from typing import Any

from .messages import parameter, refusal

GIB = 1 << 30


def available_bytes() -> int | None:
    """Return the memory that is free or can be freed at once, within cgroup limits; None if that is unknown.

    Where the system reports only its total memory, all of it counts as available.
    """
    known = [size for size in (_of_system(), _of_cgroup()) if size is not None]
    return min(known) if known else None


def resident_bytes() -> int:
    """Return the memory that this process takes now; 0 where the system does not tell."""
    try:
        return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except (OSError, ValueError):
        return 0


def _of_system() -> int | None:
    try:
        for line in Path("/proc/meminfo").read_text().splitlines():
            if line.startswith("MemAvailable:"):
                return int(line.split()[1]) * 1024
    except (OSError, ValueError):
        pass
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, OSError, ValueError):  # Windows
        return None


def _of_cgroup() -> int | None:
    for limit, usage in (
        ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory.current"),  # v2
        ("/sys/fs/cgroup/memory/memory.limit_in_bytes", "/sys/fs/cgroup/memory/memory.usage_in_bytes"),  # v1
    ):
        try:
            bound, used = int(Path(limit).read_text()), int(Path(usage).read_text())
        except (OSError, ValueError):  # "max": no limit
            continue
        return max(0, bound - max(0, used - _page_cache(Path(limit).parent)))
    return None


def _page_cache(folder: Path) -> int:
    """Return how much of a cgroup's memory is page cache, which the system can reclaim."""
    try:
        counts = dict(line.split() for line in (folder / "memory.stat").read_text().splitlines())
        return int(counts.get("inactive_file", 0)) + int(counts.get("active_file", 0))
    except (OSError, ValueError):
        return 0


def parse_bytes(name: str, size: Any) -> int | None:
    """Return a number of bytes, given as such or as a string: "4000000000", "4GB" or "4G" (10^9), "4GiB" (2^30)."""
    if size is None:
        return None
    number: float | None = None
    if isinstance(size, str):
        found = re.fullmatch(r"\s*([0-9]*\.?[0-9]+)\s*(?:([kmgt])(i?)b?|b)?\s*", size.lower())
        if found:
            base = 1024 if found[3] else 1000
            number = float(found[1]) * base ** " kmgt".index(found[2] or " ")
    elif isinstance(size, float):  # such as 4e9
        number = size if size.is_integer() else None
    elif not isinstance(size, bool):
        with contextlib.suppress(TypeError):
            number = operator.index(size)
    if number is None or number < 1:
        raise refusal(
            ValueError,
            f'{parameter(name)} must be a number of bytes, or a string such as "4GB" or "500M", got {size!r}',
        )
    return round(number)


def human_bytes(size: float, *, up: bool = False) -> str:
    """Return a number of bytes with a unit and three digits; `up`: rounded up, so that as a limit it is enough."""
    whole = math.ceil(size)
    step = 10 ** max(0, len(str(whole)) - 3)
    whole = step * (-(-whole // step) if up else round(size / step))
    for unit, name in ((1e12, "TB"), (1e9, "GB"), (1e6, "MB"), (1e3, "kB")):
        if whole >= unit:
            return f"{whole / unit:.12g} {name}"
    return f"{whole} bytes"
