"""Trainings that differ in one thing only, on the same people, folds, labels and steps; people set aside judge them."""

from __future__ import annotations

import json
import logging
import shutil
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from bids_hypo.bids.entities import IMAGE_EXTENSIONS, Scan
from bids_hypo.bids.names import output_names
from bids_hypo.bids.reading import read_scan
from bids_hypo.errors import UsageError
from bids_hypo.files import read_json
from bids_hypo.image.volume import write_bytes, write_nifti
from bids_hypo.models.bundle import ModelBundle, load_bundle
from bids_hypo.train.folds import set_aside
from bids_hypo.train.labelled import LabelledScan, read_label
from bids_hypo.train.settings import Recipe
from bids_hypo.workflow.bundling import make_bundle
from bids_hypo.workflow.label_review import write_label
from bids_hypo.workflow.low_contrast import Change
from bids_hypo.workflow.training import Heads, Prepared, TrainingOptions, prepare_regions, train_labelled

logger = logging.getLogger(__name__)

TRUTH = "truth"
_FINISHED = "MODEL_CARD.md"  # what is written last of a bundle
_TIMED = 5  # passes


@dataclass(frozen=True)
class Comparison:
    """What is compared.

    Attributes
    ----------
    variants : dict of str to Recipe
        By their names: the same recipe, but for one thing.
    items : tuple of LabelledScan
        All there are; the recipe says who is set aside for the test.
    work_dir : Path
        Gets everything.
    n_folds : int
    encoder_weights : str or None
        ``imagenet``, or None to start from random weights.
    """

    variants: Mapping[str, Recipe]
    items: tuple[LabelledScan, ...]
    work_dir: Path
    n_folds: int = 1
    encoder_weights: str | None = None

    @property
    def recipe(self) -> Recipe:
        """What all variants have in common."""
        return next(iter(self.variants.values()))

    @property
    def structure(self) -> str:
        """The name of the structure."""
        return self.recipe.wanted.name

    def models_dir(self, name: str) -> Path:
        """A folder of models with that of a variant."""
        return self.work_dir / "models" / name

    def bundle_dir(self, name: str) -> Path:
        """The bundle of a variant."""
        return self.models_dir(name) / self.structure

    def people(self) -> list[LabelledScan]:
        """Scans of the people set aside, renamed so that people of several datasets can lie in one.

        Raises
        ------
        UsageError
            If there are none, or the recipe measures no structure.
        """
        aside = set_aside(self.items, self.recipe.test)
        if self.recipe.structure is None or not aside:
            example = json.dumps({self.items[0].dataset: [f"sub-{self.items[0].scan.subject}"]})
            raise UsageError(
                f"the recipe '{self.recipe.name}' sets nobody of {len(self.items)} labelled scans aside for the test "
                f"of a structure; expected people to judge the networks by. Name them: --set 'test={example}'"
            )
        several = len({item.dataset for item in self.items}) > 1
        return [_renamed(item, several=several) for item in aside]


def _renamed(item: LabelledScan, *, several: bool) -> LabelledScan:
    own = item.scan.subject
    prefix = "".join(c for c in item.dataset if c.isalnum())
    entities = {**item.scan.entities, "sub": f"{prefix}x{own}" if several else own}
    return replace(item, dataset=TRUTH, scan=replace(item.scan, entities=entities))


def train_variants(comparison: Comparison, load_heads: Callable[[], Heads]) -> None:
    """Train every variant and make a bundle of it; what is finished is left, what was begun goes on.

    The scans are posed and cut once for all.

    Parameters
    ----------
    comparison : Comparison
    load_heads : callable
        Loads what finds the poses, if something is left to be trained.

    Raises
    ------
    UsageError
        If the work folder holds a training of the same name with other settings.
    """
    heads: Heads = {}
    shared: list[Prepared] = []

    def prepare(recipe: Recipe, items: Sequence[LabelledScan]) -> Prepared:
        if not shared:
            shared.append(prepare_regions(recipe, items, heads))
        return shared[0]

    for name in comparison.variants:
        _check_settings(comparison, name)
    for name, recipe in comparison.variants.items():
        if (comparison.bundle_dir(name) / _FINISHED).is_file():
            logger.info("%s: trained before", name)
            continue
        heads = heads or load_heads()
        logger.info("%s: training", name)
        folder = comparison.work_dir / "training" / name
        options = TrainingOptions(comparison.n_folds, encoder_weights=comparison.encoder_weights)
        train_labelled(recipe, comparison.items, prepare, folder, options)
        for head in {head.folder: head for head, _ in heads.values()}.values():
            shutil.copytree(head.folder, comparison.models_dir(name) / head.folder.name, dirs_exist_ok=True)
        make_bundle(recipe, folder, comparison.bundle_dir(name))


def _check_settings(comparison: Comparison, name: str) -> None:
    """Write down what a variant is trained with; refuse to mix it with something else."""
    path = comparison.work_dir / "training" / name / "settings.json"
    settings: dict[str, Any] = {
        "recipe": comparison.variants[name].content,
        "folds": comparison.n_folds,
        "encoder weights": comparison.encoder_weights,
        "labelled scans": sorted(item.name for item in comparison.items),
        "label certainty": sorted({str(item.level) for item in comparison.items}),
    }
    if path.is_file():
        before = read_json(path)
        other = [key for key in settings if before.get(key) != json.loads(json.dumps(settings[key]))]
        if other:
            raise UsageError(
                f"{path}: holds a training of '{name}' with other values of: {', '.join(other)}. Give the options "
                "that it was begun with, or another --work-dir."
            )
    else:
        write_bytes(path, (json.dumps(settings, indent=2) + "\n").encode())


def write_people(comparison: Comparison, folder: Path, change: Change | None = None) -> None:
    """Write the scans of the people set aside as a dataset, maybe changed, and their labels into ``truth``.

    Files that are there are left as they are.

    Parameters
    ----------
    comparison : Comparison
    folder : Path
        Of the dataset.
    change : callable, optional
        Made to every scan.
    """
    about = {"Name": f"People set aside: {folder.name}", "BIDSVersion": "1.9.0", "DatasetType": "raw"}
    write_bytes(folder / "dataset_description.json", (json.dumps(about, indent=2) + "\n").encode())
    for item in comparison.people():
        path = folder / _raw_path(item.scan, changed=change is not None)
        if not path.is_file():
            _write_scan(item.scan, path, change)
        truth = output_names(item.scan, comparison.work_dir / TRUTH).structure(comparison.structure)
        if not truth.probseg.is_file():
            write_label(item, read_label(item), comparison.work_dir, comparison.structure)


def _raw_path(scan: Scan, *, changed: bool) -> Path:
    own = next(end for end in IMAGE_EXTENSIONS if scan.path.name.endswith(end))
    folders = [f"sub-{scan.subject}", *([] if scan.session is None else [f"ses-{scan.session}"]), "anat"]
    return Path(*folders, f"{scan.name}{IMAGE_EXTENSIONS[0] if changed else own}")


def _write_scan(scan: Scan, path: Path, change: Change | None) -> None:
    if change is None:
        write_bytes(path, scan.path.read_bytes())
        return
    changed = change(read_scan(scan))
    path.parent.mkdir(parents=True, exist_ok=True)
    write_nifti(path, changed.data, changed.affine)


def milliseconds_per_slice(comparison: Comparison) -> dict[str, float]:
    """How long one network of each variant takes for a slice, without reading and resampling.

    All slices of a region, in batches of 16, are passed several times, the variants in turn; the median counts.
    """
    from bids_hypo.models.inference import load_networks

    passes = {}
    times: dict[str, list[float]] = {name: [] for name in comparison.variants}
    for name in comparison.variants:
        bundle = load_bundle(comparison.bundle_dir(name))
        passes[name] = (load_networks(bundle)[0], _noise(bundle))
    for number in range(_TIMED + 1):
        for name, (network, slices) in passes.items():
            begin = time.perf_counter()
            network(slices)
            if number:  # the first prepares the graph
                times[name].append(1000 * (time.perf_counter() - begin) / len(slices))
    return {name: float(np.median(each)) for name, each in times.items()}


def _noise(bundle: ModelBundle) -> np.ndarray:
    shape = (bundle.preprocessing.n_slices, *bundle.architecture["input_shape"])
    return np.random.default_rng(0).standard_normal(shape, dtype=np.float32)
