"""What is outlined in figures: the parts of structures and the intracranial volume, each cut out with its colour."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from bids_hypo.image.grid import apply_affine, bounding_box
from bids_hypo.image.volume import Volume
from bids_hypo.report.cutting import cut_box
from bids_hypo.structures import Structure

ICV_KEY, ICV_NAME, ICV_COLOUR = "icv", "intracranial volume", "#F0E442"


@dataclass(frozen=True)
class DrawnPart:
    """What is outlined.

    Attributes
    ----------
    key : str
        Short and unique.
    name : str
        For people.
    colour : str
        ``#rrggbb``.
    mask : Volume
        Its box, 0 to 1.
    hemisphere : str or None
        Of a part; None without sides.
    """

    key: str
    name: str
    colour: str
    mask: Volume
    hemisphere: str | None = None


def drawn_parts(structure: Structure, labels: np.ndarray, affine: np.ndarray) -> list[DrawnPart]:
    """The parts of a structure, each cut out as a volume of its own, so that resampling it costs little.

    Parameters
    ----------
    structure : Structure
    labels : (X, Y, Z) int
        Numbers of its parts.
    affine : (4, 4) float, voxel to RAS mm

    Returns
    -------
    list of DrawnPart
        The mask of a part without voxels is a small empty volume.
    """
    near = cut_box(Volume(labels, affine), bounding_box(labels))
    return [
        DrawnPart(
            part.abbreviation, part.name, part.color, _in_box(near, near.data == part.index), part.hemisphere
        )
        for part in structure.parts
    ]  # fmt: skip


def drawn_icv(icv: np.ndarray, affine: np.ndarray) -> DrawnPart:
    """The intracranial volume, cut out: (X, Y, Z) bool with its affine."""
    return DrawnPart(ICV_KEY, ICV_NAME, ICV_COLOUR, _in_box(Volume(icv, affine), icv))


def voxels_mm(parts: Sequence[DrawnPart]) -> np.ndarray:
    """Centres of the voxels of parts: (n, 3) float, RAS mm."""
    return np.concatenate([apply_affine(part.mask.affine, np.argwhere(part.mask.data)) for part in parts])


def _in_box(volume: Volume, mask: np.ndarray) -> Volume:
    """The box of a mask, with two empty voxels around it."""
    box = bounding_box(mask)
    if box[0].stop == 0:
        return Volume(np.zeros((2, 2, 2), np.float32), volume.affine)
    found = cut_box(Volume(mask, volume.affine), box)
    affine = found.affine.copy()
    affine[:3, 3] = apply_affine(affine, np.full(3, -2))
    return Volume(np.pad(found.data.astype(np.float32), 2), affine)
