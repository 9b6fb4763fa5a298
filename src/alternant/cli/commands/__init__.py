"""The subcommands of ``alternant``, one per module: each declares its options and prints its result to stdout."""

from . import completion, demo, evaluate, explain, fit, info, ingest, plan, recommend, serve, similar

COMMANDS = {
    "demo": demo, "fit": fit, "recommend": recommend, "similar": similar, "explain": explain, "evaluate": evaluate,
    "serve": serve, "info": info, "ingest": ingest, "plan": plan, "completion": completion,
}  # fmt: skip

__all__ = ["COMMANDS"]
