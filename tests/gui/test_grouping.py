"""The group level gives the same from a table, from a zip and from the derivatives themselves."""

import pandas as pd
import pytest

from bids_hypo.bids.people import group_names
from bids_hypo.errors import BidsHypoError
from bids_hypo.gui import results
from bids_hypo.gui.grouping import make_study
from bids_hypo.gui.options import Limits
from bids_hypo.workflow.group import run_group
from bids_hypo.workflow.group_options import GroupOptions
from tests.finished import finished_dataset

PEOPLE = [("01", "ALS", 50), ("02", "ALS", 61), ("03", "control", 55), ("04", "control", 47)]


@pytest.fixture
def study(tmp_path):
    raw, out, _ = finished_dataset(
        tmp_path / "made", [{"sub": label} for label, _, _ in PEOPLE], flags={"02": ("asymmetric",)}
    )
    lines = ["participant_id\tgroup\tage", *(f"sub-{label}\t{group}\t{age}" for label, group, age in PEOPLE)]
    (raw / "participants.tsv").write_text("\n".join(lines) + "\n")
    results.write_batch_table(out, {}, tmp_path / "volumes.tsv")
    results.zip_folder(out, tmp_path / "results.zip")
    return raw, out, tmp_path


def _volumes(raw, out):
    run_group(GroupOptions(raw, out, covariates=()))
    return pd.read_csv(out / "group_volumes.tsv", sep="\t", dtype=str).drop(columns=["report"], errors="ignore")


@pytest.mark.parametrize("given", ["volumes.tsv", "results.zip"])
def test_the_same_numbers_as_from_the_derivatives(study, given):
    raw, out, folder = study
    work = folder / "work"
    work.mkdir()
    found = _volumes(*make_study([folder / given], raw / "participants.tsv", work, Limits()))
    pd.testing.assert_frame_equal(found, _volumes(raw, out))
    assert found["flags"].tolist()[1] == "asymmetric"


@pytest.mark.parametrize(
    ("column", "value", "message"),
    [("left_mm3", "-3", "left_mm3 = -3; expected a number above 0"), ("icv_mm3", "big", "icv_mm3 = big"),
     ("scan", "../../x_T1w", "scan = ../../x_T1w; expected the name"),
     ("scan", "", "a row has scan = n/a; expected the name of a scan")],
)  # fmt: skip
def test_a_bad_value_is_named(study, column, value, message):
    raw, _, folder = study
    table = pd.read_csv(folder / "volumes.tsv", sep="\t", dtype=str, keep_default_na=False)
    table.loc[0, column] = value
    table.to_csv(folder / "volumes.tsv", sep="\t", index=False)
    work = folder / "work"
    work.mkdir()
    with pytest.raises(BidsHypoError, match=message.replace(".", r"\.")):
        make_study([folder / "volumes.tsv"], raw / "participants.tsv", work, Limits())


@pytest.mark.parametrize("other", ["results.zip", "again.tsv", "volumes.tsv"])
def test_a_scan_that_has_two_values_is_named(study, other):
    raw, _, folder = study
    table = pd.read_csv(folder / "volumes.tsv", sep="\t", dtype=str, keep_default_na=False)
    table.to_csv(folder / "again.tsv", sep="\t", index=False)

    def make(name):
        (folder / name).mkdir()
        return make_study([folder / other, folder / "volumes.tsv"], raw / "participants.tsv", folder / name, Limits())

    make("alike")
    changed = table.assign(left_mm3=["499", *table["left_mm3"][1:]])
    rows = pd.concat([table, changed[:1]]) if other == "volumes.tsv" else changed
    rows.to_csv(folder / "volumes.tsv", sep="\t", index=False)
    with pytest.raises(BidsHypoError, match=rf"volumes\.tsv: {table['scan'][0][:6]}.* other volumes than in {other}"):
        make("different")


def test_other_files_are_refused(study):
    raw, _, folder = study
    (folder / "table.xlsx").write_text("x")
    (folder / "other.tsv").write_text("a\tb\n1\t2\n")
    results.zip_folder(raw, folder / "raw.zip", only=("participants.tsv",))
    for name, message in (("table.xlsx", "expected a .tsv"), ("other.tsv", "no column"), ("raw.zip", "no results")):
        work = folder / f"work-{name}"
        work.mkdir()
        with pytest.raises(BidsHypoError, match=message):
            make_study([folder / name], raw / "participants.tsv", work, Limits())


def test_groups_are_offered_once_each(tmp_path):
    path = tmp_path / "participants.tsv"
    path.write_bytes("participant_id\tgroup\n1\tALS\n2\tals\n3\tALS\n4\tNA\n5\tCON\n".encode("utf-16"))
    assert group_names(path, "group") == ["ALS", "CON"]
