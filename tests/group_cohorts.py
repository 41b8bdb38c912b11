"""Derivative datasets with known volumes, as the participant level would have written them, without any image."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from scipy import stats

from bids_hypo.bids.checksums import checksums
from bids_hypo.bids.dataset import write_tsv
from bids_hypo.bids.entities import Scan, split_name
from bids_hypo.bids.names import output_names, sidecar
from bids_hypo.bids.sidecars import Provenance, morph_sidecar, write_json
from bids_hypo.measure.volumes import PartVolume, icv_volume, volume_table
from bids_hypo.structures import HYPOTHALAMUS, ICV, WHOLE

MODELS = {"anatomy": {"Name": "anatomy", "Version": "1.0.0", "WeightsSHA256": "0" * 64},
          "hypothalamus": {"Name": "hypothalamus", "Version": "1.0.0", "WeightsSHA256": "1" * 64}}  # fmt: skip


def add_scan(raw: Path, out: Path, name: str, volume: float, icv: float | None, flags: Sequence[str] = (),
             *, left: float | None = None, icv_flags: Sequence[str] = (), version: str = "1.0.0",
             suffix: str = "T1w") -> Path:  # fmt: skip
    """Write the table of volumes of one scan; `left` is half of the volume unless told. Returns the table's path."""
    entities, _, _ = split_name(f"{name}_{suffix}.nii.gz")
    folders = [f"{key}-{entities[key]}" for key in ("sub", "ses") if key in entities]
    scan = Scan(raw.joinpath(*folders, "anat", f"{name}_{suffix}.nii.gz"), entities, suffix, raw)
    names = output_names(scan, out)
    left = volume / 2 if left is None else left
    of_structure = (PartVolume(WHOLE, "L", left), PartVolume(WHOLE, "R", volume - left), PartVolume(WHOLE, "B", volume))
    measured = {HYPOTHALAMUS: (of_structure, flags)}
    if scan.is_t1:
        measured[ICV] = (icv_volume(icv), icv_flags)
    write_tsv(names.morph, volume_table(measured))
    models = {role: model | {"Version": version} for role, model in MODELS.items()}
    made_by = Provenance("0.1.0", "cpu", (), {}, models, {"Fast": False})
    write_json(sidecar(names.morph), morph_sidecar(scan, made_by, checksums([names.morph])))
    return names.morph


def write_participants(raw: Path, rows: Sequence[Mapping[str, Any]]) -> None:
    """Write participants.tsv and the dataset's description; None becomes n/a."""
    raw.mkdir(parents=True, exist_ok=True)
    columns = list(rows[0])
    lines = [columns, *([("n/a" if row[c] is None else str(row[c])) for c in columns] for row in rows)]
    (raw / "participants.tsv").write_text("".join("\t".join(line) + "\n" for line in lines))
    (raw / "dataset_description.json").write_text(json.dumps({"Name": "made up", "BIDSVersion": "1.8.0"}))


def write_cohort(root: Path, n_cases: int, n_controls: int, *, seed: int = 0, case_mean: float = 823,
                 control_mean: float = 852, sd: float = 80, age_slope: float = 0.0, case_age: float = 60,
                 control_age: float = 60, outliers: int = 0) -> tuple[Path, Path]:  # fmt: skip
    """A study of two groups whose normalised volumes have exactly the given mean and SD, before the effect of age.

    With `age_slope` (mm3 a year, about 60 years) and different mean ages, part of the difference is due to age.
    The first `outliers` cases have a quarter of their volume. Returns the raw dataset and the derivatives.
    """
    raw, out, rng = root / "raw", root / "out", np.random.default_rng(seed)
    rows = []
    spread = [z for n in (n_cases, n_controls) for z in stats.zscore(rng.normal(size=n), ddof=1)]
    for i in range(n_cases + n_controls):
        case = i < n_cases
        age = rng.normal(case_age if case else control_age, 9)
        icv = rng.normal(1481e3 if case else 1532e3, 120e3)
        normalised = (case_mean if case else control_mean) + sd * spread[i] + age_slope * (age - 60)
        volume = normalised * icv / 1532e3 * (0.25 if i < outliers else 1)
        label = f"sub-{i + 1:03d}"
        add_scan(raw, out, label, volume, icv, left=volume * rng.normal(0.5, 0.01))
        score = round(60 - volume / 40 + rng.normal(0, 2))
        rows.append({"participant_id": label, "group": "ALS" if case else "CON", "age": round(age, 1),
                     "sex": "FM"[rng.integers(2)], "ALSFRS-R": score if case else None,
                     "site": ["Ulm", "Jena", "Rostock"][i % 3]})  # fmt: skip
    write_participants(raw, rows)
    return raw, out
