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
from dataclasses import dataclass
from typing import Any

import threadpoolctl

from .._utils.threads import default_num_threads

BACKENDS = ("cython", "numba", "numpy")  # in order of preference
SIMD_LEVELS = ("avx512", "avx2", "baseline")  # best first
# The export line of a kernel: its family (the files ``als_*``) and its name.
FUNCTIONS = {
    "als": ("solve_rows", "squared_error"),
    "dense": ("multiply", "gramian", "squared_norms"),
    "nnls": ("solve_rows_nonnegative",),
    "ranks": ("count_above",),
    "sgd": ("biased_epoch", "cosine_epoch", "logistic_epoch", "sort_into_blocks"),
    "topk": ("top_k", "score_pairs"),
}


class BackendUnavailableError(ImportError):
    """A backend was named that can't run here; the message says why."""


@dataclass(frozen=True)
class Backend:
    """One complete set of kernels; each of them is an attribute, as ``backend.solve_rows``."""

    name: str
    functions: Mapping[str, Callable[..., Any]]
    simd: str | None = None
    build: dict[str, Any] | None = None

    def __getattr__(self, function: str) -> Callable[..., Any]:
        try:
            return self.__dict__["functions"][function]  # type: ignore[no-any-return]
        except KeyError:
            raise AttributeError(f"there is no kernel {function!r}") from None


def get_backend(name: str = "auto") -> Backend:
    """Return the kernels of one backend.

    Parameters
    ----------
    name : {"auto", "cython", "numba", "numpy"}
        ``"auto"`` is the first of the others that can run here; it warns once where that is NumPy.

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


def set_backend(name: str) -> None:
    """Use one backend from now on, in every thread (``"auto"``: the best one)."""
    global _default
    get_backend(name)
    _default = name


@contextmanager
def use_backend(name: str) -> Iterator[Backend]:
    """Use one backend inside a ``with`` block, in this thread or task only."""
    backend = get_backend(name)
    token = _override.set(name)
    try:
        yield backend
    finally:
        _override.reset(token)


def active_backend() -> Backend:
    """Return the backend in force: `use_backend`, else `set_backend`, else ``ALTERNANT_BACKEND``, else the best."""
    return get_backend(_override.get() or _default or os.environ.get("ALTERNANT_BACKEND") or "auto")


_default: str | None = None
_override: contextvars.ContextVar[str | None] = contextvars.ContextVar("alternant_backend", default=None)


@functools.cache
def _choose() -> Backend:
    for name in BACKENDS[:-1]:
        loaded = _load(name)
        if isinstance(loaded, Backend):
            return loaded
        if name == "cython" and os.environ.get("ALTERNANT_SIMD"):  # asked for by name: no silent substitute
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
    """Import a backend, or say why that is not possible."""
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
    suffix = "numba" if name == "numba" else "reference"
    return _assemble(name, "alternant.kernels", suffix)


def _load_cython() -> Backend | str:
    package = "alternant.kernels"
    if importlib.util.find_spec(f"{package}._cpu") is None:
        return "this installation has no compiled kernels (it was built without a C compiler)"
    supported = importlib.import_module(f"{package}._cpu").simd_levels()
    forced = os.environ.get("ALTERNANT_SIMD")
    if forced and forced not in SIMD_LEVELS:
        return f"ALTERNANT_SIMD must be one of {', '.join(SIMD_LEVELS)}, got {forced!r}"
    if forced and forced not in supported:
        return f"ALTERNANT_SIMD={forced} asks for instructions this CPU or operating system does not support"
    for level in [forced] if forced else SIMD_LEVELS:
        if level in supported and importlib.util.find_spec(f"{package}._{level}"):
            return _assemble("cython", f"{package}._{level}", "cython", simd=level)
    return f"this installation was built without the SIMD level {forced}" if forced else "no SIMD level was built"


def _assemble(name: str, package: str, suffix: str, simd: str | None = None) -> Backend:
    functions: dict[str, Any] = {}
    build: dict[str, Any] | None = None
    for family, names in FUNCTIONS.items():
        module = importlib.import_module(f"{package}.{family}_{suffix}")
        functions |= {function: getattr(module, function) for function in names}
        build = build or getattr(module, "build_info", lambda: None)()
    return Backend(name, functions, simd, build)


def backend_info() -> dict[str, Any]:
    """Tell what runs here: backend, SIMD level, OpenMP, threads, BLAS, compiler, and why other backends can't run."""
    backend = active_backend()
    build = backend.build or {}
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
