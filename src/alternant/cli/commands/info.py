"""``alternant info``: what runs here, or what a model file holds."""

from __future__ import annotations

import json
import textwrap
from typing import TYPE_CHECKING, Any

from ... import __version__
from ...kernels import backend_info
from ..inputs import load_model
from ..printing import print_json, short
from ..summary import summary

if TYPE_CHECKING:
    import argparse

HELP = "show what runs here (backend, threads, BLAS), or what a model file holds"
EXAMPLE = "info model.safetensors"
WIDTH = 80


def add_options(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument("model_file", nargs="?", metavar="MODEL", help="a saved model")
    parser.add_argument("--json", action="store_true", help="print JSON")


def run(arguments: argparse.Namespace) -> None:
    """Describe the model file or, without one, the installation."""
    (_print_backend if arguments.model_file is None else _print_model)(arguments)


def _print_model(arguments: argparse.Namespace) -> None:
    facts = summary(load_model(arguments))
    if arguments.json:
        print_json(facts)
        return
    for name, value in facts.items():
        texts = [f"{key} {short(part)}" for key, part in value.items()] if isinstance(value, dict) else [short(value)]
        print(f"{name:<14}" + f"\n{'':14}".join(texts or ["-"]))


def _print_backend(arguments: argparse.Namespace) -> None:
    info = {"alternant": __version__, **backend_info()}
    if arguments.json:
        print(json.dumps(info, indent=2))
        return
    margin = max(map(len, info)) + 2
    for name, value in info.items():
        lines = [
            line
            for text in _texts(value)
            for line in textwrap.wrap(text, WIDTH - margin, subsequent_indent="  ") or [""]
        ]
        print(f"{name:<{margin}}" + f"\n{'':{margin}}".join(lines))


def _texts(value: Any) -> list[str]:
    """Return the lines to print for a value: at least one for each item of a list or dictionary."""
    if isinstance(value, dict):
        margin = max(map(len, value), default=0) + 2
        return [f"{name:<{margin}}{text}" for name, part in value.items() for text in _texts(part)]
    if isinstance(value, list):
        return [text for part in value for text in _texts(part)] or ["-"]
    if value is None:
        return ["-"]
    return [("no", "yes")[value] if isinstance(value, bool) else str(value)]
