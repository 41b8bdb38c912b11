"""`python -m bids_hypo.cli.bench`: seconds and shares of each stage, and peak memory, measured in one run."""

from __future__ import annotations

import argparse
import resource
import sys
import tempfile
import time
from pathlib import Path


def main(argv: list[str] | None = None) -> int:
    """Time participant level on some scans; the demo dataset if none are named."""
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
    from bids_hypo.execute.worker import load_models
    from bids_hypo.workflow.participant import process_scan

    start = time.perf_counter()
    models = load_models(device, None, None, 16)
    start_up = time.perf_counter() - start
    scans = find_scans(bids_dir, Selection())[0][: n_scans + 1]
    prepare_output(out, bids_dir, command_version="bench")
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
    print(f"peak memory {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20:.2f} GB")


if __name__ == "__main__":
    sys.exit(main())
