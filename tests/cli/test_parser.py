"""Slips on the command line: repeated options, near misses, options cut short."""

from __future__ import annotations

import argparse
from collections.abc import Iterator

import pytest

from bids_hypo.cli import bench, demo, evaluate, gui, train
from bids_hypo.cli.arguments import build_parser, spell_options
from bids_hypo.cli.main import main
from bids_hypo.cli.parser import Parser, suggestions
from tests.phantoms import make_bids_dataset

WHERE = ["data", "out", "participant"]


def parsers(parser: argparse.ArgumentParser) -> Iterator[argparse.ArgumentParser]:
    yield parser
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for command in action.choices.values():
                yield from parsers(command)


EVERY = {
    parser.prog: parser
    for top in (build_parser(), evaluate.build_parser(), demo.build_parser(), gui.build_parser(), train._parser())
    for parser in parsers(top)
}


@pytest.mark.parametrize("parser", EVERY.values(), ids=EVERY.keys())
def test_every_list_grows_and_every_parser_is_ours(parser):
    assert isinstance(parser, Parser)
    for action in parser._actions:
        if action.option_strings and action.nargs in ("+", "*"):
            assert isinstance(action, argparse._ExtendAction), action.option_strings
    assert not parser.allow_abbrev


def lists_of(parser):
    return [a for a in parser._actions if a.option_strings and isinstance(a, argparse._ExtendAction)]


@pytest.mark.parametrize("action", lists_of(build_parser()), ids=lambda action: action.dest)
def test_a_list_can_be_given_in_pieces(action):
    parser = build_parser()
    name = action.option_strings[0]
    convert = action.type or str
    for _ in range(2):  # what was given once must not stay
        args = parser.parse_args([*WHERE, name, "a", name, "b", "c"])
        assert getattr(args, action.dest) == [convert(x) for x in "abc"]
    assert getattr(parser.parse_args(WHERE), action.dest) in (None, [])
    assert build_parser().parse_args([*WHERE, *spell_options(args)]).__dict__[action.dest] == [
        x.resolve() if hasattr(x, "resolve") else x for x in map(convert, "abc")
    ]


def test_repeated_labels_all_count(tmp_path, capsys):
    data = tmp_path / "data"
    make_bids_dataset(data, [{"sub": label} for label in ("01", "02", "03")])
    out = str(data / "derivatives/bids_hypo")
    command = [str(data), out, "participant", "--dry-run", "--skip-bids-validation"]
    for labels in (["--participant-label", "01", "--participant-label", "sub-03"], ["--participant-label", "01,03"]):
        assert main([*command, *labels]) == 0
        told = capsys.readouterr().out
        assert "2 to do" in told and "sub-02" not in told


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--subject-label", "01"], "--subject-label (did you mean --participant-label?)"),
        (["--participant_labels", "01"], "--participant_labels (did you mean --participant-label?)"),
        (["--participant", "01"], "--participant (did you mean --participant-label?)"),
        (["--n_procs=4"], "--n_procs=4 (did you mean --nprocs=4?)"),
        (["--omp_nthreads", "2", "--work_dir", "x"], "--omp_nthreads (did you mean --omp-nthreads?), --work_dir"),
        (["--mem_gb", "2"], "--mem_gb (did you mean --mem-gb?)"),
        (["--covariate", "age"], "--covariate (did you mean --covariates?)"),
        (["--overwite"], "--overwite (did you mean --overwrite?)"),
        (["--skip", "x"], "--skip (did you mean --skip-bids-validation"),
        (["-participant-label", "01"], "-participant-label (did you mean --participant-label?)"),
        (["--fs-license-file", "x"], "unrecognized arguments: --fs-license-file\n"),
    ],
)
def test_an_unknown_option_is_answered_with_what_may_be_meant(words, said, capsys):
    assert main([*WHERE, *words]) == 64
    assert said in capsys.readouterr().err
    assert main([*words, *WHERE]) == 64  # else its value would be taken for BIDS_DIR
    assert said in capsys.readouterr().err


@pytest.mark.parametrize(
    ("run", "words", "said"),
    [
        (evaluate.main, ["t", "o", "--predictions", "a=b"], "did you mean --prediction?"),
        (demo.main, ["d", "--n-subjects", "3"], "did you mean --subjects?"),
        (gui.main, ["--workdir", "x"], "did you mean --work-dir?"),
        (train.main, ["fit", "anatomy", "-w", "x", "--label_maps", "y"], "did you mean --label-maps?"),
        (bench.main, ["--n_scans", "3"], "did you mean --n-scans?"),
    ],
)
def test_so_it_is_in_every_command(run, words, said, capsys):
    try:
        code = run(words)
    except SystemExit as stop:  # the benchmark is for developers
        code = 64 if stop.code == 2 else stop.code
    assert code == 64
    assert said in capsys.readouterr().err


def test_values_are_not_taken_for_options():
    args = build_parser().parse_args([*WHERE, "-vv", "-wx", "--acquisition", "-", "--mem", "-1", "--case", "-a b"])
    assert (args.verbose, str(args.work_dir), args.acquisition, args.mem, args.case) == (2, "x", ["-"], -1.0, ["-a b"])


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--nprocs", "2", "--nprocs", "4"], "given twice, as --nprocs 2 and as --nprocs 4"),
        (["--nprocs", "2", "--n-cpus", "4"], "given twice, as --nprocs 2 and as --n-cpus 4"),
        (["--device", "cpu", "--device", "gpu"], "--device cpu and as --device gpu; give it once"),
    ],
)
def test_two_values_for_one_option_are_told(words, said, capsys):
    assert main([*WHERE, *words]) == 64
    assert said in capsys.readouterr().err


def test_the_same_value_twice_is_no_contradiction():
    parser = build_parser()
    for value in ("2", "3"):
        assert parser.parse_args([*WHERE, "--nprocs", value, "--nthreads", value]).nprocs == int(value)


def test_suggestions_only_name_what_there_is():
    assert suggestions("--subject-label", ["--subjects", "--seed"]) == []
    assert suggestions("--s", ["--subjects", "--seed"]) == []
    assert suggestions("--se", ["--subjects", "--seed"]) == ["--seed"]


@pytest.mark.parametrize(
    "words", [["--participant-label", "03", *WHERE], [*WHERE[:2], "--participant-label", "03", WHERE[2]]]
)
def test_a_list_that_swallowed_the_rest_is_named(words, capsys):
    assert main(words) == 64
    assert "required: " in (told := capsys.readouterr().err)
    assert "--participant-label takes all words up to the next option: give it last, or put -- after" in told
    args = build_parser().parse_args(["--participant-label", "03", "--", *WHERE])
    assert (args.participant_label, args.level) == (["03"], "participant")


def test_no_list_is_blamed_where_none_was_given(capsys):
    assert main(["data", "--fast"]) == 64
    assert "takes all words" not in capsys.readouterr().err


@pytest.mark.parametrize(
    "options", [["steadiness", "--scans", "{}/a.nii,{}/b.nii"], ["icv", "--label-maps", "{}", "--maps", "a,b"]]
)
def test_files_of_a_list_with_commas_are_told_before_anything_is_loaded(options, tmp_path, capsys):
    assert train.main(["measure", *(word.replace("{}", str(tmp_path)) for word in options)]) == 66
    told = capsys.readouterr().err
    assert "it does not exist; expected an image. Separate names by spaces, not by commas." in told


@pytest.mark.parametrize(
    ("run", "words"),
    [(gui.main, ["-w", "{}"]), (train.main, ["fit", "anatomy", "-w", "{}"]),
     (train.main, ["bundle", "anatomy", "-w", "work", "--bundle", "{}"]), (train.main, ["review", "--out", "{}"])],
)  # fmt: skip
def test_a_file_in_place_of_a_folder_is_told(run, words, tmp_path, capsys):
    (tmp_path / "file").touch()
    assert run([word.replace("{}", str(tmp_path / "file")) for word in words]) == 73
    assert f"{tmp_path / 'file'}: the folder cannot be made or written, for it is a file" in capsys.readouterr().err
