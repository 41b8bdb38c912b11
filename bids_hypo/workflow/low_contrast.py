"""Scans of lower contrast, made from real ones by known factors, and how many of them are still found.

Every intensity rule undoes a multiplication, and most undo any linear change, so that neither alone would test
anything. What is really lost with contrast is lost here too: the noise stays while the contrast falls, or the grey
values of a picture of 8 bits run out.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import pandas as pd

from bids_hypo.image.intensity import WHITE_MATTER_AT
from bids_hypo.image.volume import Volume
from bids_hypo.measure.image_quality import noise_sd
from bids_hypo.workflow.comparison_table import markdown_table, paper, whole_of
from bids_hypo.workflow.evaluation_scans import COMPARED
from bids_hypo.workflow.evaluation_tables import mean_sd

FOUND_DICE = 0.5  # of the whole structure with its label: less is another place, or hardly any of it
_WHITEST = 255

Change = Callable[[Volume], Volume]


def compressed(scan: Volume, *, factor: float) -> Volume:
    """Draw intensities towards the mean of the bright tissue, with the noise of the scan as it was.

    The contrast-to-noise ratio is ``factor`` times what it was. Voxels of exactly 0 are masked out and stay so.

    Parameters
    ----------
    scan : Volume
        Not negative.
    factor : float
        0 to 1.
    """
    bright = _bright(scan)
    mean = float(scan.data[bright].mean())
    sd = noise_sd(scan.data, bright) * np.sqrt(1 - factor**2)  # with what is left of the old noise again the old
    noise = np.random.default_rng(1).standard_normal(scan.data.shape, dtype=np.float32)
    lower = np.maximum(mean + factor * (scan.data - mean) + sd * noise, 1e-3 * mean)
    return Volume(np.where(scan.data == 0, 0, lower).astype(np.float32), scan.affine)


def multiplied(scan: Volume, *, factor: float) -> Volume:
    """Multiply a picture of 8 bits: grey values are rounded, and what is brighter than the whitest is cut off.

    Before, the bright tissue lies at 0.39 of the range, as in the pictures of Vernikouskaya et al. (2023).

    Parameters
    ----------
    scan : Volume
        Not negative.
    factor : float
    """
    mean = float(scan.data[_bright(scan)].mean())
    grey = np.round(scan.data * np.float32(factor * WHITE_MATTER_AT * _WHITEST / mean))
    return Volume(np.clip(grey, 0, _WHITEST).astype(np.float32), scan.affine)


def _bright(scan: Volume) -> np.ndarray:
    return scan.data > scan.data.mean()


UNCHANGED = "unchanged"
CHANGES: dict[str, Change | None] = {
    UNCHANGED: None,
    **{f"contrast-{factor}": partial(compressed, factor=factor) for factor in (0.5, 0.25, 0.125)},
    **{f"times-{factor:g}": partial(multiplied, factor=factor) for factor in (0.25, 3.0)},
}
"""What is done to the scans, by the names in the tables."""


def found_table(scans: dict[str, pd.DataFrame | None], names: list[str], n_scans: int) -> pd.DataFrame:
    """How many scans of each change are found with each training.

    Parameters
    ----------
    scans : dict of str to (DataFrame or None)
        By the change, the table of scans of the evaluation; None if nothing was segmented.
    names : list of str
        The trainings.
    n_scans : int
        Scans of the people set aside.

    Returns
    -------
    DataFrame
        One row a change and training; the columns are explained in `FOUND_COLUMNS`.
    """
    rows = []
    for change, table in scans.items():
        for name in names:
            dice = pd.Series(dtype=float) if table is None else _whole_dice(table, name)
            every = np.concatenate([dice.to_numpy(), np.zeros(n_scans - len(dice))])
            row: dict[str, Any] = {"method": name, "change": change, "n": n_scans, "n_segmented": len(dice)}
            row |= {"n_found": int((every >= FOUND_DICE).sum()), "dice_mean": every.mean()}
            rows.append(row | {"dice_sd": every.std(ddof=1) if n_scans > 1 else np.nan})
    return pd.DataFrame(rows)


def _whole_dice(table: pd.DataFrame, name: str) -> pd.Series:
    whole = whole_of(table, name)
    return whole[whole["status"] == COMPARED]["dice"].astype(float)


def found_page(table: pd.DataFrame, about: str) -> str:
    """The table in Markdown: a row a change, and for each training how many scans were found.

    Parameters
    ----------
    table : DataFrame
        Of `found_table`.
    about : str
        A sentence about what was compared.
    """
    names = list(table["method"].unique())
    rows = []
    for change, of_change in table.groupby("change", sort=False):
        by_name = of_change.set_index("method").loc[names].to_dict("records")
        spread = [mean_sd(row["dice_mean"], row["dice_sd"], 2) for row in by_name]
        cells = [f"{r['n_found']} of {r['n']} (Dice {dice})" for r, dice in zip(by_name, spread, strict=True)]
        rows.append([str(change), *cells])
    found = f"Found: a Dice coefficient of at least {FOUND_DICE} with the label; 0 counts where nothing was segmented."
    changes = (
        "contrast-F: contrast times F, drawn towards the mean of the bright tissue, the noise as it was; times-F: "
        f"intensities times F in 8 bits, with the bright tissue at {WHITE_MATTER_AT} of the range before."
    )
    notes = [about, found, changes, paper()["contrast"]]
    return markdown_table(["", *names], rows) + "\n" + "".join(f"- {text}\n" for text in notes)


FOUND_COLUMNS: dict[str, dict[str, Any]] = {
    "method": {"Description": "The training: with or without contrast augmentation"},
    "change": {
        "Description": "What was done to the scans",
        "Levels": {
            UNCHANGED: "Nothing",
            "contrast-F": "Contrast times F: drawn towards the mean of the bright tissue, the noise as it was",
            "times-F": "Intensities times F in 8 bits: rounded, and cut off at the whitest",
        },
    },
    "n": {"Description": "Scans of the people set aside"},
    "n_segmented": {"Description": "Scans in which participant level found the structure anywhere"},
    "n_found": {"Description": f"Scans with a Dice coefficient of at least {FOUND_DICE}"},
    "dice_mean": {"Description": "Mean Dice coefficient of the whole structure, 0 where nothing was segmented"},
    "dice_sd": {"Description": "Its standard deviation"},
}
