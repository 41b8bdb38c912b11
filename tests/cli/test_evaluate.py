"""Exit codes and options of bids_hypo_evaluate."""

import subprocess
import sys

import numpy as np
import pytest

from bids_hypo.cli.evaluate import build_parser, find_wanted, main, make_options, parse_labels
from bids_hypo.errors import ModelError, UsageError
from bids_hypo.image.label_numbers import Wanted
from bids_hypo.structures import HYPOTHALAMUS
from tests.phantoms import write_scan

HYPO = Wanted(HYPOTHALAMUS)


@pytest.fixture
def folder(tmp_path):
    rng = np.random.default_rng(0)
    for name in ("01", "02", "03"):
        labels = np.zeros((8, 8, 8))
        labels[1:3, 2:6, 2:6], labels[5:7, 2:6, 2 : 5 + int(name) % 2] = 1, 2
        write_scan(tmp_path / f"truth/sub-{name}_dseg.nii.gz", labels, np.eye(4))
        worse = labels * (rng.random(labels.shape) > 0.2)
        write_scan(tmp_path / f"a/{name}.nii.gz", np.select([worse == 1, worse == 2], [11, 12]), np.eye(4))
        write_scan(tmp_path / f"b/sub-{name}_dseg.nii.gz", labels, np.eye(4))
    return tmp_path


def test_a_whole_run(folder, capsys):
    arguments = [str(folder / "truth"), str(folder / "out"), "--prediction", f"A={folder / 'a'}"]
    arguments += ["--pattern", "A={subject}.nii.gz", "--labels", "A:L=11,R=12", "--prediction", f"B={folder / 'b'}"]
    assert main(arguments) == 0
    told = capsys.readouterr().out
    assert "1.00 ± 0.00" in told and "6 compared; 3 of 3 scans are common" in told
    assert (folder / "out/evaluation.html").exists()


def test_missing_predictions_are_told_and_unreadable_ones_end_with_1(folder, capsys):
    arguments = [str(folder / "truth"), str(folder / "out"), "--prediction", str(folder / "b")]
    (folder / "b/sub-01_dseg.nii.gz").unlink()
    assert main(arguments) == 0
    captured = capsys.readouterr()
    assert "b: missing for 1 scan(s): sub-01" in captured.err and "1 missing" in captured.out
    (folder / "b/sub-02_dseg.nii.gz").write_bytes(b"broken")
    assert main(arguments) == 1


@pytest.mark.parametrize(
    ("options", "code", "words"),
    [
        (["--prediction", "A={a}", "--labels", "C:L=1,R=2", "--prediction", "B={b}"], 64, "there are A, B"),
        (["--prediction", "A={a}", "--prediction", "A={b}"], 64, "comes twice"),
        (["--prediction", "truth={a}"], 64, "none of"),
        (["--prediction", "A="], 64, "NAME=FOLDER"),
        (["--prediction", "B={b}", "--scores", "EDSS"], 64, "--associate"),
        (["--prediction", "B={b}", "--labels", "B:L=1-"], 64, "not of this form"),
        (["--prediction", "A={a}"], 66, "pattern"),
        (["--prediction", "A={a}/nowhere"], 66, "does not exist"),
        (["--prediction", "B={b}", "--participants", "77"], 18, "sub-01"),
        (["--prediction", "B={b}", "--associate", "{a}/none.tsv"], 66, "none.tsv"),
        ([], 64, "--prediction"),
        (["--help"], 0, ""),
        (["--version"], 0, ""),
    ],
)
def test_exit_codes(options, code, words, folder, capsys):
    paths = {name: str(folder / name) for name in "ab"}
    filled = [option.replace("{a}", paths["a"]).replace("{b}", paths["b"]) for option in options]
    assert main([str(folder / "truth"), str(folder / "out"), *filled]) == code
    assert words in capsys.readouterr().err
    assert not (folder / "out").exists()


def test_labels():
    told, preset = parse_labels("L=801-805,R=806-810", HYPO), parse_labels("freesurfer", HYPO)
    assert told.of == preset.of and preset.kinds["posterior"] == {"L": {803}, "R": {808}}
    assert parse_labels("l=1,3-5, r=2, b=9", HYPO).of == {"L": {1, 3, 4, 5}, "R": {2}, "B": {9}}
    assert parse_labels("B=1-3", HYPO).of == {"B": {1, 2, 3}}
    assert parse_labels(None, HYPO) is None


@pytest.mark.parametrize(
    ("structure", "tool", "left", "right"),
    [
        ("thalamus", "freesurfer", {10}, {49}),
        ("thalamus", "DBSegment", {24, 26, 30}, {25, 27, 31}),
        ("dentate", "dentateseg", {1}, {2}),
    ],
)
def test_numbers_of_other_programs_are_known_by_name(structure, tool, left, right):
    assert parse_labels(tool, Wanted(structure)).of == {"L": left, "R": right}


@pytest.mark.parametrize(("structure", "tool"), [("thalamus", "mindglide"), ("dentate", "fastsurfer")])
def test_a_structure_that_a_program_does_not_have_is_told(structure, tool):
    with pytest.raises(UsageError, match=f"numbers of {tool} for the structure {structure} are not known.*--labels L="):
        parse_labels(tool, Wanted(structure))


def test_an_unknown_structure_needs_its_model_only_where_one_is_named(tmp_path):
    assert find_wanted("trident", None) == Wanted("trident")
    assert find_wanted(HYPOTHALAMUS, None).presets["bids_hypo"].of == {
        "L": {11, 12, 13, 14, 15}, "R": {21, 22, 23, 24, 25}
    }  # fmt: skip
    with pytest.raises((UsageError, ModelError), match="no model"):
        find_wanted("trident", tmp_path)


@pytest.mark.parametrize(
    "spec", ["", "L", "L=1", "R=1,2", "L=1,R=1", "L=1-3,R=3-5", "X=1", "L=5-2,R=1", "1-5", "L=a,R=b"]
)
def test_labels_that_cannot_be(spec):
    with pytest.raises(UsageError, match="expected such as"):
        parse_labels(spec, HYPO)


def test_names_may_be_left_out_with_one_method():
    args = build_parser().parse_args(
        ["t", "o", "--prediction", "FS=x", "--labels", "L=1-5,R=6-10", "--pattern", "{subject}=a.nii"]
    )
    (method,) = make_options(args).methods
    assert method.pattern == "{subject}=a.nii" and method.labels.of["R"] == set(range(6, 11))
    named = build_parser().parse_args(["t", "o", "--prediction", "FS=x", "--labels", "FS=freesurfer"])
    assert make_options(named).methods[0].labels == HYPO.presets["freesurfer"]


def test_help_needs_no_heavy_library():
    code = (
        "import sys; from bids_hypo.cli.evaluate import main; main(['--help']); "
        "sys.exit(int(any(m in sys.modules for m in ('pandas', 'matplotlib', 'pingouin', 'nibabel', 'tensorflow'))))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False, capture_output=True).returncode == 0


def test_evaluating_needs_no_tensorflow():
    code = "import sys, bids_hypo.workflow.evaluate; sys.exit(int('tensorflow' in sys.modules))"
    assert subprocess.run([sys.executable, "-c", code], check=False, capture_output=True).returncode == 0
