"""How sure soft labels are, and labels as they would be if all were equally sure."""

from __future__ import annotations

import numpy as np
from scipy import ndimage, special

from bids_hypo.image.parts import THRESHOLD, Parts
from bids_hypo.image.volume import Volume

CORE_MM = 0.8  # further inside its outline than this, a soft label tells how sure it is, hardly how near its border is
MASK_CERTAINTY = 0.999


def certainty(parts: Parts) -> float:
    """Mean probability further inside the 0.5 outline of each part than `CORE_MM`; NaN where there is nothing."""
    core = np.concatenate([_core(volume) for volume in parts.of.values()])
    return float(core.mean()) if core.size else np.nan


def _core(volume: Volume) -> np.ndarray:
    inside = np.pad(volume.data > THRESHOLD, 1)  # parts are cut to their boxes
    depth_mm = ndimage.distance_transform_edt(inside, sampling=volume.grid.voxel_sizes_mm)[1:-1, 1:-1, 1:-1]
    return volume.data[depth_mm > CORE_MM]


def levelled(parts: Parts, level: float) -> Parts:
    """Soft labels as they would be if the program that made them were as sure of this scan as of others.

    A network that is less sure of a scan gives all of the structure lower probabilities, and so draws a smaller outline
    at 0.5 around the same tissue. A constant is added to the logit of each probability, the same for all parts: the one
    that takes the mean probability inside, where certainty counts and size hardly does, to ``level``.

    Parameters
    ----------
    parts : Parts
        Probabilities. Masks, which are sure of themselves everywhere, are left as they are.
    level : float
        The `certainty` of the average label of the same program.

    Returns
    -------
    Parts
    """
    own = certainty(parts)
    if not own < MASK_CERTAINTY:
        return parts
    shift = np.float32(special.logit(level) - special.logit(own))
    return parts.changed(lambda v: Volume(special.expit(special.logit(v.data) + shift), v.affine))
