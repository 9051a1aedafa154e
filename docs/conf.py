"""How Sphinx builds this site: `python -m tox run -e docs`, with warnings as errors and every reference checked."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent / "_extensions"))

project = "mlbench"
author = "The mlbench developers"
project_copyright = author
extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon", "generated_reference"]
exclude_patterns = ["_build", "reference/generated"]
source_suffix = {".md": "markdown"}

smartquotes = False  # they make a dash of the two hyphens of an option
nitpicky = True
nitpick_ignore_regex = [
    (
        "py:.*",
        r"(?!mlbench\.).*",
    ),  # of Python, NumPy and pytest, and bare names in annotations: no inventory is fetched, the build needs no network
    ("py:.*", r"mlbench\.\w+\..*"),  # types of private modules in annotations of public ones
]
default_role = "literal"  # in docstrings `name` is code

myst_enable_extensions = ["colon_fence", "deflist", "substitution"]
myst_heading_anchors = 4
highlight_language = "none"

autodoc_member_order = "bysource"
autodoc_typehints_format = "short"
autodoc_type_aliases = {"FloatArray": "FloatArray"}
napoleon_google_docstring = True
napoleon_numpy_docstring = False
napoleon_use_ivar = True
napoleon_attr_annotations = False

html_theme = "furo"
html_title = "mlbench"
html_static_path = ["_static"]
html_css_files = ["wide.css"]
html_copy_source = False
html_show_sourcelink = False
