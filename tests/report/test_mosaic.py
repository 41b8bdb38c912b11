"""Mosaics: the right slices, the right way round, outlines of the right size and side."""

import io
import xml.etree.ElementTree as ET
from functools import cache

import numpy as np
import pytest
from matplotlib.image import imread

from bids_hypo.image.volume import Volume
from bids_hypo.report.drawn import drawn_icv, drawn_parts
from bids_hypo.report.figures import jpeg_bytes, mosaic_svg, overview_png, thumbnail_jpeg
from bids_hypo.report.mosaic import head_mosaic, structure_mosaics
from tests.finished import SIDES_MM, TRIDENT, masks_of, structure_named, trident_of
from tests.phantoms import affine_for, inside_ellipsoid, phantom_head, world_mm

SHAPE = (90, 108, 100)
LEFT, RIGHT, ICV = "HYP-L", "HYP-R", "icv"


def _head(orientation="RAS", rotation_deg=0.0):
    affine = affine_for(orientation, (2.0, 2.0, 2.0), SHAPE, rotation_deg)
    volume = phantom_head(SHAPE, affine, noise_sd=0)
    return volume, *masks_of(SHAPE, affine)


def _drawn(volume, labels, icv, *axes):
    parts = drawn_parts(structure_named("hypothalamus"), labels, volume.affine)
    head = head_mosaic(volume, [drawn_icv(icv, volume.affine)], *axes)
    return [*structure_mosaics(volume, parts, 40.0, *axes), head]


def _lines(tile, key):
    return next((one.lines for one in tile.outlines if one.key == key), [])


@cache
def _mosaics(orientation="RAS"):
    return _drawn(*_head(orientation))


def _area(line):
    x, y = line[:, 0], line[:, 1]
    return abs(np.dot(x[:-1], y[1:]) - np.dot(x[1:], y[:-1])) / 2


def _middle_tile(mosaics, name):
    mosaic = next(m for m in mosaics if m.name == name)
    return max(mosaic.tiles, key=lambda t: sum(_area(line) for line in _lines(t, LEFT)))


@pytest.mark.parametrize("orientation", ["RAS", "LPS", "PSR"])
def test_left_is_on_the_left_and_up_is_up_in_any_orientation(orientation):
    tile = _middle_tile(_mosaics(orientation), "coronal")
    (left,), (right,) = _lines(tile, LEFT), _lines(tile, RIGHT)
    assert left[:, 0].mean() < tile.size_mm / 2 < right[:, 0].mean()
    assert np.ptp(left[:, 1]) > np.ptp(right[:, 1]) + 1  # the right one is 2 mm lower
    head = next(m for m in _mosaics(orientation) if m.name == "head").tiles[1]
    top, bottom = head.grey[-20:].mean(), head.grey[:20].mean()
    assert top < 60 and bottom < 60 and head.grey[90:110, 90:110].mean() > 100


def test_outlines_have_the_size_of_the_structure_in_mm():
    tile = _middle_tile(_mosaics(), "coronal")
    radii = SIDES_MM[1][1]
    assert _area(_lines(tile, LEFT)[0]) == pytest.approx(np.pi * radii[0] * radii[2], rel=0.15)
    assert np.ptp(_lines(tile, LEFT)[0][:, 1]) == pytest.approx(2 * radii[2], abs=2.0)


def test_every_outline_is_closed_and_the_ends_are_shown_empty():
    mosaics = _mosaics()
    for mosaic in mosaics:
        for tile in mosaic.tiles:
            for outline in tile.outlines:
                assert all(np.allclose(line[0], line[-1]) for line in outline.lines)
    ends = [mosaics[0].tiles[k].outlines for k in (0, -1)]
    assert [[(one.key, one.lines) for one in end] for end in ends] == [[(LEFT, []), (RIGHT, [])]] * 2


def test_slices_follow_the_axes_of_the_head():
    """A head turned by 20 degrees looks the same when its axes are given, and not when they are not."""
    angle = np.radians(20)
    axes = np.array([[np.cos(angle), -np.sin(angle), 0], [np.sin(angle), np.cos(angle), 0], [0, 0, 1]])
    volume, labels, icv = _head()
    turn = np.eye(4)
    turn[:3, :3] = axes
    turned = Volume(volume.data, turn @ volume.affine)
    straight = _mosaics()[0].tiles[4]
    followed = _drawn(turned, labels, icv, axes)[0].tiles[4]
    ignored = _drawn(turned, labels, icv)[0].tiles[4]
    np.testing.assert_allclose(followed.grey.astype(float), straight.grey, atol=3)
    assert np.abs(ignored.grey.astype(float) - straight.grey).mean() > 1
    assert followed.panel.label == straight.panel.label


def test_a_missing_half_is_drawn_without_outline():
    volume, labels, icv = _head()
    labels[labels == 2] = 0
    tiles = [t for m in _drawn(volume, labels, icv)[:3] for t in m.tiles]
    assert not any(_lines(t, RIGHT) for t in tiles)
    assert any(_lines(t, LEFT) for t in tiles)


def test_every_part_of_a_structure_with_two_sides_and_a_midline_is_cut():
    """One sagittal slice through each side, two through what lies between them."""
    affine = affine_for("RAS", (2.0, 2.0, 2.0), SHAPE)
    volume = phantom_head(SHAPE, affine, noise_sd=0)
    parts = drawn_parts(TRIDENT, trident_of(SHAPE, affine), affine)
    mosaics = structure_mosaics(volume, parts, TRIDENT.view_mm)
    for mosaic in mosaics:
        assert {one.key for tile in mosaic.tiles for one in tile.outlines if one.lines} == {"TRI-L", "TRI-R", "TRI-S"}
    sagittal = [[one.key for one in tile.outlines if one.lines] for tile in mosaics[1].tiles]
    assert sagittal == [["TRI-L"], ["TRI-S"], ["TRI-S"], ["TRI-R"]]


def test_a_long_legend_has_lines_of_its_own():
    """Twelve names beside the title would run into it."""
    mosaics = _mosaics()
    volume, labels, icv = _head()
    parts = [*drawn_parts(structure_named("hypothalamus"), labels, volume.affine), drawn_icv(icv, volume.affine)]
    legend = [(part.colour, part.name) for part in parts]
    few, many = (
        imread(io.BytesIO(overview_png(mosaics, "title", some)), format="png") for some in (legend, legend * 4)
    )
    assert few.shape[:2] == (500, 1280) and many.shape[:2] == (540, 1280)
    np.testing.assert_allclose(few[-470:], many[-470:], atol=0.05)
    assert many[20:60, :, :3].max() > 0.5 and not many[:20, 400:, :3].any()


def test_svg_is_small_valid_and_holds_nothing_from_elsewhere():
    mosaics = _mosaics()
    for mosaic in mosaics:
        payload = mosaic_svg(mosaic, 'a <b> & "c"')
        root = ET.fromstring(payload)
        space = "{http://www.w3.org/2000/svg}"
        assert root.find(f"{space}title").text == 'a <b> & "c"'
        assert len(root.findall(f".//{space}image")) == len(mosaic.tiles)
        paths = root.findall(f".//{space}g[@class='outline']/{space}path")
        assert paths and {p.get("stroke") for p in paths} <= {"#E69F00", "#56B4E9", "#F0E442"}
        assert all(i.get("href").startswith("data:image/jpeg;base64,") for i in root.iter(f"{space}image"))
        assert len(payload) < 250_000
        assert payload == mosaic_svg(mosaic, 'a <b> & "c"')


def test_pictures_can_be_read_and_are_the_same_each_time():
    mosaics = _mosaics()
    volume, labels, icv = _head()
    parts = [*drawn_parts(structure_named("hypothalamus"), labels, volume.affine), drawn_icv(icv, volume.affine)]
    draw = lambda: overview_png(mosaics, "title", [(part.colour, part.name) for part in parts])  # noqa: E731
    overview, thumbnail = draw(), thumbnail_jpeg(mosaics[0].tiles, mosaics[-1].tiles)
    assert imread(io.BytesIO(overview), format="png").shape[1] == 1280
    assert imread(io.BytesIO(thumbnail), format="jpg").shape == (160, 320, 3)
    assert len(thumbnail) < 15_000
    assert overview == draw() and thumbnail == thumbnail_jpeg(mosaics[0].tiles, mosaics[-1].tiles)
    ramp = np.tile(np.arange(256, dtype=np.uint8), (32, 1))
    back = imread(io.BytesIO(jpeg_bytes(ramp)), format="jpg")[..., 0]
    assert np.abs(back.astype(float) - ramp).max() < 12


def test_the_head_outline_is_the_icv():
    volume, _, _ = _head()
    head = _mosaics()[-1]
    axial = head.tiles[6]
    area = sum(_area(line) for line in _lines(axial, ICV))
    points = world_mm(SHAPE, volume.affine)
    slab = inside_ellipsoid(points, (0, 0, 0), (66.0, 85.0, 78.0))[:, :, SHAPE[2] // 2]
    assert area == pytest.approx(slab.sum() * 4, rel=0.03)
