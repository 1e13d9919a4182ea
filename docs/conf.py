"""How Sphinx builds these pages: ``make docs``."""

from importlib.metadata import version as version_of

project = "hpcsearch"
author = "the authors of hpcsearch"
release = version = version_of("hpcsearch")

extensions = ["sphinx.ext.autodoc", "sphinx.ext.napoleon"]
exclude_patterns = ["_build"]

html_theme = "furo"
html_title = "hpcsearch"

# What a block prints is highlighted as a session, or not at all.
highlight_language = "none"
autodoc_member_order = "bysource"
autodoc_typehints = "signature"
python_maximum_signature_line_length = 80

nitpicky = True
# The pages are built without network, so names of other projects lead nowhere; those of the standard library neither.
nitpick_ignore_regex = [(r"py:.*", r"(?!hpcsearch\b).*"), (r"py:.*", r"hpcsearch\.\w+\.layout\..*")]
