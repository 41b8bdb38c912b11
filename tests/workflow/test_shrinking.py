"""A structure that is made smaller is found smaller, whatever its size."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest

from bids_hypo.image.parts import Parts
from bids_hypo.image.volume import Volume
from bids_hypo.measure.volumes import PartVolume
from bids_hypo.structures import BOTH, LEFT, RIGHT, WHOLE
from bids_hypo.workflow import shrinking
from tests.phantoms import affine_for, inside_ellipsoid, world_mm

SHAPE = (90, 70, 70)
AFFINE = affine_for("RAS", (1.0, 1.0, 1.0), SHAPE)


@pytest.mark.parametrize(("x", "radius"), [(5.0, 4.0), (14.0, 11.0)])
def test_the_whole_structure_shrinks_by_what_is_said(x, radius, monkeypatch):
    points = world_mm(SHAPE, AFFINE)
    sides = {
        side: Volume(inside_ellipsoid(points, (at, 0, 0), (radius,) * 3).astype(np.float32), AFFINE)
        for side, at in ((LEFT, -x), (RIGHT, x))
    }
    scan = Volume(sides[LEFT].data + sides[RIGHT].data, AFFINE)
    monkeypatch.setattr(shrinking, "read_label", lambda item: Parts(sides))
    monkeypatch.setattr(shrinking, "read_scan", lambda _: scan)

    def segmented(volume, models, **_):
        """What is bright."""
        row = PartVolume(WHOLE, BOTH, float(volume.data.sum()))
        return SimpleNamespace(found={"x": SimpleNamespace(delineation=SimpleNamespace(volumes=[row]))})

    monkeypatch.setattr(shrinking, "segment_volume", segmented)
    item = SimpleNamespace(dataset="d", scan=SimpleNamespace(name="s", path="p", suffix="T1w", is_signed=False))
    table = shrinking.shrinking([item], None, structure="x")
    assert table["true_percent"].tolist() == pytest.approx([-5, -10, -15], abs=1.5)
    assert table["found_percent"].tolist() == pytest.approx(table["true_percent"].tolist(), abs=0.2)
    assert shrinking.slope(table["true_percent"], table["found_percent"]) == pytest.approx(1, abs=0.05)
