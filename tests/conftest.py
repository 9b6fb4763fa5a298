"""What all tests share: the implementations of the kernels, both dtypes, and which part of the products is run.

`pytest tests` runs the short suite: every test on every implementation, except for those marked `nightly`; all cases on
the Cython kernels in force, and on the others so many that any two values meet (support/pairwise.py). `pytest tests
--matrix` runs all of them on all.
"""

import os
from pathlib import Path

import hypothesis
import numpy as np
import pytest

if "PYTEST_XDIST_WORKER" in os.environ:  # before the first OpenMP runtime is loaded
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")  # threads that spin would keep the other worker waiting

from pairwise import covering, pairs

from alternant.kernels import _registry

QUIET = {"deadline": None, "suppress_health_check": [hypothesis.HealthCheck.function_scoped_fixture]}
hypothesis.settings.register_profile("short", max_examples=25, derandomize=True, **QUIET)
hypothesis.settings.register_profile("nightly", max_examples=300, **QUIET)
hypothesis.settings.load_profile("short")  # --hypothesis-profile=nightly


def _changed_since_the_build(folder):
    """Return the native source that is newer than all extension modules beside it, if there is one."""
    built = [path.stat().st_mtime for path in folder.iterdir() if path.suffix in (".so", ".pyd")]
    sources = [path for path in folder.rglob("*") if path.suffix in (".pyx", ".pxd", ".c", ".h")]  # not in a wheel
    newest = max(sources, key=lambda path: path.stat().st_mtime, default=None)
    return newest if built and newest and newest.stat().st_mtime > max(built) else None


def _implementations():
    """Yield (name, backend, or the reason why it can't run): NumPy, Numba, and Cython once per SIMD level."""
    yield "numpy", _registry.get_backend("numpy")
    yield "numba", _registry._load("numba")
    cython = _registry._load("cython")
    if isinstance(cython, str):
        yield "cython", cython
        return
    from alternant.kernels import _cpu  # only where there are compiled kernels

    for level in _registry.SIMD_LEVELS:
        if level not in _registry.built_levels():
            yield f"cython-{level}", f"this installation was built without the SIMD level {level}"
        elif level not in _cpu.simd_levels():
            yield f"cython-{level}", f"this CPU does not support the SIMD level {level}"
        else:
            yield f"cython-{level}", _registry.load_level(level)


IMPLEMENTATIONS = dict(_implementations())
IN_FORCE = getattr(_registry._load("cython"), "simd", None)  # the SIMD level
OTHER_LEVELS = frozenset(name for name in IMPLEMENTATIONS if name.startswith("cython-") and name[7:] != IN_FORCE)


def pytest_addoption(parser):
    parser.addoption("--matrix", action="store_true", help="run every implementation with every case")


def pytest_configure(config):
    if changed := _changed_since_the_build(Path(_registry.__file__).parent):
        raise pytest.UsageError(
            f"{changed.name} has changed since the kernels were built: python setup.py -q build_ext --inplace"
        )
    if config.getoption("dist", "no") == "load":  # what `pytest -n 2` means
        config.option.dist = "loadgroup"


def pytest_generate_tests(metafunc):
    if "kernels" in metafunc.fixturenames:
        against_numpy = metafunc.definition.get_closest_marker("against_numpy")
        names = [name for name in IMPLEMENTATIONS if name != "numpy" or not against_numpy]
        metafunc.parametrize("kernels", names, indirect=True)


@pytest.fixture
def kernels(request):
    """Each implementation of the kernels; one that can't run here is skipped with the reason."""
    return _available(request.param, IMPLEMENTATIONS[request.param])


@pytest.fixture(params=_registry.BACKENDS)
def backend(request):
    """The name of each backend, for what chooses one by name; Cython's SIMD level is the one in force."""
    _available(request.param, _registry._load(request.param))
    return request.param


def _available(name, found):
    if isinstance(found, str):
        required = os.environ.get(f"ALTERNANT_TEST_REQUIRE_{name.split('-')[0].upper()}") == "1"
        if required and not found.startswith("this CPU does not support"):  # no installation helps against that
            pytest.fail(f"{name} is required here: {found}")
        pytest.skip(found)
    return found


@pytest.fixture(params=[np.float32, np.float64], ids=["float32", "float64"])
def dtype(request):
    """Both dtypes."""
    return request.param


@pytest.hookimpl(tryfirst=True)  # before -k and -m choose among what is left
def pytest_collection_modifyitems(config, items):
    if config.pluginmanager.hasplugin("xdist"):
        for item in items:
            if "numba" in _values(item).values():  # one worker compiles for all
                item.add_marker(pytest.mark.xdist_group("numba"))
    if config.getoption("matrix") or any("::" in argument for argument in config.args):  # a test was asked for
        return
    tests, left_out = {}, {item for item in items if item.get_closest_marker("nightly")}
    for item in items:
        if item in left_out:
            continue
        if "kernels" in getattr(item, "fixturenames", ()) or item.get_closest_marker("pairwise"):
            tests.setdefault(item.nodeid.partition("[")[0], []).append(item)
    for cases in tests.values():
        cases = [item for item in cases if _values(item).get("kernels") != f"cython-{IN_FORCE}"]  # it is fast: all
        left_out.update(cases)
        cases = [item for item in cases if not _compiled_for_it_alone(item)]
        chosen = covering([_values(item) for item in cases], lambda case: pairs(case, OTHER_LEVELS))
        left_out.difference_update(cases[number] for number in chosen)
    config.hook.pytest_deselected(items=[item for item in items if item in left_out])
    items[:] = [item for item in items if item not in left_out]


def _compiled_for_it_alone(item):
    """Whether Numba would compile kernels for float64 or other types than most: compiling is half of what all cost.

    `.ci/run` runs the tests of the models, in both dtypes, on Numba.
    """
    values = _values(item)
    anew = values.get("dtype") is np.float64 or item.get_closest_marker("compiles_anew")
    return values.get("kernels") == "numba" and bool(anew)


def _values(item):
    """What a test is parametrized with, each value by itself or, where it can't be hashed, by which object it is."""
    params = item.callspec.params if hasattr(item, "callspec") else {}
    return {name: value if isinstance(value, (str, int, float, type)) else id(value) for name, value in params.items()}
