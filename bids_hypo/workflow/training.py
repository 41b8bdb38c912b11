"""From a recipe to a bundle: the steps of training each shipped model."""

from __future__ import annotations

import json
import logging
import shutil
from collections.abc import Callable
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np

from bids_hypo.errors import NoInputError
from bids_hypo.image.volume import Volume, read_volume
from bids_hypo.models.bundle import ModelBundle, save_bundle
from bids_hypo.segment.anatomy import head_grid, pose_template, run_anatomy
from bids_hypo.segment.pose import Pose, fit_pose
from bids_hypo.train.anatomy import AnatomyBatches, load_training_heads
from bids_hypo.train.fit import fit
from bids_hypo.train.hypothalamus import HypothalamusBatches, LabelledRegion, cut_region, label_centre_mm
from bids_hypo.train.labelled import find_image, training_table
from bids_hypo.train.pose_template import make_pose_template

logger = logging.getLogger(__name__)

RECIPES = Path(str(files("bids_hypo") / "train" / "recipes"))
Network = Callable[[np.ndarray], np.ndarray]


def load_recipe(name: str) -> dict[str, Any]:
    """Read a shipped recipe by name, or a recipe file."""
    path = Path(name) if name.endswith(".json") else RECIPES / f"{name}.json"
    if not path.is_file():
        known = ", ".join(sorted(p.stem for p in RECIPES.glob("*.json")))
        raise NoInputError(f"{path}: no such recipe; shipped ones are: {known}. Or name a .json file.")
    recipe: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return recipe


def train_anatomy(recipe: dict[str, Any], label_maps: Path, folder: Path) -> Path:
    """Train the anatomy network on heads synthesised from label maps, then refine it; returns the weights file.

    The second phase (the recipe's ``refine``) starts from the first one's weights, with images closer to T1w. The pose
    template is written to ``constants.json`` in ``folder`` before training starts.

    Parameters
    ----------
    recipe : dict
    label_maps : Path
        Folder of label maps.
    folder : Path
        Gets ``first/`` and ``refine/``, each with its checkpoints, and the final ``weights.npz``.
    """
    logger.info("preparing the label maps of %s", label_maps)
    heads = load_training_heads(label_maps, recipe["validation"])
    _write_constants(folder, {"pose_template_mm": make_pose_template(heads)})
    weights: Path | None = None
    for phase, changed in (("first", recipe), ("refine", {**recipe, **recipe["refine"]})):
        source = AnatomyBatches(heads, changed)
        weights = fit(source, recipe["architecture"], changed["loss"], changed["training"], folder / phase,
                      initial_weights=weights)  # fmt: skip
    assert weights is not None
    return Path(shutil.copyfile(weights, folder / "weights.npz"))


def train_hypothalamus(
    recipe: dict[str, Any], images: Path, labels: Path, anatomy: ModelBundle, network: Network, folder: Path
) -> Path:
    """Train the hypothalamus network on labelled scans, posed by the anatomy network; returns the weights file.

    Parameters
    ----------
    recipe : dict
    images : Path
        Folder of BIDS datasets, each named as in ``labels.tsv`` (or that name with ``-crops``).
    labels : Path
        Folder with ``labels.tsv`` and ``DATASET/sub-XX_label-{L,R}_probseg.nii.gz``.
    anatomy : ModelBundle
    network : callable
        Its network.
    folder : Path
    """
    table = training_table(recipe, labels)
    regions, centres = [], []
    for row in table.itertuples():
        region, centre = _prepare(row, images, labels, anatomy, network)
        regions.append(region)
        centres.append(centre)
        logger.info("prepared %s; centre in the template %s", region.name, np.round(centre, 1))
    _write_constants(folder, {"region_centre_mm": np.round(np.mean(centres, axis=0), 2).tolist()})
    batches = HypothalamusBatches(tuple(regions), recipe)
    return fit(batches, recipe["architecture"], recipe["loss"], recipe["training"], folder)


def pose_of(volume: Volume, anatomy: ModelBundle, network: Network, *, what: str) -> Pose:
    """The pose of a scan by the anatomy network."""
    found = run_anatomy(volume, head_grid(volume, anatomy), anatomy, network)
    return fit_pose(found.centroids_mm, pose_template(anatomy), what=what)


def _prepare(
    row: Any, images: Path, labels: Path, anatomy: ModelBundle, network: Network
) -> tuple[LabelledRegion, np.ndarray]:
    stem = labels / row.dataset / f"{row.participant_id}_label-"
    left, right = (read_volume(Path(f"{stem}{side}_probseg.nii.gz")) for side in "LR")
    scan = read_volume(find_image(images, row.dataset, row.participant_id))
    name = f"{row.dataset}/{row.participant_id}"
    pose = pose_of(scan, anatomy, network, what=name)
    centre = label_centre_mm(left, right)
    in_template = pose.rotation.T @ (centre - pose.translation_mm) / pose.scale
    return cut_region(name, scan, left, right, pose, centre, row.weight), in_template


def make_bundle(recipe: dict[str, Any], folder: Path, target: Path) -> ModelBundle:
    """Turn a finished training folder into a bundle.

    Parameters
    ----------
    recipe : dict
    folder : Path
        With ``weights.npz`` and ``constants.json``.
    target : Path
        Bundle folder to write.
    """
    kept = ("name", "version", "structure", "suffixes", "labels", "architecture", "preprocessing")
    description = {k: recipe[k] for k in kept}
    description["constants"] = json.loads((folder / "constants.json").read_text(encoding="utf-8"))
    description["licence"] = recipe.get("licence", "Apache-2.0")
    description["citation"] = recipe.get("citation", "Vernikouskaya et al. 2023, Sci Rep; see CITATION.cff")
    return save_bundle(target, description, [folder / "weights.npz"])


def _write_constants(folder: Path, constants: dict[str, Any]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "constants.json").write_text(json.dumps(constants, indent=2) + "\n", encoding="utf-8")
