"""Simulated people with multiple sclerosis, followed for two years: tables of thalamus volumes, without any image.

For learning what the group level does with several kinds of image, sessions and scores. Every number is drawn from a
seeded generator; nobody was scanned.
"""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from bids_hypo import __version__
from bids_hypo.bids.checksums import checksums
from bids_hypo.bids.dataset import prepare_output, write_tsv
from bids_hypo.bids.entities import PLAIN_SUFFIX, Scan, join_name
from bids_hypo.bids.names import OutputNames, output_names, sidecar
from bids_hypo.bids.sidecars import Provenance, morph_sidecar, structure_record, write_json
from bids_hypo.errors import CannotCreateError, UsageError
from bids_hypo.measure.volumes import icv_volume, part_volumes, volume_table
from bids_hypo.structures import ICV, Part, Plausible, Structure

PATIENTS, CONTROLS = "MS", "control"
MAX_PATIENTS = 500
# What is planted: percent a year (mean, SD), and noise and bias of each kind of image.
CHANGE = {PATIENTS: (-1.2, 0.7), CONTROLS: (-0.3, 0.3)}
IMAGES = {PLAIN_SUFFIX: (0.010, 0.0), "FLAIR": (0.020, -0.02), "R1map": (0.015, 0.01)}
THALAMUS = Structure(
    "thalamus", "thalamus",
    (Part(1, "left thalamus", "L", "THA-L", "#E69F00"), Part(2, "right thalamus", "R", "THA-R", "#56B4E9")),
    Plausible((6000.0, 20000.0), 500.0, 0.3, 3.0), methods="was simulated",
)  # fmt: skip
_MODEL = {"Name": "simulated", "Version": "1", "WeightsSHA256": "0" * 64}
_VISITS = (0, 365, 731)  # days


@dataclass(frozen=True)
class Person:
    """One simulated person.

    Attributes
    ----------
    row : dict
        Of participants.tsv.
    volume_mm3, icv_mm3 : float
        True volumes at the first session.
    change : float
        True change of the thalamus, percent a year.
    edss : tuple of float
        The score in each session.
    first : date
    """

    row: dict[str, Any]
    volume_mm3: float
    icv_mm3: float
    change: float
    edss: tuple[float, ...]
    first: date


def write_patients(folder: str | Path, n_patients: int = 40, seed: int = 0) -> list[Path]:
    """Write the tables of simulated patients, and of half as many controls.

    Parameters
    ----------
    folder : path-like
        New or empty. ``raw`` gets participants.tsv and the sessions, ``derivatives`` the tables of volumes.
    n_patients : int
        8 to 500.
    seed : int
        The same seed gives the same numbers.

    Returns
    -------
    list of Path
        The folders of the sessions (``anat``) in ``derivatives``.

    Raises
    ------
    UsageError
        For a number of patients that cannot be.
    CannotCreateError
        If the folder is not empty.
    """
    if not 8 <= n_patients <= MAX_PATIENTS:
        raise UsageError(f"{n_patients} simulated patients asked for; choose 8 to {MAX_PATIENTS}.")
    folder = Path(os.path.abspath(folder))
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise CannotCreateError(f"{folder}: is not empty. Choose a new folder for the simulated patients.")
    rng = np.random.default_rng(seed)
    people = [_person(number, number < n_patients, rng) for number in range(n_patients + n_patients // 2)]
    raw, out = folder / "raw", folder / "derivatives"
    raw.mkdir(parents=True)
    _write_raw(raw, people)
    prepare_output(out, raw, command_version=__version__)
    return [_write_session(raw, out, one, visit, rng) for one in people for visit in range(len(_VISITS))]


def _person(number: int, is_patient: bool, rng: np.random.Generator) -> Person:
    """Patients with a smaller thalamus, or one that shrinks faster, have a higher score and get worse more often."""
    group = PATIENTS if is_patient else CONTROLS
    burden, speed, age = rng.normal(), rng.normal(), float(np.clip(rng.normal(42, 9), 20, 65))
    icv = rng.normal(1.5e6, 1.2e5)
    size = 14000 * (icv / 1.5e6) ** 0.7 * (1 - 0.002 * (age - 42)) * (1 + 0.04 * rng.normal())
    mean, sd = CHANGE[group]
    row: dict[str, Any] = {"participant_id": f"sub-{number + 1:03d}", "group": group, "age": round(age, 1),
                           "sex": "FM"[int(rng.random() < 0.3)], "worsened": None}  # fmt: skip
    edss = (0.0,) * len(_VISITS)
    if is_patient:
        size *= 0.93 - 0.05 * burden
        score = float(np.clip(round(2 * (2.8 + 1.2 * burden + 0.6 * rng.normal())) / 2, 0, 7))
        worse = bool(rng.random() < 1 / (1 + np.exp(0.2 - 1.2 * speed)))
        row["worsened"] = "yes" if worse else "no"
        edss = tuple(score + (0.5 if score >= 5.5 else 1.0) * (worse and visit > 0) for visit in range(len(_VISITS)))
    first = date(2020, 1, 1) + timedelta(days=int(rng.integers(365)))
    return Person(row, size, icv, mean - sd * speed, edss, first)


def _write_raw(raw: Path, people: list[Person]) -> None:
    description = {"Name": "simulated patients", "BIDSVersion": "1.10.0", "DatasetType": "raw", "License": "CC0"}
    (raw / "dataset_description.json").write_text(json.dumps(description, indent=2) + "\n")
    write_tsv(raw / "participants.tsv", pd.DataFrame([one.row for one in people]))
    for one in people:
        label = one.row["participant_id"]
        sessions = pd.DataFrame({
            "session_id": [f"ses-{visit + 1}" for visit in range(len(_VISITS))],
            "acq_time": [f"{one.first + timedelta(days=days)}T00:00:00" for days in _VISITS],
            "EDSS": one.edss if one.row["group"] == PATIENTS else [None] * len(_VISITS),
        })  # fmt: skip
        (raw / label).mkdir()
        write_tsv(raw / label / f"{label}_sessions.tsv", sessions)


def _write_session(raw: Path, out: Path, one: Person, visit: int, rng: np.random.Generator) -> Path:
    """The tables of the images of a session: the true volume with the noise and bias of each."""
    subject = one.row["participant_id"].removeprefix("sub-")
    true = one.volume_mm3 * (1 + one.change / 100) ** (_VISITS[visit] / 365.25)
    for suffix, (noise, bias) in IMAGES.items():
        entities = {"sub": subject, "ses": str(visit + 1)}
        path = raw / f"sub-{subject}" / f"ses-{visit + 1}" / "anat" / f"{join_name(entities, suffix)}.nii.gz"
        names = output_names(Scan(path, entities, suffix, raw), out, (THALAMUS.name,))
        volume = true * (1 + bias + noise * rng.normal())
        left = volume * (0.5 + 0.004 * rng.normal())
        icv = one.icv_mm3 * (1 + 0.005 * rng.normal())
        _write_table(names, [left, volume - left], icv if names.scan.is_t1 else None)
    return names.anat_dir


def _write_table(names: OutputNames, sides: list[float], icv: float | None) -> None:
    measured: dict[str, Any] = {THALAMUS.name: (part_volumes(THALAMUS, sides), ())}
    measured |= {} if icv is None else {ICV: (icv_volume(icv), ())}
    write_tsv(names.morph, volume_table(measured))
    made_by = Provenance(__version__, "none", (), {}, {THALAMUS.name: _MODEL}, {"Fast": False})
    about = structure_record(THALAMUS, _MODEL, {"contrast": np.nan, "contrast_to_noise": np.nan})
    of_icv: dict[str, Any] = {} if icv is None else {ICV: {"Published": []}}
    record = morph_sidecar(names.scan, made_by, checksums([names.morph]))
    write_json(sidecar(names.morph), {**record, "Structures": {THALAMUS.name: about}, **of_icv})
