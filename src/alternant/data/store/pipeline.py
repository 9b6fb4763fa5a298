"""A function applied to a stream in several threads, its results in order."""

from __future__ import annotations

import contextvars
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

from ..._utils.threads import default_num_threads

Argument = TypeVar("Argument")
Result = TypeVar("Result")


def workers() -> int:
    """Return the number of threads of a pipeline; more of them would need more memory, and wait for the disk."""
    return min(default_num_threads(), 8)


def in_order(
    function: Callable[[Argument], Result], arguments: Iterable[Argument], ahead: int = 1
) -> Iterator[Result]:
    """Yield the result for each argument, in order; `ahead` of them wait besides those that threads work on."""
    pending: deque[Future[Result]] = deque()
    with ThreadPoolExecutor(workers(), thread_name_prefix="alternant-store") as pool:
        try:
            for argument in arguments:
                pending.append(pool.submit(contextvars.copy_context().run, function, argument))
                if len(pending) >= workers() + ahead:
                    yield pending.popleft().result()
            while pending:
                yield pending.popleft().result()
        finally:
            for future in pending:
                future.cancel()
