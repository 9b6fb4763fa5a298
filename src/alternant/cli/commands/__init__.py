"""The subcommands of ``alternant``, one a file: each declares its options and prints its result on stdout."""

from . import demo, evaluate, explain, fit, info, recommend, similar

COMMANDS = {
    "demo": demo, "fit": fit, "recommend": recommend, "similar": similar, "explain": explain, "evaluate": evaluate,
    "info": info,
}  # fmt: skip

__all__ = ["COMMANDS"]
