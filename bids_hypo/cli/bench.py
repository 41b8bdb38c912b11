"""`python -m bids_hypo.cli.bench`: seconds of a whole job and of each stage, peak memory, what overlapping gains."""

from __future__ import annotations

import resource
import subprocess
import sys
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from multiprocessing import get_context
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from bids_hypo.cli.parser import Parser
from bids_hypo.ending import end_with_parent, temporary_folder
from bids_hypo.structures import DEFAULT_STRUCTURES


def main(argv: list[str] | None = None) -> int:
    """Time participant level on some scans, one after the other and overlapping; the demo dataset if none are named."""
    parser = Parser("python -m bids_hypo.cli.bench", description=__doc__)
    parser.add_argument("bids_dir", type=Path, nargs="?", help="a BIDS dataset; by default the demo dataset")
    parser.add_argument("--n-scans", type=int, default=6)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--structures", nargs="+", default=list(DEFAULT_STRUCTURES), metavar="NAME")
    parser.add_argument("--models", type=Path, metavar="DIR")
    args = parser.parse_args(argv)
    asked = {"device": args.device, "structures": tuple(args.structures), "models_dir": args.models}
    with temporary_folder() as folder:
        bids_dir = args.bids_dir or _demo(folder / "data", args.n_scans)
        _run(bids_dir.resolve(), folder / "out", args.n_scans, asked)
    return 0


def _demo(folder: Path, n_scans: int) -> Path:
    from bids_hypo.demo import DemoSettings, write_demo_dataset

    write_demo_dataset(folder, DemoSettings(n_subjects=max(n_scans - 1, 1)))
    return folder


def _run(bids_dir: Path, out: Path, n_scans: int, asked: dict[str, Any]) -> None:
    print(f"a whole job, the command for one subject: {_job(bids_dir, out.with_name('job'), asked)}")
    alone = _in_a_process(_one_by_one, bids_dir, out, n_scans, asked)
    left_out = f"start-up {alone.start_up:.1f} s and first scan {alone.first:.1f} s left out"
    print(f"{alone.n_scans} scans on {alone.device}; {left_out}")
    print(alone.stages)
    print(f"slowest scan {alone.slowest:.2f} s")
    print(f"peak memory {alone.peak_gb:.2f} GB")
    together = _in_a_process(_overlapping, bids_dir, out, n_scans, asked)
    gain = f"{together.seconds:.2f} s a scan, {alone.seconds / together.seconds:.2f} times as many"
    print(f"{together.overlap} scans overlapping: {gain}; peak {together.peak_gb:.2f} GB")


def _job(bids_dir: Path, out: Path, asked: dict[str, Any]) -> str:
    """What a queue or `docker run` pays for the first subject, from the command to its end."""
    subject = min(path.name for path in bids_dir.glob("sub-*") if path.is_dir())
    words = [sys.executable, "-m", "bids_hypo", bids_dir, out, "participant", "--participant-label", subject,
             "--device", asked["device"], "--structures", *asked["structures"]]  # fmt: skip
    words += ["--models", asked["models_dir"]] if asked["models_dir"] else []
    before, start = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    subprocess.run(words, check=True, capture_output=True)
    wall, after = time.perf_counter() - start, resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return f"{wall:.1f} s, {cpu:.1f} s of CPU"


def _in_a_process(work: Callable[..., SimpleNamespace], *args: object) -> SimpleNamespace:
    """Run in a fresh process: TensorFlow is set up once, and the peak of memory belongs to this work alone."""
    with ProcessPoolExecutor(1, mp_context=get_context("spawn"), initializer=end_with_parent) as pool:
        return pool.submit(work, *args).result()


def _one_by_one(bids_dir: Path, out: Path, n_scans: int, asked: dict[str, Any]) -> SimpleNamespace:
    import pandas as pd

    from bids_hypo.bids import find_scans, prepare_output
    from bids_hypo.bids.query import Selection
    from bids_hypo.execute.worker import models_for, names_for
    from bids_hypo.workflow.options import RunOptions
    from bids_hypo.workflow.process import process_scan

    start = time.perf_counter()
    models = models_for(RunOptions(bids_dir, out, **asked))
    start_up = time.perf_counter() - start
    prepare_output(out, bids_dir, command_version="bench")
    rows = []
    for scan in find_scans(bids_dir, Selection(), suffixes=models.catalog.suffixes)[0][: n_scans + 1]:
        before = time.perf_counter()
        result = process_scan(names_for(scan, out, models.catalog), models)
        rows.append({**result.seconds, "all": time.perf_counter() - before})
    timed = pd.DataFrame(rows[1:] or rows)  # the first scan pays for imports and first calls
    table = pd.DataFrame({"seconds": timed.mean(), "share": timed.mean() / timed["all"].mean()})
    return SimpleNamespace(
        n_scans=len(timed), device=models.device, start_up=start_up, first=rows[0]["all"],
        stages=table.to_string(float_format=lambda x: f"{x:.2f}"), slowest=timed["all"].max(),
        seconds=timed["all"].mean(), peak_gb=_peak_gb(),
    )  # fmt: skip


def _overlapping(bids_dir: Path, out: Path, n_scans: int, asked: dict[str, Any]) -> SimpleNamespace:
    from bids_hypo.bids import find_scans, prepare_output
    from bids_hypo.bids.query import Selection
    from bids_hypo.execute.local import OVERLAP, overlapping
    from bids_hypo.models.catalog import find_models
    from bids_hypo.workflow.options import RunOptions

    out = out.with_name("overlapping")
    options = RunOptions(bids_dir, out, overlap=OVERLAP, **asked)
    suffixes = find_models(options.models_dir, options.structures).suffixes
    prepare_output(out, bids_dir, command_version="bench")
    scans = find_scans(bids_dir, Selection(), suffixes=suffixes)[0][: n_scans + 1]
    list(overlapping(scans[:1], options))
    start = time.perf_counter()
    list(overlapping(scans[1:] or scans, replace(options, overwrite=True)))
    seconds = (time.perf_counter() - start) / len(scans[1:] or scans)
    return SimpleNamespace(overlap=OVERLAP, seconds=seconds, peak_gb=_peak_gb())


def _peak_gb() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20


if __name__ == "__main__":
    sys.exit(main())
