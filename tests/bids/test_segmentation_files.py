"""What the numbers in a segmentation mean: told, recorded beside it, or those of a program."""

import json

import nibabel as nib
import numpy as np
import pytest

from bids_hypo.bids.segmentation_files import read_segmentation
from bids_hypo.bids.segmentations import find_segmentations
from bids_hypo.bids.sidecars import structure_record
from bids_hypo.errors import ScanReadError
from bids_hypo.image.label_numbers import LEFT_RIGHT, Labels, Wanted
from tests.finished import TRIDENT
from tests.phantoms import write_scan

DATA = np.zeros((6, 6, 6), np.int16)
DATA[0], DATA[5], DATA[2, 0], DATA[3, 3, 3] = 31, 32, 33, 10


def _record(structure):
    return {
        "Structures": {structure.name: structure_record(structure, {}, {"contrast": 1.0, "contrast_to_noise": 1.0})}
    }


def _read(folder, wanted, labels=None):
    (files,) = find_segmentations(folder, wanted)
    return read_segmentation(files, wanted, labels)


def test_the_record_beside_our_own_labels_is_enough(tmp_path):
    write_scan(tmp_path / "sub-01/anat/sub-01_space-orig_seg-trident_dseg.nii.gz", DATA, np.eye(4))
    record = tmp_path / "sub-01/anat/sub-01_desc-volumetric_morph.json"
    record.write_text(json.dumps(_record(TRIDENT)))
    (record.parent / "sub-01_space-FLAIR_desc-volumetric_morph.json").write_text("{}")
    parts = _read(tmp_path, Wanted("trident"))
    assert parts.volumes_mm3() == {"L": 36, "R": 36, "B": 72}
    assert {kind: set(sides) for kind, sides in parts.kinds.items()} == {"prong": {"L", "R"}, "shaft": {"M"}}
    assert parts.kind("shaft").volumes_mm3() == {"B": 6}
    assert [image.data.sum() for image in parts.each(TRIDENT)] == [36, 36, 6]
    told = _read(tmp_path, Wanted("trident"), Labels({"B": frozenset({33})}))
    assert told.volumes_mm3() == {"B": 6} and not told.kinds
    record.write_text(json.dumps({"Structures": {"trident": {"Title": "x"}}}))
    with pytest.raises(ScanReadError, match=r"morph\.json: does not say what the labels in"):
        _read(tmp_path, Wanted("trident"))


def test_without_a_record_the_model_says_what_the_numbers_mean(tmp_path):
    write_scan(tmp_path / "sub-01_dseg.nii.gz", np.where(DATA == 10, 0, DATA), np.eye(4))
    assert _read(tmp_path, Wanted("trident", TRIDENT)).volumes_mm3() == {"L": 36, "R": 36, "B": 72}
    with pytest.raises(ScanReadError, match="found the labels 31, 32, 33; expected 1 = left and 2 = right"):
        _read(tmp_path, Wanted("trident"))
    with pytest.raises(ScanReadError, match="expected one of those told to be the trident of Poseidon"):
        _read(tmp_path, Wanted("trident", TRIDENT), LEFT_RIGHT)


def test_an_image_where_a_program_leaves_it_holds_other_structures_too(tmp_path):
    (tmp_path / "bert/mri").mkdir(parents=True)
    nib.save(nib.MGHImage(np.where(DATA == 31, 49, DATA).astype(np.int32), np.eye(4)), tmp_path / "bert/mri/aseg.mgz")
    assert _read(tmp_path, Wanted("thalamus")).volumes_mm3() == {"L": 1, "R": 36, "B": 37}


def test_a_structure_without_sides_is_whatever_is_labelled(tmp_path):
    alone = TRIDENT.__class__(
        "shaft", "shaft", (TRIDENT.parts[2].__class__(7, "shaft", None, "S", "#000000"),), TRIDENT.plausible
    )
    for number, name in ((7, "a"), (1, "b")):
        write_scan(tmp_path / name / "sub-01_dseg.nii.gz", np.where(DATA == 33, number, 0), np.eye(4))
        assert _read(tmp_path / name, Wanted("shaft", alone)).volumes_mm3() == {"B": 6}
