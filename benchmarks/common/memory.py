"""The memory of a process."""

from __future__ import annotations

import contextlib
import os
import sys
from pathlib import Path


def peak() -> float:
    """Return the peak memory of this process in MB, including that of a JVM it started; 0 if unknown (Windows).

    On Linux, a new process inherits the peak of `getrusage` from its parent, but not that in /proc.
    """
    if (own := Path("/proc/self/status")).exists():
        return sum(_peak_in(status) for status in [own, *Path("/proc").glob("[0-9]*/status")])
    try:
        import resource
    except ImportError:
        return 0.0
    unit = 1 if sys.platform == "darwin" else 1024  # bytes or KiB
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 1e6


def _peak_in(status: Path) -> float:
    """Return the peak in a file of /proc if it belongs to this process or a child of it, else 0."""
    try:
        fields = dict(line.split(":", 1) for line in status.read_text().splitlines() if ":" in line)
    except OSError:  # the process has ended meanwhile
        return 0.0
    wanted = status.parent.name == "self" or int(fields["PPid"]) == os.getpid()
    return int(fields["VmHWM"].split()[0]) * 1024 / 1e6 if wanted and "VmHWM" in fields else 0.0


def forget_peak() -> None:
    """Reset the peak to the memory in use now, if the system can (Linux)."""
    with contextlib.suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")


def resident() -> int:
    """Return the bytes in memory now; Linux only."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
