"""Finding segmentations and pairing scans."""

import pytest

from bids_hypo.bids.matching import match_scans, scan_name
from bids_hypo.bids.segmentations import find_segmentations
from bids_hypo.errors import NoInputError, UsageError
from bids_hypo.image.label_numbers import Wanted
from bids_hypo.structures import HYPOTHALAMUS

HYPO = Wanted(HYPOTHALAMUS)


@pytest.fixture
def folder(tmp_path):
    def make(*names):
        for name in names:
            path = tmp_path / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.touch()
        return tmp_path

    return make


def _names(found):
    return {f.name: (f.kind, {side: path.name for side, path in f.paths.items()}) for f in found}


def test_own_derivatives_and_what_is_not_the_hypothalamus(folder):
    base = "sub-01/ses-1/anat/sub-01_ses-1_run-01"
    root = folder(
        f"{base}_space-orig_seg-hypothalamus_dseg.nii.gz",
        f"{base}_space-orig_seg-hypothalamus_dseg.json",
        f"{base}_space-orig_label-hypothalamus_mask.nii.gz",
        f"{base}_space-orig_label-ICV_mask.nii.gz",
        f"{base}_space-MNI152_seg-hypothalamus_dseg.nii.gz",
        f"{base}_desc-brain_mask.nii.gz",
        f"{base}_desc-aseg_dseg.txt",
        "sub-01/ses-1/anat/sub-01_ses-1_run-01_label-GM_probseg.nii.gz",
        "sub-01.html",
        "dataset_description.json",
    )
    expected = ("dseg", {"B": "sub-01_ses-1_run-01_space-orig_seg-hypothalamus_dseg.nii.gz"})
    assert _names(find_segmentations(root, HYPO)) == {"sub-01_ses-1_run-01": expected}


def test_a_flat_folder_of_sides(folder):
    names = [f"sub-02_label-{s}_probseg.nii.gz" for s in "RL"] + [f"sub-01_hemi-{s}_mask.nii" for s in "LR"]
    root = folder(*names)
    assert _names(find_segmentations(root, HYPO)) == {
        "sub-01": ("mask", {"L": "sub-01_hemi-L_mask.nii", "R": "sub-01_hemi-R_mask.nii"}),
        "sub-02": ("probseg", {"L": "sub-02_label-L_probseg.nii.gz", "R": "sub-02_label-R_probseg.nii.gz"}),
    }


def test_the_plainest_name_wins(folder):
    stem = "sub-01/anat/sub-01_seg-hypothalamus"
    root = folder(f"{stem}_dseg.nii.gz", f"{stem}_desc-edited_dseg.nii.gz")
    assert find_segmentations(root, HYPO)[0].paths["B"].name == "sub-01_seg-hypothalamus_dseg.nii.gz"
    edited = find_segmentations(root, HYPO, "sub-{subject}/anat/*_desc-edited_dseg.nii.gz")
    assert edited[0].paths["B"].name == "sub-01_seg-hypothalamus_desc-edited_dseg.nii.gz"


@pytest.mark.parametrize(
    "names",
    [
        ("sub-01_desc-a_dseg.nii.gz", "sub-01_desc-b_dseg.nii.gz"),
        ("sub-01_dseg.nii.gz", "sub-01_dseg.nii"),
        ("sub-01_label-L_mask.nii.gz",),
    ],
)
def test_what_cannot_be_decided_is_said(names, folder):
    with pytest.raises(UsageError, match="sub-01"):
        find_segmentations(folder(*names), HYPO)


@pytest.mark.parametrize(
    ("path", "scan"),
    [
        ("sub-01/mri/hypothalamic_subunits_seg.v1.mgz", {"sub": "01"}),
        ("sub-01_ses-2/mri/hypothalamus.HypVINN.nii.gz", {"sub": "01", "ses": "2"}),
        ("OAS1_0007-x/mri/hypothalamic_subunits_seg.v1.mgz", {"sub": "OAS1_0007-x"}),
    ],
)
def test_folders_of_freesurfer_and_fastsurfer_need_no_pattern(path, scan, folder):
    found = find_segmentations(folder(path, "fsaverage/mri/aseg.mgz"), HYPO)
    assert [f.entities for f in found] == [scan]
    assert found[0].kind is None


@pytest.mark.parametrize(
    ("pattern", "names", "expected"),
    [
        ("{subject}_seg.nii.gz", ["sub-01_seg.nii.gz", "02_seg.nii.gz"], {"sub-01", "sub-02"}),
        ("{subject}/{session}/*.nii", ["A1/m06/x.nii", "A1/m12/x.nii"], {"sub-A1_ses-m06", "sub-A1_ses-m12"}),
        ("**/{subject}_*_hyp.nii", ["deep/er/s1_x_hyp.nii", "s2_y_hyp.nii"], {"sub-s1", "sub-s2"}),
        ("{subject}/{hemi}.nii", ["s1/lh.nii", "s1/rh.nii", "s2/left.nii", "s2/Right.nii"], {"sub-s1", "sub-s2"}),
    ],
)
def test_patterns(pattern, names, expected, folder):
    found = find_segmentations(folder(*names), HYPO, pattern)
    assert {f.name for f in found} == expected
    assert all(set(f.paths) == ({"L", "R"} if "{hemi}" in pattern else {"B"}) for f in found)


@pytest.mark.parametrize(
    ("pattern", "error", "message"),
    [
        ("*.nii", UsageError, "no placeholder"),
        ("{subject}_{run}.nii", UsageError, "run"),
        ("/abs/{subject}.nii", UsageError, "relative"),
        ("../{subject}.nii", UsageError, "relative"),
        ("{subject}.mgz", NoInputError, "matches the pattern"),
        ("{subject}_*.nii", UsageError, "matches"),
        ("{subject}/{hemi}.nii", UsageError, "only this side"),
    ],
)
def test_patterns_that_cannot_be_used(pattern, error, message, folder):
    root = folder("s1_a.nii", "s1_b.nii", "s3/lh.nii")
    with pytest.raises(error, match=message):
        find_segmentations(root, HYPO, pattern)


def test_nothing_found(folder, tmp_path):
    with pytest.raises(NoInputError, match="does not exist"):
        find_segmentations(tmp_path / "absent", HYPO)
    with pytest.raises(NoInputError, match="pattern"):
        find_segmentations(folder("sub-01/anat/sub-01_T1w.nii.gz"), HYPO)


def test_results_of_both_kinds_of_image_in_one_folder_are_told(folder, caplog):
    names = ["sub-01/anat/sub-01_space-orig_seg-hypothalamus_dseg.nii.gz",
             "sub-02/anat/sub-02_space-UNIT1_seg-hypothalamus_dseg.nii.gz"]  # fmt: skip
    assert len(find_segmentations(folder(*names), HYPO)) == 2
    assert "of 2 segmentations 1 belong to UNIT1 images (sub-02), the others to images of another kind" in caplog.text
    with pytest.raises(UsageError, match=r"such as '\{subject\}/anat/\*_space-UNIT1_\*dseg\.nii\.gz'"):
        find_segmentations(folder(names[0].replace("orig", "UNIT1")), HYPO)


def _match(references, candidates):
    def parse(text):
        return dict(pair.split("-") for pair in text.split("_"))

    found = match_scans([parse(r) for r in references], [parse(c) for c in candidates])
    return [None if m.index is None else candidates[m.index] for m in found], [m.reason for m in found]


def test_equal_names_match_and_others_do_not():
    found, reasons = _match(["sub-1", "sub-2", "sub-3"], ["sub-3", "sub-1", "sub-4"])
    assert found == ["sub-1", None, "sub-3"]
    assert reasons == ["", "no file for this scan", ""]


def test_a_run_named_on_one_side_only_matches_if_there_is_one():
    assert _match(["sub-1_ses-1"], ["sub-1_ses-1_run-1"])[0] == ["sub-1_ses-1_run-1"]
    found, reasons = _match(["sub-1"], ["sub-1_run-1", "sub-1_run-2"])
    assert found == [None] and "run-2" in reasons[0]
    assert _match(["sub-1_ses-1"], ["sub-1_ses-2"])[0] == [None]


def test_one_file_is_never_used_for_two_scans():
    found, reasons = _match(["sub-1_ses-1", "sub-1_ses-2"], ["sub-1"])
    assert found == [None, None] and "ses-2" in reasons[0]
    # the plain one belongs to the reference of the same name
    assert _match(["sub-1", "sub-1_run-2"], ["sub-1", "sub-1_run-2"])[0] == ["sub-1", "sub-1_run-2"]


def test_name_of_a_scan():
    assert scan_name({"ses": "1", "sub": "01"}) == "sub-01_ses-1"


def test_other_structures_are_found_by_their_name(folder):
    root = folder(
        "sub-01/anat/sub-01_space-orig_seg-hypothalamus_dseg.nii.gz",
        "sub-01/anat/sub-01_space-orig_seg-thalamus_dseg.nii.gz",
        "sub-01/anat/sub-01_space-FLAIR_seg-thalamus_dseg.nii.gz",
        "sub-01/anat/sub-01_space-orig_label-ICV_mask.nii.gz",
        "sub-02/anat/sub-02_space-FLAIR_seg-thalamus_dseg.nii.gz",
        "sub-02/anat/sub-02_space-MNI152_seg-thalamus_dseg.nii.gz",
        "sub-02/anat/sub-02_space-x+Chimap_seg-dentate_dseg.nii.gz",
    )
    assert _names(find_segmentations(root, Wanted("thalamus"))) == {
        "sub-01": ("dseg", {"B": "sub-01_space-orig_seg-thalamus_dseg.nii.gz"}),
        "sub-02": ("dseg", {"B": "sub-02_space-FLAIR_seg-thalamus_dseg.nii.gz"}),
    }
    (dentate,) = find_segmentations(root, Wanted("dentate"))
    assert dentate.paths["B"].name == "sub-02_space-x+Chimap_seg-dentate_dseg.nii.gz"
    assert [f.name for f in find_segmentations(root, HYPO)] == ["sub-01"]
    with pytest.raises(NoInputError, match=r"no segmentation of the trident: .*\*_label-trident_mask\. Say"):
        find_segmentations(root, Wanted("trident"))


def test_programs_have_their_places_for_each_structure(folder):
    root = folder("bert/mri/aseg.mgz", "ernie/mri/aseg.mgz")
    found = find_segmentations(root, Wanted("thalamus"))
    assert [(f.name, f.tool) for f in found] == [("sub-bert", "freesurfer"), ("sub-ernie", "freesurfer")]
    with pytest.raises(NoInputError, match="hypothalamic_subunits_seg"):
        find_segmentations(root, HYPO)


@pytest.mark.parametrize(
    ("files", "tool", "names"),
    [(["sub-01/ses-1/first/sub-01_ses-1_T1w_all_fast_firstseg.nii.gz", "sub-01/ses-2/x_all_fast_firstseg.nii.gz"],
      "fsl", ["sub-01_ses-1", "sub-01_ses-2"]),
     (["sub-01_T1w_all_fast_firstseg.nii.gz", "sub-02_T1w_brain_all_fast_firstseg.nii.gz"],
      "fsl", ["sub-01", "sub-02"]),
     (["sub-01_ses-1_T1w_synthseg.nii.gz", "sub-01_ses-2_T1w_synthseg.nii.gz"], "synthseg",
      ["sub-01_ses-1", "sub-01_ses-2"])],
)  # fmt: skip
def test_outputs_of_first_and_synthseg_are_found_by_their_names(folder, files, tool, names):
    found = find_segmentations(folder(*files), Wanted("thalamus"))
    assert [(f.name, f.tool) for f in found] == [(name, tool) for name in names]
