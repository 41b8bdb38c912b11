"""The shipped locator finds the pose of a brain in any contrast."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from nilearn.datasets import load_mni152_brain_mask, load_mni152_template
from scipy.spatial.transform import Rotation

from bids_hypo.image.grid import box_grid
from bids_hypo.image.resample import resample
from bids_hypo.image.volume import Volume
from bids_hypo.models.catalog import find_bundle
from bids_hypo.models.inference import load_network
from bids_hypo.segmentation.anatomy import find_anatomy, pose_template
from bids_hypo.segmentation.pose import Pose, fit_pose

# The template of the pose was turned to MNI152 coordinates, but for its size: these are near the same places there
PLACES_MM = {"hypothalamus": (0, -4, -10), "thalamus": (-12, -18, 7), "dentate": (14, -56, -36)}


@pytest.fixture(scope="module")
def locator():
    bundle = find_bundle("locator")
    return bundle, load_network(bundle)


@pytest.fixture(scope="module")
def template():
    image = load_mni152_template(resolution=2)
    return Volume(np.asarray(image.dataobj, dtype=np.float32), image.affine)


def _pose(volume, locator) -> Pose:
    bundle, network = locator
    return fit_pose(find_anatomy(volume, bundle, network).centroids_mm, pose_template(bundle))


def _turned_deg(one, other) -> float:
    return float(np.degrees(np.arccos(np.clip((np.trace(one.T @ other) - 1) / 2, -1, 1))))


def _inverted(template: Volume) -> Volume:
    inside = np.asarray(load_mni152_brain_mask(resolution=2).dataobj) > 0
    data = template.data
    return replace(template, data=np.where(inside, 1.15 * data.max() - data, 0).astype(np.float32))


def _as_map(template: Volume) -> Volume:
    """Both signs, zero outside, thick slices; no iron, so that the outline alone has to do."""
    inside = np.asarray(load_mni152_brain_mask(resolution=2).dataobj) > 0
    noise = np.random.default_rng(0).normal(0, 0.01, template.data.shape)
    values = 0.06 * (np.median(template.data[inside]) - template.data) / np.ptp(template.data[inside]) + noise
    return replace(template, data=np.where(inside, values, 0).astype(np.float32))


KINDS = {"as it is": lambda volume: volume, "inverted": _inverted, "signed": _as_map}


@pytest.mark.parametrize("kind", KINDS)
def test_the_template_is_where_it_is(kind, template, locator):
    pose = _pose(KINDS[kind](template), locator)
    assert _turned_deg(pose.rotation, np.eye(3)) < 8
    for place in PLACES_MM.values():
        assert np.linalg.norm(pose.rotation @ np.array(place) + pose.translation_mm - place) < 8
    assert len(pose.structures) > 10


@pytest.mark.parametrize(("axis", "degrees"), [("x", 20), ("y", -15), ("z", 25)])
def test_a_turned_head_is_turned_back(axis, degrees, template, locator):
    turn = Rotation.from_euler(axis, degrees, degrees=True).as_matrix()
    affine = np.eye(4)
    affine[:3, :3] = turn
    turned = Volume(template.data, affine @ template.affine)
    grid = box_grid(turn @ template.grid.centre_mm(), np.eye(3), (112, 128, 112), np.full(3, 2.0))
    one, two = _pose(template, locator), _pose(resample(turned, grid), locator)
    assert _turned_deg(two.rotation, turn @ one.rotation) < 5
    for place in PLACES_MM.values():
        assert np.linalg.norm(two.place(place) - turn @ one.place(place)) < 5


def test_left_is_left(template, locator):
    pose = _pose(template, locator)
    right, _, up = pose.rotation.T
    assert right[0] > 0.9 and up[2] > 0.9
