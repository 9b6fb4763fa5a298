"""How many threads to use, and how to keep BLAS from adding its own."""

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
    """Number of threads this process may use: its affinity, its cgroup's CPU quota, and ``OMP_NUM_THREADS``."""
    affinity = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    requested = os.environ.get("OMP_NUM_THREADS", "").split(",")[0].strip()
    limits = [affinity, _cgroup_cpus()]
    if requested.isdecimal() and int(requested) > 0:
        limits.append(int(requested))
    return max(1, min(limits))


def resolve_num_threads(num_threads: int | None) -> int:
    """Turn the public `num_threads` (None: all that the process may use) into a number."""
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


def openmp_threads(num_threads: int) -> int:
    """Return `num_threads`, bounded, or 1 in a child forked from a process that has run OpenMP threads.

    Many more threads than cores only wait for each other: 128 on 2 cores took a third longer than 8.

    GNU's OpenMP runtime keeps its threads between parallel regions; a forked child inherits the bookkeeping without
    the threads and would wait for them forever.
    """
    global _openmp_owner
    num_threads = min(num_threads, MAX_THREADS, max(8, 4 * (os.cpu_count() or 1)))
    if num_threads > 1 and _openmp_owner is None:
        _openmp_owner = os.getpid()
    return num_threads if _openmp_owner in (None, os.getpid()) else 1


_openmp_owner: int | None = None  # the process whose OpenMP threads exist


@functools.cache
def _cgroup_cpus() -> int:
    """CPUs that the cgroup's quota grants, rounded up; a large number where there is no quota."""
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
    """Stands for an open block of `single_threaded_blas`."""


_limit_lock = threading.Lock()
_open_blocks: weakref.WeakSet[_Block] = weakref.WeakSet()  # one that Ctrl-C cut off vanishes by itself
_unlimited: list[tuple[Any, int]] | None = None  # the BLAS libraries and their numbers of threads, while limited


@contextmanager
def single_threaded_blas() -> Iterator[None]:
    """Limit BLAS to one thread inside the block.

    Inside a parallel region its threads would fight ours for the same cores, and a product's last bits may depend on
    its number of threads. The limit belongs to the process, so that overlapping blocks of several Python threads
    share it: the first one in sets it and the last one out lifts it.
    """
    global _unlimited
    block = _Block()
    try:  # around the entry too: Ctrl-C may come at any line, and must not leave BLAS at one thread
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
            except KeyboardInterrupt as error:  # it waits until the limit is lifted
                interruption = error
        if interruption is not None:
            raise interruption


def _lift_limit_in_child() -> None:
    """Lift the limit in a forked child: the threads whose blocks are open are not there to leave them."""
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

    Of long vectors it takes the product on all of its threads, which then go on spinning beside ours for 20 ms, and
    whose number changes the last bits.
    """
    return float(np.einsum("i,i->", weights, values, dtype=np.float64))


@functools.cache
def _blas_libraries() -> list[Any]:
    """Find the BLAS libraries of NumPy and SciPy, once: that takes a millisecond, longer than many a product."""
    import scipy.linalg.blas  # noqa: F401 - it loads SciPy's

    return list(threadpoolctl.ThreadpoolController().select(user_api="blas").lib_controllers)


@functools.lru_cache(maxsize=2)
def _pool(workers: int, process: int) -> ThreadPoolExecutor:  # noqa: ARG001 - a forked child needs threads of its own
    """Return threads that are kept from call to call: starting them takes longer than many a product."""
    return ThreadPoolExecutor(workers, thread_name_prefix="alternant")


def map_parallel(function: Callable[[Any], Any], arguments: Iterable[Any], num_threads: int) -> list[Any]:
    """Call `function` (which should release the GIL) on each argument, results in order; the caller works, too."""
    arguments = list(arguments)
    workers = min(num_threads, len(arguments), MAX_THREADS)
    if workers <= 1:
        return [function(argument) for argument in arguments]
    results: list[Any] = [None] * len(arguments)
    left = deque(range(len(arguments)))  # its methods are atomic
    errors: dict[int, Exception] = {}

    def work() -> None:
        while left:
            try:
                i = left.popleft()
            except IndexError:  # another thread was quicker
                return
            try:
                results[i] = function(arguments[i])
            except Exception as error:
                errors[i] = error
                left.clear()

    pool = _pool(min(num_threads, MAX_THREADS), os.getpid())
    # Each in a copy of the caller's context: what `use_backend` says there holds for its helpers too.
    others = [pool.submit(contextvars.copy_context().run, work) for _ in range(workers - 1)]
    try:
        work()
    finally:
        left.clear()  # on Ctrl-C
        wait([other for other in others if not other.cancel()])  # unless it has not begun
    if errors:
        raise errors[min(errors)]  # what came before has been called, so that it is always the same one
    return results
