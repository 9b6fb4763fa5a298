"""Which backends can run here, why the others can't, and which one is used."""

from __future__ import annotations

import contextvars
import functools
import importlib
import importlib.util
import os
import platform
import sys
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final, TypedDict

import threadpoolctl

from .._utils.threads import default_num_threads

if TYPE_CHECKING:
    from .._typing import BackendName
    from . import als, contrastive, dense, nnls, pairwise, ranks, sgd, sparse, topk

BACKENDS = ("cython", "numba", "numpy")  # in order of preference; numpy, which is always available, comes last
SIMD_LEVELS = ("avx512", "avx2", "baseline")  # best first
# The kernels and their families. A family's files are the contract (``als.py``) and one module per backend.
KERNELS = {
    "solve_rows": "als",
    "squared_error": "als",
    "normal_products": "als",
    "contrastive_epoch": "contrastive",
    "multiply": "dense",
    "gramian": "dense",
    "squared_norms": "dense",
    "solve_rows_nonnegative": "nnls",
    "draw_triples": "pairwise",
    "pairwise_epoch": "pairwise",
    "count_above": "ranks",
    "score_all": "ranks",
    "biased_epoch": "sgd",
    "cosine_epoch": "sgd",
    "logistic_epoch": "sgd",
    "sort_into_blocks": "sgd",
    "top_k_sparse": "sparse",
    "multiply_sparse": "sparse",
    "multiply_sparse_dense": "sparse",
    "top_k": "topk",
    "score_pairs": "topk",
}


class BackendInfo(TypedDict):
    """The description of `backend_info`."""

    backend: str
    simd: str | None
    openmp: int | None
    compiler: str | None
    threads: int
    blas: list[str]
    backends: dict[str, str]
    python: str
    platform: str


class BackendUnavailableError(ImportError):
    """The requested backend cannot run here; the message says why."""


class Backend:
    """A complete set of kernels, each of them an attribute, such as ``backend.solve_rows``."""

    if TYPE_CHECKING:  # the contract's signatures; a test checks that every backend has the same
        solve_rows: Final = staticmethod(als.solve_rows)
        squared_error: Final = staticmethod(als.squared_error)
        normal_products: Final = staticmethod(als.normal_products)
        contrastive_epoch: Final = staticmethod(contrastive.contrastive_epoch)
        multiply: Final = staticmethod(dense.multiply)
        gramian: Final = staticmethod(dense.gramian)
        squared_norms: Final = staticmethod(dense.squared_norms)
        solve_rows_nonnegative: Final = staticmethod(nnls.solve_rows_nonnegative)
        draw_triples: Final = staticmethod(pairwise.draw_triples)
        pairwise_epoch: Final = staticmethod(pairwise.pairwise_epoch)
        count_above: Final = staticmethod(ranks.count_above)
        score_all: Final = staticmethod(ranks.score_all)
        biased_epoch: Final = staticmethod(sgd.biased_epoch)
        cosine_epoch: Final = staticmethod(sgd.cosine_epoch)
        logistic_epoch: Final = staticmethod(sgd.logistic_epoch)
        sort_into_blocks: Final = staticmethod(sgd.sort_into_blocks)
        top_k_sparse: Final = staticmethod(sparse.top_k_sparse)
        multiply_sparse: Final = staticmethod(sparse.multiply_sparse)
        multiply_sparse_dense: Final = staticmethod(sparse.multiply_sparse_dense)
        top_k: Final = staticmethod(topk.top_k)
        score_pairs: Final = staticmethod(topk.score_pairs)

    def __init__(self, name: str, simd: str | None, kernels: Mapping[str, Callable[..., Any]]) -> None:
        if missing := KERNELS.keys() - kernels.keys():
            raise TypeError(f"the {name} backend must have every kernel, but lacks {', '.join(sorted(missing))}")
        self.name = name
        self.simd = simd  # SIMD level of the compiled kernels, or None
        for kernel in KERNELS:
            setattr(self, kernel, kernels[kernel])

    def __repr__(self) -> str:
        return f"Backend({self.name!r}, simd={self.simd!r})"


def get_backend(name: str = "auto") -> Backend:
    """Return the kernels of one backend.

    Parameters
    ----------
    name : {"auto", "cython", "numba", "numpy"}
        ``"auto"`` selects the first of the others that can run here, and warns once if that is NumPy.

    Raises
    ------
    BackendUnavailableError
        If the backend can't run here; the message says why.
    ValueError
        If there is no backend of that name.
    """
    if name == "auto":
        return _choose()
    if name not in BACKENDS:
        raise ValueError(f"backend must be one of auto, {', '.join(BACKENDS)}, got {name!r}")
    loaded = _load(name)
    if isinstance(loaded, str):
        raise BackendUnavailableError(f"the {name} backend can't run here: {loaded}")
    return loaded


def available_backends() -> dict[str, str | None]:
    """Map each backend's name to None, or to the reason why it can't run here."""
    return {name: loaded if isinstance(loaded := _load(name), str) else None for name in BACKENDS}


def set_backend(name: BackendName) -> None:
    """Use this backend from now on, in all threads (``"auto"``: the best one available)."""
    global _default
    get_backend(name)
    _default = name


@contextmanager
def use_backend(name: BackendName) -> Iterator[Backend]:
    """Use this backend inside a ``with`` block, in the current thread or task only."""
    backend = get_backend(name)
    token = _override.set(name)
    try:
        yield backend
    finally:
        _override.reset(token)


def active_backend() -> Backend:
    """Return the active backend: from `use_backend`, else `set_backend`, else ``ALTERNANT_BACKEND``, else the best."""
    return get_backend(_override.get() or _default or os.environ.get("ALTERNANT_BACKEND") or "auto")


_default: str | None = None
_override: contextvars.ContextVar[str | None] = contextvars.ContextVar("alternant_backend", default=None)


@functools.cache
def _choose() -> Backend:
    for name in BACKENDS[:-1]:
        loaded = _load(name)
        if isinstance(loaded, Backend):
            return loaded
        if name == "cython" and os.environ.get("ALTERNANT_SIMD"):  # requested explicitly: no silent fallback
            raise BackendUnavailableError(f"the cython backend can't run here: {loaded}")
    warnings.warn(
        "alternant runs on plain NumPy, hundreds of times slower than its native kernels: "
        f"cython: {_load('cython')}; numba: {_load('numba')}. Install a prebuilt wheel, a C compiler before "
        "installing from source, or numba; set ALTERNANT_BACKEND=numpy to choose NumPy without this warning",
        RuntimeWarning,
        stacklevel=3,
    )
    return get_backend("numpy")


@functools.cache
def _load(name: str) -> Backend | str:
    """Import a backend, or return the reason why it cannot run."""
    if name == "cython":
        try:
            return _load_cython()
        except ImportError as error:
            return f"its compiled modules do not load: {error}"
    if name == "numba":
        try:
            import numba  # noqa: F401
        except ImportError as error:
            return f"{error}; pip install 'alternant[numba]'"
    modules = _modules("reference" if name == "numpy" else name)
    return Backend(name, None, {kernel: getattr(modules[family], kernel) for kernel, family in KERNELS.items()})


def _load_cython() -> Backend | str:
    built = built_levels()
    if not built:
        return "this installation has no compiled kernels (it was built without a C compiler)"
    supported = importlib.import_module("alternant.kernels._cpu").simd_levels()
    forced = os.environ.get("ALTERNANT_SIMD")
    if forced and forced not in SIMD_LEVELS:
        return f"ALTERNANT_SIMD must be one of {', '.join(SIMD_LEVELS)}, got {forced!r}"
    if forced and forced not in supported:
        return f"ALTERNANT_SIMD={forced} asks for instructions this CPU or operating system does not support"
    if forced and forced not in built:
        return f"this installation was built without the SIMD level {forced}"
    usable = [level for level in built if level in supported]
    if not usable:
        return (
            f"its kernels were built only for {', '.join(built)}, which this CPU or operating system does not "
            "support; build them again with ALTERNANT_LEVELS=baseline"
        )
    return load_level(forced or usable[0])


def built_levels() -> tuple[str, ...]:
    """Return the SIMD levels of the compiled kernels, best first; empty if there are no compiled kernels."""
    if importlib.util.find_spec("alternant.kernels._cpu") is None:
        return ()
    built: tuple[str, ...] = importlib.import_module("alternant.kernels._cpu").built_levels()
    return built


def load_level(level: str) -> Backend:
    """Return the compiled kernels of one SIMD level, which this CPU must support."""
    with _waiting_threads_sleep():
        modules = _modules("cython")
    tables = {family: module.Kernels(level) for family, module in modules.items()}
    return Backend("cython", level, {kernel: getattr(tables[family], kernel) for kernel, family in KERNELS.items()})


@contextmanager
def _waiting_threads_sleep() -> Iterator[None]:
    """Have GNU OpenMP, if it is loaded in this block, put waiting threads to sleep after tens of microseconds.

    By default they spin for milliseconds. On cores that other work shares, they then keep the thread that they wait for
    from running: fits on two threads took five times as long. On idle cores, nothing changes. The runtime reads the
    variable once, when it is loaded; a setting of the user's is left alone.
    """
    if {"GOMP_SPINCOUNT", "OMP_WAIT_POLICY"} & os.environ.keys():
        yield
        return
    os.environ["GOMP_SPINCOUNT"] = "10000"
    try:
        yield
    finally:
        os.environ.pop("GOMP_SPINCOUNT", None)


def _modules(suffix: str) -> dict[str, Any]:
    return {family: importlib.import_module(f"alternant.kernels.{family}_{suffix}") for family in set(KERNELS.values())}


def backend_info() -> BackendInfo:
    """Describe the active backend, SIMD level, OpenMP, threads, BLAS, compiler, and why other backends can't run."""
    backend = active_backend()
    build = importlib.import_module("alternant.kernels._cpu").build_info() if backend.name == "cython" else {}
    return {
        "backend": backend.name,
        "simd": backend.simd,
        "openmp": build.get("openmp"),
        "compiler": build.get("compiler"),
        "threads": default_num_threads(),
        "blas": sorted({f"{lib['internal_api']} {lib['version']}" for lib in threadpoolctl.threadpool_info()
                        if lib["user_api"] == "blas"}),
        "backends": {name: reason or "available" for name, reason in available_backends().items()},
        "python": f"{platform.python_implementation()} {platform.python_version()}",
        "platform": f"{sys.platform} {platform.machine()}",
    }  # fmt: skip
