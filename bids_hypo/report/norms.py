"""Where a volume lies: among the scans of the same dataset, and beside published values."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import stats

MIN_SCANS = 5  # below that, a rank says nothing
_MAX_TICKS = 200


@dataclass(frozen=True)
class Published:
    """A published mean and standard deviation, in the unit of the measure."""

    mean: float
    sd: float


@dataclass(frozen=True)
class Measure:
    """A number that is put into context.

    Attributes
    ----------
    key : str
        Column of the table of all scans.
    row : tuple of str
        Structure and hemisphere in the table of one scan.
    title, unit : str
    per_unit : float
        What a value of the column is divided by to be shown.
    digits : int
    published : Published or None
    """

    key: str
    row: tuple[str, str]
    title: str
    unit: str
    per_unit: float
    digits: int
    published: Published | None


# Vernikouskaya 2023 (doi:10.1038/s41598-023-48649-6): 107 controls after removal of outliers; ICV of 112 controls.
SOURCE = "107 controls (ICV: 112) of Vernikouskaya et al. 2023, 1.5 T, mean ± 2 SD"
MEASURES: tuple[Measure, ...] = (
    Measure("hypothalamus_mm3", ("hypothalamus", "B"), "Hypothalamus, both", "mm³", 1.0, 1, Published(852.0, 77.0)),
    Measure("left_mm3", ("hypothalamus", "L"), "Left hypothalamus", "mm³", 1.0, 1, None),
    Measure("right_mm3", ("hypothalamus", "R"), "Right hypothalamus", "mm³", 1.0, 1, None),
    Measure("icv_mm3", ("ICV", "B"), "Intracranial volume", "cm³", 1000.0, 0, Published(1532.0, 139.0)),
)


@dataclass(frozen=True)
class Place:
    """Where one value lies.

    Attributes
    ----------
    measure : Measure
    value : float or None
        In the unit of the measure; None if it was not measured.
    n : int
        Scans of the dataset that have the value, this one included.
    percentile : float or None
        Share of those scans that lie below, in percent, equal ones counted by half; None with fewer than five.
    median, low, high : float or None
        Of those scans: median, 5th and 95th percentile; None with fewer than five.
    in_published_range : bool or None
        Whether it lies, rounded as it is printed, within the published mean ± 2 SD.
    ticks : tuple of float
        The other scans' values, thinned out.
    """

    measure: Measure
    value: float | None
    n: int
    percentile: float | None
    median: float | None
    low: float | None
    high: float | None
    in_published_range: bool | None
    ticks: tuple[float, ...]

    @property
    def axis(self) -> tuple[float, float]:
        """Ends of the line that it is drawn on."""
        values = [*self.ticks, *([self.value] if self.value is not None else [])]
        norm = self.measure.published
        if norm is not None:
            values += [norm.mean - 3 * norm.sd, norm.mean + 3 * norm.sd]
        if not values:
            return 0.0, 1.0
        margin = 0.05 * (max(values) - min(values)) or 1.0
        return min(values) - margin, max(values) + margin

    def at(self, value: float) -> float:
        """Position of a value on the line, 0 to 100."""
        low, high = self.axis
        return round(100 * (value - low) / (high - low), 2)


def place_value(measure: Measure, value: float | None, all_values: Sequence[float]) -> Place:
    """Put a value into context.

    Parameters
    ----------
    measure : Measure
    value : float or None
        As in the column, or None.
    all_values : sequence of float
        The column of all scans, this one included; NaN where it was not measured.
    """
    known = np.asarray(all_values, dtype=float)
    known = np.sort(known[np.isfinite(known)]) / measure.per_unit
    shown = None if value is None or not np.isfinite(value) else value / measure.per_unit
    enough = len(known) >= MIN_SCANS
    low, median, high = (float(x) for x in np.percentile(known, [5, 50, 95])) if enough else (None, None, None)
    norm = measure.published
    return Place(
        measure,
        shown,
        len(known),
        float(stats.percentileofscore(known, shown, kind="mean")) if enough and shown is not None else None,
        median,
        low,
        high,
        None if norm is None or shown is None else abs(round(shown, measure.digits) - norm.mean) <= 2 * norm.sd,
        tuple(np.round(known[np.unique(np.linspace(0, len(known) - 1, _MAX_TICKS).astype(int))], 3).tolist())
        if len(known)
        else (),
    )
