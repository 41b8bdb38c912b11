"""Links that lead out of a dataset are told from those that stay in it, as git-annex makes them."""

import os
from pathlib import Path
from typing import NamedTuple

import pytest

from bids_hypo.bids.links import check_writes_stay, way_out
from bids_hypo.bids.removal import remove_outputs
from bids_hypo.errors import CannotCreateError
from tests.finished import finished_dataset

KEY = "MD5E-s4--098f6bcd4621d373cade4e832627b4f6.nii.gz"


class Case(NamedTuple):
    """Where the content of ``super/derived/sub-01/mask`` lies, and what ``.git`` are there, below the test's folder."""

    content: str
    folders: tuple[str, ...] = ()
    git_link: tuple[str, str] | None = None
    inside: bool = True


CASES = {
    "a file beside": Case("super/derived/other/mask"),
    "its own annex": Case(f"super/derived/.git/annex/objects/{KEY}"),
    "the annex of the dataset around it": Case(f"super/.git/annex/objects/{KEY}"),
    "a subdataset, its repository in that around it": Case(
        f"super/.git/modules/derived/annex/objects/{KEY}", git_link=("super/derived/.git", "../.git/modules/derived")
    ),
    "elsewhere in the work tree": Case("super/code/mask", folders=("super/.git",)),
    "the annex of an outer dataset": Case(f".git/annex/objects/{KEY}", folders=("super/.git",)),
    "elsewhere": Case("private/mask", inside=False),
    "elsewhere, with a repository": Case("private/mask", folders=("super/derived/.git",), inside=False),
    "a repository that is a link elsewhere": Case(
        f"private/annex/objects/{KEY}", git_link=("super/derived/.git", "../../private"), inside=False
    ),
    "outside of the nearest work tree": Case("mask", folders=("super/.git", ".git"), inside=False),
    "a folder whose name begins alike": Case("super/derived-private/mask", inside=False),
}


@pytest.mark.parametrize("case", CASES.values(), ids=CASES.keys())
def test_what_stays_in_a_dataset(case: Case, tmp_path: Path) -> None:
    content, derived = tmp_path / case.content, tmp_path / "super" / "derived"
    for folder in (content.parent, derived / "sub-01", *(tmp_path / name for name in case.folders)):
        folder.mkdir(parents=True, exist_ok=True)
    content.write_text("test")
    if case.git_link:
        (tmp_path / case.git_link[0]).symlink_to(case.git_link[1])
    path = derived / "sub-01" / "mask"
    path.symlink_to(os.path.relpath(content, path.parent))
    assert way_out(path, derived) == (None if case.inside else Path(os.path.realpath(content)))
    (tmp_path / "shortcut").symlink_to(derived)  # somebody's own link to the whole dataset
    assert (way_out(tmp_path / "shortcut/sub-01/mask", tmp_path / "shortcut") is None) == case.inside


def test_what_is_not_there_stays_and_links_in_a_circle_do_no_harm(tmp_path: Path) -> None:
    assert way_out(tmp_path / "sub-01" / "anat", tmp_path) is None
    (tmp_path / "round").symlink_to("round")
    assert way_out(tmp_path / "round", tmp_path) is None


def test_nothing_is_removed_through_a_link(tmp_path: Path) -> None:
    _, out, (names,) = finished_dataset(tmp_path, [{"sub": "01"}])
    names.anat_dir.rename(tmp_path / "of others")
    names.anat_dir.symlink_to(tmp_path / "of others")
    before = sorted((tmp_path / "of others").iterdir())
    with pytest.raises(CannotCreateError, match=f"{names.anat_dir}: leads by a link to {tmp_path / 'of others'}"):
        remove_outputs(names)
    assert before and sorted((tmp_path / "of others").iterdir()) == before
    with pytest.raises(CannotCreateError, match="nothing is written"):
        check_writes_stay(names.anat_dir, out)


def test_a_link_in_place_of_a_result_is_taken_away_and_what_it_leads_to_stays(tmp_path: Path) -> None:
    _, _, (names,) = finished_dataset(tmp_path, [{"sub": "01"}])
    kept = tmp_path / "kept.nii.gz"
    names.structures["hypothalamus"].dseg.rename(kept)
    names.structures["hypothalamus"].dseg.symlink_to(kept)
    remove_outputs(names)
    assert kept.is_file() and not os.path.lexists(names.structures["hypothalamus"].dseg)
