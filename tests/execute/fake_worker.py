"""Preloaded into Dask workers by test_cluster.py: no network, but real files, deaths and errors, told by the subject.

``killsonce``, ``kills``: the worker kills itself in the middle of writing; ``ioonce``, ``io``: an input/output error;
``bad``: data that cannot be used; ``slow``: takes a while; ``hangs``: for ever, in a file half
written. Every call is noted in ``calls/`` beside the dataset.
"""

from __future__ import annotations

import errno
import os
import signal
import time
from pathlib import Path

from bids_hypo.bids import sidecar
from bids_hypo.bids.removal import remove_outputs
from bids_hypo.errors import ModelError, ScanReadError
from bids_hypo.execute import worker
from bids_hypo.models.catalog import find_models
from bids_hypo.workflow.result import read_result
from bids_hypo.workflow.scan import Models
from tests.finished import paths_of, write_finished


def dask_setup(_worker: object) -> None:
    """Called by Dask when the worker starts."""
    worker.load_models = fake_models
    worker.process_scan = fake_process


def fake_models(device: str, *_args: object, **_kwargs: object) -> Models:
    if device == "gpu":
        raise ModelError("no GPU here")
    return Models(find_models(), {}, "cpu")


def fake_process(names, *_args, **_kwargs):
    scan = names.scan
    calls = scan.dataset_root.parent / "calls"
    calls.mkdir(exist_ok=True)
    first = not list(calls.glob(f"{scan.name}.*"))
    (calls / f"{scan.name}.{os.getpid()}.{time.time_ns()}").touch()
    remove_outputs(names)
    kind = scan.subject.rstrip("0123456789")
    if kind == "slow":
        time.sleep(1.5)
    if kind == "hangs":
        os.fsync = lambda _: time.sleep(600)  # in the middle of writing
    if kind == "bad":
        raise ScanReadError(f"{scan.path}: a bad scan")
    if kind == "io" or (kind == "ioonce" and first):
        raise OSError(errno.EIO, "Input/output error", str(scan.path))
    if kind == "kills" or (kind == "killsonce" and first):
        half_written(names)
        os.kill(os.getpid(), signal.SIGKILL)
    write_finished(names)
    return read_result(names)


def half_written(names) -> None:
    names.anat_dir.mkdir(parents=True, exist_ok=True)
    paths_of(names).dseg.write_bytes(b"half")
    part = paths_of(names).dseg
    Path(part.with_name(f".{part.name}.1-aa.part")).write_bytes(b"ha")
    assert not sidecar(names.morph).exists()
