"""Accuracy on whole scans that are synthesised from head maps."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
from scipy import ndimage

from bids_hypo.errors import SegmentationError, UsageError
from bids_hypo.image.volume import Volume
from bids_hypo.measure.volumes import PartVolume
from bids_hypo.models.catalog import ANATOMY, find_bundle
from bids_hypo.train.placed_maps import centre_in_frame, cut, read_labels
from bids_hypo.train.settings import Augmentation
from bids_hypo.workflow import map_accuracy
from bids_hypo.workflow.map_accuracy import synthesised_accuracy, synthesised_scan
from bids_hypo.workflow.map_training import wish_of
from tests.train.conftest import head_file  # noqa: F401
from tests.train.recipes import recipe_of


@pytest.fixture
def models():
    """A catalogue that knows the thalamus on T1w and FLAIR images, and the shipped network of the head."""
    structures = {"thalamus": SimpleNamespace(suffixes=("T1w", "FLAIR"))}
    return SimpleNamespace(
        catalog=SimpleNamespace(structures=structures, head_for=lambda _: find_bundle(ANATOMY, None))
    )


def test_a_scan_shows_the_head_and_the_truth_lies_in_it(head_file):  # noqa: F811
    mild = recipe_of("thalamus")
    still = replace(mild.region, strip=0.0, volume=(1.0, 1.0), third_mm=0.0, lateral_mm=0.0)
    recipe = replace(
        mild, augmentation=Augmentation(), region=still,
        preprocessing=replace(mild.preprocessing, shape=(80, 96, 80), spacing_mm=(2.0, 2.0, 2.0)),
    )  # fmt: skip
    wish = wish_of(recipe, find_bundle(ANATOMY, None))
    labels = read_labels(head_file, wish.template_mm)
    placed = cut(labels, wish, centre_in_frame(labels, wish))
    scan, truth = synthesised_scan(placed, "T1w", recipe, np.random.default_rng(2))
    assert scan.grid.voxel_volume_mm3 == pytest.approx(8)
    assert scan.data[[0, -1]].max() < 0.5 * scan.data[truth.any(-1)].min()  # air around the head
    for k, side in enumerate((-1, 1)):
        assert truth[..., k].sum() * 8 == pytest.approx(1365, rel=0.06)  # voxels of 1 mm in the toy
        middle = np.array(ndimage.center_of_mass(truth[..., k])) * 2 + scan.affine[:3, 3]
        np.testing.assert_allclose(middle, [11 * side, 0, 0], atol=1.5)


def test_what_is_found_is_compared_by_sides(models, monkeypatch):
    truth = np.zeros((20, 20, 20, 2), bool)
    truth[2:6, 4:8, 4:8, 0] = truth[12:16, 4:8, 4:8, 1] = True
    parts = recipe_of("thalamus").structure.parts

    def segmented(volume, _models, suffix, **_):
        if suffix == "FLAIR":
            raise SegmentationError("no head")
        labels = np.zeros(volume.data.shape, np.uint8)
        labels[2:6, 4:8, 4:8], labels[12:16, 5:9, 4:8] = parts[0].index, parts[1].index
        delineation = SimpleNamespace(labels=labels, volumes=(PartVolume("whole", "B", 128.0),))
        found = SimpleNamespace(delineation=delineation, structure=recipe_of("thalamus").structure)
        return SimpleNamespace(found={"thalamus": found})

    scan = Volume(np.ones((20, 20, 20), np.float32), np.eye(4))
    monkeypatch.setattr(map_accuracy, "_whole_head", lambda path, _: SimpleNamespace(name=path))
    monkeypatch.setattr(map_accuracy, "synthesised_scan", lambda *_: (scan, truth))
    monkeypatch.setattr(map_accuracy, "segment_volume", segmented)
    table = synthesised_accuracy(["a"], models, recipe_of("thalamus"), structure="thalamus", n_scans=1)
    t1w, flair = (table[table["suffix"] == kind].iloc[0] for kind in ("T1w", "FLAIR"))
    assert (t1w["dice_left"], t1w["dice_right"]) == (1.0, 0.75)
    assert t1w["precision"] == t1w["recall"] == t1w["dice"] == 0.875
    assert t1w["volume_error_percent"] == 0 and t1w["true_mm3"] == 128
    assert flair["true_mm3"] == 128 and np.isnan(flair["dice"])


def test_other_recipes_and_kinds_are_refused(models):
    with pytest.raises(UsageError, match="does not learn a structure from label maps"):
        synthesised_accuracy(["a"], models, recipe_of("hypothalamus"), structure="thalamus")
    with pytest.raises(UsageError, match="--suffixes T2w: are not synthesised; expected T1w, FLAIR"):
        synthesised_accuracy([], models, recipe_of("thalamus"), structure="thalamus", suffixes=["T2w"])
