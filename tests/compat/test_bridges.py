"""docs/bridges.md, and the modules whose libraries are not installed."""

import importlib.util
import re
import subprocess
import sys
from pathlib import Path

import pytest

PAGE = Path(__file__).parents[2] / "docs" / "bridges.md"
# The sections of the page, and what their code imports besides alternant.
NEEDED = {"cornac": ["cornac"], "Surprise": ["surprise", "pandas"], "LightFM": [], "Spark": ["pyarrow", "polars"]}


@pytest.mark.parametrize(
    ("library", "module", "message"),
    [
        ("cornac", "cornac", "cornac, which is not installed: pip install cornac"),
        ("surprise", "surprise", "Surprise, which is not installed: pip install scikit-surprise"),
        ("pyarrow", "spark", 'pyarrow, which is not installed: pip install "alternant[files]"'),
    ],
)
def test_a_missing_library_is_named_in_one_sentence(library, module, message):
    code = f"import sys; sys.modules[{library!r}] = None; import alternant.compat.{module}"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.stderr.splitlines()[-1].startswith("ImportError: alternant.compat.")
    assert done.stderr.splitlines()[-1].endswith(message)


@pytest.mark.skipif(not PAGE.exists(), reason="the page is not beside the tests (a wheel's test run)")
@pytest.mark.parametrize("section", NEEDED)
def test_the_code_of_the_page_runs(section, tmp_path):
    for name in NEEDED[section]:
        if importlib.util.find_spec(name) is None:
            pytest.skip(f"{'Surprise' if name == 'surprise' else name} is not installed")
    text = PAGE.read_text(encoding="utf-8").partition(f"\n## {section}\n")[2].partition("\n## ")[0]
    blocks = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    assert blocks
    done = subprocess.run(
        [sys.executable, "-c", "".join(blocks)], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
