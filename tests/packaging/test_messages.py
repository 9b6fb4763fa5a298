"""Every message of the library is in the documentation, and the documentation quotes none that is never raised."""

import ast
import importlib.util
import re
import sys
from pathlib import Path

import pytest

DOCS = Path(__file__).parents[2] / "docs"
SOURCES = Path(__file__).parents[2] / "src" / "alternant"
if not (DOCS.is_dir() and SOURCES.is_dir()):
    pytest.skip("the documentation is not beside the tests (a wheel's test run)", allow_module_level=True)


@pytest.fixture(scope="module")
def catalogue():
    spec = importlib.util.spec_from_file_location("catalogue", DOCS / "_ext" / "catalogue.py")
    module = sys.modules["catalogue"] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    yield module
    del sys.modules["catalogue"]


def test_every_raise_is_in_the_catalogue(catalogue):
    files = catalogue.read()
    makers = set()  # functions that make errors, and errors that make their own messages
    for tree, reader in files:
        lines = {message.line for message in reader.found}
        for node in ast.walk(tree):
            if isinstance(node, ast.FunctionDef | ast.ClassDef) and lines & {*range(node.lineno, node.end_lineno + 1)}:
                makers.add(node.name)
    for _, reader in files:
        lines = {message.line for message in reader.found}
        for node in reader.raised:
            if not isinstance(node.exc, ast.Call) or lines & {*range(node.lineno, node.end_lineno + 1)}:
                continue
            words = [part.value for part in ast.walk(node.exc) if isinstance(getattr(part, "value", None), str)]
            name = ast.unparse(node.exc.func)
            # What is left has no words of its own: `raise KeyError(*names)`, which a caller catches.
            assert name in makers or not words or name == "about", f"{reader.file}:{node.lineno} {ast.unparse(node)}"


def test_the_catalogue_reads_what_there_is(catalogue):
    found = {(message.kind, message.template) for message in catalogue.messages()}
    assert len(found) > 600
    assert any("it looks transposed; pass" in template for _, template in found), "put together in steps"
    assert any(kind == "RuntimeWarning" and "plain NumPy" in template for kind, template in found)
    assert any(kind == "MemoryError" and "scratch space" in template for kind, template in found), "of Cython modules"


def _quoted():
    text = (DOCS / "troubleshooting.md").read_text(encoding="utf-8")
    return re.findall(r"```text\n(\w+): (.*?)\n```", text, re.DOTALL)


@pytest.mark.parametrize(("kind", "message"), _quoted(), ids=[message[-40:] for _, message in _quoted()])
def test_a_quoted_message_is_one_that_is_raised(catalogue, kind, message):
    assert any(one.makes(kind, message) for one in catalogue.messages())
