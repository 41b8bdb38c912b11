"""Which networks a process loads, and how precisely they compute."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from bids_hypo.execute import worker

inference = pytest.importorskip("bids_hypo.models.inference")
hardware = pytest.importorskip("bids_hypo.models.hardware")


@pytest.mark.parametrize(
    ("used", "asked", "mixed", "device"),
    [
        ("cpu", None, {"anatomy": False, "hypothalamus": False}, "cpu"),
        ("gpu:1", None, {"anatomy": True, "hypothalamus": False}, "gpu:1, mixed precision"),
        ("gpu:1", False, {"anatomy": False, "hypothalamus": False}, "gpu:1"),
        ("cpu", True, {"anatomy": True, "hypothalamus": True}, "cpu, mixed precision"),
    ],
)
def test_a_gpu_computes_in_mixed_precision_what_was_measured_so(monkeypatch, used, asked, mixed, device):
    bundles = {
        "anatomy": SimpleNamespace(folder="a", structure=None, mixed_precision=True),
        "hypothalamus": SimpleNamespace(folder="h", structure=object(), mixed_precision=False),
    }
    loaded = []

    def load(bundle, **how):
        loaded.append(how)
        return (lambda x: x,)

    monkeypatch.setattr(hardware, "configure_device", lambda *_: used)
    monkeypatch.setattr(inference, "load_networks", load)
    monkeypatch.setattr(worker, "find_models", lambda *_: SimpleNamespace(used=tuple(bundles.values())))
    models = worker.load_models.__wrapped__("auto", None, None, 8, ("hypothalamus",), mixed=asked)
    assert dict(zip(bundles, (how["mixed"] for how in loaded), strict=True)) == mixed
    assert [how["on_cpu"] for how in loaded] == [used == "cpu"] * 2
    assert models.device == device
