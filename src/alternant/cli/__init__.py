"""The command ``alternant``."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["main"]


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and return the exit code of the process; see `alternant.cli.app.main`."""
    try:
        from .app import main as run  # here, so that Ctrl-C meanwhile is as quiet as later

        return run(argv)
    except KeyboardInterrupt:
        return 130
