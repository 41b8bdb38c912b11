"""How well a network that sees a whole head finds its pose: the figures behind docs/lab/locator.md."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from time import perf_counter

import numpy as np
import pandas as pd
from scipy import ndimage

from bids_hypo.errors import SegmentationError
from bids_hypo.image.volume import Volume, read_volume
from bids_hypo.models.bundle import ModelBundle
from bids_hypo.models.catalog import ANATOMY, find_bundle
from bids_hypo.models.device import parse_device
from bids_hypo.segmentation.anatomy import find_anatomy, pose_template
from bids_hypo.segmentation.pose import Pose, fit_pose
from bids_hypo.train.contrasts import SynthesisOptions
from bids_hypo.train.headmaps import CLASS_NAMES, HeadMap, load_head_map
from bids_hypo.train.nuclei import with_nuclei
from bids_hypo.train.synthesis import deformed, make_examples

logger = logging.getLogger(__name__)

LOCATOR = "locator"
Head = tuple[ModelBundle, Callable[[np.ndarray], np.ndarray]]

# Places in the pose template (mm) whose error is told: about the middle of the structures
PLACES = {"hypothalamus": (0.0, -3.7, -9.3), "thalamus": (12.0, -17.0, 5.5), "dentate": (14.0, -56.0, -34.0)}
REGION_MM = 24.0  # half of the side of the region around the hypothalamus
SCAN_SHAPE, SCAN_MM = (128, 144, 152), np.full(3, 1.5)

_PLAIN = SynthesisOptions(max_rotation_deg=15, any_contrast=0, strip=0, deface=0, crop=0)
KINDS = {
    "T1w": replace(_PLAIN, measured_contrast=1.0),
    "any tissue": replace(_PLAIN, grouped_contrast=1.0),
    "any label": replace(_PLAIN, any_contrast=1.0),
    "stripped": replace(_PLAIN, grouped_contrast=1.0, strip=1.0),
    "thick slices": replace(_PLAIN, grouped_contrast=1.0, thick=1.0),
    "cropped": replace(_PLAIN, grouped_contrast=1.0, crop=1.0),
    "susceptibility": replace(_PLAIN, susceptibility=1.0),
    "susceptibility, thick": replace(_PLAIN, susceptibility=1.0, thick=1.0),
}


def pose_difference(one: Pose, other: Pose) -> dict[str, float]:
    """How far two poses of the same head are apart.

    Parameters
    ----------
    one, other : Pose

    Returns
    -------
    dict of str to float
        ``rotation_deg``; for each of `PLACES` (the worse side) and for the corners of the region around the
        hypothalamus (``region_mm``, mean) the distance in mm; ``scale_percent``.
    """
    turn = np.clip((np.trace(one.rotation.T @ other.rotation) - 1) / 2, -1, 1)
    row = {"rotation_deg": float(np.degrees(np.arccos(turn)))}
    for name, (x, y, z) in PLACES.items():
        sides = [np.array([sign * x, y, z]) for sign in (-1, 1)]
        row[f"{name}_mm"] = max(float(np.linalg.norm(one.place(p) - other.place(p))) for p in sides)
    corners = REGION_MM * (np.indices((2, 2, 2)).reshape(3, 8).T * 2 - 1)
    middle = np.array(PLACES["hypothalamus"])
    apart = [pose.place(middle) + corners @ pose.rotation.T for pose in (one, other)]
    row["region_mm"] = float(np.linalg.norm(apart[0] - apart[1], axis=1).mean())
    return row | {"scale_percent": 100 * (other.scale / one.scale - 1)}


def find_pose(scan: Volume, head: Head, *, what: str = "scan") -> Pose:
    """The pose of a scan by the anatomy network or the locator."""
    bundle, network = head
    found = find_anatomy(scan, bundle, network, what=what)
    return fit_pose(found.centroids_mm, pose_template(bundle), what=what)


def measure_pose(
    maps: Sequence[Path], scans: Sequence[Path], models_dir: Path | None, device: str, n_scans: int
) -> pd.DataFrame:
    """The locator's pose against the truth in synthesised scans, or against the anatomy network's on T1w scans.

    Parameters
    ----------
    maps : sequence of Path
        Label maps set aside.
    scans : sequence of Path
        T1w; if there are any, the maps are not used.
    models_dir : Path or None
        A folder of bundles to use instead of the shipped ones.
    device : str
        As on the command line.
    n_scans : int
        Synthesised of each map and kind.
    """
    from bids_hypo.models.hardware import configure_device
    from bids_hypo.models.inference import load_network

    configure_device(parse_device(device), None)
    bundles = {name: find_bundle(name, models_dir) for name in (ANATOMY, LOCATOR)}
    heads = {name: (bundle, load_network(bundle)) for name, bundle in bundles.items()}
    if scans:
        return pose_agreement(scans, {LOCATOR: heads[LOCATOR]}, heads[ANATOMY])
    return true_pose_errors(maps, heads, n_scans=n_scans)


def true_pose_errors(maps: Sequence[Path], heads: Mapping[str, Head], *, n_scans: int = 5) -> pd.DataFrame:
    """Errors on scans of 1.5 mm that are synthesised from label maps, where the pose is known.

    Parameters
    ----------
    maps : sequence of Path
        Label maps set aside.
    heads : mapping of str to (ModelBundle, callable)
        What to measure, by a name for the table.
    n_scans : int
        Of each map and kind.

    Returns
    -------
    DataFrame
        One row for each scan and network; NaN where no pose was found.
    """
    rows = []
    for path in maps:
        head = with_nuclei(load_head_map(path))
        for (kind, options), number in ((k, n) for k in KINDS.items() for n in range(n_scans)):
            scan, centroids = _synthesised(head, options, [number, list(KINDS).index(kind)])
            for name, one in heads.items():
                truth = fit_pose(centroids, pose_template(one[0]), what=path.name)
                row = {"network": name, "kind": kind, "map": head.name, "number": number}
                rows.append(row | _error(scan, one, truth, f"{head.name}, {kind} {number}"))
    return pd.DataFrame(rows)


def pose_agreement(
    scans: Sequence[Path], heads: Mapping[str, Head], reference: Head, *, against: Sequence[Path] = ()
) -> pd.DataFrame:
    """Differences from the pose that a reference network finds on the same scans, or on others of the same heads.

    Parameters
    ----------
    scans : sequence of Path
    heads : mapping of str to (ModelBundle, callable)
    reference : (ModelBundle, callable)
        The anatomy network.
    against : sequence of Path, optional
        For each scan the image that the reference is applied to, in the same scanner space; itself by default.

    Returns
    -------
    DataFrame
        One row for each scan and network.
    """
    rows = []
    for path, other in zip(scans, against or scans, strict=True):
        start = perf_counter()
        truth = find_pose(read_volume(other), reference, what=str(other))
        seconds = perf_counter() - start
        for name, head in heads.items():
            row = {"scan": path.name, "network": name, "reference_seconds": seconds}
            rows.append(row | _error(read_volume(path), head, truth, str(path)))
            logger.info("%s", rows[-1])
    return pd.DataFrame(rows)


def _error(scan: Volume, head: Head, truth: Pose, what: str) -> dict[str, float]:
    start = perf_counter()
    try:
        pose = find_pose(scan, head, what=what)
    except SegmentationError as error:
        logger.warning("%s", error)
        return {"rotation_deg": float("nan")}
    row = {"n_structures": float(len(pose.structures)), "residual_mm": pose.residual_mm}
    return row | pose_difference(truth, pose) | {"seconds": perf_counter() - start}


def _synthesised(head: HeadMap, options: SynthesisOptions, seed: list[int]) -> tuple[Volume, dict[str, np.ndarray]]:
    """A scan and the true centroids of its structures, also of those that a crop has cut off."""
    affine = np.diag([*SCAN_MM, 1.0])
    affine[:3, 3] = [-(n - 1) / 2 * mm for n, mm in zip(SCAN_SHAPE, SCAN_MM, strict=True)]
    example = make_examples(head, SCAN_SHAPE, SCAN_MM, 1, np.random.default_rng(seed), options)[0]
    head, codes = deformed(head, SCAN_SHAPE, SCAN_MM, np.random.default_rng(seed), options)  # the same again
    classes = head.target[codes]
    middles = np.array(ndimage.center_of_mass(classes > 1, classes, np.arange(2, len(CLASS_NAMES))))
    centroids = (middles - 0.5) / 2 * SCAN_MM + affine[:3, 3]
    return Volume(example.image, affine), dict(zip(CLASS_NAMES[2:], centroids, strict=True))
