"""Maps of R1 and T1: their unit is told by the size of their values, and values that no tissue has do no harm."""

import nibabel as nib
import numpy as np
import pytest

from bids_hypo.errors import ScanReadError
from bids_hypo.image.intensity import foreground_scale
from bids_hypo.image.relaxation_units import MapUnit
from bids_hypo.image.values import UNDEFINED
from bids_hypo.image.volume import read_volume
from tests.phantoms import affine_for, inside_ellipsoid, phantom_head, world_mm

SHAPE = (64, 72, 68)
AFFINE = affine_for("RAS", (3.0, 3.0, 3.0), SHAPE)
SECONDS = {"R1map": 0.9, "T1map": 1.2}  # what the brain of the phantom gets


def _map(suffix):
    """The phantom head in the unit of BIDS: air 0, brain as in `SECONDS`."""
    data = phantom_head(SHAPE, AFFINE, noise_sd=0.2).data.astype(np.float64)
    inner = data[tuple(slice(n // 4, n - n // 4) for n in SHAPE)]
    return data / np.median(inner[inner > 0]) * SECONDS[suffix]


def _read(folder, data, suffix):
    path = folder / f"sub-01_{suffix}.nii.gz"
    nib.save(nib.Nifti1Image(data.astype(np.float32), AFFINE), path)
    return read_volume(path, relaxation=suffix)


@pytest.mark.parametrize(("suffix", "unit", "factor"), [("R1map", "1/s", 1), ("R1map", "1/ms", 1e-3),
                                                        ("T1map", "s", 1), ("T1map", "ms", 1e3)])  # fmt: skip
def test_either_unit_gives_the_same_values(tmp_path, caplog, suffix, unit, factor):
    volume = _read(tmp_path, _map(suffix) * factor, suffix)
    used = "1/s" if suffix == "R1map" else "s"
    assert volume.map_unit == MapUnit(suffix[:2], unit, used, pytest.approx(SECONDS[suffix], rel=1e-3), 0.0)
    np.testing.assert_allclose(volume.data, _read(tmp_path, _map(suffix), suffix).data, rtol=1e-5, atol=1e-6)
    assert any(f"in {unit} (" in text and "sub-01" in text for text in caplog.messages) == (factor != 1)


@pytest.mark.parametrize("factor", [30.0, 1e6, -1.0])
def test_values_that_fit_no_unit_are_an_error_that_names_the_file(tmp_path, factor):
    with pytest.raises(ScanReadError, match=r"sub-01_T1map.nii.gz: found .* expected 0.3 to 5 s or 300 to 5000 ms"):
        _read(tmp_path, _map("T1map") * factor, "T1map")


def test_failed_fits_change_nothing_around_them(tmp_path):
    """Negative, infinite and absurd values and a sinus of NaN, as fits without signal leave them."""
    clean, rng = _map("R1map"), np.random.default_rng(0)
    spoilt = clean.copy()
    where = rng.choice(clean.size, 240, replace=False).reshape(4, 60)
    for places, value in zip(where, (-50.0, np.inf, -np.inf, 1e9), strict=True):
        spoilt.flat[places] = value
    sinus = inside_ellipsoid(world_mm(SHAPE, AFFINE), (0, 76, -40), (10, 8, 9))
    spoilt[sinus] = np.nan
    found, expected = _read(tmp_path, spoilt, "R1map"), _read(tmp_path, clean, "R1map")
    assert found.map_unit.limited == pytest.approx(120 / clean.size, rel=0.2) and found.data.max() <= 5
    assert UNDEFINED in found.doubts
    untouched = np.isfinite(spoilt) & (np.abs(spoilt) < 40)
    scaled = [foreground_scale(volume.data)[untouched] for volume in (found, expected)]
    np.testing.assert_allclose(*scaled, rtol=0.02, atol=0.01)  # a single 1e9 would have made all the rest 0
