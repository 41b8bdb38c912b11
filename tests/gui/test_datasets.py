"""BIDS folders that a page names: inside what is offered, links and all."""

import pytest

from bids_hypo.errors import NoInputError, UsageError
from bids_hypo.gui.datasets import check_links, choose_folder
from bids_hypo.gui.options import GuiOptions


def test_folders_are_for_this_computer_or_below_the_root(tmp_path):
    (tmp_path / "study").mkdir()
    assert choose_folder(f" {tmp_path}/study ", GuiOptions()) == tmp_path / "study"
    open_to_all = GuiOptions(host="0.0.0.0")
    with pytest.raises(UsageError, match="cannot be chosen"):
        choose_folder(str(tmp_path), open_to_all)
    bound = GuiOptions(host="0.0.0.0", data_root=tmp_path / "study")
    assert choose_folder(str(tmp_path / "study"), bound) == tmp_path / "study"
    with pytest.raises(UsageError, match="outside"):
        choose_folder(f"{tmp_path}/study/../", bound)
    with pytest.raises(UsageError, match="whole path"):
        choose_folder("study", GuiOptions())
    with pytest.raises(NoInputError, match="no such folder"):
        choose_folder(str(tmp_path / "none"), GuiOptions())


def test_a_link_does_not_lead_out_of_the_root(tmp_path):
    (tmp_path / "root").mkdir()
    (tmp_path / "root" / "link").symlink_to(tmp_path)
    with pytest.raises(UsageError, match="outside"):
        choose_folder(str(tmp_path / "root" / "link"), GuiOptions(data_root=tmp_path / "root"))


@pytest.fixture
def study(tmp_path):
    """A dataset in a folder that is offered, and a scan outside of it."""
    anat = tmp_path / "root" / "study" / "sub-01" / "anat"
    anat.mkdir(parents=True)
    outside = tmp_path / "outside" / "anat"
    outside.mkdir(parents=True)
    for place in (anat, outside):
        (place / "sub-01_T1w.nii.gz").touch()
    return tmp_path / "root" / "study"


@pytest.mark.parametrize("linked", ["sub-02", "sub-02/ses-1", "sub-02/anat", "sub-02/anat/sub-01_T1w.nii.gz"])
def test_images_outside_are_refused_whatever_is_the_link(study, tmp_path, linked):
    place = study / linked
    place.parent.mkdir(parents=True, exist_ok=True)
    place.symlink_to(tmp_path.joinpath("outside", *linked.split("/")[1:] if "ses" not in linked else ()))
    image = next(place.rglob("*.nii.gz")) if place.is_dir() else place
    with pytest.raises(UsageError, match=f"{image}: a link leads outside the folder"):
        check_links([study / "sub-01" / "anat" / "sub-01_T1w.nii.gz", image], study.parent)
    check_links([image], None)  # the user's own computer


def test_links_that_stay_inside_go_on_working(study):
    store = study.parent / "store" / ".git" / "annex" / "objects" / "key"
    store.mkdir(parents=True)
    (store / "key").touch()
    image = study / "sub-01" / "anat" / "sub-01_T1w.nii.gz"
    image.unlink()
    image.symlink_to("../../../store/.git/annex/objects/key/key")
    check_links([image], study.parent)
    (study.parent.parent / "by-another-name").symlink_to("root")
    check_links([image], study.parent.parent / "by-another-name")


@pytest.mark.parametrize("name", ["dataset_description.json", ".bidsignore"])
def test_what_describes_the_dataset_lies_inside_too(study, tmp_path, name):
    (tmp_path / "secret").write_text("{}")
    (study / name).symlink_to(tmp_path / "secret")
    with pytest.raises(UsageError, match=f"{name}: a link leads outside"):
        choose_folder(str(study), GuiOptions(data_root=study.parent))
    assert choose_folder(str(study), GuiOptions()) == study


def test_links_in_a_circle_are_no_folder(tmp_path):
    (tmp_path / "a").symlink_to("b")
    (tmp_path / "b").symlink_to("a")
    for options in (GuiOptions(), GuiOptions(data_root=tmp_path)):
        with pytest.raises(NoInputError, match="no such folder"):
            choose_folder(str(tmp_path / "a"), options)
    with pytest.raises(NoInputError, match="no such folder"):
        choose_folder("/" + "x" * 5000, GuiOptions())
