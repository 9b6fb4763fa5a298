"""Progress bars on stderr, drawn by tqdm."""

from __future__ import annotations

import sys
from typing import Any, Self


class _Hidden:
    """A bar that is not drawn."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def close(self) -> None:
        """Do nothing."""

    def update(self, n: float = 1) -> None:
        """Do nothing."""

    def set_postfix(self, values: dict[str, str], refresh: bool = True) -> None:
        """Do nothing."""


def progress_bar(total: float | None, show: bool | None, **options: Any) -> Any:
    """Return a bar of tqdm's with these options, a context manager; `show` None: on a terminal only.

    tqdm itself takes a lock of all processes even for a bar that it does not draw, and starts a thread. Without the
    GIL, threads that fit models have waited for that lock forever.
    """
    if show is None:
        show = sys.stderr is not None and sys.stderr.isatty()
    if not show:
        return _Hidden()
    from tqdm import tqdm  # its import takes as long as a small fit

    return tqdm(total=total, **options)
