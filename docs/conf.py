"""Sphinx configuration: MyST pages, the furo theme. Pages marked as generated are never edited."""

from __future__ import annotations

project = "hicache-verify"
author = "The hicache-verify authors"
copyright = "The hicache-verify authors, Apache-2.0"

extensions = ["myst_parser"]
source_suffix = {".md": "markdown"}
root_doc = "index"
exclude_patterns = ["_build"]

myst_enable_extensions = ["colon_fence", "deflist"]
myst_heading_anchors = 3

html_theme = "furo"
html_title = "hicache-verify"
html_static_path = ["_static"]
html_css_files = ["tables.css"]

nitpicky = True
