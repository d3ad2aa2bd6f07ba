"""Settings of the documentation: `sphinx-build -W -q -b html docs docs/_build/html` needs no network."""

import os
import sys
from pathlib import Path

HERE = Path(__file__).parent
sys.path[:0] = [str(HERE), str(HERE.parent)]
os.environ.setdefault("MPLBACKEND", "Agg")

import pages  # noqa: E402 (it lies beside this file)
from docutils import nodes  # noqa: E402
from latex2mathml.converter import convert  # noqa: E402

import levyjax  # noqa: E402

project = "levyjax"
author = copyright = "The levyjax developers"
version = release = levyjax.__version__

extensions = ["myst_nb", "sphinx.ext.autodoc", "sphinx.ext.napoleon", "sphinx.ext.viewcode"]
exclude_patterns = ["_build", "**.ipynb_checkpoints"]
suppress_warnings = [
    "ref.python",  # a name that several packages export is documented in each
    "toc.empty_glob",
    "mystnb.unknown_mime_type",  # pictures of notebooks come in more forms than a page needs
]

myst_enable_extensions = ["colon_fence", "deflist", "dollarmath"]
myst_heading_anchors = 3
myst_update_mathjax = False
nb_execution_mode = "off"
html_math_renderer = "mathml"  # which browsers draw by themselves: no script, no network

autodoc_member_order = "bysource"
autodoc_default_options = {"members": True}
autodoc_typehints_format = "short"
napoleon_custom_sections = ["Source", "Yields"]
napoleon_use_ivar = True
napoleon_use_rtype = False
toc_object_entries_show_parents = "hide"
python_maximum_signature_line_length = 100

smartquotes = False

html_theme = "furo"
html_title = f"levyjax {release}"
html_static_path = ["_static"]
html_css_files = ["levyjax.css"]
html_copy_source = False
pygments_style, pygments_dark_style = "friendly", "github-dark"


def visit_math(writer, node):
    writer.body.append(convert(node.astext()))
    raise nodes.SkipNode


def visit_math_block(writer, node):
    writer.body.append(f'<div class="math">{convert(node.astext(), display="block")}</div>')
    raise nodes.SkipNode


def setup(app):
    app.add_html_math_renderer("mathml", (visit_math, None), (visit_math_block, None))
    app.connect("builder-inited", lambda app: pages.write_all(HERE))
    app.connect("autodoc-process-docstring", pages.plain_docstring, priority=100)  # before napoleon
    app.connect("autodoc-process-signature", pages.plain_signature)
    app.connect("autodoc-skip-member", pages.skip_member)
