"""`python -m bids_hypo.cli.bench`: seconds and shares of each stage, peak memory, and what overlapping scans gains."""

from __future__ import annotations

import argparse
import resource
import sys
import tempfile
import time
from pathlib import Path


def main(argv: list[str] | None = None) -> int:
    """Time participant level on some scans, one after the other and overlapping; the demo dataset if none are named."""
    parser = argparse.ArgumentParser("python -m bids_hypo.cli.bench", description=__doc__)
    parser.add_argument("bids_dir", type=Path, nargs="?", help="a BIDS dataset; by default the demo dataset")
    parser.add_argument("--n-scans", type=int, default=6)
    parser.add_argument("--device", default="cpu")
    args = parser.parse_args(argv)
    with tempfile.TemporaryDirectory() as folder:
        bids_dir = args.bids_dir or _demo(Path(folder) / "data", args.n_scans)
        _run(bids_dir.resolve(), Path(folder) / "out", args.n_scans, args.device)
    return 0


def _demo(folder: Path, n_scans: int) -> Path:
    from bids_hypo.demo import DemoSettings, write_demo_dataset

    write_demo_dataset(folder, DemoSettings(n_subjects=max(n_scans - 1, 1)))
    return folder


def _run(bids_dir: Path, out: Path, n_scans: int, device: str) -> None:
    import pandas as pd

    from bids_hypo.bids import find_scans, output_names, prepare_output
    from bids_hypo.bids.query import Selection
    from bids_hypo.execute.local import OVERLAP, overlapping
    from bids_hypo.execute.worker import models_for
    from bids_hypo.workflow.options import RunOptions
    from bids_hypo.workflow.participant import process_scan

    overlapped_out = out.with_name("overlapped")
    options = RunOptions(bids_dir, overlapped_out, device=device)
    start = time.perf_counter()
    models = models_for(options)
    start_up = time.perf_counter() - start
    scans = find_scans(bids_dir, Selection())[0][: n_scans + 1]
    for folder in (out, overlapped_out):
        prepare_output(folder, bids_dir, command_version="bench")
    rows = []
    for scan in scans:
        before = time.perf_counter()
        result = process_scan(scan, output_names(scan, out), models, fast=False, settings={})
        rows.append({**result.seconds, "all": time.perf_counter() - before})
    timed = pd.DataFrame(rows[1:] or rows)  # the first scan pays for imports and first calls
    table = pd.DataFrame({"seconds": timed.mean(), "share": timed.mean() / timed["all"].mean()})
    left_out = f"start-up {start_up:.1f} s and first scan {rows[0]['all']:.1f} s left out"
    print(f"{len(timed)} scans on {models.device}; {left_out}")
    print(table.to_string(float_format=lambda x: f"{x:.2f}"))
    print(f"slowest scan {timed['all'].max():.2f} s")
    print(f"peak memory {_peak_gb():.2f} GB")
    start = time.perf_counter()
    list(overlapping(scans[1:], options, OVERLAP))
    overlapped = (time.perf_counter() - start) / max(len(scans) - 1, 1)
    gain = timed["all"].mean() / overlapped
    print(f"{OVERLAP} scans overlapping: {overlapped:.2f} s a scan, {gain:.2f} times as many; peak {_peak_gb():.2f} GB")


def _peak_gb() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20


if __name__ == "__main__":
    sys.exit(main())
