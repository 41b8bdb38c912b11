"""Maps of R1 and T1: which unit their values are in, and values that no tissue has.

BIDS has R1 maps in 1/s and T1 maps in s. Programs write 1/ms and ms as well, and say so nowhere. The two lie a thousand
times apart, while tissue of the brain differs by three to five times between field strengths and people, so the size of
the values tells.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from bids_hypo.errors import ScanReadError

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Quantity:
    """What a kind of map holds.

    Attributes
    ----------
    name : str
    units : dict of str to float
        Factor to the first of them, which is that of BIDS.
    typical : (2,) tuple of float
        Where the median of a brain lies, in the unit of BIDS: from 1.5 to 7 tesla, with contrast agent too.
    largest : float
        Above it no tissue lies, in the unit of BIDS.
    """

    name: str
    units: dict[str, float]
    typical: tuple[float, float]
    largest: float

    @property
    def unit(self) -> str:
        """That of BIDS."""
        return next(iter(self.units))


# Grey and white matter of adults have R1 of 0.5 to 1.6 1/s (T1 of 0.6 to 2 s), fluid 0.22 1/s (4.5 s), fat 3 to 4 1/s.
QUANTITIES: dict[str, Quantity] = {
    "R1map": Quantity("R1", {"1/s": 1.0, "1/ms": 1e3}, (0.2, 3.0), 5.0),
    "T1map": Quantity("T1", {"s": 1.0, "ms": 1e-3}, (0.3, 5.0), 6.0),
}


@dataclass(frozen=True)
class MapUnit:
    """What was found about the unit of a map.

    Attributes
    ----------
    quantity : str
        ``R1`` or ``T1``.
    found, used : str
        The unit of the file, and that of BIDS, which the values are in now.
    median : float
        Of the positive values in the middle of the image, in the unit of BIDS.
    limited : float
        Share of all voxels whose value was none that tissue has: below 0, taken for 0, or too large, taken for the
        largest.
    """

    quantity: str
    found: str
    used: str
    median: float
    limited: float


def in_bids_unit(path: Path, data: np.ndarray, suffix: str) -> tuple[np.ndarray, MapUnit]:
    """Bring a map to the unit of BIDS and its values into the limits of tissue.

    Parameters
    ----------
    path : Path
        Named in errors.
    data : (X, Y, Z) float32
        As in the file, changed in place. Infinite values become NaN.
    suffix : str
        A key of `QUANTITIES`.

    Returns
    -------
    data : (X, Y, Z) float32
        In 1/s or s, between 0 and the largest value of tissue, or NaN.
    unit : MapUnit

    Raises
    ------
    ScanReadError
        If the values fit no unit.
    """
    quantity = QUANTITIES[suffix]
    median = _median_inside(data)
    fits = [unit for unit, factor in quantity.units.items()
            if quantity.typical[0] <= median * factor <= quantity.typical[1]]  # fmt: skip
    if not fits:
        ranges = " or ".join(f"{quantity.typical[0] / factor:g} to {quantity.typical[1] / factor:g} {unit}"
                             for unit, factor in quantity.units.items())  # fmt: skip
        found = f"a median of {median:.3g}" if np.isfinite(median) else "no positive value"
        raise ScanReadError(
            f"{path}: found {found} in the middle of the image; expected {ranges} in a map of {quantity.name}. Is it "
            "another kind of image, or scaled? Export it in a unit of these, or rename it."
        )
    factor = quantity.units[fits[0]]
    data[~np.isfinite(data)] = np.nan
    data *= np.float32(factor)
    with np.errstate(invalid="ignore"):
        outside = float(((data < 0) | (data > quantity.largest)).mean())
    np.clip(data, 0, np.float32(quantity.largest), out=data)
    if fits[0] != quantity.unit:
        _log.warning("%s: a map of %s whose values are in %s (median %.3g); BIDS has %s. They are used as such.",
                     path, quantity.name, fits[0], median, quantity.unit)  # fmt: skip
    return data, MapUnit(quantity.name, fits[0], quantity.unit, median * factor, outside)


def _median_inside(data: np.ndarray) -> float:
    """The median of the finite positive values in the inner half of each axis, where the head is; else of all."""
    inner = data[tuple(slice(n // 4, n - n // 4) for n in data.shape)]
    for values in (inner, data):
        positive = values[np.isfinite(values) & (values > 0)]
        if positive.size:
            return float(np.median(positive))
    return float("nan")
