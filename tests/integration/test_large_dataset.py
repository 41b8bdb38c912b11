"""1,000 subjects x 2 sessions: choosing and planning stays quick, small and free of TensorFlow."""

from __future__ import annotations

import gzip
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from tests.conftest import ROOT

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not Path("/proc/self/status").is_file(), reason="peak memory is read from /proc"),
]

N_SUBJECTS, SESSIONS = 1000, ("1", "2")
MAX_MB = 1024

# The command in a process of its own, which tells its peak memory and what it has imported. Not ru_maxrss: a process
# started from a large one inherits that one's peak.
_MEASURED = """
import re, sys
from pathlib import Path
from bids_hypo.cli.main import main
code = main(sys.argv[1:])
used = int(re.search(r"VmHWM:\\s+(\\d+) kB", Path("/proc/self/status").read_text())[1]) / 1024
print(f"peak {used:.0f} MB, tensorflow {'tensorflow' in sys.modules}")
sys.exit(code)
"""


def write_large_dataset(root: Path, n_subjects: int) -> None:
    """Write scans whose headers are those of real ones, all of them links to one file."""
    root.mkdir()
    (root / "dataset_description.json").write_text(json.dumps({"Name": "large", "BIDSVersion": "1.10.0"}))
    image = nib.Nifti1Image(np.zeros((192, 192, 192), np.uint8), np.eye(4))
    image.set_qform(np.eye(4), 1)
    first = root.parent / "first.nii.gz"
    first.write_bytes(gzip.compress(image.to_bytes(), mtime=0))
    for number in range(n_subjects):
        for session in SESSIONS:
            stem = f"sub-{number:04d}_ses-{session}"
            folder = root.joinpath(*stem.split("_"), "anat")
            folder.mkdir(parents=True)
            os.link(first, folder / f"{stem}_T1w.nii.gz")


@pytest.fixture(scope="module")
def large(tmp_path_factory):
    root = tmp_path_factory.mktemp("large") / "data"
    write_large_dataset(root, N_SUBJECTS)
    return root


def _plan(large: Path, *more: object) -> str:
    out = large.parent / "out"
    command = [sys.executable, "-c", _MEASURED, str(large), str(out), "participant", *map(str, more)]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False, timeout=300)
    assert done.returncode == 0, done.stderr
    peak = re.search(r"peak (\d+) MB, tensorflow (\w+)", done.stdout)
    assert peak and int(peak[1]) < MAX_MB and peak[2] == "False"
    assert not out.exists()
    return done.stdout


def test_all_scans_are_planned_in_little_memory(large):
    text = _plan(large, "--dry-run")
    assert "2000 to do" in text and "sub-0999_ses-2_T1w" in text


def test_one_subject_and_an_index_on_disk(large):
    database = large.parent / "database"
    one = ["--dry-run", "--participant-label", "0500"]
    without = _plan(large, *one)
    assert "2 to do" in without
    for _ in range(2):  # made, then used
        with_index = _plan(large, *one, "--bids-database-dir", database)
        assert re.sub("peak.*", "", with_index) == re.sub("peak.*", "", without)


def test_the_array_of_a_large_dataset(large):
    text = _plan(large, "--array-script", "slurm")
    assert "--array=0-999" in text and "\n    0999\n" in text
