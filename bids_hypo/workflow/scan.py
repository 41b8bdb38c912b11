"""One scan: find the head and its pose, then each structure in it, and measure."""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass, field, replace

import numpy as np

from bids_hypo.bids.entities import PLAIN_SUFFIX, SIGNED_SUFFIXES
from bids_hypo.errors import SegmentationError
from bids_hypo.image.volume import Volume
from bids_hypo.measure.image_quality import ImageQuality, RegionQuality, image_quality, region_quality
from bids_hypo.measure.quality import (
    ICV_CUT,
    ICV_NOT_MEASURABLE,
    SKULL_STRIPPED,
    confidence_flags,
    contrast_flags,
    icv_flags,
    image_flags,
    structure_flags,
)
from bids_hypo.measure.susceptibility import with_susceptibility
from bids_hypo.measure.volumes import mask_volume_mm3
from bids_hypo.models.batches import SharedNetwork
from bids_hypo.models.bundle import ModelBundle
from bids_hypo.models.catalog import Catalog
from bids_hypo.segmentation.anatomy import Anatomy, find_anatomy, icv_threshold, pose_template
from bids_hypo.segmentation.delineate import region_grid, region_probabilities, structure_of
from bids_hypo.segmentation.icv import check_possible, icv_by_own_model, native_icv
from bids_hypo.segmentation.pose import Pose, fit_pose
from bids_hypo.segmentation.sign import check_sign
from bids_hypo.segmentation.structure import Delineation, delineate
from bids_hypo.structures import Published, Structure
from bids_hypo.workflow.stopwatch import Stopwatch

Network = Callable[[np.ndarray], np.ndarray]


@dataclass(frozen=True)
class Models:
    """The loaded models of a run.

    Attributes
    ----------
    catalog : Catalog
        Their bundles.
    networks : dict of str to tuple of callable
        By the folder of the bundle: one for each set of weights, (N, H, W, C) to (N, H, W, K).
    device : str
        Where they run.
    shared : tuple of SharedNetwork
        All networks behind these callables.
    """

    catalog: Catalog
    networks: dict[str, tuple[Network, ...]]
    device: str
    shared: tuple[SharedNetwork, ...] = ()

    def of(self, bundle: ModelBundle) -> tuple[Network, ...]:
        """The networks of a bundle."""
        return self.networks[str(bundle.folder)]

    def with_networks(self, bundle: ModelBundle, networks: tuple[Network, ...]) -> Models:
        """The same models with other networks for one of the bundles."""
        return replace(self, networks={**self.networks, str(bundle.folder): networks})


@dataclass(frozen=True)
class Found:
    """A structure in a scan.

    Attributes
    ----------
    structure : Structure
    delineation : Delineation
        Labels, probabilities, volumes.
    quality : RegionQuality
        Of the image around it.
    flags : tuple of str
    """

    structure: Structure
    delineation: Delineation
    quality: RegionQuality
    flags: tuple[str, ...]


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
    icv_flags : tuple of str
    measures_icv : bool
        False where the image is of a kind that the ICV is not measured on; `icv` is the rough head then.
    quality : ImageQuality
    found : dict of str to Found
        By the name of the structure.
    icv_published : tuple of Published
        Published intracranial volumes.
    """

    pose: Pose
    anatomy: Anatomy
    icv: np.ndarray
    icv_mm3: float | None
    icv_flags: tuple[str, ...]
    measures_icv: bool
    quality: ImageQuality
    found: dict[str, Found] = field(default_factory=dict)
    icv_published: tuple[Published, ...] = ()


def segment_volume(
    volume: Volume, models: Models, *, suffix: str = PLAIN_SUFFIX, wanted: Collection[str] | None = None,
    fast: bool = False, what: str = "scan", watch: Stopwatch | None = None,
) -> Segmentation:  # fmt: skip
    """Measure structures and the intracranial volume of one image.

    Parameters
    ----------
    volume : Volume
        On its own grid.
    models : Models
    suffix : str
        BIDS suffix of the image, which decides which models are for it.
    wanted : collection of str, optional
        Names of structures; all that the models measure on such an image, if not given.
    fast : bool
        One network of each structure, on the image as it is.
    what : str
        Named in errors.
    watch : Stopwatch, optional

    Returns
    -------
    Segmentation

    Raises
    ------
    SegmentationError
        If no head, no pose or one of the structures was not found, or a susceptibility map is inverted.
    ModelError
        If no model is for such an image.
    """
    watch = watch or Stopwatch()
    head = models.catalog.head_for(suffix)
    with watch.stage("anatomy"):
        anatomy = find_anatomy(volume, head, models.of(head)[0], what=what)
    with watch.stage("pose"):
        if suffix in SIGNED_SUFFIXES:
            pose = _pose_of_map(volume, anatomy, head, models.of(head)[0], what=what)
        else:
            pose = fit_pose(anatomy.centroids_mm, pose_template(head), what=what)
    bundles = models.catalog.structures_for(suffix)
    delineated = {
        name: _delineated(volume, pose, bundle, models.of(bundle), fast=fast, what=what, watch=watch)
        for name, bundle in bundles.items()
        if wanted is None or name in wanted
    }
    with watch.stage("restore"):
        icv = _find_icv(volume, anatomy, pose, head, models)
    with watch.stage("measure"):
        return _measured(
            volume, (pose, anatomy, icv), head, delineated, what=what, susceptibility=suffix in SIGNED_SUFFIXES
        )


def _pose_of_map(volume: Volume, anatomy: Anatomy, head: ModelBundle, network: Network, *, what: str) -> Pose:
    """The pose of a susceptibility map, whose sign is checked in it.

    An inverted map may look so strange that no pose is found. Then that of its negative tells the sign.
    """
    template = pose_template(head)
    try:
        pose = fit_pose(anatomy.centroids_mm, template, what=what)
    except SegmentationError as error:
        try:
            other = find_anatomy(replace(volume, data=-volume.data), head, network, what=what)
            turned = fit_pose(other.centroids_mm, template, what=what)
        except SegmentationError:
            raise error from None
        check_sign(volume, turned, what=what)
        raise
    check_sign(volume, pose, what=what)
    return pose


def _delineated(
    volume: Volume, pose: Pose, bundle: ModelBundle, networks: tuple[Network, ...], *, fast: bool, what: str,
    watch: Stopwatch,
) -> tuple[Structure, Delineation]:  # fmt: skip
    """Find one structure, by one pass of one network if it has to be fast."""
    structure, region = structure_of(bundle), region_grid(pose, bundle)
    with watch.stage("delineate"):
        folds = region_probabilities(volume, region, bundle, networks[:1] if fast else networks, mirrored=not fast)
    with watch.stage("restore"):
        return structure, delineate(folds, region, volume.grid, structure, what=what)


def _find_icv(volume: Volume, anatomy: Anatomy, pose: Pose, head: ModelBundle, models: Models) -> np.ndarray:
    """The intracranial volume on the scan's own grid; of a model that does not measure it the rough head."""
    icv = native_icv(anatomy.icv_probability, anatomy.grid, volume.grid, threshold=icv_threshold(head))
    own = models.catalog.icv
    return icv if own is None or not head.measures_icv else icv_by_own_model(volume, pose, icv, own, models.of(own)[0])


def _measured(
    volume: Volume, where: tuple[Pose, Anatomy, np.ndarray], head: ModelBundle,
    delineated: dict[str, tuple[Structure, Delineation]], *, what: str, susceptibility: bool,
) -> Segmentation:  # fmt: skip
    """Flags and numbers of what was found.

    Those of the image as a whole and of its contrast were set on T1-weighted images, so no other image has them.
    """
    pose, anatomy, icv = where
    t1_weighted = head.measures_icv
    of_icv: tuple[str, ...] = ()
    icv_mm3, quality = None, ImageQuality(np.nan, np.nan)
    near: tuple[str, ...] = ()
    around: tuple[str, ...] = ()
    if t1_weighted:
        of_icv = icv_flags(anatomy.image, anatomy.icv_probability, anatomy.grid, icv, volume.grid)
        mask_mm3 = mask_volume_mm3(icv, volume.grid.voxel_volume_mm3)
        check_possible(mask_mm3, volume.grid, cut=ICV_CUT in of_icv, what=what)
        quality = image_quality(volume, icv)
        near, around = image_flags(quality, skull_stripped=SKULL_STRIPPED in of_icv)
        icv_mm3 = None if set(of_icv) & set(ICV_NOT_MEASURABLE) else mask_mm3
    found = {}
    for name, (structure, delineation) in delineated.items():
        if susceptibility:
            of_parts = with_susceptibility(delineation.volumes, volume, delineation.labels, structure)
            delineation = replace(delineation, volumes=of_parts)
        contrast = region_quality(volume, delineation.labels, icv)
        flags = structure_flags(
            delineation.volumes, structure.plausible, touches_border=delineation.touches_border,
            pose_residual_mm=pose.residual_mm, voxel_sizes_mm=volume.grid.voxel_sizes_mm,
        )  # fmt: skip
        flags += confidence_flags(delineation.volumes, structure.plausible, delineation.probability, delineation.labels)
        flags += (contrast_flags(contrast) if t1_weighted else ()) + near + volume.doubts
        found[name] = Found(structure, delineation, contrast, flags)
    of_icv += around + volume.doubts
    return Segmentation(pose, anatomy, icv, icv_mm3, of_icv, t1_weighted, quality, found, head.published)
