"""Check the types that a user sees, where alternant is installed together with the extra `dev`.

    python tests/packaging/check_types.py [INTERPRETER]

The Python code of README and docs, the examples and user_types.py have no error under mypy --strict and basedpyright in
strict mode, and every public symbol has a known type. With INTERPRETER, the code of README, docs and examples is also
checked in its environment, such as one without the types of SciPy, in basedpyright's standard mode.
"""

import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).parents[2]
OPTIONS = {
    "reportUnnecessaryTypeIgnoreComment": "error",
    "reportUnusedExpression": "none",  # README shows values
    "reportDuplicateImport": "none",  # in blocks that can be read alone
    "reportPrivateUsage": "none",
    "reportUnknownMemberType": "none",  # of other libraries: those of alternant are known
}
UNTYPED = "^(import|from) (cornac|distributed|pandas|scipy|sklearn|surprise)"  # libraries without types of their own
SUMMARIES = ("Success", "0 errors", "Type completeness score")


def write_snippets(folder: Path) -> None:
    """Write the code of each page, as far as it has types, as a module, and the examples."""
    for page in (ROOT / "README.md", *(ROOT / "docs").glob("*.md"), *(ROOT / "docs").glob("moving/*.md")):
        blocks = re.findall(r"```python\n(.*?)```", page.read_text(encoding="utf-8"), re.DOTALL)
        code = [block for block in blocks if not re.search(UNTYPED, block, re.MULTILINE)]
        name = page.stem.replace("-", "_")
        (folder / f"page_{name}.py").write_text("\n".join(code), encoding="utf-8")
    for example in (ROOT / "examples").glob("*.py"):
        shutil.copy(example, folder)


def run(*command: str, folder: Path, python: str = sys.executable) -> bool:
    """Run a tool for an interpreter, the first one on its PATH, and return whether it found no error."""
    path = os.pathsep.join([str(Path(tool).parent) for tool in (python, sys.executable)] + [os.environ["PATH"]])
    tool = shutil.which(command[0], path=path)
    if tool is None:
        raise SystemExit(f"{command[0]} is not installed: pip install -e '.[dev]'")
    done = subprocess.run(
        [tool, *command[1:]], cwd=folder, env={**os.environ, "PATH": path}, capture_output=True, text=True, check=False
    )
    passed = done.returncode == 0
    shown = [line for line in done.stdout.splitlines() if not passed or line.startswith(SUMMARIES)]
    print(*shown, *done.stderr.splitlines(), sep="\n", flush=True)
    return passed


def main(others: list[str]) -> int:
    """Return 0 if there is no error."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_snippets(folder)
        passed = []
        for python, mode in [*((other, "standard") for other in others), (sys.executable, "strict")]:
            if mode == "strict":
                shutil.copy(ROOT / "tests" / "packaging" / "user_types.py", folder)
            (folder / "pyrightconfig.json").write_text(json.dumps({**OPTIONS, "typeCheckingMode": mode}))
            mypy = ("mypy", "--strict", "--allow-redefinition", "--python-executable", python, ".")
            passed.append(run(*mypy, folder=folder, python=python))
            passed.append(run("basedpyright", "--pythonpath", python, folder=folder, python=python))
        passed.append(run("basedpyright", "--ignoreexternal", "--verifytypes", "alternant", folder=folder))
    return 0 if all(passed) else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
