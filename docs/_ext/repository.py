"""Pages that live elsewhere in the repository, and links out of `docs`.

CHANGELOG.md, CONTRIBUTING.md and the pages of benchmarks are copied into docs/repository before each build, so that
there is one text of each. All pages are written for GitHub: a relative link to another page becomes one to its copy,
and a link to a file that is not a page leads to the repository at ALTERNANT_URL, or is left out if that is not set.
"""

from __future__ import annotations

import os
import re
import shutil
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sphinx.application import Sphinx

ROOT = Path(__file__).resolve().parents[2]
COPIED = ("CHANGELOG.md", "CONTRIBUTING.md", "benchmarks/*.md", "benchmarks/results/*.md", "benchmarks/results/*.png")
CODE, LABEL = r"```.*?```|`[^`\n]+`", r"(!?)\[((?:[^\[\]]|\[[^\[\]]*\])*)\]"
TARGET = r"\((?![a-z]+:|#)([^)\s#]+)(#[^)\s]*)?\)"
LINK = re.compile(f"{CODE}|{LABEL}{TARGET}", re.DOTALL)


def copied() -> list[Path]:
    """Return the files that become pages, relative to the repository."""
    return [path.relative_to(ROOT) for pattern in COPIED for path in sorted(ROOT.glob(pattern))]


def copy(app: Sphinx, config: object) -> None:
    """Copy the pages, if they have changed."""
    folder = Path(app.srcdir, "repository")
    wanted = {folder / path: ROOT / path for path in copied()}
    for old in [path for path in folder.rglob("*") if path.is_file() and path not in wanted]:
        old.unlink()
    for target, source in wanted.items():
        if not target.exists() or target.read_bytes() != source.read_bytes():
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(source, target)


def place_of(name: str) -> PurePosixPath:
    """Return where the file behind a page of Sphinx is in the repository."""
    path = PurePosixPath(name)
    return PurePosixPath(*path.parts[1:]) if path.parts[0] == "repository" else "docs" / path


def normal(path: PurePosixPath) -> PurePosixPath:
    """Resolve ``..``."""
    return PurePosixPath(os.path.normpath(path))


def redirected(page: PurePosixPath, target: str, url: str) -> str | None:
    """Return the target of a relative link as seen from the page of Sphinx, or None if there is none."""
    file = normal(place_of(f"{page}.md").parent / target)
    if file.parts[0] == "docs":
        new = PurePosixPath(*file.parts[1:])
    elif Path(file) in copied():
        new = "repository" / file
    else:
        return f"{url}/blob/main/{file}" if url else None
    return os.path.relpath(new, page.parent)


def relink(app: Sphinx, page: str, source: list[str]) -> None:
    """Redirect the relative links of a page."""
    url = os.environ.get("ALTERNANT_URL", "").rstrip("/")

    def new(found: re.Match[str]) -> str:
        mark, label, target, heading = found.groups()
        if target is None:  # code
            return found[0]
        place = redirected(PurePosixPath(page), target, url)
        return label if place is None else f"{mark}[{label}]({place}{heading or ''})"

    source[0] = LINK.sub(new, source[0])


def setup(app: Sphinx) -> dict[str, bool]:
    """Copy the pages before a build, and redirect links as they are read."""
    app.connect("config-inited", copy)
    app.connect("source-read", relink)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
