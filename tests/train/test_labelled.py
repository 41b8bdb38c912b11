"""Pairing scans with labels, and how much each label counts."""

import numpy as np
import pandas as pd
import pytest

from bids_hypo.bids.tables import TableError
from bids_hypo.errors import NoInputError, ScanReadError
from bids_hypo.train.labelled import find_labelled, label_weights, read_classes
from bids_hypo.train.recipe import load_recipe
from tests.train.conftest import save_image


def test_scans_without_labels_are_left_out(dataset):
    items = find_labelled(*dataset, stratify="group")
    assert len(items) == 10
    assert {i.scan.subject for i in items} == {f"{n:02d}" for n in range(1, 10)}
    assert items[0].group == "study ALS"
    with pytest.raises(TableError, match="no column 'site'"):
        find_labelled(*dataset, stratify="site")
    with pytest.raises(NoInputError, match="it does not exist"):
        find_labelled(dataset[0], dataset[1] / "elsewhere")


def test_classes_by_recipe(dataset, tmp_path):
    item = find_labelled(*dataset)[0]
    left, right = read_classes(item, load_recipe("hypothalamus"))
    assert left.data.sum() == right.data.sum() == 2
    (whole,) = read_classes(item, load_recipe("vernikouskaya2023"))
    assert (whole.data > 0.5).sum() == 4
    with pytest.raises(ScanReadError, match="17 foreground classes"):
        read_classes(item, load_recipe("anatomy"))


def test_any_labels_by_number(dataset, tmp_path):
    raw, _ = dataset
    labels = np.zeros((4, 4, 4), np.int16)
    labels[0], labels[1], labels[2] = 10, 49, 50
    save_image(tmp_path / "aseg" / "sub-02" / "seg.nii.gz", labels)
    (item,) = find_labelled(raw, tmp_path / "aseg", pattern="{subject}/seg.nii.gz")
    recipe = {"labels": ["background", "left thalamus", "right"], "label_numbers": [[10], [49, 50]]}
    left, right = read_classes(item, recipe)
    assert (left.data.sum(), right.data.sum()) == (16, 32)


def test_doubtful_labels_weigh_less(tmp_path):
    rule = load_recipe("hypothalamus")["doubtful"]
    assert label_weights(tmp_path, rule) is None
    table = {"dataset": ["a", "a", "b"], "participant_id": ["sub-1", "sub-2", "sub-1"], "cv": [0.01, 0.2, 0.01],
             "whole_mm3": [800, 800, 500]}  # fmt: skip
    pd.DataFrame(table).to_csv(tmp_path / "labels.tsv", sep="\t", index=False)
    for name, expected in (("a", [1.0, rule["weight"]]), ("b", [rule["weight"]])):
        (tmp_path / name).mkdir()
        assert list(label_weights(tmp_path / name, rule)["weight"]) == expected
