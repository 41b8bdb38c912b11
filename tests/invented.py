"""A structure that no code knows, with a network that finds it: two sides and a part on the midline."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np

from bids_hypo.models.archive import read_arrays
from bids_hypo.models.bundle import DESCRIPTION, ModelBundle, save_bundle
from bids_hypo.models.catalog import find_models
from bids_hypo.structures import HYPOTHALAMUS


def make_trident(models_dir: Path, *, bonus: float = 4.0) -> ModelBundle:
    """Write a bundle of an invented structure of three parts into a folder of models.

    Its network is the first of the shipped hypothalamus networks, with the background and one part of each side. The
    last layer has a class more: what could belong to either side, by the mean of the two scores and a bonus.
    """
    shipped = find_models().structures[HYPOTHALAMUS]
    description = json.loads((shipped.folder / DESCRIPTION).read_text())
    arrays = read_arrays(shipped.folder / shipped.weights[0][0])
    *_, kernel, bias = arrays
    kept = [0, *(description["labels"].index(f"{side} tuberal inferior") for side in ("left", "right"))]
    for name in (kernel, bias):
        scores = arrays[name][..., kept]
        both = scores[..., 1:].mean(axis=-1, keepdims=True)
        arrays[name] = np.concatenate([scores, both + (bonus if name == bias else 0)], axis=-1)
    description |= {
        "name": "trident",
        "version": "0.1",
        "structure": "trident",
        "title": "trident of Poseidon",
        "labels": ["background", "left prong", "right prong", "shaft"],
        "parts": [
            {"index": 31, "name": "left prong", "hemisphere": "L", "abbreviation": "TRI-L", "color": "#E69F00"},
            {"index": 32, "name": "right prong", "hemisphere": "R", "abbreviation": "TRI-R", "color": "#56B4E9"},
            {"index": 33, "name": "shaft", "hemisphere": "M", "abbreviation": "TRI-S", "color": "#009E73",
             "in_whole": False},
        ],
        "sums": [],
        "plausible": {"whole_mm3": [100, 2000], "min_part_mm3": 3, "max_asymmetry": 0.5, "keep_within_mm": 3},
        "published": [],
        "methods": "outlined an invented structure [@vernikouskaya2023]",
        "architecture": {**description["architecture"], "classes": 4},
    }  # fmt: skip
    del description["weights"]
    weights = models_dir / "weights.npz"
    np.savez_compressed(weights, **arrays)
    bundle = save_bundle(models_dir / "fork", description, [weights])
    weights.unlink()
    return bundle
