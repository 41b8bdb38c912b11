"""Who is in the demo: every subject's group, head size, planted hypothalamus change and scans, drawn from one seed."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.spatial.transform import Rotation

from bids_hypo.demo.deform import (
    CENTRES_MM,
    Deformation,
    Warp,
    core_scale_for,
    random_warp,
    reference_volume_mm3,
    warp_factor,
)
from bids_hypo.demo.head import HEAD_GRID, Head
from bids_hypo.demo.scanner import Protocol
from bids_hypo.image.grid import apply_affine

GROUPS = ("ALS", "control")
PLANTED_FACTOR = {"ALS": (0.88, 0.03), "control": (1.00, 0.03)}
"""Mean and SD of the planted volume factor in each group."""
ICV_RANGE_MM3 = (1.30e6, 1.70e6)
_HEAD_CENTRE_MM = np.array([0.0, -4.0, -4.0])
_BLOCK = 5

PROTOCOLS: tuple[tuple[Protocol, ...], ...] = (
    (Protocol("RAS", (1.0, 1.0, 1.0), 0.0, ".nii.gz", "int16"),),
    (
        Protocol("LAS", (1.1, 1.1, 1.1), 0.0, ".nii.gz", "uint8"),
        Protocol("LAS", (1.2, 1.0, 1.0), 0.0, ".nii.gz", "int16"),
    ),
    (Protocol("LPS", (0.9, 0.9, 0.9), 0.0, ".nii.gz", "int16"),),
    (Protocol("PSR", (1.3, 1.3, 1.3), 0.0, ".nii.gz", "float32"),),
    (Protocol("RAS", (1.0, 1.0, 1.2), 14.0, ".nii.gz", "int16"),),
    (Protocol("LAS", (0.8, 0.8, 1.3), 0.0, ".nii.gz", "uint8"),),
    (Protocol("LIA", (1.2, 1.2, 1.2), 0.0, ".nii.gz", "float32"),),
    (Protocol("RAS", (1.25, 1.25, 1.25), 0.0, ".nii", "uint8"),),
)
"""Scans of the first eight subjects, one entry a session; later subjects start again from the first."""


@dataclass(frozen=True)
class Subject:
    """One synthetic participant.

    Attributes
    ----------
    label : str
        Two digits, BIDS label.
    group : {"ALS", "control"}
    age_years : int
    sex : {"F", "M"}
    icv_mm3 : float
        Intracranial volume of the deformed head.
    planted_factor : dict of side ("L", "R") to float
        Volume of the hypothalamus region over what it would be if it had grown or shrunk with the ICV alone.
    warp_amplitude_mm : float
    protocols : tuple of Protocol
        One scan each; more than one means sessions.
    seed : tuple of int
        Seeds everything else that is random about this subject.
    """

    label: str
    group: str
    age_years: int
    sex: str
    icv_mm3: float
    planted_factor: dict[str, float]
    warp_amplitude_mm: float
    protocols: tuple[Protocol, ...]
    seed: tuple[int, int]


def draw_subjects(n_subjects: int, seed: int) -> list[Subject]:
    """Draw the participants; the groups alternate and have alike ages and head sizes.

    Parameters
    ----------
    n_subjects : int
    seed : int

    Returns
    -------
    list of Subject
        In each group of two or more the planted factors have exactly the mean and SD of `PLANTED_FACTOR`.
    """
    rng = np.random.default_rng([seed, 1])
    per_group = (n_subjects + 1) // 2
    subjects: list[Subject] = []
    tables = {}
    for group in GROUPS:
        members = len(range(GROUPS.index(group), n_subjects, 2))
        tables[group] = {
            "factor": _exact_normal(rng, members, *PLANTED_FACTOR[group]),
            "icv": rng.permutation(np.linspace(*ICV_RANGE_MM3, 2 * per_group + 1)[1::2])[:members],
            "age": rng.permutation(np.linspace(48, 74, per_group))[:members] + rng.integers(-2, 3, members),
        }
    for index in range(n_subjects):
        group, row = GROUPS[index % 2], index // 2
        icv_mm3 = float(tables[group]["icv"][row] + rng.uniform(-2e4, 2e4))
        factor, asymmetry = float(tables[group]["factor"][row]), float(rng.uniform(-0.015, 0.015))
        subjects.append(
            Subject(
                label=f"{index + 1:02d}",
                group=group,
                age_years=int(tables[group]["age"][row]),
                sex="M" if icv_mm3 > 1.5e6 else "F",
                icv_mm3=icv_mm3,
                planted_factor={"L": factor * (1 + asymmetry), "R": factor * (1 - asymmetry)},
                warp_amplitude_mm=float(rng.uniform(1.0, 3.0)),
                protocols=PROTOCOLS[index % len(PROTOCOLS)],
                seed=(seed, index + 1),
            )
        )
    return subjects


def subject_deformations(subject: Subject, head: Head) -> list[Deformation]:
    """The way from template to subject for each of a subject's scans.

    Parameters
    ----------
    subject : Subject
    head : Head
        Its intracranial mask sets the scale.

    Returns
    -------
    list of Deformation
        One a scan. They differ in the position of the head only: the anatomy is the same in all sessions.
    """
    rng = np.random.default_rng([*subject.seed, 2])
    warp = random_warp(rng, subject.warp_amplitude_mm)
    icv_factor = _icv_warp_factor(warp, head)
    scale = float(np.cbrt(subject.icv_mm3 / (head.icv_mm3 * icv_factor)))
    # The factor is relative to the head: the warp's own effect on the ICV is part of what the region must follow.
    core_scale = {side: core_scale_for(warp, side, subject.planted_factor[side] * icv_factor) for side in CENTRES_MM}
    return [Deformation(_head_position(rng, scale), warp, core_scale) for _ in subject.protocols]


def scan_centre_mm(deformation: Deformation) -> np.ndarray:
    """Where the middle of a scan's field of view belongs, subject space, RAS mm (3,)."""
    return apply_affine(deformation.position, _HEAD_CENTRE_MM)


def region_volume_mm3(subject: Subject, head: Head, side: str) -> float:
    """True volume of a subject's deformed reference ellipsoid, in mm3."""
    return reference_volume_mm3() * subject.planted_factor[side] * subject.icv_mm3 / head.icv_mm3


def _exact_normal(rng: np.random.Generator, n: int, mean: float, sd: float) -> np.ndarray:
    draws = rng.standard_normal(n)
    if n < 2:
        return np.full(n, mean)
    return mean + sd * (draws - draws.mean()) / draws.std(ddof=1)


def _icv_warp_factor(warp: Warp, head: Head) -> float:
    """How much the warp makes the intracranial volume grow: its mean determinant over blocks of 5 mm."""
    padded = np.pad(head.icv, [(0, -n % _BLOCK) for n in head.icv.shape])
    nx, ny, nz = (n // _BLOCK for n in padded.shape)
    share = padded.reshape(nx, _BLOCK, ny, _BLOCK, nz, _BLOCK).mean(axis=(1, 3, 5))
    blocks = np.argwhere(share > 0)
    centres = apply_affine(HEAD_GRID.affine, blocks * _BLOCK + (_BLOCK - 1) / 2)
    return warp_factor(warp, centres, share[tuple(blocks.T)])


def _head_position(rng: np.random.Generator, scale: float) -> np.ndarray:
    position = np.eye(4)
    position[:3, :3] = scale * Rotation.from_euler("xyz", rng.normal(0, [4, 2, 3]), degrees=True).as_matrix()
    position[:3, 3] = rng.uniform(-8, 8, 3)
    return position
