"""What a benchmark ran on."""

from __future__ import annotations

import os
import platform
from importlib.metadata import version
from pathlib import Path

import numpy as np

from alternant import backend_info


def cpu_name() -> str:
    """Return the CPU's name."""
    info = Path("/proc/cpuinfo")
    if info.exists():
        for line in info.read_text().splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    return platform.processor()


def print_machine(threads: int | None, *peers: str) -> None:
    """Print CPU, threads and versions."""
    info = backend_info()
    versions = "".join(f", {peer} {version(peer)}" for peer in peers)
    print(f"{cpu_name()}, {threads or info['threads']} threads; alternant {version('alternant')} ({info['backend']}, "
          f"{info['simd']}, {info['compiler']}){versions}, NumPy {np.__version__}, Python {platform.python_version()}, "
          f"{', '.join(info['blas'])}")  # fmt: skip
    if "OPENBLAS_CORETYPE" in os.environ:
        print("note: OPENBLAS_CORETYPE is set")
