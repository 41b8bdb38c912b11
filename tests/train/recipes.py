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


def two_sided(**changes: Any) -> Recipe:
    """The shipped recipe of the hypothalamus with one part on each side, and other entries."""
    one_each = {
        "parts": content_of("vernikouskaya2023")["parts"], "sums": [], "labels": ["background", "left", "right"],
        "architecture": {"classes": 3}, "loss": {"class_weights": [1, 1, 1], "jaccard_groups": [[1], [2]]},
    }  # fmt: skip
    both = {key: one_each[key] | changes[key] for key in ("architecture", "loss") if key in changes}
    return recipe_of("hypothalamus", **one_each | changes | both)
