"""Bad input gets one clear sentence and changes nothing."""

import re

import numpy as np
import pytest

from alternant.models import NotFittedError


def snapshot(value):
    """Everything an object holds, so that two snapshots are equal only if nothing has changed."""
    if isinstance(value, np.ndarray):
        return value.dtype.str, value.shape, value.flags.writeable, value.tobytes(), id(value)
    if isinstance(value, (dict, list, tuple)):
        inside = value.items() if isinstance(value, dict) else value
        return type(value), [snapshot(part) for part in inside]
    if hasattr(value, "__dict__") and not isinstance(value, type):
        return type(value), {name: snapshot(part) for name, part in vars(value).items()}
    return type(value), repr(value)


def refuses(error, pattern, call, *unchanged):
    """The call raises this class with one sentence that matches, and leaves everything as it was."""
    before = snapshot(unchanged)
    with pytest.raises(error) as caught:
        call()
    assert type(caught.value) is error or error is NotFittedError  # where scikit-learn is loaded, a subclass
    message = str(caught.value)
    assert re.search(pattern, message), message
    assert "\n" not in message
    assert not re.search(r"[.!] [A-Z]|\.$", message), f"more than one sentence: {message}"
    assert snapshot(unchanged) == before
