"""The documentation is true: the code of each page runs, and its commands do."""

import re
import shlex
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType

import pytest

from alternant.cli import main

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
# Gallery pages are run by the build, those on other libraries by tests/compat.
ELSEWHERE = {"sklearn.md"}  # by tests/models/test_sklearn_checks.py
NAMES = {"surprise": "Surprise", "sklearn": "scikit-learn"}
BLOCK = re.compile(r"^```(python|sh)\n(.*?)^```", re.DOTALL | re.MULTILINE)
# What the commands of pages read, unless the page has made it.
FILES = {
    "ratings.csv": "userId,movieId,rating\n" + "".join(
        f"{u},{1 + (u * j + j) % 9},{1 + (u + j) % 5}\n" for u in range(1, 13) for j in range(1, 6)
    ),
    "movies.csv": "movieId,title,genres\n" + "".join(
        f"{i},Film {i},{'Comedy|Drama' if i % 2 else 'Drama'}\n" for i in range(1, 10)
    ),
    "new_movies.csv": "movieId,title,genres\n10,Film 10,Comedy\n",
    "log.csv": "who,what,did\n" + "".join(f"u{n % 7},i{n % 5},{'purchase' if n % 3 else 'view'}\n" for n in range(40)),
}  # fmt: skip


def _pages():
    pages = [*DOCS.glob("*.md"), *DOCS.glob("models/*.md")]
    return [page for page in sorted(pages) if page.name not in ELSEWHERE and BLOCK.search(page.read_text("utf-8"))]


pytestmark = pytest.mark.skipif(not DOCS.is_dir(), reason="docs/ is not beside the tests (a wheel's test run)")


@pytest.mark.parametrize("page", _pages(), ids=lambda page: page.relative_to(DOCS).as_posix())
def test_the_code_of_a_page_runs(page, tmp_path, monkeypatch):
    blocks = BLOCK.findall(page.read_text(encoding="utf-8"))
    imported = re.findall(r"^\s*(?:from|import) (\w+)", "".join(code for _, code in blocks), re.MULTILINE)
    for name in dict.fromkeys(imported):
        if find_spec(name) is None:
            pytest.skip(f"{NAMES.get(name, name)} is not installed")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MPLBACKEND", "agg")
    for name, text in FILES.items():
        Path(name).write_text(text, encoding="utf-8")
    names = {}
    for language, code in blocks:
        if language == "python":
            exec(compile(code, page.name, "exec"), names)
            continue
        for line in code.replace("\\\n", " ").splitlines():
            command, *arguments = shlex.split(line, comments=True) or [""]
            if command == "alternant" and arguments[0] not in ("demo", "serve"):
                assert main(arguments) == 0, line


MODULES = ("", ".models", ".data", ".evaluation", ".tuning", ".plotting", ".datasets", ".kernels")


@pytest.mark.parametrize("module", MODULES)
def test_every_public_name_is_in_the_reference(module):
    page = (DOCS / "api" / "index.md").read_text(encoding="utf-8")
    listed = set(re.findall(r"^   (?:\w+\.)*(\w+)$", page, re.MULTILINE))
    exported = import_module(f"alternant{module}")
    names = {name for name in exported.__all__ if not isinstance(getattr(exported, name), ModuleType)}
    assert names <= listed, "add them to docs/api/index.md"
