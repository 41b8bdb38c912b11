"""What other platforms read about the command line agrees with the command line; no image is built here."""

from __future__ import annotations

import argparse
import importlib.util
import json
import re
import subprocess
from pathlib import Path
from types import ModuleType

import pytest

from bids_hypo import __version__
from bids_hypo.cli.arguments import build_parser
from bids_hypo.errors import ExitCode
from bids_hypo.models.catalog import find_models

NIPOPPY = f"descriptors/nipoppy/bids_hypo-{__version__}"


@pytest.fixture(scope="module")
def generator(repository: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location("generate", repository / "descriptors" / "generate.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def descriptor(repository: Path) -> dict:
    return json.loads((repository / "descriptors" / "boutiques.json").read_text())


def test_the_files_are_what_the_generator_writes(repository, generator):
    expected = json.loads(json.dumps(generator.describe()))
    for target in generator.TARGETS:
        assert json.loads(target.read_text()) == expected, "run: python descriptors/generate.py"
    assert {t.relative_to(repository).as_posix() for t in generator.TARGETS} == {
        "descriptors/boutiques.json",
        f"{NIPOPPY}/descriptor.json",
    }


def test_every_option_of_the_parser_is_described_and_no_other(descriptor):
    spoken = {
        option
        for action in build_parser()._actions
        if not isinstance(action, argparse._HelpAction | argparse._VersionAction)
        for option in action.option_strings
    }
    described = {entry["command-line-flag"] for entry in descriptor["inputs"] if "command-line-flag" in entry}
    assert described <= spoken
    for action in build_parser()._actions:
        if set(action.option_strings) & spoken:
            assert set(action.option_strings) & described


def test_its_command_line_holds_every_value_once(descriptor):
    keys = [entry["value-key"] for entry in descriptor["inputs"]]
    assert re.findall(r"\[\w+\]", descriptor["command-line"]) == keys
    assert len(set(keys)) == len(keys)
    assert descriptor["tool-version"] == __version__


def test_the_parser_takes_what_the_descriptor_spells(descriptor):
    samples = {"String": "x", "Number": 2, "File": "f"}
    command = descriptor["command-line"]
    alone = {m for group in descriptor["groups"] for m in group["members"][1:]}
    for entry in descriptor["inputs"]:
        value = "" if entry["type"] == "Flag" else str(entry.get("value-choices", [samples.get(entry["type"])])[0])
        words = f"{entry.get('command-line-flag', '')} {value}" if entry["id"] not in alone else ""
        command = command.replace(entry["value-key"], words)
    parsed = build_parser().parse_args(command.split()[1:])
    assert parsed.level == "participant"
    assert parsed.participant_label == ["x"]
    assert parsed.mem == 2.0


def test_every_exit_code_is_explained(descriptor):
    assert {entry["code"] for entry in descriptor["error-codes"]} == {int(c) for c in ExitCode} - {ExitCode.OK}


def test_nipoppy_finds_its_files_and_names_known_inputs(repository, descriptor):
    folder = repository / NIPOPPY
    config = json.loads((folder / "config.json").read_text())
    assert config["VERSION"] == __version__
    for step in config["STEPS"]:
        assert all((folder / name).is_file() for key, name in step.items() if key.endswith("_FILE"))
    invocation = json.loads((folder / "invocation.json").read_text())
    known = {entry["id"]: entry for entry in descriptor["inputs"]}
    assert invocation.keys() <= known.keys()
    assert all(isinstance(value, list) == known[key].get("list", False) for key, value in invocation.items())


BRAINLIFE_APP = """#!/bin/sh
[ "$3" = participant ] && [ -f "$1/sub-01/anat/sub-01_T1w.nii.gz" ] || exit 9
mkdir -p "$2/sub-01/anat"
cp "$1/sub-01/anat/sub-01_T1w.nii.gz" "$2/sub-01/anat/sub-01_space-orig_seg-hypothalamus_dseg.nii.gz"
echo "$@" >"$2/sub-01/anat/sub-01_desc-volumetric_morph.tsv"
"""


def run_brainlife(repository: Path, folder: Path) -> subprocess.CompletedProcess[str]:
    app = folder / "app"
    app.write_text(BRAINLIFE_APP)
    app.chmod(0o755)
    return subprocess.run(
        [repository / "descriptors" / "brainlife" / "main"], cwd=folder, capture_output=True, text=True, check=False,
        env={"PATH": "/usr/local/bin:/usr/bin:/bin", "BIDS_HYPO": str(app)},
    )  # fmt: skip


def test_brainlife_turns_one_image_into_a_dataset_and_back(repository, tmp_path):
    (tmp_path / "t1.nii.gz").write_bytes(b"voxels")
    (tmp_path / "config.json").write_text('{"t1": "t1.nii.gz", "fast": true}')
    done = run_brainlife(repository, tmp_path)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "parc" / "parc.nii.gz").read_bytes() == b"voxels"
    assert [entry["voxel_value"] for entry in json.loads((tmp_path / "parc" / "label.json").read_text())] == [1, 2]
    assert "--fast" in (tmp_path / "volumes.tsv").read_text()


def test_brainlife_says_when_there_is_no_image(repository, tmp_path):
    (tmp_path / "config.json").write_text('{"t1": "t2.nii.gz"}')
    done = run_brainlife(repository, tmp_path)
    assert done.returncode == 66
    assert "t2.nii.gz" in done.stderr


def test_the_recipes_agree(repository):
    docker, definition = ((repository / name).read_text() for name in ("Dockerfile", "Singularity.def"))
    assert f"ARG VERSION={__version__}" in docker
    assert f"image.version {__version__}" in definition
    in_docker = dict(re.findall(r"^(?:ENV |    )([A-Z_]+)=(\S+)", docker, re.M))
    in_definition = dict(re.findall(r"^    export ([A-Z_]+)=(\S+)$", definition, re.M))
    only_docker = {"HOME", "USER", "NVIDIA_VISIBLE_DEVICES", "NVIDIA_DRIVER_CAPABILITIES"}  # Apptainer brings its own
    assert in_docker.keys() - only_docker == in_definition.keys()
    same = in_definition.keys() - {"BIDS_HYPO_CONTAINER"}
    assert {k: in_docker[k] for k in same} == {k: in_definition[k] for k in same}


def test_only_what_the_image_needs_goes_to_the_builder(repository):
    kept = {line[1:] for line in (repository / ".dockerignore").read_text().splitlines() if line.startswith("!")}
    copied = set(re.findall(r"^    (\S+) /src/\1$", (repository / "Singularity.def").read_text(), re.M))
    assert kept == copied
    assert all((repository / name).exists() for name in kept)
    assert not kept & {"tests", "docs", ".git", "runs", "."}


def test_the_weights_lie_inside_the_package(repository):
    for bundle in find_models(None).used:
        assert repository / "bids_hypo" in bundle.folder.parents


def test_every_library_of_the_gpu_image_is_pinned(repository):
    lines = (repository / "container" / "constraints-gpu.txt").read_text().splitlines()
    pins = [line for line in lines if line and not line.startswith("#")]
    assert pins
    assert all(re.fullmatch(r"[\w-]+==[\w.]+", line) for line in pins)
