"""An image without a T1-weighted one in its session: said in the sidecar of its table, and once for a run."""

import logging

import pytest

from bids_hypo.bids.names import sidecar
from bids_hypo.bids.session_icv import sessions_without_t1
from bids_hypo.bids.sidecars import read_record
from bids_hypo.execute import participant
from bids_hypo.workflow.options import RunOptions
from tests.finished import finished_dataset


@pytest.fixture
def made(tmp_path):
    """A FLAIR with a T1w in its session, and one with a T1w in another session only."""
    scans = [{"sub": "01", "ses": "1"}, {"sub": "01", "ses": "1", "suffix": "FLAIR"},
             {"sub": "01", "ses": "2", "suffix": "FLAIR"}]  # fmt: skip
    return finished_dataset(tmp_path, scans, structures=("trident",), suffixes=("T1w", "FLAIR"))


def test_the_sidecar_and_a_line_of_the_run_say_which_volumes_cannot_be_normalised(made, caplog):
    raw, out, names = made
    notes = {one.scan.name: read_record(sidecar(one.morph)).get("Normalisation") for one in names}
    assert notes["sub-01_ses-1_T1w"] is None
    assert "that of a T1-weighted image of the same session" in notes["sub-01_ses-1_FLAIR"]
    assert "no T1-weighted image in the session" in notes["sub-01_ses-2_FLAIR"]
    told = sessions_without_t1([one.scan for one in names], raw)
    assert told.startswith("1 image(s) have no T1-weighted image") and told.endswith(": sub-01_ses-2_FLAIR.")
    assert sessions_without_t1([one.scan for one in names[:1]], raw) == ""
    with caplog.at_level(logging.WARNING):
        participant.run_participant(RunOptions(raw, out, dry_run=True))
    assert not caplog.messages  # of the hypothalamus, which is measured on T1w images
