"""The subcommands of ``alternant``, one per module: each declares its options and prints its result to stdout."""

from . import demo, evaluate, explain, fit, info, ingest, plan, recommend, similar

COMMANDS = {
    "demo": demo, "fit": fit, "recommend": recommend, "similar": similar, "explain": explain, "evaluate": evaluate,
    "info": info, "ingest": ingest, "plan": plan,
}  # fmt: skip

__all__ = ["COMMANDS"]
