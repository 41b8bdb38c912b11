"""For other programs: load the models once, measure images, get masks and volumes back."""

from __future__ import annotations

from collections.abc import Collection
from contextlib import ExitStack
from dataclasses import dataclass
from os import PathLike
from pathlib import Path

import nibabel as nib
import numpy as np
import pandas as pd

from bids_hypo.bids.entities import IMAGE_EXTENSIONS, PLAIN_SUFFIX, RELAXATION_SUFFIXES, SIGNED_SUFFIXES
from bids_hypo.ending import temporary_folder
from bids_hypo.errors import UsageError
from bids_hypo.execute.worker import load_models as _load_models
from bids_hypo.image.volume import Volume, read_volume
from bids_hypo.measure.volumes import icv_volume, volume_table
from bids_hypo.structures import ALL, DEFAULT_STRUCTURES, ICV
from bids_hypo.workflow.scan import Models, Segmentation, segment_volume

__all__ = ["Models", "Segmented", "load_models", "segment"]


@dataclass(frozen=True)
class Segmented:
    """What was measured in one image. All images lie on its grid.

    Attributes
    ----------
    volumes : DataFrame
        One row for each part, side and whole: structure, part, hemisphere (L, R, M, B), volume_mm3, volume_sd_mm3,
        flags; the columns of the table that participant level writes.
    labels : dict of str to Nifti1Image
        For each structure (X, Y, Z) int: 0, else the number of the part (`parts`).
    probabilities : dict of str to Nifti1Image
        For each structure (X, Y, Z, P) float32, a frame a part.
    icv : Nifti1Image or None
        (X, Y, Z) uint8, 1 inside the skull; None for images that are not T1-weighted.
    parts : dict of str to DataFrame
        For each structure its parts: index, name, hemisphere, abbreviation, color, in_whole.
    flags : dict of str to tuple of str
        Reasons to look at a result before using it, see `bids_hypo.measure.quality.FLAG_TEXTS`.
    head_axes : (3, 3) float
        Columns are the head's right, anterior and superior directions in RAS of the image.
    """

    volumes: pd.DataFrame
    labels: dict[str, nib.Nifti1Image]
    probabilities: dict[str, nib.Nifti1Image]
    icv: nib.Nifti1Image | None
    parts: dict[str, pd.DataFrame]
    flags: dict[str, tuple[str, ...]]
    head_axes: np.ndarray


def load_models(
    structures: str | Collection[str] = DEFAULT_STRUCTURES, *, models_dir: str | PathLike[str] | None = None,
    device: str = "auto", n_threads: int | None = None, batch_size: int = 16,
) -> Models:  # fmt: skip
    """Load the models of some structures; takes seconds, so do it once.

    Parameters
    ----------
    structures : str or collection of str
        Their names, or ``all``.
    models_dir : path-like, optional
        A folder of model bundles to use in place of the shipped ones of the same names.
    device : str
        ``auto``, ``cpu``, ``gpu`` or ``gpu:N``. TensorFlow takes one device in a process: the first that is asked for.
    n_threads : int, optional
        All cores if not given.
    batch_size : int
        Slices per call of a network.

    Returns
    -------
    Models
        To be passed to `segment`.

    Raises
    ------
    UsageError
        If there is no such structure or device.
    ModelError
        If a model is damaged.
    """
    folder = None if models_dir is None else Path(models_dir)
    return _load_models(device, n_threads, folder, batch_size, _listed(structures), n_lanes=1)


def segment(
    image: str | PathLike[str] | nib.Nifti1Image, structures: str | Collection[str] | None = None, *,
    suffix: str | None = None, models: Models | None = None, fast: bool = False,
) -> Segmented:  # fmt: skip
    """Measure structures in one image.

    Parameters
    ----------
    image : path-like or Nifti1Image
        A NIfTI file, or an image in memory.
    structures : str or collection of str, optional
        Names of structures, or ``all`` that are measured on such an image. Those of `models` if not given, else the
        hypothalamus.
    suffix : str, optional
        What kind of image it is, by its BIDS suffix, such as ``FLAIR``. By the name of the file if not given; T1w where
        that does not say.
    models : Models, optional
        By `load_models`; loaded for this call if not given, and kept for the next.
    fast : bool
        One pass of one network of each structure: quicker, less steady.

    Returns
    -------
    Segmented

    Raises
    ------
    ScanReadError
        If the image cannot be read, or is no scan of a head.
    SegmentationError
        If no head was found, or one of the structures was not.
    UsageError
        If a structure is not among the models, or is not measured on such images.
    """
    loaded = models or load_models(DEFAULT_STRUCTURES if structures is None else structures)
    kind = suffix or _suffix_of(image)
    names = _names(structures, loaded, kind)
    told = "the image"
    with ExitStack() as stack:
        if isinstance(image, nib.spatialimages.SpatialImage):
            path = stack.enter_context(temporary_folder()) / f"image_{kind}.nii"
            nib.save(nib.Nifti1Image.from_image(image), path)
        else:
            path = Path(image)
            told = str(path)
        volume = read_volume(
            path, signed=kind in SIGNED_SUFFIXES, relaxation=kind if kind in RELAXATION_SUFFIXES else None
        )
        found = segment_volume(volume, loaded, suffix=kind, wanted=names, fast=fast, what=told)
    return _told(volume, found)


def _suffix_of(image: object) -> str:
    """The BIDS suffix in the name of a file; T1w where there is none."""
    name = Path(image).name if isinstance(image, str | PathLike) else ""
    stem = next((name.removesuffix(end) for end in IMAGE_EXTENSIONS if name.endswith(end)), "")
    return stem.rpartition("_")[2] if "_" in stem and stem.startswith("sub-") else PLAIN_SUFFIX


def _listed(structures: str | Collection[str]) -> tuple[str, ...]:
    """Names as a tuple; a single one may be given as it is."""
    return (structures,) if isinstance(structures, str) else tuple(dict.fromkeys(structures))


def _names(structures: str | Collection[str] | None, models: Models, suffix: str) -> list[str]:
    known, asked = models.catalog.structures, _listed(ALL if structures is None else structures)
    names = list(known) if ALL in asked else list(asked)
    if not names:
        raise UsageError(f"structures: none is named; expected one at least, of {', '.join(known)}.")
    unknown = [name for name in names if name not in known]
    if unknown:
        raise UsageError(f"{', '.join(unknown)}: not among the models that are loaded ({', '.join(known)}).")
    fitting = [name for name in names if suffix in known[name].suffixes]
    if not fitting or (ALL not in asked and fitting != names):
        out = [name for name in names if name not in fitting]
        wanted = "; ".join(f"{name} on {', '.join(known[name].suffixes)}" for name in out)
        raise UsageError(f"{suffix}: {', '.join(out)} cannot be measured on such an image. Expected {wanted}.")
    return fitting


def _told(volume: Volume, found: Segmentation) -> Segmented:
    def image(data: np.ndarray) -> nib.Nifti1Image:
        return nib.Nifti1Image(data, volume.affine)

    measured = {name: (one.delineation.volumes, one.flags) for name, one in found.found.items()}
    if found.measures_icv:
        measured[ICV] = (icv_volume(found.icv_mm3), found.icv_flags)
    return Segmented(
        volumes=volume_table(measured),
        labels={name: image(one.delineation.labels) for name, one in found.found.items()},
        probabilities={name: image(one.delineation.probability) for name, one in found.found.items()},
        icv=image(found.icv.astype(np.uint8)) if found.measures_icv else None,
        parts={name: pd.DataFrame(one.structure.parts) for name, one in found.found.items()},
        flags={name: flags for name, (_, flags) in measured.items()},
        head_axes=found.pose.rotation,
    )
