"""All that the page, the figures and the texts of the group level are made from."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from typing import Any

import pandas as pd

from bids_hypo.bids.ensembles import ENSEMBLE
from bids_hypo.bids.entities import PLAIN_SUFFIX
from bids_hypo.stats.analysis import Design
from bids_hypo.stats.rates import RATE
from bids_hypo.stats.table import ASYMMETRY, HARMONISED, ICV, NORMALISED, RESIDUAL, VOLUME
from bids_hypo.structures import WHOLE

SAMPLE_NAMES: dict[str, str] = {
    "all": "all tested scans",
    "no_outliers": "scans without outliers",
    "no_flagged": "scans without flags",
    "no_outliers_no_flagged": "scans without outliers and flags",
}


@dataclass(frozen=True)
class GroupStudy:
    """A finished comparison of one series: a structure or part of it, on one kind of image.

    Attributes
    ----------
    name : str
        Of the dataset.
    structure, title, part, image : str
        What was measured on which kind of image: name, name in texts, ``whole`` or a kind of part, BIDS suffix.
    group_column : str
    design : Design
    table : DataFrame
        All scans.
    statistics : DataFrame
        One row a test.
    counts : DataFrame
        One row a group, see `bids_hypo.stats.outliers.acceptance`.
    mean_icv_mm3 : float or None
        Of the tested controls.
    exclude_flagged, rated : bool
    remarks : tuple of str
        What a reader has to know about this series.
    """

    name: str
    structure: str
    title: str
    part: str
    image: str
    group_column: str
    design: Design
    table: pd.DataFrame
    statistics: pd.DataFrame
    counts: pd.DataFrame
    mean_icv_mm3: float | None
    exclude_flagged: bool
    rated: bool
    remarks: tuple[str, ...]

    @property
    def what(self) -> str:
        """What was measured, in words: ``thalamus on FLAIR``, ``thalamus (pulvinar)``."""
        if self.part == WHOLE:
            what = self.title
        elif self.title in self.part:
            what = self.part
        else:
            what = f"{self.title} ({self.part})"
        if self.image == ENSEMBLE:
            return f"{what} averaged over images"
        return what if self.image == PLAIN_SUFFIX else f"{what} on {self.image}"

    @property
    def key(self) -> str:
        """The same for names of files: letters, digits and dashes."""
        parts = [self.structure, *([self.part] if self.part != WHOLE else []),
                 *([self.image] if self.image != PLAIN_SUFFIX else [])]  # fmt: skip
        return "-".join(re.sub("[^0-9A-Za-z]+", "", text.title() if " " in text else text) for text in parts)

    @property
    def names(self) -> dict[str, str]:
        """What the measures are called in texts."""
        return {
            NORMALISED: f"normalised {self.what}",
            VOLUME: self.what,
            RESIDUAL: f"{self.what}, residual",
            HARMONISED: f"{self.what} without the site's part",
            "left_mm3": f"left {self.what}",
            "right_mm3": f"right {self.what}",
            "mean_ppm": f"susceptibility of the {self.what}",
            "contrast_ppm": f"susceptibility of the {self.what} above its surroundings",
            ICV: "intracranial volume",
            ASYMMETRY: "left − right",
            RATE: f"change of the {self.what} a year",
            "left_mm3 - right_mm3": "left − right",
        }

    @property
    def tested(self) -> pd.DataFrame:
        """The scans that are tested, outliers included."""
        return self.table[self.table["tested"]]

    @property
    def sample(self) -> pd.DataFrame:
        """The scans that the page speaks of."""
        tested = self.tested
        return tested if self.design.outlier_rule == "none" else tested[~tested["outlier"]]

    @property
    def main_measure(self) -> str:
        """Normalised volume where it can be compared, else the plain one."""
        return NORMALISED if self.rows("comparison", measure=NORMALISED) else VOLUME

    def rows(self, analysis: str, *, sample: str | None = None, chosen: bool = True, **fields: Any) -> list[dict]:
        """Rows of the statistics with these values; of the primary sample and the chosen tests unless told."""
        found = self.statistics
        mask = (found["analysis"] == analysis) & (found["sample"] == (sample or self.design.primary_sample))
        if chosen:
            mask &= found["chosen"].astype(bool)
        for name, value in fields.items():
            mask &= found[name] == value
        return [{str(k): v for k, v in row.items()} for row in found[mask].to_dict("records")]


def known(value: Any) -> bool:
    """Whether there is a number."""
    return value is not None and not pd.isna(value) and math.isfinite(float(value))


def number(value: Any, digits: int = 1) -> str:
    """A number with a proper minus sign; n/a if there is none."""
    text = f"{float(value):.{digits}f}" if known(value) else "n/a"
    return text.removeprefix("-") if not text.strip("-0.") else text.replace("-", "−")


def p_text(value: Any) -> str:
    """A p value as papers print it."""
    if not known(value):
        return "n/a"
    return "< 0.001" if value < 0.001 else f"{value:.3f}"


def p_phrase(value: Any) -> str:
    """``p = 0.012`` or ``p < 0.001``."""
    text = p_text(value)
    return f"p {text}" if text.startswith("<") else f"p = {text}"


def interval(row: dict, name: str, digits: int = 1, scale: float = 1.0) -> str:
    """``−30.1 [−60.2, −1.0]``: a value with its 95 % interval."""
    if not known(row[name]):
        return "n/a"
    low, high = (number(row[f"{name}_{end}"] * scale if known(row[f"{name}_{end}"]) else None, digits)
                 for end in ("low", "high"))  # fmt: skip
    return f"{number(row[name] * scale, digits)} [{low}, {high}]"


def unit_of(measure: str) -> tuple[str, float, int]:
    """Unit for reading, factor to it, digits."""
    if measure == "icv_mm3":
        return "cm³", 1e-3, 0
    if measure == "asymmetry_percent":
        return "%", 1.0, 1
    if measure == RATE:
        return "% a year", 1.0, 2
    if measure.endswith("_ppm"):
        return "ppm", 1.0, 3
    return "mm³", 1.0, 0


def with_sd(row: dict, side: str) -> str:
    """``775 ± 62``."""
    _, scale, digits = unit_of(str(row["measure"]))
    mean, sd = row[f"mean_{side}"], row[f"sd_{side}"]
    return f"{number(mean * scale, digits)} ± {number(sd * scale, digits)}"
