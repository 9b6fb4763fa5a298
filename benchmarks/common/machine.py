"""The machine that a benchmark ran on."""

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


def machine_line(threads: int | None, *peers: str) -> str:
    """Return CPU, threads and versions."""
    info = backend_info()
    versions = "".join(f", {peer} {version(peer)}" for peer in peers)
    alternant = f"alternant {version('alternant')} ({info['backend']}, {info['simd']}, {info['compiler']})"
    line = (f"{cpu_name()}, {threads or info['threads']} threads; {alternant}{versions}, NumPy {np.__version__}, "
            f"Python {platform.python_version()}, {', '.join(info['blas'])}")  # fmt: skip
    return line + ("\nnote: OPENBLAS_CORETYPE is set" if "OPENBLAS_CORETYPE" in os.environ else "")

