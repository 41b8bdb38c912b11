"""Writes the demo: a valid raw BIDS dataset of synthetic T1w heads, with the truth beside it in sourcedata/."""

from __future__ import annotations

import json
import logging
import os
import shutil
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from bids_hypo.bids.tsv import table_text
from bids_hypo.demo import texts
from bids_hypo.demo.deform import CENTRES_MM, Deformation, reference_mask, template_coordinates
from bids_hypo.demo.head import TYPICAL_T1W, Head, Tissue, build_head, t1w_intensity
from bids_hypo.demo.scanner import acquire, resample_to_grid, scan_grid
from bids_hypo.demo.subjects import Subject, draw_subjects, region_volume_mm3, scan_centre_mm, subject_deformations
from bids_hypo.ending import undone_at_end
from bids_hypo.errors import CannotCreateError, UsageError
from bids_hypo.files import read_json
from bids_hypo.image.grid import Grid
from bids_hypo.image.volume import write_bytes, write_nifti

LOGGER = logging.getLogger(__name__)
MAX_SUBJECTS = 99
RECORD = "sourcedata/bids_hypo_demo.json"
TRUTH = "sourcedata/truth.tsv"
_GENERATION = 2
"""Raised whenever the same settings would give other images, so that an old demo is not mistaken for a new one."""


@dataclass(frozen=True)
class DemoSettings:
    """What decides every byte of the demo.

    Attributes
    ----------
    n_subjects : int
        1 to 99; the groups alternate, ALS first.
    seed : int
        0 or above.
    """

    n_subjects: int = 8
    seed: int = 0

    def __post_init__(self) -> None:
        if not 1 <= self.n_subjects <= MAX_SUBJECTS:
            raise UsageError(f"{self.n_subjects} demo subjects asked for; choose 1 to {MAX_SUBJECTS}.")
        if self.seed < 0:
            raise UsageError(f"the demo's seed is {self.seed}; choose a whole number of 0 or above.")


def write_demo_dataset(folder: str | Path, settings: DemoSettings | None = None) -> bool:
    """Write the demo dataset, or keep the one that is there.

    Parameters
    ----------
    folder : path-like
        Is made whole beside its place and then renamed; it never holds half a dataset.
    settings : DemoSettings, optional
        Eight subjects and seed 0 unless told.

    Returns
    -------
    bool
        True if it was written, False if a complete dataset of these settings was there already.

    Raises
    ------
    CannotCreateError
        If the folder holds anything else, or cannot be written.
    """
    folder, settings = Path(os.path.abspath(folder)), settings or DemoSettings()
    if _is_complete(folder, settings):
        LOGGER.info("%s already holds the demo dataset of these settings; kept.", folder)
        return False
    _check_free(folder)
    part = folder.with_name(f".{folder.name}.{os.getpid()}.part")
    remove_part = partial(shutil.rmtree, part, ignore_errors=True)
    with undone_at_end(remove_part):
        try:
            part.mkdir(parents=True)
            _write_all(part, settings)
            os.replace(part, folder)
        except OSError as error:
            raise CannotCreateError(
                f"{folder}: the demo dataset cannot be written here ({error}). Choose a folder that you may write to."
            ) from error
        finally:
            remove_part()
    return True


def subject_truth_masks(settings: DemoSettings, label: str, session: int = 1) -> tuple[dict[str, np.ndarray], Grid]:
    """True regions of one scan of the demo, on the scan's own grid.

    Parameters
    ----------
    settings : DemoSettings
    label : str
        Subject label without ``sub-``.
    session : int
        1 for the first or only scan.

    Returns
    -------
    masks : dict of "L", "R", "ICV" to (X, Y, Z) bool
        The deformed reference ellipsoids and the inside of the skull.
    grid : Grid
        That of the written file.
    """
    head = build_head()
    subject = next(s for s in draw_subjects(settings.n_subjects, settings.seed) if s.label == label)
    deformation = subject_deformations(subject, head)[session - 1]
    grid = scan_grid(subject.protocols[session - 1], scan_centre_mm(deformation))
    points = template_coordinates(deformation, grid)
    masks = {side: reference_mask(points, side) for side in CENTRES_MM}
    masks["ICV"] = resample_to_grid(head.icv, deformation, grid) > 0.5
    return masks, grid


def _write_all(root: Path, settings: DemoSettings) -> None:
    head = build_head()
    subjects = draw_subjects(settings.n_subjects, settings.seed)
    rows: list[dict[str, Any]] = []
    for subject in subjects:
        LOGGER.info("demo subject %s of %d", subject.label, settings.n_subjects)
        rows += _write_subject(root, subject, head)
    _write_json(root / "dataset_description.json", texts.DATASET_DESCRIPTION)
    write_bytes(root / "README", texts.README.encode())
    write_bytes(root / "CHANGES", texts.CHANGES.encode())
    _write_table(root / "participants.tsv", [_participant(s) for s in subjects], texts.PARTICIPANTS_COLUMNS)
    _write_table(root / TRUTH, rows, texts.TRUTH_COLUMNS)
    _write_json(root / RECORD, {**_record(settings), "files": _sizes(root)})


def _write_subject(root: Path, subject: Subject, head: Head) -> list[dict[str, Any]]:
    rng = np.random.default_rng([*subject.seed, 3])
    contrast = {tissue: value * float(rng.uniform(0.92, 1.08)) for tissue, value in TYPICAL_T1W.items()}
    contrast[Tissue.BRAIN] = 1.0
    template = t1w_intensity(head, contrast, brain_gamma=float(rng.uniform(1.05, 1.35)))
    rows = []
    for session, deformation in enumerate(subject_deformations(subject, head), start=1):
        protocol = subject.protocols[session - 1]
        grid = scan_grid(protocol, scan_centre_mm(deformation))
        data = acquire(resample_to_grid(template, deformation, grid), protocol, grid, rng)
        name = _scan_path(subject, session)
        write_nifti(root / (name + protocol.extension), data, grid.affine)
        _write_json(root / f"{name}.json", texts.SCAN_SIDECAR)
        rows.append(_truth(subject, head, deformation, name + protocol.extension))
    return rows


def _scan_path(subject: Subject, session: int) -> str:
    folder, name = f"sub-{subject.label}", f"sub-{subject.label}"
    if len(subject.protocols) > 1:
        folder, name = f"{folder}/ses-{session:02d}", f"{name}_ses-{session:02d}"
    return f"{folder}/anat/{name}_T1w"


def _participant(subject: Subject) -> dict[str, Any]:
    return {
        "participant_id": f"sub-{subject.label}",
        "age": subject.age_years,
        "sex": subject.sex,
        "group": subject.group,
    }


def _truth(subject: Subject, head: Head, deformation: Deformation, filename: str) -> dict[str, Any]:
    volume = {side: region_volume_mm3(subject, head, side) for side in CENTRES_MM}
    return {
        "participant_id": f"sub-{subject.label}",
        "filename": filename,
        "group": subject.group,
        "factor_left": round(subject.planted_factor["L"], 6),
        "factor_right": round(subject.planted_factor["R"], 6),
        "region_left_mm3": round(volume["L"], 3),
        "region_right_mm3": round(volume["R"], 3),
        "icv_mm3": round(subject.icv_mm3, 1),
        "warp_amplitude_mm": round(deformation.warp.amplitude_mm, 4),
    }


def _write_table(path: Path, rows: list[dict[str, Any]], columns: dict[str, Any]) -> None:
    table = pd.DataFrame(rows, columns=list(columns))
    write_bytes(path, table_text(table).encode())
    _write_json(path.with_suffix(".json"), columns)


def _write_json(path: Path, content: dict[str, Any]) -> None:
    write_bytes(path, (json.dumps(content, indent=2) + "\n").encode())


def _record(settings: DemoSettings) -> dict[str, Any]:
    return {"generator": "bids_hypo_demo", "generation": _GENERATION, "settings": asdict(settings)}


def _sizes(root: Path) -> dict[str, int]:
    return {str(p.relative_to(root)): p.stat().st_size for p in sorted(root.rglob("*")) if p.is_file()}


def _is_complete(folder: Path, settings: DemoSettings) -> bool:
    try:
        record = read_json(folder / RECORD)
        files = record.pop("files")
        if record != _record(settings):
            return False
        return all((folder / name).stat().st_size == size for name, size in files.items())
    except (OSError, ValueError, KeyError, AttributeError, TypeError):
        return False


def _check_free(folder: Path) -> None:
    try:
        occupied = folder.is_dir() and any(folder.iterdir())
        if folder.exists() and not folder.is_dir():
            raise CannotCreateError(f"{folder}: this is a file; name a folder for the demo dataset.")
    except OSError as error:
        raise CannotCreateError(f"{folder}: cannot be looked into ({error}). Choose another folder.") from error
    if not occupied:
        return
    found = "a demo dataset of other settings or one that was changed" if (folder / RECORD).exists() else "other files"
    raise CannotCreateError(
        f"{folder}: holds {found}; expected a new or an empty folder. Nothing was touched: name another folder, or "
        "remove this one if you do not need it."
    )
