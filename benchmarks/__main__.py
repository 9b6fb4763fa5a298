"""Run one benchmark: ``python -m benchmarks COMMAND [options]``, from the root of a checkout."""

from __future__ import annotations

import importlib
import sys

COMMANDS = {  # the module that runs it, and what it measures
    "als": ("peers.weighted", "ALS on implicit feedback against other libraries"),
    "ratings": ("peers.ratings", "models of ratings against other libraries"),
    "sgd": ("peers.sgd", "models trained by gradient descent against other libraries and popularity"),
    "features": ("features.run", "features in the factorization: lists of new users and items, and what a fit costs"),
    "bridges": ("peers.bridges", "the modules of `alternant.compat` against what they stand for"),
    "lists": ("peers.lists", "lists of many users against implicit and faiss"),
    "compat": ("peers.compat", "the stand-in for implicit against implicit, call by call"),
    "accuracy": ("accuracy.table", "settings chosen on train, lists evaluated on published test splits"),
    "defaults": ("accuracy.choose_defaults", "default parameters against a search"),
    "nightly": ("accuracy.nightly", "ten nights of new events: `partial_fit` against fits of everything"),
    "tune-budget": ("accuracy.tune_budget", "what `tune` finds within 20 fits, against 200 trials"),
    "hold-outs": ("accuracy.hold_outs", "how well hold-outs of train rank settings, where times tell what comes next"),
    "events": ("accuracy.events", "what several kinds of events, their weights and a half-life add"),
    "roofline": ("profile.roofline", "the part of the machine's limits that ALS reaches"),
    "scaling": ("profile.scaling", "a fit on 1, 2 and 128 threads"),
    "memory": ("profile.memory", "what a fit adds to the memory of its process"),
    "precision": ("profile.precision", "fits in float32 against float64"),
    "read": ("profile.read_interactions", "ten million rows of a frame into `Interactions`"),
    "large": ("large.measure", "a fit from a store under a memory limit, and lists for all users"),
    "compare-runs": ("gate.compare_runs", "two revisions: fails where the second is slower"),
    "render": ("common.render", "write the tables of results/*.json into the pages of results"),
}


def main(arguments: list[str]) -> int:
    """Run a command; return its exit status."""
    name, *rest = arguments or ["--help"]
    if name in ("-h", "--help"):
        print("usage: python -m benchmarks COMMAND [options]; COMMAND --help says more\n")
        for command, (_, what) in COMMANDS.items():
            print(f"  {command:13} {what}")
        return 0
    if name not in COMMANDS:
        print(f"there is no benchmark {name!r}: choose from {', '.join(COMMANDS)}", file=sys.stderr)
        return 2
    return importlib.import_module(f"benchmarks.{COMMANDS[name][0]}").main(rest)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
