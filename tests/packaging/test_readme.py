"""The README is true: its code runs, its error is the one that is raised, its commands are there."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from alternant import ImplicitALS, datasets
from alternant.models import MODELS

ROOT = Path(__file__).parents[2]
README = ROOT / "README.md"
pytestmark = pytest.mark.skipif(not README.exists(), reason="README.md is not beside the tests (a wheel's test run)")


def test_its_code_runs(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    for code in re.findall(r"```python\n(.*?)```", README.read_text(encoding="utf-8"), re.DOTALL):
        exec(compile(code, "README.md", "exec"), {})
    assert "Support" in capsys.readouterr().out, "it prints titles"
    assert (tmp_path / "visits.safetensors").exists()


def test_it_is_short():
    assert len(README.read_text(encoding="utf-8").splitlines()) <= 150, "write a page of docs/ instead"


def test_its_error_is_the_one_that_is_raised():
    (promised,) = re.findall(r"```\nValueError: (.*?)\n```", README.read_text(encoding="utf-8"))
    visits = datasets.load_msweb().interactions
    model = ImplicitALS(factors=4, iterations=1).fit(visits)
    with pytest.raises(ValueError, match=r"^" + re.escape(promised) + "$"):
        model.fold_in_users(visits.T)


@pytest.mark.skipif(sys.platform == "win32", reason="the script is for POSIX shells")
@pytest.mark.parametrize(("name", "end"), [("demo", "alternant demo"), ("test", "-m pytest -n 2 tests")])
def test_its_two_commands_are_found_by_ci(name, end):
    script = ROOT / ".ci" / "readme-command"
    if not script.exists():
        pytest.skip("an sdist does not contain .ci")
    done = subprocess.run([script, name], capture_output=True, text=True, check=True)
    assert done.stdout.count("\n") == 1
    assert done.stdout.rstrip().endswith(end)
    assert subprocess.run([script, "nothing"], capture_output=True, check=False).returncode == 1


def test_its_table_of_models_is_that_of_the_registry():
    rows = {
        f"| [`{cls.__name__}`](docs/models/{name}.md) | {cls.traits.learns_from} | {cls.traits.method} |"
        for name, cls in MODELS.items()
    }
    table = README.read_text(encoding="utf-8").partition("| model | learns from | by |\n|---|---|---|\n")[2]
    assert set(table.partition("\n\n")[0].split("\n")) == rows, "paste:\n" + "\n".join(sorted(rows))


def _pages():
    folders = [ROOT, *(ROOT / "docs" / name for name in (".", "models", "gallery", "moving", "api"))]
    folders += [ROOT / "benchmarks", ROOT / "benchmarks" / "results"]
    return [page for folder in folders for page in sorted(folder.glob("*.md"))]


@pytest.mark.parametrize("page", _pages(), ids=lambda page: page.relative_to(ROOT).as_posix())
def test_relative_links_lead_somewhere(page):
    if not (ROOT / "benchmarks").is_dir():
        pytest.skip("the benchmarks are not beside the tests")
    text = re.sub(r"```.*?```", "", page.read_text(encoding="utf-8"), flags=re.DOTALL)
    for link in re.findall(r"\]\(([^)\s]+)\)", text):
        target, _, heading = link.partition("#")
        if re.match(r"[a-z]+:", target):
            continue
        file = page.parent / target if target else page
        assert file.exists(), f"{page.name} links to {link}"
        if heading:
            titles = re.findall(r"^#+ (.*)$", file.read_text(encoding="utf-8"), re.MULTILINE)
            anchors = [re.sub(r"[^\w -]", "", title.lower()).replace(" ", "-") for title in titles]
            assert heading in anchors, f"{page.name} links to {link}"


def test_paths_of_benchmarks_named_in_the_sources_are_there():
    if not (ROOT / "benchmarks").is_dir():
        pytest.skip("the benchmarks are not beside the tests")
    for source in [*(ROOT / "src").rglob("*.py"), *(ROOT / "tests").rglob("*.py"), ROOT / ".ci" / "run"]:
        if source.exists():
            for path in re.findall(r"benchmarks/[\w/.-]*\w\.(?:md|py|json|png)", source.read_text(encoding="utf-8")):
                assert (ROOT / path).exists() or "bench_als.py::" in path, f"{source} names {path}"
