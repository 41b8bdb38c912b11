"""Participant level for one scan: read it, find the head's pose, delineate, measure, write."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from functools import partial
from typing import Any

import numpy as np

from bids_hypo import __version__
from bids_hypo.bids.checksums import SourceRecord, record_source, stamp_of
from bids_hypo.bids.dataset import write_tsv
from bids_hypo.bids.names import OutputNames, sidecar
from bids_hypo.bids.query import Scan
from bids_hypo.bids.resume import remove_outputs, remove_unfinished
from bids_hypo.bids.sidecars import (
    Provenance,
    dseg_sidecar,
    hypothalamus_mask_sidecar,
    icv_mask_sidecar,
    image_record,
    morph_sidecar,
    probseg_sidecar,
    read_head_axes,
    write_json,
)
from bids_hypo.ending import undone_at_end
from bids_hypo.image.volume import Volume, read_volume, write_nifti
from bids_hypo.measure.image_quality import ImageQuality, image_quality
from bids_hypo.measure.quality import (
    ICV_CUT,
    ICV_NOT_MEASURABLE,
    SKULL_STRIPPED,
    hypothalamus_flags,
    icv_flags,
    image_flags,
)
from bids_hypo.measure.volumes import mask_volume_mm3, volume_table
from bids_hypo.models.batches import SharedNetwork
from bids_hypo.models.bundle import ModelBundle
from bids_hypo.models.catalog import ANATOMY, HYPOTHALAMUS, ICV
from bids_hypo.segment.anatomy import Anatomy, find_anatomy, icv_threshold, pose_template
from bids_hypo.segment.delineate import Delineation, delineate, region_grid, region_probabilities
from bids_hypo.segment.icv import check_possible, icv_by_own_model, native_icv
from bids_hypo.segment.pose import Pose, fit_pose
from bids_hypo.workflow.stages import Stopwatch

logger = logging.getLogger(__name__)

Network = Callable[[np.ndarray], np.ndarray]


@dataclass(frozen=True)
class Models:
    """The loaded models of a run.

    Attributes
    ----------
    bundles : dict of str to ModelBundle
        ``anatomy`` and ``hypothalamus``; ``icv`` if a model of its own measures the intracranial volume.
    anatomy_network : callable
        (N, H, W, C) to (N, H, W, K).
    hypothalamus_networks : tuple of callable
        One for each fold.
    icv_network : callable or None
    device : str
        Where they run.
    shared : tuple of SharedNetwork
        All networks behind these callables.
    """

    bundles: dict[str, ModelBundle]
    anatomy_network: Network
    hypothalamus_networks: tuple[Network, ...]
    icv_network: Network | None
    device: str
    shared: tuple[SharedNetwork, ...] = ()

    @property
    def anatomy(self) -> ModelBundle:
        """The bundle of the anatomy network."""
        return self.bundles[ANATOMY]

    @property
    def hypothalamus(self) -> ModelBundle:
        """The bundle of the delineation network."""
        return self.bundles[HYPOTHALAMUS]


@dataclass(frozen=True)
class Segmentation:
    """Everything found in one scan.

    Attributes
    ----------
    pose : Pose
    anatomy : Anatomy
    icv : (X, Y, Z) bool
        On the scan's own grid.
    icv_mm3 : float or None
        None when it cannot be measured.
    hypothalamus : Delineation
    hypothalamus_flags, icv_flags : tuple of str
    quality : ImageQuality
    """

    pose: Pose
    anatomy: Anatomy
    icv: np.ndarray
    icv_mm3: float | None
    hypothalamus: Delineation
    hypothalamus_flags: tuple[str, ...]
    icv_flags: tuple[str, ...]
    quality: ImageQuality


@dataclass(frozen=True)
class ScanResult:
    """What is told about a scan after it was processed.

    Attributes
    ----------
    name : str
    status : str
        ``done``, ``kept`` (complete before) or ``failed``; of a dry run ``to do``, ``kept``, ``will fail`` (by what can
        be told without reading the image) or ``missing``.
    left_mm3, right_mm3, icv_mm3 : float or None
    flags : tuple of str
    seconds : dict of str to float
        Per stage.
    error : str or None
    report_error : str or None
        Why figures or the page could not be made; the numbers stand.
    """

    name: str
    status: str
    left_mm3: float | None = None
    right_mm3: float | None = None
    icv_mm3: float | None = None
    flags: tuple[str, ...] = ()
    seconds: dict[str, float] = field(default_factory=dict)
    error: str | None = None
    report_error: str | None = None


def process_scan(scan: Scan, names: OutputNames, models: Models, *, fast: bool, settings: dict) -> ScanResult:
    """Segment a scan and write its derivatives; on failure nothing of them stays.

    Those of an earlier run are replaced once the scan is segmented; a process that ends before leaves them.

    Parameters
    ----------
    scan : Scan
    names : OutputNames
    models : Models
    fast : bool
        One fold of the hypothalamus network, on the image as it is.
    settings : dict
        Recorded in the sidecars, compared when resuming.

    Returns
    -------
    ScanResult

    Raises
    ------
    BidsHypoError
        See the stages.
    """
    watch = Stopwatch()
    with undone_at_end(partial(remove_unfinished, names)):
        try:
            with watch.stage("read"):
                untouched = stamp_of(scan.path)
                volume = read_volume(scan.path)
                source = record_source(scan.path, untouched)
            found = segment_volume(volume, models, fast=fast, what=str(scan.path), watch=watch)
            remove_outputs(names)
            with watch.stage("write"):
                write_images(scan, names, volume, found)
            record = write_records(scan, names, volume, found, provenance(models, watch, settings, source))
        except BaseException:
            remove_outputs(names)
            raise
    from bids_hypo.workflow.drawing import try_to_draw  # seconds that planning a run need not pay

    with watch.stage("draw"):  # after the records: a figure that fails costs no result
        # Along the axes as they are recorded, rounded: the same bytes when it is drawn again from the files.
        undrawn = try_to_draw(names, volume, found.hypothalamus.labels, found.icv, read_head_axes(record))
    left, right = found.hypothalamus.volumes_mm3
    flags = tuple(dict.fromkeys(found.hypothalamus_flags + found.icv_flags))
    return ScanResult(scan.name, "done", left, right, found.icv_mm3, flags, dict(watch.seconds), report_error=undrawn)


def segment_volume(
    volume: Volume, models: Models, *, fast: bool = False, what: str = "scan", watch: Stopwatch | None = None
) -> Segmentation:
    """Measure the hypothalamus and the intracranial volume of one image.

    Parameters
    ----------
    volume : Volume
        On its own grid.
    models : Models
    fast : bool
    what : str
        Named in errors.
    watch : Stopwatch, optional

    Returns
    -------
    Segmentation

    Raises
    ------
    SegmentationError
        If no head, no pose or no hypothalamus was found.
    """
    watch = watch or Stopwatch()
    with watch.stage("anatomy"):
        anatomy = find_anatomy(volume, models.anatomy, models.anatomy_network, what=what)
    with watch.stage("pose"):
        pose = fit_pose(anatomy.centroids_mm, pose_template(models.anatomy), what=what)
        region = region_grid(pose, models.hypothalamus)
    with watch.stage("delineate"):
        networks = models.hypothalamus_networks[:1] if fast else models.hypothalamus_networks
        folds = region_probabilities(volume, region, models.hypothalamus, networks, mirrored=not fast)
    with watch.stage("restore"):
        hypothalamus = delineate(folds, region, volume.grid, what=what)
        icv = native_icv(anatomy.icv_probability, anatomy.grid, volume.grid, threshold=icv_threshold(models.anatomy))
        if models.icv_network is not None:
            icv = icv_by_own_model(volume, pose, icv, models.bundles[ICV], models.icv_network)
    with watch.stage("measure"):
        of_icv = icv_flags(anatomy.image, anatomy.icv_probability, anatomy.grid, icv, volume.grid)
        mask_mm3 = mask_volume_mm3(icv, volume.grid.voxel_volume_mm3)
        check_possible(mask_mm3, volume.grid, cut=ICV_CUT in of_icv, what=what)
        of_hypothalamus = hypothalamus_flags(
            hypothalamus.volumes_mm3,
            touches_border=hypothalamus.touches_border,
            pose_residual_mm=pose.residual_mm,
            voxel_sizes_mm=volume.grid.voxel_sizes_mm,
            volume_sd_mm3=hypothalamus.volume_sd_mm3[2] if hypothalamus.volume_sd_mm3 else None,
        )
        quality = image_quality(volume, hypothalamus.labels, icv)
        near, around = image_flags(quality, skull_stripped=SKULL_STRIPPED in of_icv)
        measurable = not set(of_icv) & set(ICV_NOT_MEASURABLE)
        icv_mm3 = mask_mm3 if measurable else None
    of_hypothalamus, of_icv = of_hypothalamus + near + volume.doubts, of_icv + around + volume.doubts
    return Segmentation(pose, anatomy, icv, icv_mm3, hypothalamus, of_hypothalamus, of_icv, quality)


def write_images(scan: Scan, names: OutputNames, volume: Volume, found: Segmentation) -> None:
    """Write the four images on the scan's own grid."""
    labels = found.hypothalamus.labels
    write_nifti(names.dseg, labels, volume.affine, like=scan.path)
    write_nifti(names.hypothalamus_mask, (labels > 0).astype(np.uint8), volume.affine, like=scan.path)
    write_nifti(names.hypothalamus_probseg, found.hypothalamus.probability, volume.affine, like=scan.path)
    write_nifti(names.icv_mask, found.icv.astype(np.uint8), volume.affine, like=scan.path)


def write_records(
    scan: Scan, names: OutputNames, volume: Volume, found: Segmentation, made_by: Provenance
) -> dict[str, Any]:
    """Write the sidecars and the table; the table's JSON last, it closes the set. Returns what that JSON holds."""
    of_hypothalamus = {"Flags": list(found.hypothalamus_flags)}
    write_json(sidecar(names.dseg), dseg_sidecar(scan, made_by) | of_hypothalamus)
    write_json(sidecar(names.hypothalamus_mask), hypothalamus_mask_sidecar(scan, made_by) | of_hypothalamus)
    write_json(sidecar(names.hypothalamus_probseg), probseg_sidecar(scan, made_by) | of_hypothalamus)
    write_json(sidecar(names.icv_mask), icv_mask_sidecar(scan, made_by) | {"Flags": list(found.icv_flags)})
    table = volume_table(
        *found.hypothalamus.volumes_mm3,
        found.icv_mm3,
        hypothalamus_flags=found.hypothalamus_flags,
        icv_flags=found.icv_flags,
        volume_sd_mm3=found.hypothalamus.volume_sd_mm3,
    )
    write_tsv(names.morph, table)
    background = asdict(volume.background) if volume.background else {}
    of_image = image_record(found.pose.rotation, asdict(found.quality), background)
    closing = morph_sidecar(scan, made_by, names.files[:-1]) | of_image
    write_json(sidecar(names.morph), closing)
    return closing


def provenance(models: Models, watch: Stopwatch, settings: dict, source: SourceRecord) -> Provenance:
    """What made the derivatives."""
    used = {
        bundle.name: {"Name": bundle.name, "Version": bundle.version, "WeightsSHA256": bundle.weights_sha256}
        for bundle in models.bundles.values()
    }
    return Provenance(
        software_version=__version__,
        device=models.device,
        fallbacks=tuple(what for network in models.shared for what in network.fallbacks),
        seconds=dict(watch.seconds),
        models=used,
        settings=settings,
        source=source,
    )
