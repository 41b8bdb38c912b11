"""Pairing scans with labels, and how much each label counts."""

from dataclasses import asdict, replace

import numpy as np
import pandas as pd
import pytest
from scipy import ndimage
from scipy.special import expit

from bids_hypo.bids.tsv import TableError
from bids_hypo.cli.train import main
from bids_hypo.errors import NoInputError, ScanReadError
from bids_hypo.image.grid import apply_affine, box_grid
from bids_hypo.image.parts import Parts, cropped
from bids_hypo.image.segmentation import read_parts
from bids_hypo.segmentation.pose import Pose
from bids_hypo.structures import BOTH, LEFT, RIGHT
from bids_hypo.train.labelled import find_labelled, label_weights, read_classes, read_label
from bids_hypo.train.levelling import certainty, levelled
from bids_hypo.train.recipe import load_recipe
from bids_hypo.workflow import training
from tests.finished import TRIDENT
from tests.train.conftest import save_image
from tests.train.recipes import recipe_of, two_sided

HYPO = two_sided().wanted
THREE_PARTS = {
    "structure": TRIDENT.name, "labels": ["background", "left prong", "right prong", "shaft"],
    "parts": [asdict(part) for part in TRIDENT.parts], "architecture": {"classes": 4},
    "loss": {"class_weights": [1, 1, 1, 1]},
}  # fmt: skip


def test_scans_without_labels_are_left_out(dataset):
    items = find_labelled(*dataset, HYPO, stratify="group")
    assert len(items) == 10
    assert {i.scan.subject for i in items} == {f"{n:02d}" for n in range(1, 10)}
    assert items[0].group == "study ALS"
    people = dataset[0] / "participants.tsv"
    people.write_text(people.read_text().replace("ALS", "als", 1))
    assert {i.group for i in find_labelled(*dataset, HYPO, stratify="group")} == {i.group for i in items}
    with pytest.raises(TableError, match="no column 'site'"):
        find_labelled(*dataset, HYPO, stratify="site")
    with pytest.raises(NoInputError, match="it does not exist"):
        find_labelled(dataset[0], dataset[1] / "elsewhere", HYPO)


def test_a_label_is_not_taken_for_that_of_another_kind_of_image(dataset):
    raw, labels = dataset
    before = [item.scan.path for item in find_labelled(raw, labels, HYPO)]
    twin = before[0].with_name(before[0].name.replace("_T1w", "_UNIT1"))
    alone = before[1].rename(before[1].with_name(before[1].name.replace("_T1w", "_UNIT1")))
    twin.write_bytes(before[0].read_bytes())
    assert sorted(item.scan.path for item in find_labelled(raw, labels, HYPO)) == sorted(
        [before[0], alone, *before[2:]]
    )


def test_classes_by_recipe(dataset, tmp_path):
    item = find_labelled(*dataset, HYPO)[0]
    left, right = read_classes(item, two_sided())
    assert left.data.sum() == right.data.sum() == 2
    (whole,) = read_classes(item, load_recipe("vernikouskaya2023"))
    assert (whole.data > 0.5).sum() == 4
    with pytest.raises(ScanReadError, match="17 foreground classes"):
        read_classes(item, load_recipe("anatomy"))


@pytest.mark.parametrize("told", [[0, -3, -2], None])
def test_regions_lie_where_the_recipe_says_or_where_the_structure_is(told, dataset, monkeypatch):
    pose = Pose(np.eye(3), np.array([1.0, 2, 3]), 1.25, 0.0, ())
    monkeypatch.setattr(training, "pose_of", lambda *_, what: pose)
    grid = {"spacing_mm": [1.0, 1.0, 1.0], "shape": [32, 24, 32]}
    recipe = recipe_of("vernikouskaya2023", preprocessing=grid, architecture={"input_shape": [32, 32, 3]})
    recipe = replace(recipe, constants={} if told is None else {"region_centre_mm": told})
    items = find_labelled(*dataset, HYPO)[:2]
    for item in items:
        save_image(item.scan.path, np.arange(8000, dtype=np.float32).reshape(20, 20, 20))
    prepared = training.prepare_regions(recipe, items, {"T1w": (None, None)})
    centre, regions = list(prepared.region_centre_mm), prepared.regions
    labelled = np.array([1.5, 1.5, 1.0])  # voxels 1 and 2, 1 and 2, 1 of the masks
    region = regions[items[0].name]
    where = np.array(ndimage.center_of_mass(region.labels[..., 0])) + region.labels_at - [15.5, 11.5, 15.5]
    if told is None:
        np.testing.assert_allclose(1.25 * np.array(centre) + [1, 2, 3], labelled, atol=0.01)
        np.testing.assert_allclose(where, 0, atol=0.1)
    else:
        assert centre == told
        np.testing.assert_allclose(where, labelled - [1, 2 - 1.25 * 3, 3 - 1.25 * 2], atol=0.1)


def test_any_labels_by_number(dataset, tmp_path):
    raw, _ = dataset
    labels = np.zeros((4, 4, 4), np.int16)
    labels[0], labels[1], labels[2] = 10, 49, 50
    save_image(tmp_path / "aseg" / "sub-02" / "seg.nii.gz", labels)
    (item,) = find_labelled(raw, tmp_path / "aseg", HYPO, pattern="{subject}/seg.nii.gz")
    left, right = read_classes(item, two_sided(label_numbers=[[10], [49, 50]]))
    assert (left.data.sum(), right.data.sum()) == (16, 32)


def test_labels_weigh_what_their_table_says(tmp_path):
    assert label_weights(tmp_path) is None
    table = pd.DataFrame({"dataset": ["a", "a", "b"], "participant_id": ["sub-1", "sub-2", "sub-1"]})
    table.to_csv(tmp_path / "labels.tsv", sep="\t", index=False)
    (tmp_path / "a").mkdir()
    assert label_weights(tmp_path / "a") is None
    table.assign(weight=[0.3, np.nan, 0.5]).to_csv(tmp_path / "labels.tsv", sep="\t", index=False)
    assert label_weights(tmp_path / "a")["weight"].to_list() == [0.3, 1.0]


def test_weights_that_are_no_numbers_are_told(tmp_path):
    (tmp_path / "labels.tsv").write_text("participant_id\tweight\nsub-01\t0,5\n")
    with pytest.raises(TableError, match=r"labels\.tsv: column weight holds '0,5'"):
        label_weights(tmp_path)


def _soft(sure, left=5.0, right=5.0, spacing=(0.5, 0.5, 0.5)):
    """Two balls by a network that is more or less sure of the scan: the same constant in the logit of every voxel."""
    grid = box_grid(np.zeros(3), np.eye(3), tuple(int(s / m) for s, m in zip((36, 18, 18), spacing, strict=True)),
                    np.array(spacing))  # fmt: skip
    points = apply_affine(grid.affine, np.stack(np.indices(grid.shape), -1))
    depth = {side: radius - np.linalg.norm(points - [x, 0, 0], axis=-1)
             for side, x, radius in ((LEFT, -8, left), (RIGHT, 8, right))}  # fmt: skip
    return Parts({side: cropped(expit(np.clip(2.5 * d, -6, 2) + sure), grid.affine) for side, d in depth.items()})


@pytest.mark.parametrize("spacing", [(0.5, 0.5, 0.5), (0.4, 1.0, 0.4)])
@pytest.mark.parametrize("sure", [-0.7, -0.3, 0.3])
def test_a_label_that_is_less_sure_gets_the_outline_of_one_that_is_sure(sure, spacing):
    usual, unsure = _soft(0.0, spacing=spacing), _soft(sure, spacing=spacing)
    true = usual.volumes_mm3()[BOTH]
    assert abs(unsure.volumes_mm3()[BOTH] / true - 1) > 0.05
    found = levelled(unsure, certainty(usual))
    assert found.volumes_mm3()[BOTH] == pytest.approx(true, rel=0.03)
    again = levelled(usual, certainty(usual))
    np.testing.assert_allclose(again.of[LEFT].data, usual.of[LEFT].data, atol=1e-5)


def test_levelling_leaves_sizes_and_asymmetry():
    level = certainty(_soft(0.0))
    large, small = (levelled(_soft(-0.4, *radii), level).volumes_mm3() for radii in ((5.5, 5.0), (4.6, 5.0)))
    assert large[LEFT] / small[LEFT] == pytest.approx((5.5 / 4.6) ** 3, rel=0.04)
    assert large[RIGHT] == pytest.approx(small[RIGHT], rel=0.02)


def test_masks_and_empty_labels_are_not_levelled():
    mask = Parts({BOTH: cropped(_soft(0.0).of[LEFT].data > 0.5, np.eye(4))})
    assert levelled(mask, 0.87) is mask
    nothing = Parts({BOTH: cropped(np.full((3, 3, 3), 0.2), np.eye(4))})
    assert np.isnan(certainty(nothing)) and levelled(nothing, 0.87) is nothing


def test_labels_are_read_as_they_are_unless_a_level_is_asked_for(dataset, tmp_path):
    raw, _ = dataset
    (tmp_path / "soft").mkdir()
    for side, part in _soft(-0.4).of.items():
        save_image(tmp_path / "soft" / f"sub-02_label-{side}_probseg.nii.gz", part.data, part.affine)
    (item,) = find_labelled(raw, tmp_path / "soft", HYPO)
    as_it_is = read_parts(item.files.paths, item.files.kind, None, HYPO)
    np.testing.assert_array_equal(read_label(item).of[LEFT].data, as_it_is.of[LEFT].data)
    (asked,) = find_labelled(raw, tmp_path / "soft", HYPO, level=0.87)
    assert asked == replace(item, level=0.87)
    assert certainty(read_label(asked)) == pytest.approx(0.87, abs=0.01)
    left = read_classes(asked, two_sided())[0]
    assert (left.data > 0.5).sum() > (as_it_is.of[LEFT].data > 0.5).sum()


@pytest.mark.parametrize("value", ["0.4", "1", "sure"])
def test_a_certainty_that_is_none_is_refused(value, capsys):
    assert main(["measure", "structure", "--label-certainty", value]) == 64
    assert f"--label-certainty: {value}: expected a probability between 0.5 and 1" in capsys.readouterr().err


def test_reviewed_labels_are_not_levelled_again(dataset, tmp_path, capsys):
    raw, labels = dataset
    (labels / "labels.tsv").write_text("participant_id\tweight\taction\nsub-01\t1\tcorrected\n")
    fit = ["fit", "hypothalamus", "-w", str(tmp_path / "work"), "--data", str(raw), str(labels)]
    assert main([*fit, "--label-certainty", "0.87"]) == 64
    assert "was written by 'bids_hypo_train review'" in capsys.readouterr().err


def test_each_class_is_a_part_of_the_structure(dataset, tmp_path):
    raw, _ = dataset
    recipe = two_sided(**THREE_PARTS)
    labels = np.zeros((4, 4, 4), np.int16)
    labels[0], labels[2:], labels[1, 0] = 31, 32, 33
    save_image(tmp_path / "three" / "sub-02_seg-trident_dseg.nii.gz", labels)
    (item,) = find_labelled(raw, tmp_path / "three", recipe.wanted)
    assert [image.data.sum() for image in read_classes(item, recipe)] == [16, 32, 4]
    assert read_label(item).volumes_mm3() == {LEFT: 16, RIGHT: 32, BOTH: 48}  # the shaft does not count
    frames = np.stack([labels == part.index for part in TRIDENT.parts], -1).astype(np.float32)
    save_image(tmp_path / "soft" / "sub-02_label-trident_probseg.nii.gz", 0.9 * frames)
    (soft,) = find_labelled(raw, tmp_path / "soft", recipe.wanted)
    assert [(image.data > 0.5).sum() for image in read_classes(soft, recipe)] == [16, 32, 4]
    sides = np.where((labels == 31) | (labels == 32), labels - 30, 0)
    save_image(tmp_path / "sides" / "sub-02_seg-trident_dseg.nii.gz", sides)
    (two,) = find_labelled(raw, tmp_path / "sides", recipe.wanted)
    with pytest.raises(ScanReadError, match="3 foreground classes"):
        read_classes(two, recipe)
