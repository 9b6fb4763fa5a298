"""The choices that types name are those that are checked; CI checks the types themselves with check_types.py."""

import inspect
import re
from typing import get_args

import pytest
from every_model import every_model, name_of

from alternant import _typing
from alternant.data.pairs import AGGREGATES
from alternant.kernels._registry import BACKENDS
from alternant.models._bulk import UNKNOWN_USERS
from alternant.models._cold_start import METHODS
from alternant.models._parameters import AUTO


def named(function, parameter):
    annotation = inspect.signature(function).parameters[parameter].annotation
    return re.findall(r"['\"]([\w-]+)['\"]", annotation)


@pytest.mark.parametrize("model", every_model(), ids=name_of)
def test_constructors_and_cold_start(model):
    assert {name: sorted(named(type(model), name)) for name in model._choices} == {
        name: sorted(choices) for name, choices in model._choices.items()
    }
    assert named(model.cold_start, "method") == [AUTO, *METHODS]


def test_names_shared_by_several_functions():
    assert get_args(_typing.BackendName) == (AUTO, *BACKENDS)
    assert get_args(_typing.Aggregate) == AGGREGATES
    assert get_args(_typing.Unknown) == UNKNOWN_USERS
