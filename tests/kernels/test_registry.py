"""Backends: which one runs, why another can't, how to name one. Each fresh choice is made in a process of its own."""

import importlib
import inspect
import os
import subprocess
import sys
import warnings

import pytest

import alternant
from alternant.kernels import _registry, active_backend, available_backends, backend_info, get_backend, use_backend

BLOCK_NUMBA = "import sys; sys.modules['numba'] = None\n"
BLOCK_CYTHON = """
import importlib.util as util
find = util.find_spec
util.find_spec = lambda name, package=None: None if name == "alternant.kernels._cpu" else find(name, package)
"""
NAME = "from alternant.kernels import active_backend; print(active_backend().name, active_backend().simd)"


def python(code, **environment):
    """Run code in a new process and return what happened."""
    clean = {name: value for name, value in os.environ.items() if not name.startswith("ALTERNANT_")}
    return subprocess.run(
        [sys.executable, "-W", "error", "-c", code], env=clean | environment, capture_output=True, text=True,
        check=False, timeout=120,
    )  # fmt: skip


def available(name):
    reason = available_backends()[name]
    if reason:
        pytest.skip(f"the {name} backend can't run here: {reason}")


@pytest.mark.parametrize("name", _registry.BACKENDS)
def test_the_environment_names_the_backend(name):
    available(name)
    assert python(NAME, ALTERNANT_BACKEND=name).stdout.split()[0] == name


def test_auto_takes_cython_then_numba_then_numpy_with_a_warning():
    for name in ("cython", "numba"):
        available(name)
    assert python(NAME).stdout.split()[0] == "cython"
    assert python(BLOCK_CYTHON + NAME).stdout.split()[0] == "numba"
    loud = "import warnings; warnings.simplefilter('always')\n"
    last = python(BLOCK_CYTHON + BLOCK_NUMBA + loud + NAME + "\n" + NAME)
    assert last.stdout.split() == ["numpy", "None"] * 2
    assert last.stderr.count("RuntimeWarning") == 1, "it warns once"
    assert "without a C compiler" in last.stderr
    assert "numba" in last.stderr


def test_a_named_numpy_does_not_warn():
    done = python(BLOCK_CYTHON + BLOCK_NUMBA + NAME, ALTERNANT_BACKEND="numpy")
    assert (done.stdout.split()[0], done.stderr) == ("numpy", "")


def test_a_named_backend_that_cannot_run_raises_with_the_reason():
    done = python(BLOCK_CYTHON + NAME, ALTERNANT_BACKEND="cython")
    assert "BackendUnavailableError: the cython backend can't run here: this installation has no" in done.stderr
    done = python(BLOCK_NUMBA + NAME, ALTERNANT_BACKEND="numba")
    assert "BackendUnavailableError: the numba backend can't run here" in done.stderr
    assert "pip install 'alternant[numba]'" in done.stderr


def test_an_unknown_backend_is_refused_wherever_it_is_named():
    message = "backend must be one of auto, cython, numba, numpy, got 'fortran'"
    with pytest.raises(ValueError, match=message):
        get_backend("fortran")
    with pytest.raises(ValueError, match=message):
        alternant.set_backend("fortran")
    with pytest.raises(ValueError, match=message), use_backend("fortran"):
        pass
    assert message in python(NAME, ALTERNANT_BACKEND="fortran").stderr


def test_use_backend_ends_with_its_block_and_wins_over_set_backend(monkeypatch):
    monkeypatch.delenv("ALTERNANT_BACKEND", raising=False)
    before = active_backend().name
    try:
        with use_backend("numpy") as backend:
            assert backend.name == active_backend().name == "numpy"
        assert active_backend().name == before
        alternant.set_backend("numpy")
        assert active_backend().name == "numpy"
        with use_backend("auto"):
            assert active_backend().name == before
    finally:
        alternant.set_backend("auto")


@pytest.mark.parametrize("level", _registry.SIMD_LEVELS)
def test_the_environment_names_the_simd_level_or_hears_why_not(level):
    available("cython")
    from alternant.kernels import _cpu  # only where there are compiled kernels

    done = python(NAME, ALTERNANT_SIMD=level, ALTERNANT_BACKEND="cython")
    if level in _cpu.simd_levels() and level in _registry.built_levels():
        assert done.stdout.split() == ["cython", level]
    else:
        assert "does not support" in done.stderr or "was built without the SIMD level" in done.stderr


def test_the_best_simd_level_is_taken_and_an_unknown_one_refused():
    available("cython")
    from alternant.kernels import _cpu  # only where there are compiled kernels

    built = [level for level in _cpu.simd_levels() if level in _registry.built_levels()]
    assert python(NAME).stdout.split() == ["cython", built[0]]
    done = python(NAME, ALTERNANT_SIMD="sse9", ALTERNANT_BACKEND="cython")
    assert "ALTERNANT_SIMD must be one of avx512, avx2, baseline, got 'sse9'" in done.stderr
    done = python(NAME, ALTERNANT_SIMD="AVX2")
    assert "ALTERNANT_SIMD must be one of avx512, avx2, baseline, got 'AVX2'" in done.stderr, "also where auto chooses"


def test_backend_info_tells_what_runs():
    info = backend_info()
    assert info["backend"] == active_backend().name
    assert info["threads"] >= 1
    assert set(info["backends"]) == {"cython", "numba", "numpy"}
    assert info["backends"]["numpy"] == "available"
    assert isinstance(info["blas"], list)
    if info["backend"] == "cython":
        assert info["simd"] in _registry.SIMD_LEVELS
        assert info["compiler"]


def test_a_compiled_module_that_does_not_load_is_a_reason_not_a_crash():
    available("cython")
    broken = """
import importlib, sys
real = importlib.import_module
def fail(name, package=None):
    if name.endswith("als_cython"):
        raise ImportError("libgomp.so.1: cannot open shared object file")
    return real(name, package)
importlib.import_module = fail
from alternant.kernels import available_backends
print(available_backends()["cython"])
"""
    assert python(broken).stdout.strip() == (
        "its compiled modules do not load: libgomp.so.1: cannot open shared object file"
    )


def test_kernels_built_for_levels_that_the_cpu_lacks_are_a_reason_that_says_so(monkeypatch):
    available("cython")
    from alternant.kernels import _cpu  # only where there are compiled kernels

    monkeypatch.delenv("ALTERNANT_SIMD", raising=False)
    monkeypatch.setattr(_registry, "built_levels", lambda: ("avx512", "avx2"))
    monkeypatch.setattr(_cpu, "simd_levels", lambda: ("baseline",))
    assert _registry._load_cython() == (
        "its kernels were built only for avx512, avx2, which this CPU or operating system does not support; "
        "build them again with ALTERNANT_LEVELS=baseline"
    )
    monkeypatch.setattr(_registry, "built_levels", lambda: ("avx2",))
    monkeypatch.setattr(_cpu, "simd_levels", lambda: ("avx512", "avx2", "baseline"))
    monkeypatch.setenv("ALTERNANT_SIMD", "baseline")
    assert _registry._load_cython() == "this installation was built without the SIMD level baseline"


def test_every_public_function_of_a_family_is_registered():
    for family in set(_registry.KERNELS.values()):
        module = importlib.import_module(f"alternant.kernels.{family}")
        functions = [value for value in vars(module).values() if inspect.isfunction(value)]
        own = [function for function in functions if function.__module__ == module.__name__]
        public = {function.__name__ for function in own if not function.__name__.startswith("_")}
        assert public == {name for name, of in _registry.KERNELS.items() if of == family}


def test_a_backend_without_every_kernel_is_refused():
    complete = {name: getattr(get_backend("numpy"), name) for name in _registry.KERNELS}
    _registry.Backend("numpy", None, complete)
    del complete["top_k"]
    with pytest.raises(TypeError, match="the numpy backend must have every kernel, but lacks top_k"):
        _registry.Backend("numpy", None, complete)


def test_importing_the_package_does_not_import_numba():
    """It takes a second; only the numba backend pays it."""
    assert python("import sys, alternant; print('numba' in sys.modules)").stdout.strip() == "False"


def test_choosing_a_backend_that_works_is_silent():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert get_backend("auto").name in _registry.BACKENDS
