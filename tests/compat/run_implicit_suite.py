"""Run implicit's own tests of its CPU side against `alternant.compat.implicit`.

Their files are not part of this repository: FOLDER is a checkout of https://github.com/benfred/implicit at v0.7.3.

    git clone --depth 1 --branch v0.7.3 https://github.com/benfred/implicit FOLDER
    python tests/compat/run_implicit_suite.py FOLDER [pytest's options]
"""

from __future__ import annotations

import sys
import types
from importlib.util import find_spec
from pathlib import Path

import pytest

from alternant.compat import install

# Parts of test ids that are not run, and why.
LEFT_OUT = {
    "bpr_test.py": "there is no BPR model yet",
    "test_evaluate_movielens_100k": "it downloads MovieLens, which the stand-in refuses",
}
# Their files import these packages only to find out whether their own models can run, or to read downloads.
NOT_NEEDED = ("annoy", "faiss", "h5py", "nmslib")


class Selection:
    """A pytest plugin that leaves out the tests of `LEFT_OUT` and prints the reasons."""

    def pytest_collection_modifyitems(self, config: pytest.Config, items: list[pytest.Item]) -> None:
        left_out = [item for item in items if any(part in item.nodeid for part in LEFT_OUT)]
        config.hook.pytest_deselected(items=left_out)
        items[:] = [item for item in items if item not in left_out]
        self.counts = {part: sum(part in item.nodeid for item in left_out) for part in LEFT_OUT}

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        for part, reason in LEFT_OUT.items():
            terminalreporter.write_line(f"not run: {self.counts[part]} of {part}, since {reason}")


def main(arguments: list[str]) -> int:
    if not arguments or not (Path(arguments[0]) / "tests" / "als_test.py").is_file():
        sys.exit("usage: python tests/compat/run_implicit_suite.py FOLDER, a checkout of implicit's repository")
    install("implicit")
    for name in NOT_NEEDED:
        if find_spec(name) is None:
            sys.modules[name] = types.ModuleType(name)
    tests = sorted(map(str, (Path(arguments[0]) / "tests").glob("*_test.py")))
    tests = [path for path in tests if not path.endswith(("gpu_test.py", "recommender_base_test.py"))]
    options = ["-q", "-p", "no:cacheprovider", "-c", "/dev/null", "--rootdir", arguments[0], *arguments[1:]]
    return int(pytest.main([*options, *tests], plugins=[Selection()]))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
