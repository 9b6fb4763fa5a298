"""``alternant demo``: watch a model being trained, and see what it recommends."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ...kernels._registry import BACKENDS
from ..demo import run_demo
from ..options import positive
from ..walkthrough import run_walkthrough

if TYPE_CHECKING:
    import argparse

HELP = "train on real visits to a web site, and show how good the recommendations are"
EXAMPLE = "demo"


def add_options(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument("--backend", choices=("auto", *BACKENDS), default="auto", help="kernels to use (default: auto)")
    parser.add_argument("--num-threads", type=positive, metavar="N", help="threads to use (default: all available)")
    text = "instead, watch alternating least squares solve 2 users and 2 items, number by number"
    parser.add_argument("--walkthrough", action="store_true", help=text)


def run(arguments: argparse.Namespace) -> None:
    """Run the demonstration or the walkthrough."""
    (run_walkthrough if arguments.walkthrough else run_demo)(arguments.backend, arguments.num_threads)
