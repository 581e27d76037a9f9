"""Sphinx settings: ``sphinx-build -W docs OUT`` builds the site (extra ``docs``)."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent / "_ext"))

from endofm import __version__

project = "endofm"
author = "the endofm authors"
project_copyright = "the endofm authors"
version = release = __version__

extensions = [
    "myst_parser",
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "sphinx.ext.napoleon",
    "sphinx.ext.viewcode",
    "command_line",
    "repository_links",
]

# Markdown: tables and fences as on GitHub, anchors for links to headings.
myst_enable_extensions = ["colon_fence"]
myst_heading_anchors = 3

# API pages are generated from docstrings and signatures; nothing is written there by hand.
autosummary_generate = True
autodoc_typehints = "signature"
autodoc_member_order = "bysource"
autodoc_default_options = {"members": True, "inherited-members": False, "show-inheritance": True}
templates_path = ["_templates"]
# "Attributes:" becomes a field list: as separate entries, fields of a dataclass would be described twice.
napoleon_use_ivar = True
napoleon_google_docstring = True
napoleon_numpy_docstring = False

exclude_patterns = ["_build", "_ext", "_templates"]
html_theme = "furo"
html_title = f"endofm {__version__}"
html_theme_options = {
    "announcement": "Research software. It is not a medical device, and no result of it is medical advice."
}
