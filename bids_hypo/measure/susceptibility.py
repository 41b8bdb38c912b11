"""Mean susceptibility of the parts of a structure, and how much they stand out from what surrounds them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from scipy import ndimage

from bids_hypo.image.grid import bounding_box
from bids_hypo.image.volume import Volume
from bids_hypo.measure.volumes import PartVolume, table_rows
from bids_hypo.structures import Structure

SHELL_MM = (2.0, 6.0)  # from the outline


def with_susceptibility(
    volumes: Sequence[PartVolume], volume: Volume, labels: np.ndarray, structure: Structure
) -> tuple[PartVolume, ...]:
    """Add mean and contrast, in ppm, to the rows of a structure.

    The contrast is the mean inside the outline less the median of a shell 2 to 6 mm outside of it, without what is
    labelled or masked out. It does not depend on the reference of the map, as the mean does.

    Parameters
    ----------
    volumes : sequence of PartVolume
        As `bids_hypo.measure.volumes.part_volumes` gives them.
    volume : Volume
        A susceptibility map in ppm.
    labels : (X, Y, Z) int
        On its grid.
    structure : Structure

    Returns
    -------
    tuple of PartVolume
        Without either where there is no outline.
    """
    box = bounding_box(labels, np.ceil(SHELL_MM[1] / volume.grid.voxel_sizes_mm).astype(int))
    near, data = labels[box], volume.data[box]
    rows = []
    for one, (_, _, positions) in zip(volumes, table_rows(structure), strict=True):
        mask = np.isin(near, [structure.parts[k].index for k in positions])
        if not mask.any() or one.volume_mm3 is None:
            rows.append(replace(one, mean_ppm=np.nan, contrast_ppm=np.nan))
            continue
        distance = ndimage.distance_transform_edt(~mask, sampling=volume.grid.voxel_sizes_mm)
        shell = (distance >= SHELL_MM[0]) & (distance <= SHELL_MM[1]) & (near == 0) & (data != 0)
        mean = float(data[mask].mean())
        around = float(np.median(data[shell])) if shell.any() else np.nan
        rows.append(replace(one, mean_ppm=mean, contrast_ppm=mean - around))
    return tuple(rows)
