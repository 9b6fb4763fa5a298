"""What all tests share: every implementation of the kernels that this machine can run, and both dtypes."""

import os

import numpy as np
import pytest

from alternant.kernels import _registry


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


@pytest.fixture(params=IMPLEMENTATIONS)
def kernels(request):
    """Each implementation of the kernels; one that can't run here is skipped with the reason."""
    found = IMPLEMENTATIONS[request.param]
    if isinstance(found, str):
        required = os.environ.get(f"ALTERNANT_TEST_REQUIRE_{request.param.split('-')[0].upper()}") == "1"
        if required and not found.startswith("this CPU does not support"):  # no installation helps against that
            pytest.fail(f"{request.param} is required here: {found}")
        pytest.skip(found)
    return found


@pytest.fixture(params=[np.float32, np.float64], ids=["float32", "float64"])
def dtype(request):
    """Both dtypes."""
    return request.param
