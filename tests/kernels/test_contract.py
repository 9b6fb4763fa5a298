"""The contract: one signature in every implementation, and public functions that refuse what would crash a kernel."""

import ast
import inspect
import re
from pathlib import Path

import numpy as np
import pytest

from alternant import kernels
from alternant.kernels import _registry

FUNCTIONS = list(_registry.KERNELS)


@pytest.mark.parametrize("function", FUNCTIONS)
def test_names_order_and_defaults_of_arguments_are_equal_everywhere(backend, function):
    contract = inspect.signature(getattr(_registry.importlib.import_module("alternant.kernels"), function))
    implementation = inspect.signature(getattr(_registry.get_backend(backend), function))
    assert [(p.name, p.default, p.kind) for p in implementation.parameters.values()] == [
        (p.name, p.default, p.kind) for p in contract.parameters.values()
    ]


@pytest.mark.parametrize("family", sorted(set(_registry.KERNELS.values())))
def test_the_stub_of_a_compiled_module_names_its_kernels_and_their_contracts(family):
    stub = ast.parse((Path(kernels.__file__).parent / f"{family}_cython.pyi").read_text(encoding="utf-8"))
    (named,) = (node for node in stub.body if isinstance(node, ast.ClassDef))
    signatures = {node.target.id: ast.unparse(node.value) for node in named.body if isinstance(node, ast.AnnAssign)}
    assert signatures == {
        name: f"staticmethod(contract.{name})" for name, its in _registry.KERNELS.items() if its == family
    }
    assert f"from . import {family} as contract" in map(ast.unparse, stub.body)


@pytest.mark.parametrize("function", FUNCTIONS)
def test_the_one_canonical_docstring_is_the_contract_s(backend, function):
    assert inspect.getdoc(getattr(_registry.get_backend(backend), function)) == f"See `alternant.kernels.{function}`."


@pytest.mark.parametrize("function", FUNCTIONS)
def test_the_contract_documents_every_argument(function):
    documented = inspect.getdoc(getattr(kernels, function))
    for name in inspect.signature(getattr(kernels, function)).parameters:
        assert name in documented

NARROW = {"Y": np.ones((3, 2), np.float16)}


def arguments(dtype=np.float32):
    return {
        "indptr": np.array([0, 2, 3]),
        "indices": np.array([0, 2, 1], np.int32),
        "weight": np.ones(3, dtype),
        "target": np.ones(3, dtype),
        "Y": np.ones((3, 2), dtype),
        "diagonal": np.ones(2, dtype),
        "regularization": np.ones(2, dtype),
        "X": np.zeros((2, 2), dtype),
    }


def test_the_public_function_solves_with_the_backend_in_force():
    for backend in ("numpy", "auto"):
        given = arguments()
        with kernels.use_backend(backend):
            assert kernels.solve_rows(**given, method="cholesky") == 0
        # (1 + 1 + w |y|^2) by symmetry: x = n / (2 + 2 n) in both components
        np.testing.assert_allclose(given["X"], [[1 / 3, 1 / 3], [1 / 4, 1 / 4]], rtol=1e-6)


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"weight": np.ones(3)}, TypeError, "weight must be a float32 array, got a float64 array"),
        ({"weight": [1, 1, 1]}, TypeError, "weight must be a float32 array, got list"),
        ({"target": np.ones(2, np.float32)}, ValueError, "target must have length 3, got 2"),
        ({"target_scale": np.ones(2, np.float32)}, ValueError, "target_scale must have length 3, got 2"),
        ({"target_scale": np.ones(3)}, TypeError, "target_scale must be a float32 array, got a float64 array"),
        ({"target_scale": np.full(3, np.nan, np.float32)}, ValueError, "target_scale must be finite, got 3 values"),
        ({"linear": np.ones((3, 2), np.float32)}, ValueError, "linear must have one row for each of the 2 rows of X"),
        ({"linear": np.full((2, 2), np.nan, np.float32)}, ValueError, "linear must be finite, got 4 values"),
        ({"X": np.zeros((2, 3), np.float32)}, ValueError, "Y must have 3 columns"),
        ({"Y": np.ones((2, 3), np.float32).T}, ValueError, "Y must be in C order"),
        ({"indices": np.array([0, 3, 1], np.int32)}, ValueError, "indices must lie between 0 and 2, got 0 to 3"),
        ({"indices": np.array([0, -1, 1], np.int32)}, ValueError, "indices must lie between 0 and 2, got -1 to 1"),
        ({"indices": np.array([0, 1, 1], np.int16)}, TypeError, "indices must be an int32 or int64 array"),
        ({"indptr": np.array([0, 3, 2])}, ValueError, "indptr must not decrease, but does at row 1"),
        ({"indptr": np.array([0, 3, 4])}, ValueError, "indptr must lie between 0 and 3"),
        ({"indptr": np.array([0, 2, 3], np.int32)}, TypeError, "indptr must be an int64 array"),
        ({"regularization": np.ones((2, 1), np.float32)}, ValueError, "regularization must have 1 dimension, got 2"),
        ({"Y": np.full((3, 2), np.nan, np.float32)}, ValueError, "Y must be finite, got 6 values that are not"),
        ({"target": np.array([1, np.inf, 1], np.float32)}, ValueError, "target must be finite, got 1 values"),
        ({"X": np.zeros((2, 0), np.float32)}, ValueError, "X must have at least 1 column"),
        ({"method": "lu"}, ValueError, "method must be"),
        ({"tol": -1.0}, ValueError, "tol must be at least 0 and finite"),
        ({"tol": np.nan}, ValueError, "tol must be at least 0 and finite"),
        ({"max_steps": 0}, ValueError, "max_steps must be at least 1"),
        ({"num_threads": 0}, ValueError, "num_threads must be a whole number of at least 1"),
        ({"row_steps": np.zeros(2, np.int64)}, TypeError, "row_steps must be an int32 array"),
        ({"row_objective": np.zeros(3)}, ValueError, "row_objective must have shape"),
        ({"Y": np.ones((3, 2), np.int16)}, TypeError, "Y must be a float32 or float64 array, got an int16 array"),
        ({"Y": np.ones((3, 2), np.int64)}, TypeError, "Y must be a float32 or float64 array, got an int64 array"),
        ({"target": 1e39}, ValueError, "target must be finite in float32, got 1e+39"),
        ({"target": 10**400}, ValueError, "target must be finite, got 1000"),
        ({"target": np.nan}, ValueError, "target must be finite, got nan"),
        ({"target": True}, TypeError, "target must be a float32 array or a number, got bool"),
        ({"target": "1"}, TypeError, "target must be a float32 array or a number, got str"),
        ({"tol": "0.1"}, TypeError, "tol must be a number, got '0.1'"),
        ({"tol": None}, TypeError, "tol must be a number, got None"),
        ({"max_steps": 2.5}, TypeError, "max_steps must be a whole number, got 2.5"),
        ({"max_steps": None}, TypeError, "max_steps must be a whole number, got None"),
        ({"regularization": np.array([1, -0.5], np.float32)}, ValueError, "regularization must be 0 or more, got -0.5"),
        ({"diagonal": np.array([0.1, -0.5], np.float32)}, ValueError, "diagonal must be 0 or more, got -0.5"),
        (NARROW | {"X": np.zeros((2, 2))}, TypeError, "X must be a float32 array, got a float64 array"),
        (NARROW | {"X": np.zeros((2, 3), np.float32)}, ValueError, "Y must have 3 columns"),
        ({"Y": np.full((3, 2), np.inf, np.float16)}, ValueError, "Y must be finite"),
    ],
)
def test_the_public_function_refuses_what_would_crash_a_kernel(change, error, message):
    given = {**arguments(), **change}
    before = given["X"].copy()
    with pytest.raises(error, match=re.escape(message)):
        kernels.solve_rows(**given)
    np.testing.assert_array_equal(given["X"], before)


def test_an_output_that_is_read_only_is_refused():
    given = arguments()
    given["X"].flags.writeable = False
    with pytest.raises(ValueError, match="X is overwritten and must be writeable"):
        kernels.solve_rows(**given)


def test_solving_into_the_array_that_is_read_is_refused():
    given = arguments()
    given["X"] = given["Y"][:2]
    with pytest.raises(ValueError, match="while Y is read, but the two share memory: pass a copy"):
        kernels.solve_rows(**given)
    memory = np.ones(8)
    for output, read in (("row_objective", "regularization"), ("row_steps", "weight"), ("X", "weight")):
        given = arguments()
        shared = memory[:4].view(given[read].dtype)[: len(given[read])]
        kind = {"row_objective": np.float64, "row_steps": np.int32, "X": np.float32}[output]
        given[output] = memory[:2].view(kind)[: 4 if output == "X" else 2].reshape((2, 2) if output == "X" else 2)
        with pytest.raises(ValueError, match=f"{output} is overwritten while {read} is read"):
            kernels.solve_rows(**given | {read: shared})
    given = arguments() | {"row_objective": memory[:2], "row_steps": memory[:2].view(np.int32)[:2]}
    with pytest.raises(ValueError, match="row_steps and row_objective are both filled, but share memory"):
        kernels.solve_rows(**given)
    given = arguments() | {"Y": np.ones((4, 4), np.float16)}
    given["X"] = given["Y"].view(np.float32).reshape(2, 4)
    with pytest.raises(ValueError, match="while Y is read, but the two share memory: pass a copy"):
        kernels.solve_rows(**given | {"diagonal": np.ones(4, np.float32)})


def test_numbers_beyond_all_reason_are_cut_to_size(kernels):
    """A hundred thousand threads exhaust the memory for their stacks; a step limit need not fit in 32 bits."""
    given = arguments()
    X, rows = given.pop("X"), np.array([0, 1])
    assert kernels.solve_rows(**given, X=X, max_steps=2**40, num_threads=100_000) == 0
    del given["regularization"]
    assert np.isfinite(kernels.squared_error(**given, X=X, num_threads=2**31))
    kernels.score_pairs(rows, rows, X, given["Y"], np.empty(2, np.float32), 100_000)
    ids, scores = np.empty((2, 2), np.int32), np.empty((2, 2), np.float32)
    kernels.top_k(X, given["Y"], 2, None, None, ids, scores, 100_000)
    assert (ids >= 0).all()


def test_squared_error_and_score_pairs_refuse_bad_rows():
    given = arguments()
    del given["regularization"]
    assert kernels.squared_error(**given) == 0
    given["indices"] = np.array([0, 1, 9], np.int32)
    with pytest.raises(ValueError, match="indices must lie between 0 and 2"):
        kernels.squared_error(**given)
    X, out = np.ones((2, 3)), np.empty(1)
    kernels.score_pairs(np.array([1]), np.array([0]), X, X, out)
    assert out[0] == 3
    with pytest.raises(ValueError, match="rows must lie between 0 and 1, got 2 to 2"):
        kernels.score_pairs(np.array([2]), np.array([0]), X, X, out)
    with pytest.raises(ValueError, match="must have the same length, got 2 and 1"):
        kernels.score_pairs(np.array([1, 1]), np.array([0]), X, X, out)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"k": 0}, "k must be at least 1"),
        ({"candidates": np.array([3, 1])}, "candidates must be strictly ascending"),
        ({"candidates": np.array([1, 9])}, "candidates must lie between 0 and 4"),
        ({"exclude": (np.array([0, 2]), np.array([3, 1]))}, "sorted within each row"),
        ({"exclude": (np.array([0, 1]), np.array([5]))}, "indices must lie between 0 and 4"),
        ({"out_ids": np.empty((1, 3), np.int32)}, "out_ids must have shape"),
    ],
)
def test_top_k_refuses_bad_arguments(change, message):
    given = {
        "queries": np.ones((1, 2)), "items": np.ones((5, 2)), "k": 2, "exclude": None, "candidates": None,
        "out_ids": np.empty((1, 2), np.int32), "out_scores": np.empty((1, 2)),
    }  # fmt: skip
    kernels.top_k(**given)
    np.testing.assert_array_equal(given["out_ids"], [[0, 1]])
    with pytest.raises(ValueError, match=message):
        kernels.top_k(**{**given, **change})


def test_excluded_rows_are_checked_for_order_each_on_its_own():
    """Indices may fall from one row to the next, also across empty rows, but not within a row."""
    ids, scores = np.empty((4, 1), np.int32), np.empty((4, 1))
    indptr, indices = np.array([0, 2, 2, 4, 5]), np.array([3, 4, 0, 2, 1])
    kernels.top_k(np.ones((4, 1)), np.ones((5, 1)), 1, (indptr, indices), None, ids, scores)
    np.testing.assert_array_equal(ids[:, 0], [0, 0, 1, 0])
