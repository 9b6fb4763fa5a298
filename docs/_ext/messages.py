"""``{messages}`` in a page: all messages of the library, by the part of it they come from."""

from __future__ import annotations

from typing import TYPE_CHECKING

from catalogue import messages
from docutils import nodes
from sphinx.util.docutils import SphinxDirective

if TYPE_CHECKING:
    from sphinx.application import Sphinx

TOPICS = {
    "Data": ("data/", "interactions.py"),
    "Models": ("models/", "planning.py"),
    "Numbers, threads and files": ("_utils/",),
    "Evaluation": ("evaluation/",),
    "Tuning": ("tuning/",),
    "Plots": ("plotting/",),
    "Approximate indexes": ("indexes.py",),
    "Kernels and backends": ("kernels/",),
    "Fits on several machines": ("distributed/",),
    "The page of alternant serve": ("serve/",),
    "Command line": ("cli/",),
    "Data sets": ("datasets/",),
    "Stand-ins and bridges": ("compat/",),
    "Other": ("",),
}


class Messages(SphinxDirective):
    """A list of all messages, by topic."""

    def run(self) -> list[nodes.Node]:
        """Return a section for each topic."""
        left, result = messages(), []
        left = list({(one.kind, one.template, one.file.split("/")[0]): one for one in left}.values())
        for topic, beginnings in TOPICS.items():
            here = [one for one in left if one.file.startswith(beginnings)]
            left = [one for one in left if one not in here]
            if here:
                section = nodes.section("", nodes.title(text=topic), ids=[nodes.make_id(f"messages-{topic}")])
                entries = nodes.bullet_list(classes=["messages"])
                for one in sorted(here, key=lambda one: one.template.lower()):
                    line = nodes.paragraph("", "", nodes.literal(text=one.template))
                    line += nodes.inline(text=f" {one.kind}", classes=["message-kind"])
                    entries += nodes.list_item("", line)
                section += entries
                result.append(section)
        return result


def setup(app: Sphinx) -> dict[str, bool]:
    """Register the directive."""
    app.add_directive("messages", Messages)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
