"""The pages of docs/moving on bridges, and the modules whose libraries are not installed."""

import importlib.util
import re
import subprocess
import sys
from pathlib import Path

import pytest

PAGES = Path(__file__).parents[2] / "docs" / "moving"
# What the code of the pages imports besides alternant.
NEEDED = {
    "cmfrec": ["pandas"], "cornac": ["cornac"], "lightfm": [], "spark": ["pyarrow", "polars"],
    "surprise": ["surprise", "pandas"],
}  # fmt: skip


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


@pytest.mark.skipif(not PAGES.exists(), reason="the pages are not beside the tests (a wheel's test run)")
@pytest.mark.parametrize("library", NEEDED)
def test_the_code_of_the_page_runs(library, tmp_path):
    for name in NEEDED[library]:
        if importlib.util.find_spec(name) is None:
            pytest.skip(f"{'Surprise' if name == 'surprise' else name} is not installed")
    blocks = re.findall(r"```python\n(.*?)```", (PAGES / f"{library}.md").read_text(encoding="utf-8"), re.DOTALL)
    assert blocks
    done = subprocess.run(
        [sys.executable, "-c", "".join(blocks)], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
