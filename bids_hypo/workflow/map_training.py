"""Training a structure's network on images that are synthesised from label maps."""

from __future__ import annotations

import logging
import shutil
from pathlib import Path

from bids_hypo.errors import UsageError
from bids_hypo.models.bundle import ModelBundle
from bids_hypo.segmentation.anatomy import pose_template
from bids_hypo.structures import Structure
from bids_hypo.train.fit import fit
from bids_hypo.train.map_folders import load_maps
from bids_hypo.train.placed_maps import Wish
from bids_hypo.train.recipe import in_phases
from bids_hypo.train.region_synthesis import SynthesisedBatches
from bids_hypo.train.settings import Recipe
from bids_hypo.workflow.training import write_constants

logger = logging.getLogger(__name__)


def wish_of(recipe: Recipe, head: ModelBundle) -> Wish:
    """What label maps are cut for.

    Parameters
    ----------
    recipe : Recipe
        Of role ``structure``, with ``maps_to``.
    head : ModelBundle
        What finds poses at participant level; its template is the frame.

    Raises
    ------
    UsageError
        If the recipe is another.
    """
    if recipe.structure is None or recipe.maps_to is None:
        raise UsageError(
            f"the recipe '{recipe.name}' does not learn a structure from label maps; expected one with 'maps_to', such "
            "as thalamus. Name it with --recipe, or leave out --label-maps."
        )
    pre = recipe.preprocessing
    size = [n * mm for n, mm in zip(pre.shape, pre.spacing_mm, strict=True)]
    return Wish(
        recipe.maps_to, recipe.labels[1:], _sides(recipe.structure, recipe.n_classes), pose_template(head),
        (size[0], size[1], size[2]),
    )  # fmt: skip


def _sides(structure: Structure, n_classes: int) -> tuple[tuple[int, ...], ...]:
    if len(structure.parts) != n_classes:  # a network without sides
        return (tuple(range(n_classes)),)
    of = [part.hemisphere for part in structure.parts]
    return tuple(tuple(k for k, side in enumerate(of) if side == one) for one in structure.sides)


def train_from_maps(
    recipe: Recipe, label_maps: Path, shapes: Path | None, folder: Path, head: ModelBundle, *,
    encoder_weights: str | Path | None = None, only_phase: str | None = None,
) -> Path:  # fmt: skip
    """Train a delineation network on images synthesised from label maps; returns the weights file.

    Parameters
    ----------
    recipe : Recipe
    label_maps : Path
        Folder of head label maps.
    shapes : Path or None
        Folder of maps of deep structures alone.
    folder : Path
        Gets a folder for each phase with its checkpoints, ``constants.json`` and the final ``weights.npz``.
    head : ModelBundle
        What finds poses at participant level.
    encoder_weights : {None, "imagenet"} or Path
        Start of the first phase; see `bids_hypo.models.network.build_unet`.
    only_phase : str, optional
        Train this phase alone, from ``encoder_weights``.

    Raises
    ------
    NoInputError, UsageError
        See `bids_hypo.train.map_folders.load_maps`.
    """
    logger.info("preparing the label maps of %s", label_maps if shapes is None else f"{label_maps} and {shapes}")
    maps = load_maps(label_maps, shapes, wish_of(recipe, head), aside=recipe.validation_maps,
                     left_out=recipe.left_out_maps)  # fmt: skip
    logger.info("%d heads and %d shapes train, %d maps validate; middle of the region %s mm", len(maps.heads),
                len(maps.shapes), len(maps.validation), maps.centre_mm)  # fmt: skip
    write_constants(folder, {"region_centre_mm": list(maps.centre_mm)})
    weights: Path | None = None
    for phase in in_phases(recipe, only_phase):
        assert phase.region is not None
        source = SynthesisedBatches(maps, phase, phase.region)
        weights = fit(source, phase.architecture, phase.loss, phase.training, folder / phase.name,
                      validation=source.validation(), encoder_weights=None if weights else encoder_weights,
                      initial_weights=weights)  # fmt: skip
    assert weights is not None
    return Path(shutil.copyfile(weights, folder / "weights.npz"))
