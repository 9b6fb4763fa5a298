"""The number of threads, a thread pool, and a limit on the threads of BLAS."""

from __future__ import annotations

import contextvars
import functools
import math
import os
import threading
import weakref
from collections import deque
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import contextmanager
from operator import index
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import threadpoolctl

from .messages import parameter, refusal

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from numpy.typing import NDArray


MAX_THREADS = 512  # an upper bound; tens of thousands would exhaust stack memory


def default_num_threads() -> int:
    """Return the number of threads available to the process: by affinity, cgroup quota and ``OMP_NUM_THREADS``."""
    affinity = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    requested = os.environ.get("OMP_NUM_THREADS", "").split(",")[0].strip()
    limits = [affinity, _cgroup_cpus()]
    if requested.isdecimal() and int(requested) > 0:
        limits.append(int(requested))
    return max(1, min(limits))


def resolve_num_threads(num_threads: int | None) -> int:
    """Return the number of threads for the parameter `num_threads` (None: all that are available)."""
    if num_threads is None:
        return default_num_threads()
    try:
        number = index(num_threads)
    except TypeError:
        number = 0
    if number < 1 or isinstance(num_threads, bool):
        raise refusal(
            ValueError,
            f"{parameter('num_threads')} must be a whole number of at least 1, or None for all available, got "
            f"{num_threads!r}",
        )
    return number


def openmp_threads(num_threads: int | None, tasks: int) -> int:
    """Return the number of threads for so many tasks; 1 in a child forked from a process that has run OpenMP threads.

    Many more threads than cores only wait for each other: 128 on 2 cores took a third longer than 8.

    GNU's OpenMP runtime keeps its threads between parallel regions. A forked child inherits its bookkeeping, but not
    the threads, and would wait for them forever.
    """
    global _openmp_owner
    num_threads = min(resolve_num_threads(num_threads), tasks)
    if num_threads > 8:  # the number of CPUs is queried only then: that takes longer than a small kernel
        num_threads = min(num_threads, MAX_THREADS, max(8, 4 * (os.cpu_count() or 1)))
    if num_threads > 1 and _openmp_owner is None:
        _openmp_owner = os.getpid()
    return num_threads if _openmp_owner in (None, os.getpid()) else 1


_openmp_owner: int | None = None  # the process that started OpenMP threads


@functools.cache
def _cgroup_cpus() -> int:
    """Return the number of CPUs in the cgroup's quota, rounded up; a large number without a quota."""
    unlimited = 1 << 20
    try:
        quota, period = Path("/sys/fs/cgroup/cpu.max").read_text().split()  # cgroup v2
    except (OSError, ValueError):
        try:
            quota = Path("/sys/fs/cgroup/cpu/cpu.cfs_quota_us").read_text()  # cgroup v1
            period = Path("/sys/fs/cgroup/cpu/cpu.cfs_period_us").read_text()
        except OSError:
            return unlimited
    try:
        return max(1, math.ceil(int(quota) / int(period))) if int(quota) > 0 else unlimited
    except ValueError:  # "max"
        return unlimited


class _Block:
    """Represents an open block of `single_threaded_blas`."""


_limit_lock = threading.Lock()
_open_blocks: weakref.WeakSet[_Block] = weakref.WeakSet()  # weak: one interrupted by Ctrl-C removes itself
_unlimited: list[tuple[Any, int]] | None = None  # while limited: the BLAS libraries and their previous thread numbers


@contextmanager
def single_threaded_blas() -> Iterator[None]:
    """Limit BLAS to one thread inside the block.

    In a parallel region, BLAS threads would compete with ours for the same cores, and the last bits of a product may
    depend on their number. The limit is process-wide and shared by overlapping blocks of several Python threads: the
    first block sets it and the last one lifts it.
    """
    global _unlimited
    block = _Block()
    try:  # includes setting the limit: Ctrl-C at any line must not leave BLAS limited to one thread
        with _limit_lock:
            _open_blocks.add(block)
            if _unlimited is None:
                _unlimited = [(library, library.num_threads) for library in _blas_libraries()]
            for library, _ in _unlimited:
                library.set_num_threads(1)
        yield
    finally:
        interruption: KeyboardInterrupt | None = None
        while True:
            try:
                with _limit_lock:
                    _open_blocks.discard(block)
                    if not _open_blocks:
                        for library, number in _unlimited or ():
                            library.set_num_threads(number)
                        _unlimited = None
                break
            except KeyboardInterrupt as error:  # deferred until the limit is lifted
                interruption = error
        if interruption is not None:
            raise interruption


def _lift_limit_in_child() -> None:
    """Lift the limit in a forked child, which does not have the threads that would close open blocks."""
    global _limit_lock, _unlimited
    _limit_lock = threading.Lock()
    _open_blocks.clear()
    for library, number in _unlimited or ():
        library.set_num_threads(number)
    _unlimited = None


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_lift_limit_in_child)


def weighted_sum(weights: NDArray[Any], values: NDArray[Any]) -> float:
    """Return ``sum w_i v_i`` in float64, without BLAS.

    For long vectors, BLAS would use all of its threads, which keep spinning for another 20 ms, and whose number changes
    the last bits.
    """
    return float(np.einsum("i,i->", weights, values, dtype=np.float64))


@functools.cache
def _blas_libraries() -> list[Any]:
    """Return the BLAS libraries of NumPy and SciPy; cached, as finding them takes a millisecond."""
    import scipy.linalg.blas  # noqa: F401 - loads SciPy's BLAS

    return list(threadpoolctl.ThreadpoolController().select(user_api="blas").lib_controllers)


@functools.lru_cache(maxsize=2)
def _pool(workers: int, process: int) -> ThreadPoolExecutor:  # noqa: ARG001 - a forked child needs threads of its own
    """Return a thread pool that is kept from call to call: starting threads takes longer than many products."""
    return ThreadPoolExecutor(workers, thread_name_prefix="alternant")


def map_parallel(function: Callable[[Any], Any], arguments: Iterable[Any], num_threads: int) -> list[Any]:
    """Map `function` (which should release the GIL) over the arguments, with the caller as one of the threads."""
    arguments = list(arguments)
    workers = min(num_threads, len(arguments), MAX_THREADS)
    if workers <= 1:
        return [function(argument) for argument in arguments]
    results: list[Any] = [None] * len(arguments)
    remaining = deque(range(len(arguments)))  # its methods are atomic
    errors: dict[int, Exception] = {}

    def work() -> None:
        while remaining:
            try:
                i = remaining.popleft()
            except IndexError:  # another thread took the last one
                return
            try:
                results[i] = function(arguments[i])
            except Exception as error:
                errors[i] = error
                remaining.clear()

    pool = _pool(min(num_threads, MAX_THREADS), os.getpid())
    # Each thread gets a copy of the caller's context, so that `use_backend` applies to it, too.
    others = [pool.submit(contextvars.copy_context().run, work) for _ in range(workers - 1)]
    try:
        work()
    finally:
        remaining.clear()  # on Ctrl-C
        wait([other for other in others if not other.cancel()])  # those that have begun
    if errors:
        raise errors[min(errors)]  # deterministic: all arguments before the first failing one have been tried
    return results
