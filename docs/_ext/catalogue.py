"""All messages that the library can raise or warn with, read from its sources.

tests/packaging/test_messages.py fails if a ``raise`` is not among them, and if a page quotes a message that is none of
them.
"""

from __future__ import annotations

import ast
import re
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

SOURCES = Path(__file__).resolve().parents[2] / "src" / "alternant"
GAP = "\N{HORIZONTAL ELLIPSIS}"  # what stands for a value in a template
# Functions whose first text is a message, and classes of errors; kinds of those that do not name one.
MADE_BY = {"warn": "warning", "warn_caller": "UserWarning", "FolderLock": "BlockingIOError"}
ERROR = re.compile(r"\w*(Error|Exception|Warning|Impossible|Exit)\Z|type\(\w+\)\Z")


@dataclass(frozen=True)
class Message:
    """A message as it is written in the source, with gaps for values."""

    kind: str
    template: str
    file: str
    line: int

    def makes(self, kind: str, text: str) -> bool:
        """Whether a message may be made of the template, and not only of what fills its gaps."""
        pattern = ".*".join(map(re.escape, self.template.split(GAP)))
        known = re.findall(r"[a-z]+", self.template)
        return kind == self.kind and len(known) > 3 and re.fullmatch(pattern, text, re.DOTALL) is not None


class Reader:
    """Collects the messages of a file."""

    def __init__(self, file: str, tree: ast.Module, constants: dict[str, list[ast.expr]]) -> None:
        self.file = file
        self.found: list[Message] = []
        self.raised: list[ast.Raise] = []
        # What a name may stand for, anywhere in the file: messages are put together in steps.
        statements = list(ast.walk(tree))
        self.values = {**constants, **_assigned(statements)}
        for node in statements:
            if isinstance(node, ast.Call):
                self._read(node)
            elif isinstance(node, ast.Raise):
                self.raised.append(node)
                if isinstance(node.exc, ast.Call) and re.match("_[A-Z]", ast.unparse(node.exc.func)):
                    self._read(node.exc, error=True)  # a private class, whatever its name

    def _read(self, node: ast.Call, error: bool = False) -> None:
        function = ast.unparse(node.func)
        name = function.rsplit(".", 1)[-1]
        if name == "refusal":
            self._add(node, ast.unparse(node.args[0]), node.args[1])
        elif name in ("about", "FolderLock"):
            self._add(node, MADE_BY.get(name, "error"), node.args[1])
        elif function == "super().__init__" or name in MADE_BY or error or ERROR.match(name):
            category = node.args[1] if name == "warn" and len(node.args) > 1 else None
            kind = MADE_BY.get(name, name) if category is None else ast.unparse(category)
            for argument in node.args[:2]:  # OSError(number, text)
                self._add(node, kind, argument)

    def _add(self, node: ast.Call, kind: str, text: ast.expr) -> None:
        kind = kind if re.fullmatch(r"[A-Z]\w+", kind) else "error"
        for template in dict.fromkeys(self._templates(text, 0)):
            if re.search(r"[a-z]{2}", template.replace(GAP, "")):
                template = re.sub(rf"({GAP}|{{!r}})+", GAP, template)
                self.found.append(Message(kind, template, self.file, node.lineno))

    def _templates(self, node: ast.expr, depth: int) -> list[str]:
        """Return the texts that an expression may be; other values than texts are gaps."""
        if isinstance(node, ast.Constant):
            return [node.value if isinstance(node.value, str) else str(node.value)]
        if isinstance(node, ast.JoinedStr):
            texts = [""]
            for part in node.values:
                new = self._templates(part, depth)
                texts = [before + after for before in texts for after in new][:8]
            return texts
        if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add):
            return [a + b for a in self._templates(node.left, depth) for b in self._templates(node.right, depth)][:8]
        if isinstance(node, ast.IfExp):
            return [*self._templates(node.body, depth), *self._templates(node.orelse, depth)][:8]
        if isinstance(node, ast.FormattedValue):
            value = node.value
            if isinstance(value, ast.Call) and ast.unparse(value.func) == "parameter":
                return ["".join([*self._templates(value.args[0], depth)[:1], f"={GAP}" if value.args[1:] else ""])]
            return self._templates(value, depth) if node.conversion == -1 and node.format_spec is None else [GAP]
        if isinstance(node, ast.Name) and depth < 3 and len(self.values.get(node.id, ())) in (1, 2, 3):
            texts = [text for value in self.values[node.id] for text in self._templates(value, depth + 1)]
            return texts if all(" " in text.strip() for text in texts) else [GAP]
        return [GAP]


def _assigned(statements: Iterable[ast.AST]) -> dict[str, list[ast.expr]]:
    """Return what is assigned to each name."""
    values: dict[str, list[ast.expr]] = {}
    for node in statements:
        if isinstance(node, ast.Assign):
            for target in node.targets:
                if isinstance(target, ast.Name):
                    values.setdefault(target.id, []).append(node.value)
    return values


@cache
def read() -> list[tuple[ast.Module, Reader]]:
    """Return the tree of each file of the library, and what it says."""
    trees = {path: ast.parse(path.read_text(encoding="utf-8")) for path in sorted(SOURCES.rglob("*.py"))}
    constants = _assigned(node for tree in trees.values() for node in tree.body)
    constants = {name: values for name, values in constants.items() if name.isupper()}
    return [(tree, Reader(path.relative_to(SOURCES).as_posix(), tree, constants)) for path, tree in trees.items()]


def compiled() -> Iterator[Message]:
    """Yield what the Cython modules say."""
    for path in sorted([*SOURCES.rglob("*.pyx"), *SOURCES.rglob("*.pxd")]):
        text = path.read_text(encoding="utf-8")
        for found in re.finditer(r'\b(\w+Error)\(f?"((?:[^"]|"\s*f?")*)"', text):
            template = re.sub(r"\{[^}]*\}", GAP, re.sub(r'"\s*f?"', "", found[2]))
            line = text[: found.start()].count("\n") + 1
            yield Message(found[1], template, path.relative_to(SOURCES).as_posix(), line)


@cache
def messages() -> list[Message]:
    """Return all messages, each once a file."""
    all_of_them = [*(one for _, reader in read() for one in reader.found), *compiled()]
    found = {(one.template, one.file): one for one in reversed(all_of_them)}
    return sorted(found.values(), key=lambda one: (one.file, one.line))
