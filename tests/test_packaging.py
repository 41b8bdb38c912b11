"""The package as a user gets it: versions agree, commands exist, the pages tell the truth."""

from __future__ import annotations

import configparser
import importlib
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = ROOT / "bids_hypo"
BINARY_SUFFIXES = {".h5", ".keras", ".npz", ".png", ".gz", ".nii"}
# Spelled in pieces, so that this file does not name what no file may name.
FORBIDDEN = {
    "a path of one machine": re.compile(r"(?<![\w.>}-])/" + r"work(?=[/\s'\"`:)]|$)"),
    "a home folder": re.compile(r"(?<![\w.])/" + r"(?:home|Users)/\w+"),
    "a package index": re.compile(r"py(?:pi\.org)|python(?:hosted\.org)|--(?:extra-)?(?:index-url)|--(?:find-links)"),
}


@pytest.fixture(scope="module")
def constraints() -> dict[str, str]:
    lines = [line.split("#")[0].strip() for line in (ROOT / "constraints.txt").read_text("utf-8").splitlines()]
    pins = [Requirement(line) for line in lines if line]
    return {canonicalize_name(pin.name): str(pin.specifier) for pin in pins}


def source_files() -> list[Path]:
    """Every text file of the project that git follows or would follow."""
    git = shutil.which("git")
    if git is None or not (ROOT / ".git").exists():
        pytest.skip("needs a git checkout, to tell the project's files from build products")
    listing = subprocess.run(
        [git, "ls-files", "-z", "--cached", "--others", "--exclude-standard"], cwd=ROOT, capture_output=True, check=True
    )
    names = [name for name in listing.stdout.decode().split("\0") if name]
    return [ROOT / name for name in names if Path(name).suffix not in BINARY_SUFFIXES and (ROOT / name).is_file()]


def test_version_is_the_same_everywhere(setup_cfg):
    version = setup_cfg["metadata"]["version"]
    newest = re.search(r"^## \[(\d[^\]]*)\]", (ROOT / "CHANGELOG.md").read_text("utf-8"), re.MULTILINE)
    assert newest is not None
    assert newest.group(1) == version
    assert yaml.safe_load((ROOT / "CITATION.cff").read_text("utf-8"))["version"] == version
    assert importlib.import_module("bids_hypo").__version__ == version


def test_licence_is_the_same_everywhere(setup_cfg):
    assert setup_cfg["metadata"]["license"] == "Apache-2.0"
    assert yaml.safe_load((ROOT / "CITATION.cff").read_text("utf-8"))["license"] == "Apache-2.0"
    text = (ROOT / "LICENSE").read_text("utf-8")
    assert "Apache License" in text
    assert "END OF TERMS AND CONDITIONS" in text


def console_scripts() -> list[str]:
    parser = configparser.ConfigParser()
    parser.read(ROOT / "setup.cfg", encoding="utf-8")
    return parser["options.entry_points"]["console_scripts"].split("\n")[1:]


@pytest.mark.parametrize("line", console_scripts())
def test_console_script_points_at_a_function(line):
    module, function = line.split("=")[1].strip().split(":")
    assert callable(getattr(importlib.import_module(module), function))


def test_commands_explain_themselves_without_loading_tensorflow():
    code = (
        "import sys\n"
        "from bids_hypo.cli.main import main\n"
        "try:\n    main(['--help'])\nexcept SystemExit as end:\n    assert end.code in (0, None), end.code\n"
        "heavy = {'tensorflow', 'segmentation_models', 'bids', 'nilearn'} & set(sys.modules)\n"
        "assert not heavy, heavy\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, cwd=ROOT)
    assert done.returncode == 0, done.stderr
    assert "participant" in done.stdout


def test_usage_page_lists_the_options_that_exist():
    from bids_hypo.cli.arguments import build_parser

    page = (ROOT / "docs" / "reference" / "usage.md").read_text("utf-8")
    documented = set(re.findall(r"`(-\w+|--[a-z][a-z-]+)`", page))
    options = [set(action.option_strings) for action in build_parser()._actions if action.option_strings]
    assert len(options) > 10
    assert [sorted(names) for names in options if not names & (documented | {"--help"})] == []
    assert documented - set().union(*options) - {"-vv"} == set()


def test_usage_page_lists_every_exit_code():
    from bids_hypo.errors import ExitCode

    page = (ROOT / "docs" / "reference" / "usage.md").read_text("utf-8")
    assert {int(code) for code in re.findall(r"^\| (\d+) \|", page, re.MULTILINE)} == {int(code) for code in ExitCode}


def test_outputs_page_lists_every_column_and_flag():
    from bids_hypo.bids.morph import MORPH_COLUMNS
    from bids_hypo.measure.quality import FLAG_TEXTS

    page = (ROOT / "docs" / "reference" / "outputs.md").read_text("utf-8")
    assert [name for name in (*MORPH_COLUMNS, *FLAG_TEXTS) if f"`{name}`" not in page] == []


def test_every_folder_with_modules_is_a_package():
    folders = {path.parent for path in PACKAGE.rglob("*.py")}
    assert PACKAGE in folders
    assert [str(folder) for folder in sorted(folders) if not (folder / "__init__.py").is_file()] == []


def test_git_ignores_no_part_of_the_package():
    git = shutil.which("git")
    if git is None or not (ROOT / ".git").exists():
        pytest.skip("needs a git checkout")
    files = [str(path) for path in PACKAGE.rglob("*") if path.is_file() and "__pycache__" not in path.parts]
    ignored = subprocess.run([git, "check-ignore", *files], cwd=ROOT, capture_output=True, text=True, check=False)
    assert ignored.stdout.splitlines() == []


def test_no_file_names_a_forbidden_place():
    files = source_files()
    assert ROOT / "setup.cfg" in files
    found = [
        f"{path.relative_to(ROOT)}: {what}"
        for path in files
        for what, pattern in FORBIDDEN.items()
        if pattern.search(path.read_text("utf-8", errors="replace"))
    ]
    assert found == []


def test_forbidden_places_would_be_found():
    assert FORBIDDEN["a path of one machine"].search("see /" + "work/data")
    assert FORBIDDEN["a home folder"].search("'/" + "home/someone/x'")
    assert FORBIDDEN["a package index"].search("https://py" + "pi.org/simple")
    assert not FORBIDDEN["a path of one machine"].search("bids_hypo/workflow, docs/work, --work-dir")


def test_constraints_pin_every_dependency(setup_cfg, constraints):
    lines = setup_cfg["options"]["install_requires"].split("\n")
    for extra in ("test", "docs", "train", "gui", "cluster"):
        lines += setup_cfg["options.extras_require"][extra].split("\n")
    needed = [Requirement(line) for line in lines if line]
    assert len(needed) > 15
    for item in needed:
        pin = constraints.get(canonicalize_name(item.name), "")
        assert re.fullmatch(r"==[\w.+]+", pin), f"{item.name} has no exact pin in constraints.txt"
        assert item.specifier.contains(pin[2:], prereleases=True), f"{item} does not allow the pin {pin}"


def test_constraints_hold_only_plain_pins(constraints):
    assert len(constraints) > 50
    assert all(re.fullmatch(r"==[\w.+]+", pin) for pin in constraints.values())


def test_layers_name_every_package():
    config = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
    layers = next(item for item in config["tool"]["importlinter"]["contracts"] if item["type"] == "layers")["layers"]
    named = {name.strip(" ()") for layer in layers for name in re.split(r"[|:]", layer)}
    present = {path.parent.name for path in PACKAGE.glob("*/__init__.py")}
    assert present
    assert present - named == set()
