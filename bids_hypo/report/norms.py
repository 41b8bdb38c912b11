"""Where a volume lies: among the scans of the same dataset, and beside published values."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from scipy import stats

from bids_hypo.structures import BOTH, ICV, LEFT, SIDE_WORDS, WHOLE, Published, capitalised

MIN_SCANS = 5  # below that, a rank says nothing
_MAX_TICKS = 200


@dataclass(frozen=True)
class Norm:
    """A published mean and standard deviation, in the unit of the measure."""

    mean: float
    sd: float


@dataclass(frozen=True)
class Measure:
    """A number that is put into context.

    Attributes
    ----------
    row : tuple of str
        Structure, part and hemisphere in the table of one scan.
    title, unit : str
    per_unit : float
        What a value of the table is divided by to be shown.
    digits : int
    published : Norm or None
    """

    row: tuple[str, str, str | None]
    title: str
    unit: str
    per_unit: float
    digits: int
    published: Norm | None


ICV_MEASURE = Measure((ICV, WHOLE, BOTH), "Intracranial volume", "cm³", 1000.0, 0, None)


def measures_of(
    structure: str, title: str, rows: Iterable[tuple[str, str | None]], published: Iterable[Published]
) -> list[Measure]:
    """The numbers of a structure: the whole, its sides, its parts.

    Parameters
    ----------
    structure, title : str
    rows : iterable of (str, str or None)
        Part and hemisphere of each row of the table of a scan.
    published : iterable of Published
    """
    norms = {(one.part, one.hemisphere): Norm(one.mean_mm3, one.sd_mm3) for one in published}
    rows = list(dict.fromkeys(rows))
    together = {part for part, side in rows if side == BOTH}
    ordered = sorted(rows, key=lambda row: (row[0] != WHOLE, row[0] not in together, row[1] != BOTH))
    name = capitalised(title)
    several = (WHOLE, LEFT) in ordered
    return [
        Measure((structure, part, side), _title(name, part, side, several=several), "mm³", 1.0, 1,
                norms.get((part, side or BOTH)))
        for part, side in ordered
    ]  # fmt: skip


def _title(name: str, part: str, side: str | None, *, several: bool) -> str:
    if part == WHOLE and side == BOTH:
        return f"{name}, both" if several else name
    if part == WHOLE:
        return f"{SIDE_WORDS.get(side or '', '').capitalize()} {name[0].lower()}{name[1:]}"
    return f"{capitalised(part)}{f', {SIDE_WORDS[side]}' if side in SIDE_WORDS else ''}"


def icv_measure(published: Iterable[Published]) -> Measure:
    """The intracranial volume with its published values, in cm3."""
    per_unit = ICV_MEASURE.per_unit
    norm = next((Norm(one.mean_mm3 / per_unit, one.sd_mm3 / per_unit) for one in published), None)
    return replace(ICV_MEASURE, published=norm)


def sources_of(published: Iterable[Published]) -> str:
    """Of whom the published values are, and where they stand."""
    return "; ".join(dict.fromkeys(f"{one.people} of {one.source}" for one in published))


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
        As in the table, or None.
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
