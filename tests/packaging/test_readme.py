"""The README is true: its code runs, its error is the one that is raised, its commands are there."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from alternant import ImplicitALS, datasets

ROOT = Path(__file__).parents[2]
README = ROOT / "README.md"
pytestmark = pytest.mark.skipif(not README.exists(), reason="README.md is not beside the tests (a wheel's test run)")


def test_its_code_runs(tmp_path, monkeypatch, capsys):
    for module in ("faiss", "matplotlib", "optuna", "polars", "pyarrow"):
        pytest.importorskip(module, reason="the README shows what the extras can do")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MPLBACKEND", "agg")
    names = {}
    for code in re.findall(r"```python\n(.*?)```", README.read_text(encoding="utf-8"), re.DOTALL):
        exec(compile(code, "README.md", "exec"), names)
    assert "Support" in capsys.readouterr().out, "it prints titles"
    assert (tmp_path / "visits.safetensors").exists()
    assert (tmp_path / "map.png").exists()


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
