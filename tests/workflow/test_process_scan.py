"""One scan from file to figures, with the networks' part replaced: what is written, and what a failed figure costs."""

import hashlib
import json
import math

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from bids_hypo.bids import find_scans, output_names, outputs_complete, sidecar
from bids_hypo.bids.names import FIGURES
from bids_hypo.bids.resume import remove_unfinished
from bids_hypo.bids.selection import Selection
from bids_hypo.bids.sidecars import read_head_axes
from bids_hypo.errors import ScanReadError
from bids_hypo.measure.image_quality import image_quality
from bids_hypo.measure.volumes import mask_volume_mm3
from bids_hypo.models.catalog import find_bundles
from bids_hypo.segment.delineate import Delineation
from bids_hypo.segment.pose import Pose
from bids_hypo.workflow import drawing, participant
from bids_hypo.workflow.reports import redraw
from tests.finished import masks_of
from tests.phantoms import make_bids_dataset

AXES = np.array([[0.0, -1, 0], [1, 0, 0], [0, 0, 1]])
TURNED = Rotation.from_rotvec([0.1234567, 0.2345678, 0.3456789]).as_matrix()  # more digits than the record has


@pytest.fixture
def scan_and_models(request, tmp_path, monkeypatch):
    axes = getattr(request, "param", AXES)
    make_bids_dataset(tmp_path / "raw", [{"sub": "01"}])
    (scan,), _ = find_scans(tmp_path / "raw", Selection())
    bundles = find_bundles()
    models = participant.Models(bundles, None, (), None, "cpu")

    def found(volume, _models, **_kwargs):
        labels, icv = masks_of(volume.data.shape, volume.affine)
        left, right = (mask_volume_mm3(labels == side, 27.0) for side in (1, 2))
        probability = np.stack([labels == 1, labels == 2], -1).astype(np.float32)
        pose = Pose(axes, np.zeros(3), 1.0, 2.0, ())
        delineation = Delineation(
            probability=probability, labels=labels, volumes_mm3=(left, right), volume_sd_mm3=None, region=volume.grid,
            touches_border=False,
        )  # fmt: skip
        quality = image_quality(volume, labels, icv)
        flags = ("defaced_into_brain",)
        return participant.Segmentation(pose, None, icv, 27.0 * icv.sum(), delineation, (), flags, quality)

    monkeypatch.setattr(participant, "segment_volume", found)
    names = output_names(scan, tmp_path / "out")
    return names, lambda: participant.process_scan(scan, names, models, fast=False, settings={"Fast": False})


def _complete(names):
    return outputs_complete(names, [b.weights_sha256 for b in find_bundles().values()], settings={"Fast": False})


def test_figures_and_what_they_need_are_written(scan_and_models):
    names, process = scan_and_models
    result = process()
    assert result.status == "done" and result.report_error is None and result.flags == ("defaced_into_brain",)
    assert _complete(names) and "draw" in result.seconds
    assert all(names.figure(*figure).stat().st_size > 1000 for figure in FIGURES.values())
    record = json.loads(sidecar(names.morph).read_text())
    np.testing.assert_array_equal(read_head_axes(record), AXES)
    assert set(record["ImageQuality"]) == {"contrast", "contrast_to_noise", "ghosting", "removed_share"}
    assert all(v is None or math.isfinite(v) for v in record["ImageQuality"].values())


@pytest.mark.parametrize("scan_and_models", [TURNED], indirect=True)
def test_figures_that_are_drawn_again_are_the_same_bytes(scan_and_models):
    names, process = scan_and_models
    process()
    figures = [names.figure(*figure) for figure in FIGURES.values()]
    first = [path.read_bytes() for path in figures]
    for path in figures:
        path.unlink()
    assert redraw(names.scan, names).error is None
    assert [path.read_bytes() for path in figures] == first


def test_a_failed_figure_costs_no_result(scan_and_models, monkeypatch):
    names, process = scan_and_models
    monkeypatch.setattr(drawing, "mosaic_svg", lambda *_: 1 / 0)
    result = process()
    assert result.status == "done" and "ZeroDivisionError" in result.report_error
    assert _complete(names)


def test_the_checksum_is_of_the_bytes_that_were_measured(scan_and_models):
    names, process = scan_and_models
    process()
    status, digest = names.scan.path.stat(), hashlib.sha256(names.scan.path.read_bytes()).hexdigest()
    for path in names.files:
        if path.suffix == ".json":
            record = json.loads(path.read_text())
            assert (record["SourceSHA256"], record["SourceBytes"]) == (digest, status.st_size)
    assert record["SourceTimes"] == {"ModifiedNs": status.st_mtime_ns, "ChangedNs": status.st_ctime_ns}
    assert {name: hashlib.sha256((names.anat_dir / name).read_bytes()).hexdigest() for name in record["Files"]} == \
        record["Files"]  # fmt: skip


@pytest.mark.parametrize("moment", ["after", "before"])
def test_a_scan_that_is_replaced_while_it_is_read_leaves_no_wrong_record(scan_and_models, monkeypatch, moment):
    names, process = scan_and_models
    path, read = names.scan.path, participant.read_volume

    def replacing(source):
        volume = read(source) if moment == "after" else None
        path.write_bytes(path.read_bytes() + b"a note after the image")
        return volume or read(source)

    monkeypatch.setattr(participant, "read_volume", replacing)
    with pytest.raises(ScanReadError, match="while it was being read"):
        process()
    assert not any(p.exists() for p in names.files)


def test_results_of_an_earlier_run_stay_until_there_are_new_ones(scan_and_models, monkeypatch):
    """A process that is ended while it segments must not have taken away what was complete."""
    names, process = scan_and_models
    process()
    segment, seen = participant.segment_volume, []

    def looks(*arguments, **options):
        seen.append(_complete(names))
        remove_unfinished(names)  # as at such an end
        seen.append(_complete(names))
        return segment(*arguments, **options)

    monkeypatch.setattr(participant, "segment_volume", looks)
    assert process().status == "done" and seen == [True, True]
    sidecar(names.morph).unlink()
    remove_unfinished(names)
    assert not any(path.exists() for path in names.files)
