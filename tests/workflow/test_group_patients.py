"""Kinds of image at the group level, on simulated patients with ensembles; the tutorial's test looks at the results."""

import pytest

from bids_hypo.demo.patients import write_patients
from bids_hypo.errors import UsageError
from bids_hypo.workflow.cohort import load_cohort
from bids_hypo.workflow.ensemble import write_ensembles
from bids_hypo.workflow.group_options import GroupOptions


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    """Raw data and derivatives of eight patients and four controls, with ensembles."""
    folder = tmp_path_factory.mktemp("patients")
    sessions = write_patients(folder / "ms", 8)
    raw, out = folder / "ms" / "raw", folder / "ms" / "derivatives"
    assert write_ensembles(out, raw, sessions) == 3 * 12
    assert write_ensembles(out, raw, sessions) == 0
    return raw, out


def test_images_are_chosen_and_an_ensemble_with_a_bad_image_is_not_tested(study, tmp_path):
    raw, out = study
    ratings = tmp_path / "ratings.tsv"
    ratings.write_text("source_file\trating\nsub-001/ses-1/anat/sub-001_ses-1_FLAIR.nii.gz\tbad\n")
    options = GroupOptions(raw, out, images=("flair", "Ensemble"), ratings=ratings)
    table = load_cohort(options).table
    assert set(table["image"]) == {"FLAIR", "ensemble"}
    assert set(table.loc[table["not_tested"] == "rated bad", "scan"]) == {
        "sub-001_ses-1_FLAIR",
        "sub-001_ses-1_ensemble",
    }
    assert set(load_cohort(GroupOptions(raw, out)).table["image"]) == {"T1w", "FLAIR", "R1map"}  # as without the option
    with pytest.raises(UsageError, match=r"--images T2w: no such volumes in .*; there are FLAIR, R1map, T1w\."):
        load_cohort(GroupOptions(raw, out, images=("T2w",)))
