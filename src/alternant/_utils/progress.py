"""Progress bars on stderr, drawn by tqdm."""

from __future__ import annotations

import sys
import warnings
from typing import Any, Self


class ProgressBar:
    """A bar of tqdm's, or none; a terminal that is closed meanwhile ends the bar, but not the work."""

    def __init__(self, bar: Any) -> None:
        self._bar = bar

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def update(self, n: float = 1) -> None:
        """Advance by `n`."""
        self._call("update", n)

    def set_postfix(self, values: dict[str, str]) -> None:
        """Set what stands behind the bar, from the next update on."""
        self._call("set_postfix", values, refresh=False)

    def close(self) -> None:
        """Draw the bar for the last time."""
        self._call("close")

    def _call(self, method: str, *args: Any, **options: Any) -> None:
        if self._bar is None:
            return
        try:
            getattr(self._bar, method)(*args, **options)
        except (OSError, ValueError):  # the file is closed
            self._bar.disable, self._bar = True, None


def progress_bar(total: float | None, show: bool | None, **options: Any) -> ProgressBar:
    """Return a bar on stderr or, in a notebook, a widget; `show` None: on a terminal and in a notebook only.

    tqdm itself takes a lock of all processes even for a bar that it does not draw, and starts a thread. Without the
    GIL, threads that fit models have waited for that lock forever.
    """
    stderr = sys.stderr  # None, closed, or any object with a method `write`
    try:
        if stderr is None or getattr(stderr, "closed", False) or show is False:
            return ProgressBar(None)
        notebook = _in_notebook()
        if show is None and not notebook and not (hasattr(stderr, "isatty") and stderr.isatty()):
            return ProgressBar(None)
        with warnings.catch_warnings():  # in a notebook without ipywidgets, the bar is text
            warnings.simplefilter("ignore")
            if notebook:
                from tqdm.auto import tqdm  # which imports asyncio
            else:
                from tqdm import tqdm  # its import takes as long as a small fit
            return ProgressBar(tqdm(total=total, **options))
    except (OSError, ValueError):
        return ProgressBar(None)


def _in_notebook() -> bool:
    """Whether the code runs in the kernel of a notebook."""
    ipython = sys.modules.get("IPython")
    shell = None if ipython is None else ipython.get_ipython()
    return shell is not None and "IPKernelApp" in shell.config
