"""The model card of a bundle: what was trained on what, and what was measured."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import jinja2
import numpy as np

from bids_hypo.train.curves import Curves
from bids_hypo.train.settings import Recipe
from bids_hypo.untrusted import markdown


@dataclass(frozen=True)
class Fold:
    """One training: its name and what was measured at the step whose weights were kept."""

    name: str
    step: int
    loss: float
    validation_loss: float
    validation_iou: float

    @classmethod
    def of(cls, name: str, curves: Curves) -> Fold:
        """The fold whose curves these are."""
        row = curves.table[curves.table["step"] == curves.best_step].iloc[-1]
        return cls(name, curves.best_step, row["loss"], row["validation_loss"], row["validation_iou"])


def model_card(recipe: Recipe, folds: Sequence[Fold], people: dict[str, Any] | None, *, averaged: bool = False) -> str:
    """Write the card as Markdown.

    Parameters
    ----------
    recipe : Recipe
    folds : sequence of Fold
    people : dict, optional
        ``division.json`` of the training: ``test`` and ``folds`` with ``training`` and ``validation``.
    averaged : bool
        The weights are the mean of those that were measured and those that the training went on from.
    """
    validated = [fold for fold in folds if np.isfinite(fold.validation_iou)]
    ious = [fold.validation_iou for fold in validated]
    trained = {name for fold in (people or {"folds": []})["folds"] for part in fold.values() for name in part}
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("bids_hypo.train"),
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        finalize=lambda value: markdown(value) if isinstance(value, str) else value,
    )
    return environment.get_template("model_card.md").render(
        recipe=recipe.content,
        pre=recipe.preprocessing,
        folds=validated,
        people=people,
        averaged=averaged,
        n_people=len({name.rpartition("/")[0] + name.rpartition("/")[2].split("_")[0] for name in trained}),
        mean_iou=np.mean(ious) if ious else np.nan,
        sd_iou=np.std(ious, ddof=1) if len(ious) > 1 else np.nan,
    )
