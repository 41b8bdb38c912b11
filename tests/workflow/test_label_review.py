"""Doubtful labels are found, corrected by consensus, and can be trained on."""

import json
from types import SimpleNamespace

import nibabel as nib
import numpy as np
import pandas as pd
import pytest

from bids_hypo.bids.entities import Scan
from bids_hypo.bids.segmentation_files import read_segmentation
from bids_hypo.bids.segmentations import find_segmentations
from bids_hypo.errors import NoInputError, SegmentationError
from bids_hypo.image.grid import apply_affine, box_grid
from bids_hypo.image.label_numbers import Wanted
from bids_hypo.image.parts import Parts, cropped
from bids_hypo.image.volume import Volume
from bids_hypo.structures import BOTH, HYPOTHALAMUS, LEFT, MIDLINE, RIGHT, Part, Plausible, Structure
from bids_hypo.train.folds import DIVISION
from bids_hypo.train.labelled import LabelledScan, find_labelled, label_weights, read_label
from bids_hypo.workflow import label_review
from bids_hypo.workflow.label_review import CORRECTED, KEPT, LEFT_OUT, consensus, judge, review_labels
from tests.finished import structure_named
from tests.networks import models_of

GRID = box_grid(np.zeros(3), np.eye(3), (60, 40, 40), np.full(3, 0.5))
POINTS = apply_affine(GRID.affine, np.stack(np.indices(GRID.shape), -1))
HYPO = Wanted(HYPOTHALAMUS, structure_named(HYPOTHALAMUS))


def _side(x, radius=5.0, shift=0.0):
    distance = np.linalg.norm(POINTS - [x, 0, shift], axis=-1)
    return (1 / (1 + np.exp(4 * (distance - radius)))).astype(np.float32)


def _parts(left=5.0, right=5.0, shift=0.0):
    sides = {LEFT: _side(-7, left, shift), RIGHT: _side(7, right, shift)}
    return Parts({side: cropped(values, GRID.affine) for side, values in sides.items()})


@pytest.mark.parametrize(
    ("label", "doubts", "action"),
    [
        ({}, "", KEPT),
        ({"left": 5.1, "right": 5.1}, "", KEPT),
        ({"left": 4.75, "right": 4.75}, "volume", CORRECTED),
        ({"left": 4.85, "right": 5.15}, "asymmetry", CORRECTED),
        ({"shift": 2.0}, "overlap", CORRECTED),
        ({"shift": 5.0}, "overlap", LEFT_OUT),
    ],
)
def test_what_is_doubtful_and_what_is_done(label, doubts, action):
    row = judge(_parts(), _parts(**label))
    assert (row["doubts"], row["action"], row["weight"]) == (doubts, action, float(action != LEFT_OUT))


def test_asymmetries_are_of_the_subjects_left_minus_right():
    row = judge(_parts(), _parts(left=4.5))
    assert row["label_asymmetry_percent"] == pytest.approx(200 * (0.9**3 - 1) / (0.9**3 + 1), abs=2)
    assert row["found_asymmetry_percent"] == pytest.approx(0, abs=0.1)


@pytest.mark.parametrize(
    ("label", "found", "inside"), [(0, 0.9, True), (0, 0.6, False), (1, 0.4, True), (1, 0.1, False)]
)
def test_a_network_overrules_a_label_only_where_it_is_sure(label, found, inside):
    one, other = (
        Parts({side: Volume(np.full((4, 4, 4), value, np.float32), np.eye(4)) for side in (LEFT, RIGHT)})
        for value in (label, found)
    )
    joined = consensus(one, other).of[LEFT]
    (at,) = apply_affine(np.linalg.inv(joined.affine), np.full((1, 3), 2.0)).astype(int)
    assert (joined.data[tuple(at)] > 0.5) == inside


@pytest.fixture
def study(tmp_path, monkeypatch):
    """Five people: 1 good, 2 cut short, 3 nowhere near, 4 not found, 5 for testing; two folds."""
    raw, labels = tmp_path / "study", tmp_path / "labels"
    (raw / "sub-1").mkdir(parents=True)
    (raw / "dataset_description.json").write_text('{"Name": "s", "BIDSVersion": "1.9.0"}')
    kinds = {"1": {}, "2": {"left": 4.3, "right": 4.3}, "3": {"shift": 7.0}, "4": {}, "5": {"left": 3.0}}
    labels.mkdir()
    for sub, kind in kinds.items():
        image = raw / f"sub-{sub}" / "anat" / f"sub-{sub}_T1w.nii.gz"
        image.parent.mkdir(parents=True, exist_ok=True)
        nib.save(nib.Nifti1Image(np.float32(50 + 50 * (_side(-7) + _side(7))), GRID.affine), image)
        for side, part in _parts(**kind).of.items():
            nib.save(nib.Nifti1Image(part.data, part.affine), labels / f"sub-{sub}_label-{side}_probseg.nii.gz")
    items = find_labelled(raw, labels, HYPO)
    folds = [["1", "3"], ["2", "4"]]
    names = [{"training": [], "validation": [f"study/sub-{n}_T1w" for n in fold]} for fold in folds]
    (tmp_path / DIVISION).write_text(json.dumps({"test": ["study/sub-5_T1w"], "folds": names}))
    seen = {}

    def segmented(scan, models, *, what, **_):
        seen[what] = models.of(models.catalog.structures["hypothalamus"])
        if "sub-4" in what:
            raise SegmentationError(f"{what}: the left hypothalamus was not found")
        delineation = SimpleNamespace(probability=np.stack([_side(-7), _side(7)], -1))
        found = SimpleNamespace(delineation=delineation, structure=structure_named("hypothalamus"))
        return SimpleNamespace(found={"hypothalamus": found})

    monkeypatch.setattr(label_review, "segment_volume", segmented)
    return raw, items, models_of(tmp_path, ("one", "two")), seen


def test_all_labels_are_written_and_the_doubtful_ones_corrected(study, tmp_path):
    raw, items, models, seen = study
    out = tmp_path / "reviewed"
    table = review_labels(items, models, out).set_index("participant_id")
    assert seen == {f"study/sub-{n}_T1w": (by,) for n, by in ((1, "one"), (3, "one"), (2, "two"), (4, "two"))}
    assert table["action"].to_dict() == {
        "sub-1": KEPT, "sub-2": CORRECTED, "sub-3": LEFT_OUT, "sub-4": LEFT_OUT, "sub-5": KEPT,
    }  # fmt: skip
    assert np.isnan(table["fold"]["sub-5"])
    assert table["difference_percent"]["sub-2"] == pytest.approx(100 * ((5 / 4.3) ** 3 - 1), abs=6)
    assert pd.read_csv(out / "labels.tsv", sep="\t")["action"].value_counts()[LEFT_OUT] == 2
    assert (out / "doubtful-1.png").stat().st_size > 10_000 and not (out / "doubtful-2.png").exists()

    weights = label_weights(out / "study")
    again = {i.scan.subject: i for i in find_labelled(raw, out / "study", HYPO, weights=weights)}
    assert set(again) == {"1", "2", "5"} and {i.weight for i in again.values()} == {1.0}
    before = {i.scan.subject: read_label(i).volumes_mm3() for i in items}
    after = {n: read_label(i).volumes_mm3() for n, i in again.items()}
    assert after["1"] == before["1"] and after["5"] == before["5"]
    full = _parts().volumes_mm3()[LEFT]
    assert before["2"][LEFT] < 0.7 * full < after["2"][LEFT] < full


def test_a_label_that_somebody_trusts_stays(study, tmp_path):
    raw, items, models, _ = study
    out = tmp_path / "reviewed"
    table = review_labels(items, models, out, trusted=["study/sub-2", "study/sub-4"]).set_index("participant_id")
    assert table["doubts"]["sub-2"] == "volume overlap" and table["doubts"]["sub-4"] == "nothing was found"
    assert (table["action"] == [KEPT, KEPT, LEFT_OUT, KEPT, KEPT]).all()
    assert list(table["weight"]) == [1, 1, 0, 1, 1]
    again = {i.scan.subject: read_label(i) for i in find_labelled(raw, out / "study", HYPO)}
    before = {i.scan.subject: read_label(i) for i in items}
    assert again["2"].volumes_mm3() == before["2"].volumes_mm3()
    with pytest.raises(NoInputError, match=r"study/sub-9: no such person .* such as study/sub-1"):
        review_labels(items, models, out, trusted=["study/sub-9"])


def test_pictures_are_drawn_as_soon_as_they_are_full(study, tmp_path, monkeypatch):
    _, items, models, _ = study
    drawn = []
    monkeypatch.setattr(label_review, "CASES_PER_PICTURE", 2)
    monkeypatch.setattr(label_review, "outline_figure", lambda cases: drawn.append(len(cases)))
    monkeypatch.setattr(label_review, "png_bytes", lambda _: b"png")
    review_labels(items, models, tmp_path / "reviewed")
    assert drawn == [2, 1]
    assert sorted(p.name for p in (tmp_path / "reviewed").glob("*.png")) == ["doubtful-1.png", "doubtful-2.png"]


THREE = Structure(
    "trident", "trident",
    (Part(1, "left prong", LEFT, "L", "#000000"), Part(2, "right prong", RIGHT, "R", "#000000"),
     Part(3, "shaft", MIDLINE, "S", "#000000", in_whole=False)),
    Plausible((1.0, 1e6), 1.0, 1.0, 2.0),
)  # fmt: skip


def test_parts_are_corrected_each_for_itself_and_written_in_their_order(tmp_path):
    own, other = (np.stack([_side(-7, left), _side(7), _side(0, 2.0 * left / 5)], -1) for left in (4.5, 5.0))
    label, found = (Parts.of_frames(frames, GRID.affine, THREE) for frames in (own, other))
    row = judge(found, label)
    assert row["found_mm3"] == found.volumes_mm3()[BOTH] and "asymmetry" in row["doubts"]
    joined = consensus(label, found)
    for kind in ("prong", "shaft"):
        before, after, there = (parts.kind(kind).volumes_mm3()[BOTH] for parts in (label, joined, found))
        assert before < after <= there
    scan = Scan(tmp_path / "sub-1_T1w.nii.gz", {"sub": "1"}, "T1w", tmp_path)
    wanted = Wanted("trident", THREE)
    item = LabelledScan("study", scan, None, wanted)
    label_review.write_label(item, joined, tmp_path / "out", "trident")
    (files,) = find_segmentations(tmp_path / "out/study", wanted)
    again = read_segmentation(files, wanted)
    assert again.volumes_mm3() == joined.volumes_mm3()
    assert again.kind("shaft").volumes_mm3() == joined.kind("shaft").volumes_mm3()
    whole_only = label_review._as_in(Parts({BOTH: label.of[LEFT]}), found)
    assert set(whole_only.of) == {BOTH} and not whole_only.kinds
    assert whole_only.volumes_mm3()[BOTH] == pytest.approx(found.volumes_mm3()[BOTH], rel=0.02)
