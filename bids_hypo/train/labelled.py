"""Labelled scans: which subjects train, and where their images are."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from bids_hypo.errors import NoInputError


def training_table(recipe: dict[str, Any], labels: Path) -> pd.DataFrame:
    """Labelled subjects without those set aside, with the weight that each is drawn with.

    Raises
    ------
    NoInputError
        If the folder has no ``labels.tsv``.
    """
    path = labels / "labels.tsv"
    if not path.is_file():
        raise NoInputError(f"{path}: not found; expected the table of the labelled subjects.")
    table = pd.read_csv(path, sep="\t")
    aside = {(d, s) for part in ("validation", "test") for d, subjects in recipe[part].items() for s in subjects}
    keep = [(d, s) not in aside for d, s in zip(table["dataset"], table["participant_id"], strict=True)]
    doubtful = (table["cv"] > recipe["doubtful"]["cv_above"]) | (
        table["whole_mm3"] < recipe["doubtful"]["volume_below_mm3"]
    )
    table["weight"] = np.where(doubtful, recipe["doubtful"]["weight"], 1.0)
    return table[keep].reset_index(drop=True)


def find_image(images: Path, dataset: str, subject: str) -> Path:
    """The T1w image of a labelled subject, whole or cropped."""
    for folder in (images / dataset, images / f"{dataset}-crops"):
        found = sorted((folder / subject).glob("**/*_T1w.nii*"))
        if found:
            return found[0]
    raise NoInputError(f"{images}: no T1w image of {dataset} {subject}, which labels.tsv names.")
