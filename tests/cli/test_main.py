"""Exit codes and messages of the command line, without any network."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from bids_hypo.cli.main import main
from bids_hypo.cli.train import main as train
from tests.phantoms import make_bids_dataset, phantom_head


@pytest.fixture
def dataset(tmp_path):
    make_bids_dataset(tmp_path / "data", [{"sub": "01"}, {"sub": "02", "ses": "1"}], phantom_head())
    return tmp_path / "data"


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["{data}", "{out}", "participant", "--dry-run"], 0, ""),
        (["{data}", "{out}", "groupe"], 17, "groupe"),
        (["{out}", "{data}", "participant"], 66, "out"),
        (["{data}", "{out}", "participant", "--session-label", "9"], 18, "no T1w or UNIT1 image passes"),
        (["{data}", "{out}"], 64, ""),
        (["{data}", "{out}", "participant", "--no-such-option"], 64, ""),
        (["{data}", "{out}", "participant", "--device", "tpu"], 64, "tpu"),
        (["{data}", "{out}", "participant", "--nprocs", "0"], 64, "nprocs"),
        (["{data}", "{out}", "participant", "--mem", "-1"], 64, "mem"),
        (["{data}", "{out}", "participant", "--models", "{out}"], 65, "bundle"),
        (["{data}", "{data}/inside", "participant"], 73, "inside"),
        (["{data}", "{data}", "participant"], 73, "data"),
        (["{data}", "/proc/nowhere/out", "participant"], 73, "/proc/nowhere"),
        (["{data}", "{out}", "participant", "--reports-only", "--overwrite"], 64, "--reports-only"),
        (["--version"], 0, ""),
        (["--help"], 0, ""),
    ],
)
def test_exit_codes(dataset, tmp_path, capsys, arguments, code, words):
    arguments = [a.format(data=dataset, out=tmp_path / "out") for a in arguments]
    assert main(arguments) == code
    assert words in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_a_broken_description_is_not_bids(dataset, tmp_path, capsys):
    (dataset / "dataset_description.json").write_text("{")
    assert main([str(dataset), str(tmp_path / "out"), "participant"]) == 16
    assert "dataset_description.json" in capsys.readouterr().err


def test_labels_with_and_without_prefix_and_from_a_file(dataset, tmp_path, capsys):
    (tmp_path / "labels.txt").write_text("sub-02\n")
    for label, expected in (("01", "sub-01"), ("sub-01", "sub-01"), (str(tmp_path / "labels.txt"), "sub-02")):
        assert (
            main([str(dataset), str(tmp_path / "out"), "participant", "--dry-run", "--participant-label", label]) == 0
        )
        text = capsys.readouterr().out
        assert expected in text
        assert "1 to do" in text


def test_a_dry_run_names_who_is_missing(dataset, tmp_path, capsys):
    command = [str(dataset), str(tmp_path / "out"), "participant", "--dry-run", "--participant-label", "01,09"]
    assert main(command) == 0
    captured = capsys.readouterr()
    assert "1 to do, 1 missing" in captured.out
    assert "MISSING sub-09: " in captured.err and "no such folder" in captured.err


def test_help_and_planning_do_not_import_tensorflow(dataset, tmp_path):
    code = (
        "import sys; from bids_hypo.cli.main import main; "
        f"code = main([{str(dataset)!r}, {str(tmp_path / 'out')!r}, 'participant', '--dry-run']); "
        "sys.exit(code or int('tensorflow' in sys.modules))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False, capture_output=True).returncode == 0


def test_module_can_be_run():
    done = subprocess.run([sys.executable, "-m", "bids_hypo", "--version"], check=True, capture_output=True, text=True)
    assert done.stdout.startswith("bids_hypo ")


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (["fit", "nonsense", "-w", "x"], 66),
        (["fit", "anatomy", "-w", "x"], 64),
        (["fit", "hypothalamus", "-w", "x"], 64),
        (["measure", "steadiness"], 64),
        ([], 64),
        (["--help"], 0),
    ],
)
def test_training_command_checks_its_arguments(arguments, code, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert train(arguments) == code
    assert list(tmp_path.iterdir()) == []


def test_filter_file(dataset, tmp_path, capsys):
    (tmp_path / "filter.json").write_text(json.dumps({"t1w": {"session": "1"}}))
    arguments = [str(dataset), str(tmp_path / "out"), "participant", "--dry-run", "--bids-filter-file"]
    assert main([*arguments, str(tmp_path / "filter.json")]) == 0
    assert "1 to do" in capsys.readouterr().out
