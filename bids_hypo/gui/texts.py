"""All texts of the page, read from ``texts.toml``: a translation is another such file."""

from __future__ import annotations

import tomllib
from functools import lru_cache
from importlib import resources
from typing import Any

FILE = "texts.toml"


@lru_cache(maxsize=1)
def all_texts() -> dict[str, str]:
    """Texts by dotted key, such as ``single.title``."""
    return _flat(tomllib.loads(resources.files(__package__).joinpath(FILE).read_text("utf-8")))


def text(key: str, **values: Any) -> str:
    """A text with its values filled in.

    Parameters
    ----------
    key : str
        Dotted key of the file.
    **values
        For the names in braces.
    """
    found = all_texts()[key]
    return found.format(**values) if values else found


def _flat(table: dict[str, Any], before: str = "") -> dict[str, str]:
    out: dict[str, str] = {}
    for key, value in table.items():
        if isinstance(value, dict):
            out |= _flat(value, f"{before}{key}.")
        else:
            out[before + key] = str(value).strip("\n")
    return out
