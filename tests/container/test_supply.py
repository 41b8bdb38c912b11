"""What an image is built from is told exactly: base image by digest, every file by hash, and a list of it all."""

from __future__ import annotations

import importlib.util
import json
import re
import sys
import tomllib
from pathlib import Path
from types import ModuleType

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parents[2]
CONTAINER = ROOT / "container"
NAMES = ("build", "cpu", "gpu", "sbom")


def program(name: str) -> ModuleType:
    """One of the programs in container/, which are no package."""
    spec = importlib.util.spec_from_file_location(name, CONTAINER / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def lock(monkeypatch) -> ModuleType:
    monkeypatch.chdir(ROOT)
    return program("lock")


def entries(text: str) -> dict[str, tuple[Requirement, list[str]]]:
    """Requirement and hashes by package; fails at a line that is neither."""
    found: dict[str, tuple[Requirement, list[str]]] = {}
    for line in text.splitlines():
        if line.startswith("#"):
            continue
        content = line.removesuffix("\\").strip()
        if line.startswith(" "):
            list(found.values())[-1][1].append(content)
        else:
            requirement = Requirement(content)
            found[canonicalize_name(requirement.name)] = requirement, []
    return found


def versions(requirements: dict[str, tuple[Requirement, list[str]]]) -> dict[str, str]:
    return {name: str(requirement.specifier).removeprefix("==") for name, (requirement, _) in requirements.items()}


@pytest.mark.parametrize("name", NAMES)
def test_a_lock_has_the_versions_of_the_constraints_and_a_hash_for_each_file(name, lock):
    held = entries((CONTAINER / "locks" / f"{name}.txt").read_text("utf-8"))
    pins = lock.pins()
    pins["tensorflow-cpu"] = pins["tensorflow"]
    assert {n: v for n, v in versions(held).items() if pins.get(n) != v} == {}
    assert [n for n, (_, hashes) in held.items() if not hashes] == []
    kinds = {re.sub("[0-9a-f]{64}$", "", line) for _, hashes in held.values() for line in hashes}
    assert kinds == {"--hash=sha256:"}


@pytest.mark.parametrize("name", NAMES)
def test_a_lock_holds_what_setup_cfg_asks_for(name, lock):
    held = entries((CONTAINER / "locks" / f"{name}.txt").read_text("utf-8"))
    wanted = [Requirement(line) for line in lock.wanted()[name][0]]
    assert {canonicalize_name(item.name) for item in wanted} - set(held) == set()
    assert all(item.specifier.contains(versions(held)[canonicalize_name(item.name)]) for item in wanted)


def test_each_machine_gets_one_tensorflow():
    for name, on_x86 in (("cpu", "tensorflow-cpu"), ("gpu", "tensorflow")):
        held = entries((CONTAINER / "locks" / f"{name}.txt").read_text("utf-8"))
        for machine, expected in (("x86_64", on_x86), ("aarch64", "tensorflow")):
            chosen = [n for n in ("tensorflow", "tensorflow-cpu") if n in held and applies(held[n][0], machine)]
            assert chosen == [expected]
        cuda = {machine: [n for n in held if n.startswith("nvidia-") and applies(held[n][0], machine)]
                for machine in ("x86_64", "aarch64")}  # fmt: skip
        assert bool(cuda["x86_64"]) == (name == "gpu")
        assert cuda["aarch64"] == []


def applies(requirement: Requirement, machine: str) -> bool:
    return requirement.marker is None or requirement.marker.evaluate({"platform_machine": machine})


def test_of_a_condition_only_the_machine_is_kept(lock):
    both = "(platform_machine == 'aarch64' or platform_machine == 'x86_64') and sys_platform == 'linux'"
    one = "python_full_version < '3.12' and platform_machine == 'x86_64' and sys_platform == 'linux'"
    kept = [lock._machine_only(re.fullmatch(" ; (.+)", f" ; {condition}")) for condition in (both, one)]
    assert kept == ["", " ; platform_machine == 'x86_64'"]


def test_the_package_is_built_with_the_setuptools_of_the_lock(lock):
    config = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
    assert config["build-system"]["requires"] == [f"setuptools=={lock.pins()['setuptools']}"]


def test_nothing_is_installed_without_hash():
    text = (CONTAINER / "install.sh").read_text("utf-8").replace("\\\n", " ")
    installs = [line for line in text.splitlines() if re.search(r"^\s*pip_in .* install ", line)]
    assert len(installs) == 2
    assert all("--require-hashes" in line or "--no-index" in line for line in installs)
    assert all("--no-build-isolation" in line for line in text.splitlines() if re.search(r"^\s*pip_in .* wheel ", line))
    places = [text, *((ROOT / name).read_text("utf-8") for name in ("Dockerfile", "Singularity.def"))]
    assert not any(re.search(r"pip3? install|apt-get|curl|wget", place) for place in places)


def base_images() -> list[str]:
    """The images that the Dockerfile and Singularity.def begin with."""
    dockerfile = (ROOT / "Dockerfile").read_text("utf-8")
    given = dict(re.findall(r"^ARG (\w+)=(\S+)", dockerfile.split("\nFROM ")[0], re.MULTILINE))
    stages = set(re.findall(r"^FROM \S+ AS (\S+)", dockerfile, re.MULTILINE))
    named = [
        re.sub(r"\$\{(\w+)\}", lambda m: given[m[1]], n) for n in re.findall(r"^FROM (\S+)", dockerfile, re.MULTILINE)
    ]
    definition = (ROOT / "Singularity.def").read_text("utf-8")
    return [n for n in named if n not in stages] + re.findall(r"^From: (\S+)", definition, re.MULTILINE)


def test_every_base_image_is_named_by_the_same_digest():
    found = base_images()
    assert len(found) == 4
    assert {re.sub(r".*@(sha256:[0-9a-f]{64})$", "digest", name) for name in found} == {"digest"}
    (digest,) = {name.split("@")[1] for name in found}
    texts = [(ROOT / name).read_text("utf-8") for name in ("Dockerfile", "Singularity.def")]
    assert {d for text in texts for d in re.findall(r"sha256:[0-9a-f]{64}", text)} == {digest}
    assert len({t for text in texts for t in re.findall(r"python:[\w.-]+", text)}) == 1
    assert f'base.digest="{digest}"' in texts[0]


def test_a_new_base_image_is_written_everywhere(tmp_path, monkeypatch):
    base = program("base")
    for name in base.FILES:
        (tmp_path / name).write_text((ROOT / name).read_text("utf-8"), "utf-8")
    monkeypatch.chdir(tmp_path)
    before = re.search(r"python:[\w.-]+@sha256:\w+", Path("Dockerfile").read_text("utf-8"))[0]
    base.main("3.11.99-slim-trixie", f"sha256:{'0' * 64}")
    for name in base.FILES:
        text = Path(name).read_text("utf-8")
        assert "3.11.99-slim-trixie" in text and f"@sha256:{'0' * 64}" in text
        assert not any(part in text for part in before.removeprefix("python:").split("@"))
    with pytest.raises(SystemExit, match="expected a tag"):
        base.main("3.11.99-slim-trixie", "latest")


def test_the_list_of_what_is_installed_fits_its_schema(tmp_path, monkeypatch):
    """With the validator of CycloneDX; images check theirs while they are built."""
    pytest.importorskip("cyclonedx.validation.json", reason="needs cyclonedx-bom: make sbom")
    sbom = program("sbom")
    parts = [{"bom-ref": "a", "type": "library", "name": "bids_hypo", "version": "1.0"}]
    bill = {"bomFormat": "CycloneDX", "specVersion": "1.6", "metadata": {}, "components": parts, "dependencies": []}
    monkeypatch.setattr(sbom, "python_packages", lambda _: json.loads(json.dumps(bill)))
    system = sbom.system_packages()
    monkeypatch.setattr(sbom, "system_packages", lambda: system[:3])
    sbom.main(sys.executable, tmp_path / "share" / "list.json")
    written = json.loads((tmp_path / "share" / "list.json").read_text("utf-8"))
    assert written["metadata"]["component"]["version"] == "1.0"
    assert [item["name"] for item in written["components"]][:2] == ["bids_hypo", "cpython"]
    parts[0]["type"] = "no such type"
    with pytest.raises(SystemExit, match="does not fit the schema"):
        sbom.main(sys.executable, tmp_path / "other.json")
    assert not (tmp_path / "other.json").exists()
