"""Whether volumes of an image that is not T1-weighted can be normalised: by a T1-weighted one of its session.

The intracranial volume is measured on T1-weighted images only. Others take that of their session.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from bids_hypo.bids.entities import IMAGE_EXTENSIONS, RAW_LINK, T1_SUFFIXES, Scan, shorten
from bids_hypo.bids.written import linked_datasets

_WITH = "The intracranial volume for these volumes is that of a T1-weighted image of the same session."
_WITHOUT = (
    "When this was measured there was no T1-weighted image in the session, so there is no intracranial volume to "
    "normalise these volumes by."
)


def has_t1(scan: Scan, datasets: Iterable[Path]) -> bool:
    """Whether a session has a T1-weighted image.

    Parameters
    ----------
    scan : Scan
        Any image of the session.
    datasets : iterable of Path
        Where to look: raw or derivative datasets.
    """
    names = [f"*_{suffix}{extension}" for suffix in T1_SUFFIXES for extension in IMAGE_EXTENSIONS]
    folders = [f"sub-{scan.subject}", *([f"ses-{scan.session}"] if scan.session else []), "anat"]
    places = [Path(dataset).joinpath(*folders) for dataset in dict.fromkeys(datasets)]
    return any(path.exists() for place in places for name in names for path in place.glob(name))


def normalisation_note(scan: Scan, output_dir: Path) -> str:
    """What the JSON of a table says about the intracranial volume of an image that is not T1-weighted.

    Parameters
    ----------
    scan : Scan
    output_dir : Path
        Derivatives, which link to the dataset of the T1-weighted images.
    """
    raw = linked_datasets(output_dir).get(RAW_LINK, scan.dataset_root)
    return _WITH if has_t1(scan, (scan.dataset_root, raw)) else _WITHOUT


def sessions_without_t1(scans: Iterable[Scan], bids_dir: Path) -> str:
    """A sentence on the images of a run that have no T1-weighted one in their session; empty if all have."""
    others = [scan for scan in scans if not scan.is_t1]
    alone = [scan.name for scan in others if not has_t1(scan, (scan.dataset_root, bids_dir))]
    if not alone:
        return ""
    return (
        f"{len(alone)} image(s) have no T1-weighted image in their session: their volumes are measured, but cannot be "
        f"normalised by an intracranial volume: {shorten(alone)}."
    )
