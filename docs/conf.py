"""Settings of the documentation build; nothing is fetched while it runs."""

from __future__ import annotations

import configparser
import typing
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
_setup = configparser.ConfigParser()
_setup.read(ROOT / "setup.cfg", encoding="utf-8")

project = "bids_hypo"
author = _setup["metadata"]["author"]
copyright = author
release = version = _setup["metadata"]["version"]

extensions = [
    "myst_parser",
    "numpydoc",
    "sphinx.ext.apidoc",
    "sphinx.ext.autodoc",
    "sphinx.ext.mathjax",
    "sphinx.ext.viewcode",
]
exclude_patterns = ["_build/html", "_build/doctrees"]

# The code's own reference: one page a package, written anew from the files at each build.
apidoc_modules = [
    {
        "path": str(ROOT / "bids_hypo"),
        "destination": "_build/api",
        "exclude_patterns": ["**/__main__*"],
        "separate_modules": True,
        "module_first": True,
        "automodule_options": {"members", "show-inheritance"},
    }
]
autodoc_default_options = {"ignore-module-all": True}
autodoc_member_order = "bysource"
autodoc_typehints_format = "short"
autodoc_mock_imports = ["tensorflow", "tf_keras", "keras", "segmentation_models", "gradio", "dask", "dask_jobqueue"]
numpydoc_show_class_members = False
numpydoc_class_members_toctree = False

# A broken reference to our own code is an error; other projects' pages cannot be looked up offline.
nitpicky = True
nitpick_ignore_regex = [("py:.*", r"(?!bids_hypo\.).*")]

myst_enable_extensions = ["deflist", "dollarmath", "fieldlist"]
myst_heading_anchors = 3

html_theme = "furo"
html_title = f"bids_hypo {release}"
html_show_sourcelink = False
html_copy_source = False


def skip_type_aliases(_app, _what, _name, obj, skip, _options):
    """Leave names for types out: autodoc would show them with the docstring of the type they stand for."""
    return True if typing.get_origin(obj) is not None else skip


def setup(app):
    app.connect("autodoc-skip-member", skip_type_aliases)
