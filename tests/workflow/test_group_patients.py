"""Simulated patients through ensembles and the group level: what is planted is found, and stands on the page."""

import numpy as np
import pandas as pd
import pytest

from bids_hypo.demo.patients import CHANGE, write_patients
from bids_hypo.errors import UsageError
from bids_hypo.workflow.cohort import load_cohort
from bids_hypo.workflow.ensemble import write_ensembles
from bids_hypo.workflow.group import run_group
from bids_hypo.workflow.group_options import GroupOptions

pytestmark = pytest.mark.filterwarnings("ignore::RuntimeWarning")


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    """Raw data and derivatives of sixteen patients and eight controls, with ensembles."""
    folder = tmp_path_factory.mktemp("patients")
    sessions = write_patients(folder / "ms", 16, seed=1)
    raw, out = folder / "ms" / "raw", folder / "ms" / "derivatives"
    assert write_ensembles(out, raw, sessions) == 3 * 24
    assert write_ensembles(out, raw, sessions) == 0
    return raw, out


def test_change_worsening_and_a_trial_on_ensembles(study):
    raw, out = study
    options = GroupOptions(raw, out, images=("ensemble",), worsened="worsened", covariates=("age",),
                           outlier_rule="none", control="control")  # fmt: skip
    run_group(options)
    volumes = pd.read_csv(out / "group_volumes.tsv", sep="\t", na_values="n/a")
    assert set(volumes["image"]) == {"ensemble"} and len(volumes) == 3 * 24 and volumes["icv_mm3"].notna().all()
    assert volumes["icv_source"].str.endswith("_T1w").all()
    rows = pd.read_csv(out / "group_statistics.tsv", sep="\t", na_values="n/a")
    rows = rows[rows["chosen"] & rows["primary"]]
    change = rows[(rows["analysis"] == "longitudinal") & (rows["measure"] == "volume_mm3") & (rows["term"] == "years")]
    for group, (mean, _) in CHANGE.items():
        row = change[change["group_a"] == group].iloc[0]
        assert row["estimate_low"] < mean < row["estimate_high"]
    found = rows[(rows["analysis"] == "worsening") & (rows["measure"] == "change_percent_per_year")].iloc[0]
    assert found["estimate"] > 1 and found["n_a"] + found["n_b"] == 16 and np.isfinite(found["p_holm"])
    assert (rows["analysis"] == "trial").sum() == 8
    page = (out / "group_report.html").read_text()
    for words in ("thalamus averaged over images", "Who has got worse (worsened)", "A trial that slows the loss",
                  "Change of each participant", "means over the kinds of image of a session"):  # fmt: skip
        assert words in page


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
