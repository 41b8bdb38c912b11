"""Intensities of tissues: T1w-like ones as measured, those of images of other kinds, and any at all.

Options of synthesis are here too, because most of them say how often which contrast is drawn.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from bids_hypo.train.headmaps import SINUS

WHITE = (2, 7, 41, 46)
GREY = (3, 8, 17, 18, 26, 42, 47, 53, 54, 58, 25, 57, 136, 137, 163, 164)
FLUID = (4, 5, 14, 15, 24, 43, 44, 72)
PAIRS = {41: 2, 42: 3, 43: 4, 44: 5, 46: 7, 47: 8, 49: 10, 50: 11, 51: 12, 52: 13, 53: 17, 54: 18, 57: 25, 58: 26,
         60: 28, 62: 30, 59: 27, 402: 401, 404: 403}  # fmt: skip
# Nuclei rich in iron, which `bids_hypo.train.nuclei` paints: their numbers and the tissue that they lie in
SUBSTANTIA_NIGRA, RED_NUCLEUS, DENTATE = (27, 59), (401, 402), (403, 404)
NUCLEI = {27: 28, 59: 60, 401: 28, 402: 60, 403: 7, 404: 46}
BONE, MARROW, SOFT, SKIN = 515, 516, 507, 511
# Relative to white matter, as found on twelve whole-head T1w scans (ds000011), widened on both sides.
MEASURED_CONTRAST = {"grey": (0.52, 0.78), "fluid": (0.08, 0.25), BONE: (0.01, 0.07), MARROW: (0.1, 1.0),
                     SOFT: (0.22, 0.65), SKIN: (0.3, 1.3), SINUS: (0.25, 0.65)}  # fmt: skip


@dataclass(frozen=True)
class SynthesisOptions:
    """Strength of each random effect; `mild` is used to make validation scans.

    Lengths in mm, angles in degrees, intensities relative to white matter. ``noise_max`` bounds the standard deviation
    in a voxel of the network's grid, where a scan of 1 mm has less than half of its own noise; ``blur_max_mm`` that of
    the blur. ``fluid_range`` bounds the mean of CSF;
    ``bone_like_fluid`` is how often bone is drawn about as bright as CSF, which hides the border of the ICV: T1w images
    are not like that, but it teaches shape. ``measured_contrast`` is how often grey matter, CSF and the tissues outside
    the brain are drawn from `MEASURED_CONTRAST` instead.

    The rest is for images that are not T1w (the locator), and 0 for T1w: ``susceptibility`` is how often the image is
    a signed susceptibility map; ``grouped_contrast`` how often, among the others, white matter, grey matter, fluid and
    what is outside each have any intensity, as in T2w, FLAIR, PDw or T1 maps; ``thick`` how often slices are thicker
    than the grid's, up to ``thick_max_mm``; ``noisy_air`` how often there is strong noise outside of the head.
    """

    max_rotation_deg: float = 22.0
    scale_sd: float = 0.07
    max_shear: float = 0.08
    max_shift_mm: float = 12.0
    warp_mm: float = 3.5
    any_contrast: float = 0.12
    fluid_range: tuple[float, float] = (0.05, 0.42)
    bone_like_fluid: float = 0.4
    measured_contrast: float = 0.0
    noise_max: float = 0.06
    blur_max_mm: float = 1.1
    bias_max: float = 0.35
    strip: float = 0.22
    deface: float = 0.2
    crop: float = 0.35
    susceptibility: float = 0.0
    grouped_contrast: float = 0.0
    thick: float = 0.0
    thick_max_mm: float = 6.5
    noisy_air: float = 0.0


MILD = SynthesisOptions(
    max_rotation_deg=8.0,
    scale_sd=0.03,
    max_shear=0.02,
    warp_mm=1.0,
    any_contrast=0.0,
    fluid_range=(0.15, 0.42),
    bone_like_fluid=0.0,
    noise_max=0.05,
    bias_max=0.2,
    strip=0.0,
    deface=0.0,
    crop=0.0,
)


T1W = replace(MILD, measured_contrast=1.0)


def tissue_means(labels: np.ndarray, rng: np.random.Generator, options: SynthesisOptions) -> np.ndarray:
    """Draw a mean intensity for each label; white matter is 1.

    Parameters
    ----------
    labels : (n,) int
        FreeSurfer numbers; 500 and above outside the skull.
    rng : numpy Generator
    options : SynthesisOptions

    Returns
    -------
    (n,) float32
    """
    present = np.unique(labels)
    if options.grouped_contrast and rng.random() < options.grouped_contrast:
        drawn = _grouped_means(present, rng)
    elif rng.random() < options.any_contrast:
        drawn = {int(n): rng.uniform(0, 1.1) for n in present}
        drawn[0] = rng.uniform(0, 0.1)
    else:
        drawn = _t1w_means(present, rng, options)
    drawn |= {int(n): drawn[NUCLEI[n]] * rng.uniform(0.6, 1.15) for n in NUCLEI if n in present and NUCLEI[n] in drawn}
    for right, left in PAIRS.items():
        if right in drawn and left in drawn:
            drawn[right] = drawn[left] * rng.normal(1, 0.01)
    return np.array([drawn[int(n)] for n in labels], np.float32)


def _t1w_means(present: np.ndarray, rng: np.random.Generator, options: SynthesisOptions) -> dict[int, float]:
    measured = options.measured_contrast > 0 and rng.random() < options.measured_contrast
    grey = rng.uniform(*MEASURED_CONTRAST["grey"]) if measured else rng.uniform(0.5, 0.88)
    fluid = rng.uniform(*(MEASURED_CONTRAST["fluid"] if measured else options.fluid_range))
    fluid = min(fluid, grey - 0.15)
    between = lambda low, high: grey + (1 - grey) * rng.uniform(low, high)  # noqa: E731
    drawn: dict[int, float] = {int(n): rng.uniform(0.1, 1.3) for n in present}
    drawn |= {n: rng.normal(1, 0.02) for n in WHITE}
    drawn |= {n: grey * rng.normal(1, 0.03) for n in GREY}
    drawn |= {n: max(fluid * rng.normal(1, 0.12), 0.0) for n in FLUID}
    drawn |= {16: between(0.5, 1.0), 28: between(0.3, 0.95), 10: between(0.2, 0.8), 13: between(0.4, 1.0)}
    drawn |= {11: grey * rng.uniform(0.95, 1.1), 12: grey * rng.uniform(1.0, 1.15), 85: between(0.0, 1.0)}
    drawn[0] = rng.uniform(0, 0.06)
    drawn[BONE] = (
        rng.uniform(0.01, 0.16) if rng.random() < 1 - options.bone_like_fluid else fluid * rng.uniform(0.2, 1.3)
    )
    drawn[MARROW] = rng.uniform(0.1, 1.1)
    drawn[SOFT] = rng.uniform(0.3, 1.1)
    drawn[SKIN] = rng.uniform(0.4, 1.6)
    if measured:
        drawn |= {n: rng.uniform(*MEASURED_CONTRAST[n]) for n in (BONE, MARROW, SOFT, SKIN, SINUS)}
        drawn[SOFT] = max(drawn[SOFT], 1.3 * fluid)
    return drawn


def _grouped_means(present: np.ndarray, rng: np.random.Generator) -> dict[int, float]:
    """White matter, grey matter and fluid of any intensity; deep nuclei between white and grey, darker with iron."""
    white, grey, fluid = rng.uniform(0.05, 1.0, 3)
    drawn: dict[int, float] = {int(n): rng.uniform(0, 1.2) for n in present}
    drawn |= {n: white * rng.normal(1, 0.04) for n in WHITE}
    drawn |= {n: grey * rng.normal(1, 0.05) for n in GREY}
    drawn |= {n: fluid * rng.normal(1, 0.15) for n in FLUID}
    iron = rng.uniform(0.5, 1.0)
    for number in (10, 11, 12, 13, 16, 28, 85):
        share = rng.uniform(0, 1)
        drawn[number] = (share * white + (1 - share) * grey) * (rng.uniform(iron, 1.0) if number in (12, 13, 28) else 1)
    drawn[0] = rng.uniform(0, 0.08)
    if rng.random() < 0.7:
        drawn[BONE] = rng.uniform(0, 0.2)
    return drawn
