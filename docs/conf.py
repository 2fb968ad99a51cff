"""How Sphinx builds these pages into a site: sphinx-build -W docs OUT."""

import minioss

project = "minioss"
version = release = minioss.__version__
extensions = ["myst_parser", "sphinx.ext.autodoc", "numpydoc"]
exclude_patterns = ["walkthrough.py"]
html_theme = "furo"
html_title = "minioss"
myst_heading_anchors = 4
# Shapes and types are in the text; signatures with them twice would be long.
autodoc_typehints = "none"
autodoc_member_order = "bysource"
numpydoc_show_class_members = False
numpydoc_xref_param_type = False
