"""How much the results change when nothing that matters has changed: the same head scanned or computed otherwise."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
from scipy.spatial.transform import Rotation

from bids_hypo.bids.entities import PLAIN_SUFFIX, SIGNED_SUFFIXES
from bids_hypo.image.grid import with_voxels
from bids_hypo.image.resample import resample
from bids_hypo.image.volume import Volume, read_volume
from bids_hypo.measure.overlap import volume_error_percent
from bids_hypo.measure.volumes import whole_mm3
from bids_hypo.workflow.scan import Models, Segmentation, segment_volume

logger = logging.getLogger(__name__)

NOISE = 0.02  # standard deviation, of the mean of the bright part of the image
REPEATS = ("noise", "half a voxel", "rotated 10 degrees x", "rotated 10 degrees y", "rotated 10 degrees z")


def _multiplied(scan: Volume, *, factor: float) -> Volume:
    return Volume(scan.data * np.float32(factor), scan.affine)


def _flipped(scan: Volume) -> Volume:
    return Volume(scan.data, np.diag([-1.0, 1.0, 1.0, 1.0]) @ scan.affine)


def _with_voxels_of(scan: Volume, *, mm: float) -> Volume:
    return resample(scan, with_voxels(scan.grid, (mm, mm, mm)))


def _moved(scan: Volume, motion: np.ndarray) -> Volume:
    """The voxels are resampled: the head moves within a field of view that stays where it is."""
    return resample(Volume(scan.data, motion @ scan.affine), scan.grid)


def _rotated(scan: Volume, *, degrees: float, axis: str) -> Volume:
    turn = np.eye(4)
    turn[:3, :3] = Rotation.from_euler(axis, degrees, degrees=True).as_matrix()
    centre = scan.grid.centre_mm()
    turn[:3, 3] = centre - turn[:3, :3] @ centre
    return _moved(scan, turn)


def _shifted(scan: Volume) -> Volume:
    """By half a voxel along each axis."""
    shift = np.eye(4)
    shift[:3, 3] = scan.affine[:3, :3] @ [0.5, 0.5, 0.5]
    return _moved(scan, shift)


def _noisier(scan: Volume) -> Volume:
    """What is masked, exactly 0, stays so."""
    bright = scan.data[scan.data > scan.data.mean()].mean()
    noise = np.random.default_rng(1).standard_normal(scan.data.shape, dtype=np.float32)
    noisier = np.abs(scan.data + np.float32(NOISE * bright) * noise)
    return Volume(np.where(scan.data == 0, np.float32(0), noisier), scan.affine)


CHANGES: dict[str, Callable[[Volume], Volume]] = {
    "intensity 0.25": partial(_multiplied, factor=0.25),
    "intensity 3": partial(_multiplied, factor=3.0),
    "flipped": _flipped,
    "1.2 mm": partial(_with_voxels_of, mm=1.2),
    "noise": _noisier,
    "half a voxel": _shifted,
    **{f"rotated {n} degrees {axis}": partial(_rotated, degrees=n, axis=axis) for n in (10, 15) for axis in "xyz"},
}
"""Changes of a scan that should not change its volumes."""


def steadiness(paths: Sequence[Path], models: Models) -> pd.DataFrame:
    """How much the volumes change when a scan is changed in ways that should not matter.

    Parameters
    ----------
    paths : sequence of Path
        Images; the suffix of the name says of which kind (`suffix_of`).
    models : Models

    Returns
    -------
    DataFrame
        One row a scan and change: the volumes in mm³, and how they differ in percent from those of the scan as it is.
        The ICV only where it is measured.
    """
    rows = []
    for path in paths:
        suffix, of = suffix_of(path), _name(path)
        scan = read_volume(path, signed=suffix in SIGNED_SUFFIXES)
        before = _volumes(segment_volume(scan, models, suffix=suffix, what=of), scan)
        rows.append({"scan": of, "change": "none", **before})
        for name, change in CHANGES.items():
            changed = change(scan)
            after = _volumes(segment_volume(changed, models, suffix=suffix, what=f"{of}, {name}"), changed)
            percent = {
                f"{key.removesuffix('_mm3')}_percent": volume_error_percent(after[key], before[key]) for key in before
            }
            rows.append({"scan": of, "change": name, **after, **percent})
            logger.info("%s", rows[-1])
    return pd.DataFrame(rows)


def variation_percent(table: pd.DataFrame) -> pd.DataFrame:
    """Coefficient of variation of each scan over itself and its `REPEATS`.

    Parameters
    ----------
    table : DataFrame
        Of `steadiness`.

    Returns
    -------
    DataFrame
        One row a scan: each structure and the ICV, percent.
    """
    repeats = table[table["change"].isin(("none", *REPEATS))]
    volumes = repeats.groupby("scan")[[name for name in table if str(name).endswith("_mm3")]]
    return 100 * volumes.std() / volumes.mean()


def _volumes(found: Segmentation, scan: Volume) -> dict[str, float]:
    volumes = {f"{name}_mm3": float(whole_mm3(one.delineation.volumes) or 0.0) for name, one in found.found.items()}
    if found.measures_icv:
        volumes["icv_mm3"] = float(found.icv.sum()) * scan.grid.voxel_volume_mm3
    return volumes


def suffix_of(path: Path) -> str:
    """The BIDS suffix of a file name; T1w where it has none."""
    name, _, suffix = path.name.split(".")[0].rpartition("_")
    return suffix if name else PLAIN_SUFFIX


def _name(path: Path) -> str:
    return "/".join(path.resolve().parts[-4:-2])


def precision_changes(paths: Sequence[Path], single: Models, mixed: Models) -> pd.DataFrame:
    """Which share of the voxels changes its label when one of the networks computes in mixed precision.

    Parameters
    ----------
    paths : sequence of Path
        T1w images.
    single, mixed : Models
        The same bundles, in single and in mixed precision.

    Returns
    -------
    DataFrame
        One row a scan and network: voxels that changed, in percent of those labelled.
    """
    catalog = single.catalog
    bundles = {"anatomy": catalog.head_for(PLAIN_SUFFIX), **catalog.structures_for(PLAIN_SUFFIX)}
    in_turn = {name: single.with_networks(bundle, mixed.of(bundle)) for name, bundle in bundles.items()}
    rows = []
    for path in paths:
        scan = read_volume(path)
        one = segment_volume(scan, single, what=_name(path))
        for network, models in in_turn.items():
            other = segment_volume(scan, models, what=_name(path))
            row = {
                "scan": _name(path),
                "mixed": network,
                **{
                    f"{name}_percent": _changed_percent(before.delineation.labels, other.found[name].delineation.labels)
                    for name, before in one.found.items()
                },
                "icv_percent": _changed_percent(one.icv, other.icv),
            }
            rows.append(row)
            logger.info("%s", row)
    return pd.DataFrame(rows)


def _changed_percent(before: np.ndarray, after: np.ndarray) -> float:
    return 100 * np.count_nonzero(before != after) / np.count_nonzero(before)
