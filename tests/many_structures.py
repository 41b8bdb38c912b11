"""Derivatives with two structures on two kinds of image, as the participant level would have written them."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from bids_hypo.bids.checksums import checksums
from bids_hypo.bids.dataset import write_tsv
from bids_hypo.bids.entities import Scan, split_name
from bids_hypo.bids.names import output_names, sidecar
from bids_hypo.bids.sidecars import Provenance, morph_sidecar, write_json
from bids_hypo.measure.volumes import PartVolume, icv_volume, volume_table
from bids_hypo.structures import HYPOTHALAMUS, ICV, WHOLE
from tests.group_cohorts import MODELS, write_participants

TITLES = {HYPOTHALAMUS: "hypothalamus", "trident": "trident of Poseidon"}
Rows = Sequence[PartVolume]


def sides(volume: float, left: float) -> Rows:
    """Rows of a structure that is one piece on each side."""
    return PartVolume(WHOLE, "L", left), PartVolume(WHOLE, "R", volume - left), PartVolume(WHOLE, "B", volume, 5.0)


def trident(left: float, right: float, shaft: float) -> Rows:
    """Rows of a structure of three parts: two prongs, and a shaft on the midline that does not count in the whole."""
    parts = PartVolume("prong", "L", left, 2.0), PartVolume("prong", "R", right, 3.0), PartVolume("shaft", "M", shaft)
    return *parts, *sides(left + right, left)


def add_tables(raw: Path, out: Path, name: str, measured: Mapping[str, tuple[Rows, Sequence[str]]]) -> Path:
    """Write the table of volumes of an image, such as ``sub-1_FLAIR``, and the record beside it; the table's path."""
    entities, suffix, _ = split_name(f"{name}.nii.gz")
    folders = [f"{key}-{entities[key]}" for key in ("sub", "ses") if key in entities]
    scan = Scan(raw.joinpath(*folders, "anat", f"{name}.nii.gz"), entities, suffix, raw)
    table = output_names(scan, out, [one for one in measured if one != ICV]).morph
    write_tsv(table, volume_table(measured))
    models = {"anatomy": MODELS["anatomy"]}
    models |= {one: MODELS["hypothalamus"] | {"Name": one} for one in measured if one != ICV}
    made_by = Provenance("0.2.0", "cpu", (), {}, models, {"Fast": False})
    record = morph_sidecar(scan, made_by, checksums([table]))
    titles = {one: {"Title": TITLES[one], "Model": models[one]} for one in measured if one != ICV}
    write_json(sidecar(table), record | {"Structures": titles})
    return table


def as_of_version_0_1(table: Path) -> None:
    """Turn a table into one of version 0.1: no parts, nothing about structures beside it."""
    lines = [line.split("\t") for line in table.read_text().splitlines()]
    at = lines[0].index("part")
    kept = [line[:at] + line[at + 1 :] for line in lines if line[at] in ("part", WHOLE)]
    table.write_text("".join("\t".join(line) + "\n" for line in kept))
    record = json.loads(sidecar(table).read_text())
    del record["Structures"]
    write_json(sidecar(table), record | {"Files": checksums([table])})


def write_two_structures(root: Path, n: int = 8, *, seed: int = 0) -> tuple[Path, Path]:
    """`n` cases and controls: hypothalamus and trident on T1w, the trident on FLAIR too.

    The shafts of the cases are a fifth smaller; nothing else is different. Returns the raw dataset and the derivatives.
    """
    raw, out, rng, rows = root / "raw", root / "out", np.random.default_rng(seed), []
    for i in range(2 * n):
        label, case = f"sub-{i + 1:02d}", i < n
        icv, hypothalamus, prong, shaft = rng.normal([1.5e6, 800, 400, 150], [8e4, 40, 20, 6])
        shaft *= 0.8 if case else 1
        halves = sides(hypothalamus, hypothalamus * rng.normal(0.5, 0.01))
        three = trident(prong, prong * rng.normal(1, 0.02), shaft)
        measured = {HYPOTHALAMUS: (halves, ()), "trident": (three, ()), ICV: (icv_volume(icv), ())}
        add_tables(raw, out, f"{label}_T1w", measured)
        flair = trident(prong * 1.1, prong * rng.normal(1.1, 0.02), shaft * 1.05)
        add_tables(raw, out, f"{label}_FLAIR", {"trident": (flair, ())})
        rows.append({"participant_id": label, "group": "ALS" if case else "CON", "age": 50 + i % 7, "score": 30 + i})
    write_participants(raw, rows)
    return raw, out
