"""Recipes with other entries, for tests."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

from bids_hypo.train.recipe import parse_recipe, read_content
from bids_hypo.train.settings import Recipe


def content_of(name: str) -> dict[str, Any]:
    """What a shipped recipe says, to be changed."""
    return copy.deepcopy(read_content(name)[1])


def recipe_of(name: str, **changes: Any) -> Recipe:
    """A shipped recipe with other entries; of an object those that are named."""
    content = content_of(name)
    for entry, value in changes.items():
        content[entry] = content[entry] | value if isinstance(content.get(entry), dict) else value
    return parse_recipe(content, Path("recipe.json"))
