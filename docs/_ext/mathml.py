"""Formulas as MathML, which browsers show without scripts and without a network."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from docutils import nodes
from latex2mathml.converter import convert

if TYPE_CHECKING:
    from sphinx.application import Sphinx
    from sphinx.writers.html5 import HTML5Translator


def mathml(latex: str, display: str = "inline") -> str:
    """Convert a formula; bars are those of absolute values and norms, without the space around an operator."""
    bar = r"<mo\b[^>]*>(&#x0007C;|&#x02016;|&#x02223;|\||\u2223|\u2016)</mo>"
    return re.sub(bar, r'<mo stretchy="false" lspace="0" rspace="0">\1</mo>', convert(latex, display=display))


def inline(self: HTML5Translator, node: nodes.math) -> None:
    """Write a formula within a line."""
    self.body.append(mathml(node.astext()))
    raise nodes.SkipNode


def block(self: HTML5Translator, node: nodes.math_block) -> None:
    """Write a formula on lines of its own, which scrolls if it is wider than the screen."""
    self.body.append(f'<div class="math-block">{mathml(node.astext(), "block")}</div>\n')
    raise nodes.SkipNode


def setup(app: Sphinx) -> dict[str, bool]:
    """Register the renderer."""
    app.add_html_math_renderer("mathml", (inline, None), (block, None))
    return {"parallel_read_safe": True, "parallel_write_safe": True}
