"""One scan from file to figures, with the networks' part replaced: what is written, and what a failed figure costs."""

import hashlib
import json
import math
from dataclasses import replace

import nibabel as nib
import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from bids_hypo.bids import find_scans, output_names, sidecar
from bids_hypo.bids.names import HEAD_FIGURES, STRUCTURE_FIGURES
from bids_hypo.bids.removal import remove_unfinished
from bids_hypo.bids.resume import find_doubts
from bids_hypo.bids.selection import Selection
from bids_hypo.bids.sidecars import read_head_axes
from bids_hypo.bids.tables import morph_numbers
from bids_hypo.errors import ScanReadError
from bids_hypo.models.catalog import find_models
from bids_hypo.structures import HYPOTHALAMUS, ICV
from bids_hypo.workflow import drawing
from bids_hypo.workflow import process as processing
from bids_hypo.workflow.reports import redraw
from bids_hypo.workflow.scan import Models
from tests.finished import TRIDENT, segmentation_of
from tests.phantoms import make_bids_dataset

AXES = np.array([[0.0, -1, 0], [1, 0, 0], [0, 0, 1]])
TURNED = Rotation.from_rotvec([0.1234567, 0.2345678, 0.3456789]).as_matrix()  # more digits than the record has


@pytest.fixture
def scan_and_models(request, tmp_path, monkeypatch):
    axes = getattr(request, "param", AXES)
    make_bids_dataset(tmp_path / "raw", [{"sub": "01"}])
    (scan,), _ = find_scans(tmp_path / "raw", Selection())
    names = output_names(scan, tmp_path / "out")
    models = Models(find_models(), {}, "cpu")

    def found(volume, _models, **_kwargs):
        whole = segmentation_of(volume, names)
        return replace(whole, pose=replace(whole.pose, rotation=axes), icv_flags=("defaced_into_brain",))

    monkeypatch.setattr(processing, "segment_volume", found)
    return names, lambda: processing.process_scan(names, models, settings={"Fast": False})


def _complete(names):
    digests = {item: [b.weights_sha256 for b in made] for item, made in find_models().makers("T1w").items()}
    return not find_doubts(names, digests, settings={"Fast": False})


def _figures(names):
    of_structure = [names.figure(*figure, structure=HYPOTHALAMUS) for figure in STRUCTURE_FIGURES.values()]
    return [*of_structure, *(names.figure(*figure) for figure in HEAD_FIGURES.values())]


def test_figures_and_what_they_need_are_written(scan_and_models):
    names, process = scan_and_models
    result = process()
    assert result.status == "done" and result.report_error is None and result.flags == ("defaced_into_brain",)
    assert _complete(names) and "draw" in result.seconds
    assert all(path.stat().st_size > 1000 for path in _figures(names))
    record = json.loads(sidecar(names.morph).read_text())
    np.testing.assert_array_equal(read_head_axes(record), AXES)
    assert set(record["ImageQuality"]) == {"ghosting", "removed_share"}
    assert all(v is None or math.isfinite(v) for v in record["ImageQuality"].values())


@pytest.mark.parametrize("scan_and_models", [TURNED], indirect=True)
def test_figures_that_are_drawn_again_are_the_same_bytes(scan_and_models):
    names, process = scan_and_models
    process()
    figures = _figures(names)
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
    path, read = names.scan.path, processing.read_scan

    def replacing(scan):
        volume = read(scan) if moment == "after" else None
        path.write_bytes(path.read_bytes() + b"a note after the image")
        return volume or read(scan)

    monkeypatch.setattr(processing, "read_scan", replacing)
    with pytest.raises(ScanReadError, match="while it was being read"):
        process()
    assert not any(p.exists() for p in names.files)


def test_results_of_an_earlier_run_stay_until_there_are_new_ones(scan_and_models, monkeypatch):
    """A process that is ended while it segments must not have taken away what was complete."""
    names, process = scan_and_models
    process()
    segment, seen = processing.segment_volume, []

    def looks(*arguments, **options):
        seen.append(_complete(names))
        remove_unfinished(names, names.items)  # as at such an end
        seen.append(_complete(names))
        return segment(*arguments, **options)

    monkeypatch.setattr(processing, "segment_volume", looks)
    assert process().status == "done" and seen == [True, True]
    sidecar(names.morph).unlink()
    remove_unfinished(names, names.items)
    assert not any(path.exists() for path in names.files)


class _Both:
    """Models that measure the hypothalamus and the invented structure."""

    shared = ()
    device = "cpu"

    class catalog:  # noqa: N801
        @staticmethod
        def makers(suffix):
            made = find_models().makers(suffix)
            return {**made, TRIDENT.name: made[ICV]}


def test_a_further_structure_leaves_what_was_measured_before(scan_and_models, monkeypatch):
    """Images, rows and corrections of the first stay; the second comes beside them, and goes alone when it fails."""
    names, measure = scan_and_models
    measure()
    before = {path: path.read_bytes() for path in names.files[:-2]}
    both = output_names(names.scan, names.output_dir, (HYPOTHALAMUS, TRIDENT.name))

    _measure_trident(both, monkeypatch)
    assert before == {path: path.read_bytes() for path in before}
    table = morph_numbers(names.morph)
    assert list(dict.fromkeys(table["structure"])) == [HYPOTHALAMUS, TRIDENT.name, ICV]
    assert _complete(names)
    whole = table[(table["structure"] == TRIDENT.name) & (table["part"] == "whole") & (table["hemisphere"] == "B")]
    in_whole = table[(table["structure"] == TRIDENT.name) & (table["part"] == "prong")]
    assert whole["volume_mm3"].item() == pytest.approx(in_whole["volume_mm3"].sum())

    monkeypatch.setattr(processing, "segment_volume", lambda *_a, **_k: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        processing.process_scan(both, _Both, items=[TRIDENT.name], settings={"Fast": False})
    assert before == {path: path.read_bytes() for path in before} and _complete(names)
    assert not any(path.exists() for path in both.structures[TRIDENT.name].images)
    assert set(morph_numbers(names.morph)["structure"]) == {HYPOTHALAMUS, ICV}


def test_what_was_measured_in_another_image_of_the_name_does_not_stay(scan_and_models, monkeypatch):
    names, measure = scan_and_models
    measure()
    both = output_names(names.scan, names.output_dir, (HYPOTHALAMUS, TRIDENT.name))
    image = nib.load(names.scan.path)
    nib.save(nib.Nifti1Image(np.asarray(image.dataobj) + 1, image.affine, image.header), names.scan.path)

    _measure_trident(both, monkeypatch)
    assert set(morph_numbers(names.morph)["structure"]) == {TRIDENT.name}
    assert not any(path.exists() for path in (*names.structures[HYPOTHALAMUS].images, names.icv_mask))


def _measure_trident(both, monkeypatch):
    """Measure the second structure alone."""

    def found(volume, _models, *, wanted, **_kwargs):
        whole = segmentation_of(volume, both)
        return replace(whole, found={name: one for name, one in whole.found.items() if name in wanted})

    monkeypatch.setattr(processing, "segment_volume", found)
    monkeypatch.setattr(processing, "provenance", _named)
    processing.process_scan(both, _Both, items=[TRIDENT.name], settings={"Fast": False})


def _named(bundles, models, watch, settings, source):
    from bids_hypo.workflow.records import provenance

    made = provenance(bundles, models, watch, settings, source)
    return replace(made, models={**made.models, TRIDENT.name: {"Name": "t", "Version": "1", "WeightsSHA256": "0" * 64}})
