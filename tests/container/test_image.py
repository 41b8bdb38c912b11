"""The image runs with nothing but its input and output: any user, read-only root, no network, no capabilities."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

import pandas as pd
import pytest
from packaging.utils import canonicalize_name

from bids_hypo import __version__
from tests.container.conftest import Apptainer, Engine, let_others_in

pytestmark = pytest.mark.container

MAX_BYTES = 2_500_000_000
USERS = ("1000:1000", "4242:4343")  # the image's own, and one that has no name in it
FAST = ("--fast", "--device", "cpu", "--omp-nthreads", "2")
IMPORT_ALL = """
import importlib, pkgutil, sys, bids_hypo
for module in pkgutil.walk_packages(bids_hypo.__path__, "bids_hypo."):
    if not module.name.endswith("__main__"):
        importlib.import_module(module.name)
import gradio, distributed, dask_jobqueue, plotly.graph_objects, pingouin, statsmodels.formula.api
"""


@pytest.fixture(scope="module")
def results(engine: Engine, image: str, data: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Output folders: all subjects and the group by the first user, one subject by the second."""
    folders = {user: let_others_in(tmp_path_factory.mktemp("container")) / "out" for user in USERS}
    everyone, stranger = USERS
    runs = (
        (everyone, ("participant", *FAST)),
        (everyone, ("group",)),
        (stranger, ("participant", "--participant-label", "01", *FAST)),
    )
    for user, arguments in runs:
        done = engine.run(image, data, folders[user], "/data", "/out", *arguments, user=user)
        assert done.returncode == 0, done.stdout + done.stderr
        assert "Matplotlib" not in done.stderr  # it warns when it finds no folder of its own
    return folders


def files_below(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file()]


def test_it_is_small_and_says_what_it_is(engine, image, record_property):
    size = int(engine.inspect(image, "{{.Size}}"))
    record_property(image, f"{size / 1e9:.2f} GB")
    config = json.loads(engine.inspect(image, "{{json .Config}}"))
    assert size < MAX_BYTES
    assert config["User"] == "1000:1000"
    assert config["Entrypoint"] == ["/opt/bids_hypo/bin/bids_hypo"]
    assert config["Labels"]["org.opencontainers.image.version"] == __version__
    assert "PYTHONNOUSERSITE=1" in config["Env"]


def test_it_holds_a_list_of_what_is_in_it(engine, image, data, tmp_path, repository):
    """Checked against the schema while it was made; here against the lock."""
    place = engine.inspect(image, '{{index .Config.Labels "bids_hypo.sbom"}}')
    done = engine.run(image, data, tmp_path / "out", place, user=USERS[1], options="--entrypoint /usr/bin/cat")
    components = json.loads(done.stdout)["components"]
    found = {canonicalize_name(item["name"]): item["version"] for item in components if item["bom-ref"][:4] != "pkg:"}
    assert found["bids-hypo"] == __version__
    assert {"cpython", "libc6"} < {item["name"] for item in components if item["bom-ref"][:4] == "pkg:"}
    locked = dict(re.findall(r"^([\w.-]+)==(\S+) \\", (repository / "container/locks/cpu.txt").read_text(), re.M))
    assert len(locked) > 100
    assert {name: version for name, version in locked.items() if found.get(name) != version} == {}


def test_it_has_no_compiler_no_pip_and_no_tests(engine, image, data, tmp_path):
    look = "command -v gcc cc make pip; find /opt/bids_hypo -path '*/tensorflow' -prune -o -type d -name tests -print"
    done = engine.run(image, data, tmp_path / "out", "-c", look, user=USERS[0], options="--entrypoint /bin/sh")
    assert done.stdout == ""


def test_every_module_can_be_imported(engine, image, data, tmp_path):
    options = "--entrypoint /opt/bids_hypo/bin/python -e TMPDIR=/out -e MPLCONFIGDIR=/out"
    done = engine.run(image, data, tmp_path / "out", "-c", IMPORT_ALL, user=USERS[1], options=options)
    assert done.returncode == 0, done.stderr


def test_outputs_belong_to_the_user_who_ran_it(results):
    for user, folder in results.items():
        files = files_below(folder)
        assert any(path.name.endswith("_desc-volumetric_morph.tsv") for path in files)
        assert {f"{path.stat().st_uid}:{path.stat().st_gid}" for path in files} == {user}


def test_nothing_temporary_is_left(results):
    assert [path for folder in results.values() for path in folder.rglob(".bids_hypo-*")] == []


def test_the_user_makes_no_difference_to_the_images(results):
    name = "sub-01/anat/sub-01_space-orig_seg-hypothalamus_dseg.nii.gz"
    one, other = (folder / name for folder in results.values())
    assert one.read_bytes() == other.read_bytes()


def test_the_derivatives_name_the_image(results):
    description = json.loads((results[USERS[0]] / "dataset_description.json").read_text())
    assert description["GeneratedBy"][0]["Container"] == {"Type": "docker", "Tag": f"bids_hypo:{__version__}"}


def test_the_group_level_read_them(results, data):
    volumes = pd.read_csv(results[USERS[0]] / "group_volumes.tsv", sep="\t")
    assert len(volumes) == len(list(data.rglob("*_T1w.nii.gz")))
    assert (results[USERS[0]] / "group_report.html").is_file()


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (("/data", "/out", "groupe"), 17),
        (("/data", "/out", "participant", "--session-label", "99"), 18),
        (("/data", "/out", "participant", "--no-such-option"), 64),
        (("/nowhere", "/out", "participant"), 66),
        (("/data", "/elsewhere", "participant"), 73),
        (("--version",), 0),
    ],
)
def test_exit_codes_come_through(engine, image, data, tmp_path, arguments, code):
    assert engine.run(image, data, tmp_path / "out", *arguments, user=USERS[1]).returncode == code


def test_a_scan_that_fails_is_told_by_the_exit_code(engine, image, data, tmp_path):
    broken = tmp_path / "broken"
    (broken / "sub-05" / "anat").mkdir(parents=True)
    shutil.copy(data / "dataset_description.json", broken)
    (broken / "sub-05" / "anat" / "sub-05_T1w.nii.gz").touch()
    done = engine.run(image, broken, tmp_path / "out", "/data", "/out", "participant", *FAST, user=USERS[1])
    assert done.returncode == 1
    assert "empty (0 bytes)" in done.stderr


@pytest.fixture(scope="module")
def sif(apptainer: Apptainer, repository: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The SIF file of the cpu target."""
    folder = tmp_path_factory.mktemp("sif")
    definition = folder / "Singularity.def"
    text = (repository / "Singularity.def").read_text()
    assert "TARGET=gpu" in text
    definition.write_text(text.replace("TARGET=gpu", "TARGET=cpu"))
    apptainer.build(repository, definition, folder / "bids_hypo.sif")
    return folder / "bids_hypo.sif"


def test_the_sif_does_the_same(apptainer, sif, results, data, tmp_path, record_property):
    record_property(sif.name, f"{sif.stat().st_size / 1e9:.2f} GB")
    out = let_others_in(tmp_path) / "out"
    one = ("participant", "--participant-label", "01", *FAST)
    done = apptainer.run(sif, data, out, "/data", "/out", *one)
    assert done.returncode == 0, done.stdout + done.stderr
    name = "sub-01/anat/sub-01_space-orig_seg-hypothalamus_dseg.nii.gz"
    assert (out / name).read_bytes() == (results[USERS[0]] / name).read_bytes()
    description = json.loads((out / "dataset_description.json").read_text())
    assert description["GeneratedBy"][0]["Container"]["Type"] == "singularity"
    assert apptainer.run(sif, data, out, "/data", "/out", "groupe").returncode == 17
    assert apptainer.run(sif, data, results[USERS[0]], "/data", "/out", "group").returncode == 0
