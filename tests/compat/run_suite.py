"""Run the tests of a library against the module of `alternant.compat` that stands in for it.

Their files are not part of this repository: FOLDER is a checkout of the library's.

    git clone --depth 1 --branch v0.7.3 https://github.com/benfred/implicit FOLDER
    python tests/compat/run_suite.py implicit FOLDER [pytest's options]
    git clone https://github.com/lyst/lightfm FOLDER
    python tests/compat/run_suite.py lightfm FOLDER [pytest's options]
"""

from __future__ import annotations

import sys
import types
from importlib.util import find_spec
from pathlib import Path

import pytest

from alternant.compat import install

# The files that are run, in the folder tests of a checkout.
FILES = {
    "implicit": (
        "als_test.py", "approximate_als_test.py", "bpr_test.py", "evaluation_test.py", "knn_test.py", "lmf_test.py",
    ),
    "lightfm": ("test_api.py", "test_data.py", "test_evaluation.py"),
}  # fmt: skip
# Parts of test ids that are not run, and why.
LEFT_OUT = {
    "implicit": {
        "test_evaluate_movielens_100k": "it downloads MovieLens, which the stand-in refuses",
    },
    "lightfm": {
        "test_param_sanity": "it expects an AssertionError, where the stand-in raises a ValueError",
        "test_sample_weight": "it ends with a model of the k-OS loss",
        "test_exception_on_divergence": "it expects a fit at a rate of 10,000,000 to diverge, which ours does not",
        "test_coo_with_duplicate_entries": "it fits a model of the k-OS loss, too",
    },
}
# Their files import these packages only to find out whether their own models can run, or to read downloads.
NOT_NEEDED = ("annoy", "faiss", "h5py", "nmslib")


class Selection:
    """A pytest plugin that leaves out some tests and prints the reasons."""

    def __init__(self, left_out: dict[str, str]) -> None:
        self.left_out = left_out
        self.counts = dict.fromkeys(left_out, 0)

    def pytest_collection_modifyitems(self, config: pytest.Config, items: list[pytest.Item]) -> None:
        left_out = [item for item in items if any(part in item.nodeid for part in self.left_out)]
        config.hook.pytest_deselected(items=left_out)
        items[:] = [item for item in items if item not in left_out]
        self.counts = {part: sum(part in item.nodeid for item in left_out) for part in self.left_out}

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        for part, reason in self.left_out.items():
            terminalreporter.write_line(f"not run: {self.counts[part]} of {part}, since {reason}")


def main(arguments: list[str]) -> int:
    if len(arguments) < 2 or arguments[0] not in FILES or not (Path(arguments[1]) / "tests").is_dir():
        sys.exit(f"usage: python tests/compat/run_suite.py {{{','.join(FILES)}}} FOLDER, a checkout of its repository")
    library, folder = arguments[0], Path(arguments[1])
    install(library)
    for name in NOT_NEEDED:
        if find_spec(name) is None:
            sys.modules[name] = types.ModuleType(name)
    tests = [str(folder / "tests" / name) for name in FILES[library]]
    options = ["-q", "-p", "no:cacheprovider", "-c", "/dev/null", "--rootdir", str(folder), *arguments[2:]]
    return int(pytest.main([*options, *tests], plugins=[Selection(LEFT_OUT[library])]))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
