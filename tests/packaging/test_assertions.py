"""Every test can fail: what no linter finds in the tests themselves."""

import ast
from pathlib import Path

import pytest

TESTS = Path(__file__).resolve().parents[1]
FILES = sorted(TESTS.glob("**/test_*.py"))


def faults(source):
    """What is wrong with the assertions of a file, as (line, what)."""
    tree = ast.parse(source)
    checking = {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef) and asserts(node, set())}
    for node in ast.walk(tree):
        if isinstance(node, ast.Assert) and isinstance(node.msg, ast.Compare | ast.BoolOp | ast.UnaryOp | ast.Tuple):
            yield node.lineno, "`assert a, b` looks at a alone: write `assert (a, b) == ...`, or two assertions"
        if isinstance(node, ast.Assert) and isinstance(node.test, ast.Tuple | ast.Constant | ast.JoinedStr):
            yield node.lineno, "this is always true or always false"
        if isinstance(node, ast.Compare):
            compared = [node.left, *node.comparators]
        else:
            compared = node.args if isinstance(node, ast.Call) and called(node).startswith("assert_") else []
        if len(compared) > 1 and same(*compared[:2]):
            yield node.lineno, "this compares something with itself"
        if isinstance(node, ast.FunctionDef) and node.name.startswith("test_") and not asserts(node, checking):
            yield node.lineno, f"{node.name} asserts nothing"


def same(one, other):
    """Whether two expressions are equal, and calls of no function, whose answers may differ."""
    calls = any(isinstance(node, ast.Call | ast.Constant) for node in ast.walk(one))
    return not calls and ast.dump(one) == ast.dump(other)


def called(node):
    """The last part of the name of what is called."""
    return getattr(node.func, "attr", getattr(node.func, "id", ""))


def asserts(function, checking):
    """Whether a function asserts something, itself or by calling one of those that do."""
    names = {called(node) for node in ast.walk(function) if isinstance(node, ast.Call)}
    return (
        any(isinstance(node, ast.Assert) for node in ast.walk(function))
        or any(name.startswith(("assert", "raises", "refuses", "warns")) or name in checking for name in names)
        or any(isinstance(node, ast.keyword) and node.arg == "check" for node in ast.walk(function))  # of a process
    )


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.relative_to(TESTS).as_posix())
def test_every_test_can_fail(file):
    assert [f"line {line}: {what}" for line, what in faults(file.read_text(encoding="utf-8"))] == []


@pytest.mark.parametrize(
    "line",
    [
        "assert x.shape, y.shape == (3, 4)", "assert (x, y)", "assert x.size == x.size", "assert x == x",
        "np.testing.assert_array_equal(x.rows, x.rows)", "run(x)", 'assert f"{x}"',
    ],
)  # fmt: skip
def test_a_test_that_cannot_fail_is_found(line):
    assert list(faults(f"def test_something(x, y):\n    {line}\n"))


def test_one_that_can_is_left_alone():
    helper = "def holds(x):\n    assert x\n\ndef test_something(x):\n    holds(x)\n    assert x == 1, f'{x}'\n"
    assert list(faults(helper + "    assert f(x) == f(x), 'again'\n")) == []
