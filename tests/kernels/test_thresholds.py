"""The thresholds of the compiled kernels are those of the others."""

import re
from pathlib import Path

import numpy as np
import pytest

from alternant.kernels import _thresholds

HEADER = Path(__file__).parents[2] / "src/alternant/kernels/simd/thresholds.h"


@pytest.mark.skipif(not HEADER.exists(), reason="the C sources are not beside the tests")
def test_the_header_has_the_numbers_of_the_module():
    found = {name: float(value) for name, value in re.findall(r"#define (\w+) (\S+)\n", HEADER.read_text())}
    expected = {}
    for name, value in vars(_thresholds).items():
        if name.isupper() and isinstance(value, dict):
            expected |= {f"{name}_F{8 * dtype.itemsize}": number for dtype, number in value.items()}
        elif name.isupper():
            expected[name] = float(value)
    assert found == expected
    assert np.dtype(np.float32) in _thresholds.ALS_SINGULAR
