"""Configuration of Sphinx: ``python -m sphinx -W --keep-going docs docs/_build/html``, with the extra ``docs``.

A build needs no network. ALTERNANT_URL, the address of the repository, makes links to files that are not pages.
"""

import inspect
import os
import sys
import tomllib
from pathlib import Path

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE / "_ext"))
PROJECT = tomllib.loads((HERE.parent / "pyproject.toml").read_text(encoding="utf-8"))["project"]

project = "alternant"
author = PROJECT["authors"][0]["name"]
copyright = author  # noqa: A001
version = release = PROJECT["version"]

extensions = [
    "myst_nb",
    "numpydoc",
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "sphinx.ext.githubpages",
    "mathml",
    "messages",
    "repository",
]
exclude_patterns = ["_build", "_ext", "_templates", "**.ipynb_checkpoints"]
templates_path = ["_templates"]

myst_enable_extensions = ["attrs_inline", "colon_fence", "deflist", "dollarmath", "substitution"]
myst_heading_anchors = 4  # links to headings, as on GitHub
myst_links_external_new_tab = False
nb_execution_mode = "auto"
nb_execution_raise_on_error = True
nb_execution_show_tb = True
nb_execution_timeout = 300  # seconds for a cell, on a busy machine
nb_merge_streams = True

default_role = "py:obj"
python_maximum_signature_line_length = 100
toc_object_entries_show_parents = "hide"
autosummary_generate = True
autodoc_mock_imports = ["cornac", "dask", "distributed", "surprise"]  # which the reference needs by name only
autodoc_typehints = "none"  # numpydoc's tables of parameters name the types
autodoc_member_order = "groupwise"
numpydoc_show_class_members = False
html_math_renderer = "mathml"

html_theme = "pydata_sphinx_theme"
html_title = f"alternant {version}"
html_static_path = ["_static"]
html_css_files = ["alternant.css"]
html_js_files = ["messages.js"]
html_show_sourcelink = False
html_copy_source = False
pygments_style = "tango"
highlight_language = "none"  # blocks say which language they are in, if any
URL = os.environ.get("ALTERNANT_URL", "").rstrip("/")
html_theme_options = {
    "github_url": URL,
    "navigation_with_keys": False,
    "show_prev_next": True,
    "secondary_sidebar_items": ["page-toc"],
    "header_links_before_dropdown": 9,
    "navbar_align": "left",
    "footer_start": ["copyright"],
    "footer_end": [],
}


def sign(app, what, name, obj, options, signature, returned):
    """Take the signature of a class from its constructor: Sphinx would take that of a `__new__` that passes all on."""
    if what != "class":
        return None
    parameters = [one.replace(annotation=one.empty) for one in inspect.signature(obj).parameters.values()]
    return str(inspect.Signature(parameters)), None


def setup(app):
    """Connect to the build."""
    app.connect("autodoc-process-signature", sign)
