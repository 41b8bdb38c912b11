"""How bright the tissues around a deep structure are on images of several kinds, and what age and illness change.

Ranges are relative to white matter. They are estimates from a few real scans and from common knowledge of each
contrast, made wide on purpose; see docs/lab/thalamus.md.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np

from bids_hypo.train.contrasts import FLUID, GREY, PAIRS, WHITE
from bids_hypo.train.headmaps import CSF, FIRST_OUTSIDE
from bids_hypo.train.tissue_codes import FAR_MM, CodeTable

Range = tuple[float, float]
CHOROID_MM = 2.5  # fluid so near to the structure may be choroid plexus, or a membrane
_DEEP = {10: "thalamus", 11: "caudate", 12: "putamen", 13: "pallidum", 16: "brainstem", 26: "caudate",
         28: "diencephalon", 85: "diencephalon"}  # fmt: skip


@dataclass(frozen=True)
class Kind:
    """Means of one kind of image, relative to white matter.

    Attributes
    ----------
    grey, fluid : (2,) tuple of float
    deep : dict of str to (2,) tuple of float
        As shares of the way from grey matter (0) to white matter (1).
    lesion : (2,) tuple of float
    outside : (2,) tuple of float
        Of everything outside of the skull's inside.
    wild : float
        Largest spread of the values where there is no tissue, as in a map that was fitted to noise.
    """

    grey: Range
    fluid: Range
    deep: Mapping[str, Range]
    lesion: Range
    outside: Range = (0.0, 1.3)
    wild: float = 0.0


_T1W = {"thalamus": (0.15, 0.85), "caudate": (-0.1, 0.25), "putamen": (-0.05, 0.45), "pallidum": (0.4, 1.05),
        "brainstem": (0.45, 1.0), "diencephalon": (0.3, 0.95)}  # fmt: skip
_T2W = {"thalamus": (0.1, 0.9), "caudate": (0.0, 0.6), "putamen": (0.1, 0.9), "pallidum": (0.8, 1.7),
        "brainstem": (0.3, 1.1), "diencephalon": (0.4, 1.4)}  # fmt: skip
KINDS: dict[str, Kind] = {
    "T1w": Kind((0.5, 0.86), (0.05, 0.42), _T1W, (0.45, 0.9)),
    "T2w": Kind((1.15, 1.7), (1.7, 4.0), _T2W, (1.3, 2.4)),
    "FLAIR": Kind((1.02, 1.5), (0.05, 0.75), {**_T2W, "thalamus": (-0.1, 1.6)}, (1.3, 2.3)),
    "R1map": Kind((0.55, 0.82), (0.15, 0.4), _T1W, (0.5, 0.9), wild=0.6),
    "T1map": Kind((1.25, 1.85), (2.2, 5.0), _T1W, (1.1, 1.9), outside=(0.0, 4.0), wild=2.0),
}


@dataclass(frozen=True)
class Rendering:
    """What one image shows.

    Attributes
    ----------
    kind : Kind
    means : (n,) float32
        Of each code.
    kept : (n,) bool
        Codes that a brain mask keeps; all of them without one.
    empty : (n,) bool
        Codes without tissue, where a map may have any value.
    lesion : float
        Mean of lesions.
    """

    kind: Kind
    means: np.ndarray
    kept: np.ndarray
    empty: np.ndarray
    lesion: float


def widened_ventricles(table: CodeTable, third_mm: float, lateral_mm: float) -> CodeTable:
    """The codes of the same brain with ventricles that reach further into what lies around them.

    Parameters
    ----------
    table : CodeTable
    third_mm, lateral_mm : float
        How far the third ventricle, and the lateral ones, take tissue. Of the structure a lateral ventricle takes a
        third as much: it lies on its upper side, where it is held by its capsule.
    """
    reach = np.where(table.part > 0, lateral_mm / 3, lateral_mm)
    taken = (table.third_mm <= third_mm) | (table.lateral_mm <= reach)
    return replace(
        table,
        label=np.where(taken, CSF, table.label),
        part=np.where(taken, 0, table.part).astype(table.part.dtype),
        rim_mm=np.where(taken, FAR_MM, table.rim_mm),
        depth_mm=np.where(taken, FAR_MM, table.depth_mm),
    )


def draw_rendering(table: CodeTable, kind: str, strip: float, rng: np.random.Generator) -> Rendering:
    """Draw the mean of each code of a map for one image.

    Parameters
    ----------
    table : CodeTable
    kind : str
        A key of `KINDS`, or anything else for an image of any contrast.
    strip : float
        How often only the brain is kept.
    rng : numpy Generator

    Returns
    -------
    Rendering
    """
    looks = KINDS.get(kind) or _any_kind(rng)
    white, grey, fluid = 1.0, rng.uniform(*looks.grey), rng.uniform(*looks.fluid)
    by_label = _label_means(np.unique(table.label), looks, (white, grey, fluid), rng)
    means = np.array([by_label[int(n)] for n in table.label])
    means = _graded(table, means, white, grey, rng)
    means = _with_choroid(table, means, fluid, grey, rng)
    outside = (table.label == 0) | (table.label >= FIRST_OUTSIDE)
    kept = np.ones(len(means), bool)
    if rng.random() < strip:
        kept = ~outside & ((table.label != CSF) | (rng.random() < 0.7))
    empty = outside | (np.isin(table.label, FLUID) & (rng.random() < 0.5))
    return Rendering(looks, np.clip(means, 0, None).astype(np.float32), kept, empty, rng.uniform(*looks.lesion))


def _any_kind(rng: np.random.Generator) -> Kind:
    """Grey matter and fluid anywhere around white matter, nuclei between or beyond."""
    grey = float(np.exp(rng.uniform(0.12, 0.8) * rng.choice([-1, 1])))
    fluid = float(np.exp(rng.uniform(-2.2, 1.4)))
    lesion = float(rng.uniform(0.4, 2.2))
    any_share = dict.fromkeys(set(_DEEP.values()), (-0.2, 1.3))
    return Kind((grey, grey), (fluid, fluid), any_share, (lesion, lesion), (0.0, 2.0), rng.uniform(0, 1))


def _label_means(
    present: np.ndarray, looks: Kind, tissues: tuple[float, float, float], rng: np.random.Generator
) -> dict[int, float]:
    white, grey, fluid = tissues
    spread = abs(white - grey)
    drawn = {int(n): rng.uniform(*looks.outside) for n in present}
    drawn[0] = rng.uniform(0, 0.08)  # air
    drawn |= {n: white + rng.normal(0, 0.02) for n in WHITE}
    drawn |= {n: grey + rng.normal(0, 0.06) * spread for n in GREY}
    drawn |= {n: max(fluid * rng.normal(1, 0.08), 0.0) for n in FLUID}
    shares = {name: rng.uniform(*limits) for name, limits in looks.deep.items()}
    drawn |= {n: grey + (shares[name] + rng.normal(0, 0.03)) * (white - grey) for n, name in _DEEP.items()}
    for right, left in PAIRS.items():
        if left in drawn:
            drawn[right] = drawn[left] + rng.normal(0, 0.03) * spread
    return drawn


def _graded(table: CodeTable, means: np.ndarray, white: float, grey: float, rng: np.random.Generator) -> np.ndarray:
    """The structure's own contrast: like white matter near to it, other behind; white matter like it around it.

    This is what makes a lateral border faint: the outer nuclei are crossed by many fibres, and the white matter beside
    them is less dense than elsewhere.
    """
    inside, around = table.part > 0, (table.rim_mm < FAR_MM) & np.isin(table.label, WHITE)
    if not inside.any():
        return means
    own = means[inside].mean()
    white_here = white + (grey - white) * rng.uniform(-0.15, 0.35)  # of the internal capsule
    inner = rng.uniform(0, 0.8) * np.exp(-(table.depth_mm - 0.5) / rng.uniform(1.0, 5.0))
    graded = means + inside * inner * (white_here - means)
    graded = graded + inside * table.behind * rng.uniform(-0.3, 0.3) * (white - grey)
    fade = np.exp(-(table.rim_mm - 0.5) / rng.uniform(0.8, 5.0))
    toward = white_here + rng.uniform(0, 0.5) * (own - white_here)
    return np.asarray(np.where(around, means + fade * (toward - means), graded))


def _with_choroid(
    table: CodeTable, means: np.ndarray, fluid: float, grey: float, rng: np.random.Generator
) -> np.ndarray:
    """Plexus, veins and membranes in the fluid next to the structure: anything from fluid to beyond grey matter."""
    if rng.random() < 0.35:
        return means
    here = np.isin(table.label, FLUID) & (table.rim_mm <= rng.uniform(0.9, 1.2) * CHOROID_MM)
    return np.where(here, fluid + (grey - fluid) * rng.uniform(0, 1.2), means)
