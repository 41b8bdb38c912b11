"""What a recipe says about images that are synthesised around a structure."""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from typing import Any

from bids_hypo.models.entries import Entries

IMAGE_KINDS = ("T1w", "T2w", "FLAIR", "R1map", "T1map")
ANY_KIND = "any"


@dataclass(frozen=True)
class RegionOptions:
    """How often, and how strongly, what happens to a synthesised region.

    Attributes
    ----------
    kinds : dict of str to float
        Weights of the kinds of image (`IMAGE_KINDS`, and `ANY_KIND` for any contrast).
    shapes : float
        Share of the examples that are made from shapes, where there are any.
    contrasts : int
        Images made of each deformed map.
    volume : (2,) tuple of float
        Range of the volume of the structure relative to the map's, of most of the examples.
    third_mm, lateral_mm : float
        How far the ventricles may take what lies around them.
    lesions, strip, thick, motion : float
        How often.
    thick_max_mm : float
    """

    kinds: dict[str, float] = field(default_factory=lambda: dict.fromkeys(IMAGE_KINDS, 1.0))
    shapes: float = 0.5
    contrasts: int = 2
    volume: tuple[float, float] = (1.0, 1.0)
    third_mm: float = 0.0
    lateral_mm: float = 0.0
    lesions: float = 0.0
    strip: float = 0.0
    thick: float = 0.0
    thick_max_mm: float = 5.0
    motion: float = 0.0


def read_region_options(entries: Entries) -> RegionOptions:
    """The options of a recipe's ``synthesis``, checked.

    Raises
    ------
    UsageError
        If one is not known or cannot be; it is named.
    """
    entries.only(option.name for option in fields(RegionOptions))
    values: dict[str, Any] = {}
    for name in entries.content:
        if name == "kinds":
            kinds = entries.object(name).only((*IMAGE_KINDS, ANY_KIND))
            values[name] = {kind: kinds.number(kind, 0.0, 1e6) for kind in kinds.content}
            if not sum(values[name].values()):
                entries.refuse(name, "at least one kind of image with a weight above 0")
        elif name == "volume":
            values[name] = entries.numbers(name, 2, 0.3, 2.0)
        elif name == "contrasts":
            values[name] = entries.whole_number(name, 1, 100)
        else:
            values[name] = entries.number(name, 0.0, 20.0)
    return RegionOptions(**values)
