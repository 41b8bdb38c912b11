"""What the labels of maps of deep structures are in FreeSurfer's numbers: by their names in dseg.tsv."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd

from bids_hypo.errors import UsageError

# FreeSurfer numbers of the left and of the right, or of what lies on the midline, by names as the Harvard-Oxford
# Atlas 2.0 (Rushmore et al. 2022) has them
_PAIRED = {
    "lateral ventricle": (4, 43), "inferior horn of the lateral ventricle": (5, 44), "thalamus": (10, 49),
    "caudate": (11, 50), "putamen": (12, 51), "globus pallidus": (13, 52), "nucleus accumbens": (26, 58),
    "hippocampal formation": (17, 53), "amygdala": (18, 54), "vdc anterior": (28, 60), "vdc posterior": (28, 60),
    "cerebellar cortex": (8, 47), "cerebellar white matter": (7, 46),
}  # fmt: skip
_MIDLINE = {"background": 0, "csf": 24, "third ventricle": 14, "fourth ventricle": 15, "5th ventricle": 72,
            "brainstem": 16, "optic chiasm": 85}  # fmt: skip
NUMBER_OF = _MIDLINE | {
    f"{name} {side}": numbers[k] for name, numbers in _PAIRED.items() for k, side in enumerate(("left", "right"))
}


def freesurfer_numbers(path: Path) -> np.ndarray:
    """The FreeSurfer number of each label that a ``dseg.tsv`` names; label 0 is whatever has no label.

    Parameters
    ----------
    path : Path
        With the columns ``index`` and ``name``.

    Returns
    -------
    (n,) int16
        By label; 0 for labels that the table leaves out.

    Raises
    ------
    UsageError
        If the file is missing, or names a structure that is not known.
    """
    try:
        table = pd.read_csv(path, sep="\t")
        labels = table["index"].astype(int).to_numpy()
        names = table["name"].astype(str).str.strip().str.lower()
    except (OSError, ValueError, KeyError, pd.errors.ParserError) as error:
        raise UsageError(
            f"{path}: cannot be read ({error}); expected a table with the columns index and name beside the shapes."
        ) from error
    unknown = [name for name in names if name not in NUMBER_OF]
    if unknown:
        raise UsageError(
            f"{path}: the name '{unknown[0]}' is not known; expected some of: {', '.join(NUMBER_OF)} (any case)."
        )
    numbers = np.zeros(max(labels.max(), 0) + 1, np.int16)
    numbers[labels] = [NUMBER_OF[name] for name in names]
    return numbers
