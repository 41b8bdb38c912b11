"""Slices lie where they say, with outlines on the right side; the surface is the one that the core drew."""

import re

import nibabel as nib
import numpy as np
import pytest

from bids_hypo.execute.participant import run_participant
from bids_hypo.gui import html, views
from bids_hypo.workflow.options import RunOptions
from bids_hypo.workflow.reports import redraw
from tests.finished import finished_dataset, paths_of

CLOSE, LEFT, RIGHT = "hypothalamus", "HYP-L", "HYP-R"


@pytest.fixture(scope="module")
def scan(tmp_path_factory):
    folder = tmp_path_factory.mktemp("views")
    raw, out, (names,) = finished_dataset(folder, [{"sub": "01"}])
    run_participant(RunOptions(raw, out))
    stacks = folder / "stacks"
    views.write_stacks(names, stacks)
    return names, stacks


def _inside(stack, key):
    return np.asarray(next(mask.inside for mask in stack.masks if mask.key == key))


def _middle_mm(stack, name):
    """Centroid of a mask, from the middle of the hypothalamus, mm."""
    where = np.argwhere(np.asarray(_inside(stack, name)) > 127).mean(axis=0)
    return (where - (len(stack.grey) - 1) / 2) * stack.spacing_mm - np.array(stack.middle_mm)


@pytest.mark.parametrize("name", [CLOSE, views.FAR])
def test_masks_lie_where_the_phantom_has_them(scan, name):
    stack = views.read_stack(scan[1], name)
    image = nib.load(paths_of(scan[0]).dseg)
    labels = np.asarray(image.dataobj)
    points = {side: nib.affines.apply_affine(image.affine, np.argwhere(labels == side)) for side in (1, 2)}
    every = np.concatenate(list(points.values()))
    middle = (every.min(axis=0) + every.max(axis=0)) / 2
    for side, mask in ((1, LEFT), (2, RIGHT)):
        np.testing.assert_allclose(_middle_mm(stack, mask), points[side].mean(axis=0) - middle, atol=0.25)
    volume = (_inside(stack, LEFT) > 127).sum() * stack.spacing_mm**3
    assert volume == pytest.approx((labels == 1).sum() * abs(np.linalg.det(image.affine[:3, :3])), rel=0.2)


@pytest.mark.parametrize("name", [CLOSE, views.FAR])
def test_slices_cover_the_cube_in_whole_steps(scan, name):
    stack = views.read_stack(scan[1], name)
    low, high = stack.span_mm(1)
    assert stack.index(1, low) <= 1 and stack.index(1, high) >= len(stack.grey) - 2
    assert low / stack.spacing_mm == pytest.approx(round(low / stack.spacing_mm))
    assert stack.index(1, -1e6) == 0 and stack.index(1, 1e6) == len(stack.grey) - 1
    places = low + stack.spacing_mm * np.arange(round((high - low) / stack.spacing_mm) + 1)
    assert set(np.diff([stack.index(1, at_mm) for at_mm in places])) == {1}  # every slice can be seen


@pytest.mark.parametrize("name", [CLOSE, views.FAR])
def test_slices_begin_where_the_hypothalamus_is_largest(scan, name):
    stack = views.read_stack(scan[1], name)
    inside = (_inside(stack, LEFT) > 127) | (_inside(stack, RIGHT) > 127)
    for plane in range(3):
        areas = np.moveaxis(inside, plane, 0).sum(axis=(1, 2))
        assert areas[stack.index(plane, stack.widest_mm(plane))] == areas.max()
    low, high = stack.span_mm(0)
    assert low <= stack.widest_mm(0) <= high and abs(stack.widest_mm(0)) > 2  # a side, not the cleft between them


def test_cubes_are_written_whole_or_not_at_all(scan, tmp_path, monkeypatch):
    def fail(*_):
        raise MemoryError

    with monkeypatch.context() as patch:
        patch.setattr(views, "_eight_bits", fail)
        with pytest.raises(MemoryError):
            views.write_stacks(scan[0], tmp_path / "views")
    assert not (tmp_path / "views").exists()
    views.write_stacks(scan[0], tmp_path / "views")
    assert [p.name for p in tmp_path.iterdir()] == ["views"]


def _x_of(svg, colour):
    path = re.search(rf'<path d="([^"]+)" stroke="{colour}"', svg)
    assert path is not None
    return np.mean([float(pair.split(",")[0]) for pair in re.findall(r"[\d.]+,[\d.]+", path.group(1))])


def test_left_is_left_and_radiological_turns_it_round(scan):
    stack = views.read_stack(scan[1], CLOSE)
    left, right = "#E69F00", "#56B4E9"
    svg = views.slice_svg(stack, 1, 0.0)
    assert _x_of(svg, left) < 22 < _x_of(svg, right)
    assert re.findall(r">([LRAP])<", svg) == ["L", "R"]
    turned = views.slice_svg(stack, 1, 0.0, radiological=True)
    assert _x_of(turned, left) > 22 > _x_of(turned, right)
    assert re.findall(r">([LRAP])<", turned) == ["R", "L"]
    assert re.findall(r">([LRAP])<", views.slice_svg(stack, 0, 4.0, radiological=True)) == ["P", "A"]


def test_outlines_can_be_left_out_and_end_with_the_structure(scan):
    stack = views.read_stack(scan[1], CLOSE)
    assert "<path" not in views.slice_svg(stack, 1, 0.0, outlines=False)
    assert 'd=""' in views.slice_svg(stack, 1, 15.0)
    assert 'aria-label="coronal slice at 15.0 mm"' in views.slice_svg(stack, 1, 15.0)


def test_the_surface_is_the_cores(scan):
    figure = views.surface_figure(scan[0], CLOSE)
    assert [trace.name for trace in figure.data] == ["left hypothalamus", "right hypothalamus", "intracranial volume"]
    assert np.mean(figure.data[0].x) < 0 < np.mean(figure.data[1].x)
    scan[0].figure("surface", ".json.gz", CLOSE).unlink()
    assert views.surface_figure(scan[0], CLOSE) is None


def test_a_structure_with_a_midline_has_a_cube_a_key_and_a_surface_like_any_other(tmp_path):
    _, _, (names,) = finished_dataset(tmp_path, [{"sub": "01"}], structures=("hypothalamus", "trident"))
    assert redraw(names.scan, names).error is None
    views.write_stacks(names, tmp_path / "stacks")
    assert list(views.cubes(tmp_path / "stacks")) == ["hypothalamus", "trident", views.FAR]
    stack = views.read_stack(tmp_path / "stacks", "trident")
    assert [(mask.key, mask.colour) for mask in stack.masks] == [
        ("TRI-L", "#E69F00"), ("TRI-R", "#56B4E9"), ("TRI-S", "#009E73")]  # fmt: skip
    key = html.legend(stack.masks)
    assert all(words in key for words in ("left prong", "right prong", "shaft", "#009E73"))
    shown = views.slice_svg(stack, 0, stack.widest_mm(0))
    assert shown.count("<path") == 3
    figure = views.surface_figure(names, "trident")
    assert [trace.name for trace in figure.data] == ["left prong", "right prong", "shaft", "intracranial volume"]
