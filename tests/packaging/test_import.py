"""What an import loads."""

import subprocess
import sys

import alternant

SLOW = {
    "faiss", "hnswlib", "matplotlib", "numba", "optuna", "pandas", "polars", "pyarrow",
    "scipy.linalg", "scipy.sparse", "scipy.special", "sklearn", "tqdm", "usearch",
}  # fmt: skip


def test_an_import_loads_only_what_every_use_needs():
    code = "import sys, alternant; print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert "alternant.models.ease" in loaded
    assert not SLOW & set(loaded)


def test_the_version_is_that_of_the_package():
    assert alternant.__version__.startswith("0.")
    assert not hasattr(alternant, "version")
