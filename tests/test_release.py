"""What a release is made of: the archives work where nothing of the repository is seen, and all files agree."""

from __future__ import annotations

import importlib.util
import json
import re
import subprocess
import tarfile
import zipfile
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from bids_hypo import __version__

ROOT = Path(__file__).resolve().parent.parent
CONDA_NAMES = {"matplotlib-base": "matplotlib"}  # as the channel calls them: as we do

pytestmark = pytest.mark.skipif(not (ROOT / "release").is_dir(), reason="the repository is not beside the tests")


@pytest.fixture(scope="module")
def dist():
    spec = importlib.util.spec_from_file_location("dist", ROOT / "release" / "dist.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def built(dist, tmp_path_factory) -> tuple[Path, Path]:
    """The archive of the source and the wheel."""
    return dist.build(ROOT, tmp_path_factory.mktemp("dist"))


@pytest.mark.slow
def test_archive_and_wheel_work_elsewhere(dist, built, tmp_path):
    archive, wheel = built
    with tarfile.open(archive) as packed:
        names = {name.partition("/")[2] for name in packed.getnames()}
    assert {"README.md", "RELEASING.md", "docs/index.md", "tests/test_release.py", "constraints.txt"} <= names
    assert wheel.name == f"bids_hypo-{__version__}-py3-none-any.whl"
    found = dist.try_wheel(wheel, tmp_path / "venv")
    assert found.startswith(str(tmp_path / "venv")), found
    assert {"anatomy", "hypothalamus", "locator"} <= set(found.split())


@pytest.mark.slow
def test_wheel_holds_every_file_of_the_package(built):
    expected = {
        path.relative_to(ROOT).as_posix()
        for path in (ROOT / "bids_hypo").rglob("*")
        if path.is_file() and not path.name.startswith(".") and "__pycache__" not in path.parts
    }
    assert expected - set(zipfile.ZipFile(built[1]).namelist()) == set()


@pytest.mark.slow
def test_a_wheel_without_its_weights_is_noticed(dist, built, tmp_path):
    damaged = tmp_path / built[1].name
    with zipfile.ZipFile(built[1]) as source, zipfile.ZipFile(damaged, "w") as target:
        for name in source.namelist():
            if "weights-0" not in name:
                target.writestr(name, b"" if name.endswith("/RECORD") else source.read(name))
    with pytest.raises(subprocess.CalledProcessError):
        dist.try_wheel(damaged, tmp_path / "venv")


def test_conda_recipe_asks_for_what_setup_cfg_asks_for(setup_cfg):
    text = (ROOT / "conda" / "meta.yaml").read_text("utf-8")
    assert f'{{% set version = "{__version__}" %}}' in text
    recipe = yaml.safe_load(
        re.sub(r"\{%.*%\}", "", text).replace("{{ version }}", __version__).replace("{{ PYTHON }}", "x")
    )
    wanted = [Requirement(line) for line in setup_cfg["options"]["install_requires"].split("\n") if line]
    named = [line.split(" ", 1) for line in recipe["requirements"]["run"] if not line.startswith("python ")]
    told = {canonicalize_name(CONDA_NAMES.get(name, name)): bound for name, bound in named}
    assert told == {canonicalize_name(item.name): str(item.specifier) for item in wanted}
    assert f"python {setup_cfg['options']['python_requires']}" in recipe["requirements"]["run"]
    scripts = [
        line.replace(" ", "") for line in setup_cfg["options.entry_points"]["console_scripts"].split("\n") if line
    ]
    assert [line.replace(" ", "") for line in recipe["build"]["entry_points"]] == scripts


def test_hooks_before_a_commit_are_those_of_make_lint():
    hooks = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text("utf-8"))["repos"][0]["hooks"]
    makefile = (ROOT / "Makefile").read_text("utf-8")
    recipe = re.search(r"^lint:.*\n((?:\t.*\n)+)", makefile, re.MULTILINE).group(1)
    assert [hook["entry"] for hook in hooks] == [
        line.strip().replace("$(BIN)", ".venv/bin") for line in recipe.splitlines()
    ]


def test_zenodo_says_what_the_citation_says(setup_cfg):
    zenodo = json.loads((ROOT / ".zenodo.json").read_text("utf-8"))
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text("utf-8"))
    assert zenodo["title"] == citation["title"] and zenodo["license"] == citation["license"]
    assert [one["name"] for one in zenodo["creators"]] == [one["name"] for one in citation["authors"]]
    cited = {one["doi"] for one in citation["references"] if "doi" in one}
    assert {one["identifier"] for one in zenodo["related_identifiers"]} <= cited
    assert set(zenodo["keywords"]) <= set(citation["keywords"])


def test_workflow_and_procedure_run_what_exists():
    workflow = yaml.safe_load((ROOT / ".github" / "workflows" / "checks.yml").read_text("utf-8"))
    runs = "\n".join(step.get("run", "") for job in workflow["jobs"].values() for step in job["steps"])
    texts = runs + (ROOT / "RELEASING.md").read_text("utf-8") + (ROOT / "CONTRIBUTING.md").read_text("utf-8")
    targets = set(re.search(r"^\.PHONY: (.*)$", (ROOT / "Makefile").read_text("utf-8"), re.MULTILINE).group(1).split())
    assert "bash .ci/run" in runs
    named = set(re.findall(r"\bmake ([a-z]+)\b", texts))
    assert {"test", "dist", "docs", "sbom", "image"} <= named and named <= targets
    paths = re.findall(r"`((?:docs|conda|container|descriptors|\.github)/[\w./-]+\.\w+|\w+\.(?:md|cfg|cff))`", texts)
    assert len(paths) > 8
    assert [path for path in paths if not (ROOT / path).exists()] == []


@pytest.mark.parametrize(
    "path", sorted((ROOT / ".github" / "ISSUE_TEMPLATE").glob("*.yml")), ids=lambda path: path.name
)
def test_issue_forms_ask_something(path):
    form = yaml.safe_load(path.read_text("utf-8"))
    if path.name == "config.yml":
        assert form["blank_issues_enabled"] is True
        return
    kinds = {"markdown", "textarea", "input", "dropdown"}
    assert form["name"] and form["description"] and {field["type"] for field in form["body"]} <= kinds
    identifiers = [field["id"] for field in form["body"] if field["type"] != "markdown"]
    assert identifiers and len(identifiers) == len(set(identifiers))
