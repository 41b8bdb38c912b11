"""Models that segmentation-models saved elsewhere, as bundles that participant level can run."""

from __future__ import annotations

import json
import logging
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from bids_hypo.errors import ModelError
from bids_hypo.image.volume import write_bytes
from bids_hypo.models.bundle import ModelBundle, save_bundle
from bids_hypo.models.catalog import find_structures
from bids_hypo.train.recipe import with_input_shape
from bids_hypo.train.settings import Recipe
from bids_hypo.untrusted import markdown
from bids_hypo.workflow.bundling import bundle_description

logger = logging.getLogger(__name__)


def import_keras(path: Path, recipe: Recipe, target: Path, *, slice_orientation: str | None = None) -> ModelBundle:
    """Turn a Keras ``.h5`` of a segmentation-models U-Net into a bundle.

    Channels, classes, decoder width and backbone are read from the file; the recipe says how scans are prepared. The
    region's centre is that of the shipped bundle of the structure, unless the recipe has it.

    Parameters
    ----------
    path : Path
        A whole model or its weights alone.
    recipe : Recipe
    target : Path
        Bundle folder to write, inside the folder given to ``--models``.
    slice_orientation : str, optional
        How the slices lay that it was trained on, if not as the recipe says; see `bids_hypo.image.slices.orient`.

    Raises
    ------
    ModelError
        If the file is no such model, or does not fit the recipe.
    """
    from bids_hypo.models.graph import add_graph
    from bids_hypo.models.keras_file import read_unet
    from bids_hypo.models.weights import write_arrays

    architecture, weights = read_unet(path, dict(recipe.architecture))
    if architecture["classes"] != len(recipe.labels):
        raise ModelError(
            f"{path}: found {architecture['classes']} output classes; the recipe '{recipe.version}' expects "
            f"{len(recipe.labels)} ({', '.join(recipe.labels)}). Use a recipe with these classes."
        )
    channels, offsets = architecture["input_shape"][2], list(recipe.preprocessing.slice_offsets)
    if channels != len(offsets):
        if len(set(offsets)) > 1:
            raise ModelError(
                f"{path}: found {channels} input channels; the recipe '{recipe.version}' makes {len(offsets)}. "
                "Use a recipe with as many 'slice_offsets'."
            )
        offsets = [offsets[0]] * channels  # one slice, repeated as often as the network wants
    told, laid = recipe.content, slice_orientation or recipe.preprocessing.slice_orientation
    preprocessing = {**told["preprocessing"], "slice_offsets": offsets, "slice_orientation": laid}
    content = with_input_shape({**told, "architecture": architecture, "preprocessing": preprocessing})
    description = bundle_description(replace(recipe, content=content), _centre_of(recipe))
    target.mkdir(parents=True, exist_ok=True)
    stored = target / "imported.npz"
    try:
        write_arrays(weights, stored, np.float32)  # as they are: half precision is for what was trained with it in mind
        bundle = add_graph(save_bundle(target, description, [stored]))
    finally:
        stored.unlink(missing_ok=True)
    write_bytes(target / "MODEL_CARD.md", _card(path, recipe, architecture["backbone"], laid).encode())
    logger.info("read %s: %s", path, json.dumps(architecture))
    return bundle


def _centre_of(recipe: Recipe) -> dict[str, Any]:
    """Where the structure lies, as the shipped bundle has it; nothing where the recipe says it, and for other roles."""
    if recipe.structure is None or "region_centre_mm" in recipe.constants:
        return {}
    return dict(find_structures(None, [recipe.structure.name])[recipe.structure.name].constants)


def _card(path: Path, recipe: Recipe, backbone: str, slice_orientation: str) -> str:
    name, version, file = (markdown(text) for text in (recipe.name, recipe.version, path.name))
    return (
        f"# Model card: {name} {version}\n\n"
        f"Imported from `{file}` with the recipe `{version}`; "
        f"{backbone} encoder, slices laid {slice_orientation}.\n\n"
        "What it was trained on and how it was measured is known to whoever made the file. Measure it on scans with "
        "known outlines (`bids_hypo_evaluate`) before use. For research only, not for diagnosis.\n"
    )
