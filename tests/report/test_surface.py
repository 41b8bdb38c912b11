"""Surfaces: right place and size, few triangles, and a viewer that comes from the installed package."""

import gzip
import json

import numpy as np
import pytest

from bids_hypo.report import surface
from bids_hypo.report.drawn import drawn_icv, drawn_parts
from bids_hypo.report.surface import make_meshes, pack_meshes, viewer_script
from tests.finished import masks_of, structure_named
from tests.phantoms import PHANTOM_ICV_MM3, affine_for

SHAPE = (90, 108, 100)


def _meshes(labels, icv, affine):
    return make_meshes([*drawn_parts(structure_named("hypothalamus"), labels, affine), drawn_icv(icv, affine)], 40.0)


def _volume_mm3(mesh):
    """By the divergence theorem."""
    a, b, c = (mesh.vertices_mm[mesh.faces[:, k]] for k in range(3))
    return abs(np.einsum("ij,ij->i", a, np.cross(b, c)).sum()) / 6


@pytest.mark.parametrize("orientation", ["RAS", "LIA"])
def test_meshes_have_the_volume_and_side_of_the_masks(orientation):
    affine = affine_for(orientation, (2.0, 2.0, 2.0), SHAPE)
    labels, icv = masks_of(SHAPE, affine)
    meshes = _meshes(labels, icv, affine)
    assert _volume_mm3(meshes["icv"]) == pytest.approx(PHANTOM_ICV_MM3, rel=0.03)
    assert _volume_mm3(meshes["HYP-L"]) == pytest.approx((labels == 1).sum() * 8, rel=0.15)
    assert meshes["HYP-L"].vertices_mm[:, 0].max() < 1 and meshes["HYP-R"].vertices_mm[:, 0].min() > -1
    assert sum(len(m.faces) for m in meshes.values()) < 20_000


def test_an_empty_mask_has_no_mesh():
    affine = affine_for("RAS", (2.0, 2.0, 2.0), SHAPE)
    labels, icv = masks_of(SHAPE, affine)
    assert set(_meshes(np.where(labels == 1, 1, 0), icv, affine)) == {"HYP-L", "icv"}


def test_packed_meshes_are_small_and_say_what_they_are():
    affine = affine_for("RAS", (2.0, 2.0, 2.0), SHAPE)
    meshes = _meshes(*masks_of(SHAPE, affine), affine)
    packed = pack_meshes(meshes)
    assert len(packed) < 120_000 and packed == pack_meshes(meshes)
    content = json.loads(gzip.decompress(packed))
    left = content["HYP-L"]
    assert left["colour"] == "#E69F00"
    np.testing.assert_allclose(np.array(left["tenths"]).T / 10, meshes["HYP-L"].vertices_mm, atol=0.051)
    assert np.max(left["faces"]) < len(left["tenths"][0])


def test_the_viewer_comes_from_nilearn():
    packed = viewer_script()
    assert packed is not None and len(packed) < 700_000
    assert b"plotly.js" in gzip.decompress(packed)[:200]


def test_without_a_viewer_there_is_none(monkeypatch):
    monkeypatch.setattr(surface, "_SCRIPT_FOLDERS", ("nowhere",))
    viewer_script.cache_clear()
    assert viewer_script() is None
    monkeypatch.undo()
    viewer_script.cache_clear()
