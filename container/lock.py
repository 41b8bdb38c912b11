"""Write the locks that images are built from: exact versions, and the hash of every file that may be installed.

``make lock`` runs this in the root of the repository. What is wanted comes from ``setup.cfg``, every version from
``constraints.txt`` (and ``container/constraints-gpu.txt``); a package that has no version there is an error. Hashes are
those of the public index; the locks name no index.
"""

from __future__ import annotations

import configparser
import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path

LOCKS = Path("container/locks")
CONSTRAINTS = (Path("constraints.txt"), Path("container/constraints-gpu.txt"))
EXTRAS = ("gui", "cluster")  # that a user of the image may need
MACHINES = ("x86_64", "aarch64")
SYSTEM = "python_full_version < '3.12' and sys_platform == 'linux'"


def pins() -> dict[str, str]:
    """The version of every package, by its name as an index spells it."""
    lines = [line.strip() for path in CONSTRAINTS for line in path.read_text("utf-8").splitlines()]
    pairs = [line.split("==") for line in lines if line and not line.startswith("#")]
    return {canonical(name): version for name, version in pairs}


def canonical(name: str) -> str:
    """The name of a package as an index spells it."""
    return re.sub(r"[-_.]+", "-", name).lower()


def libraries() -> list[str]:
    """What setup.cfg asks for, without TensorFlow, which each target chooses."""
    config = configparser.ConfigParser()
    config.read("setup.cfg", encoding="utf-8")
    extras = [config["options.extras_require"][name] for name in EXTRAS]
    lines = "\n".join([config["options"]["install_requires"], *extras]).splitlines()
    names = [line.strip() for line in lines if line.strip() and not line.startswith("#")]
    return [name for name in names if not re.match(r"tensorflow\b", name)]


def wanted() -> dict[str, tuple[list[str], list[str]]]:
    """For each lock what it must hold, and what takes the place of other packages' requirements.

    ``tensorflow-cpu`` is made for x86-64 only, and TensorFlow's CUDA libraries too; on aarch64 both targets take plain
    ``tensorflow``. ``tf_keras`` asks for ``tensorflow``, which must not come on top of ``tensorflow-cpu``.
    """
    version = pins()["tensorflow"]
    on_x86, on_arm = (f"platform_machine == '{machine}'" for machine in MACHINES)
    plain = f"tensorflow=={version}; {on_arm}"
    with_cuda = f"tensorflow[and-cuda]=={version}; {on_x86}"
    return {
        "build": (["setuptools", "wheel"], []),
        "sbom": (["cyclonedx-bom"], []),
        "cpu": ([*libraries(), f"tensorflow-cpu=={version}; {on_x86}", plain], [plain]),
        "gpu": ([*libraries(), with_cuda, plain], []),
    }


def compile_lock(requirements: list[str], overrides: list[str]) -> str:
    """The text of a lock."""
    environments = [f"{SYSTEM} and platform_machine == '{machine}'" for machine in MACHINES]
    clean = {name: value for name, value in os.environ.items() if not name.startswith(("UV_", "PIP_"))}
    with tempfile.TemporaryDirectory() as folder:  # of its own, so that no other settings of uv are found
        Path(folder, "pyproject.toml").write_text(f"[tool.uv]\nenvironments = {environments}\n", "utf-8")
        Path(folder, "wanted.txt").write_text("\n".join(requirements), "utf-8")
        Path(folder, "overrides.txt").write_text("\n".join(overrides), "utf-8")
        command = [sys.executable, "-m", "uv", "pip", "compile", "--quiet", "--universal", "--python-version", "3.11"]
        command += ["--generate-hashes", "--no-header", "--no-annotate", "--overrides", "overrides.txt", "wanted.txt"]
        for path in CONSTRAINTS:
            command += ["--constraints", str(path.resolve())]
        done = subprocess.run(command, cwd=folder, env=clean, stdout=subprocess.PIPE, text=True, check=True)
    return re.sub(r" ; (.+)(?= \\$)", _machine_only, done.stdout, flags=re.MULTILINE)


def _machine_only(match: re.Match[str]) -> str:
    """Of a condition what tells one machine from the other; the rest holds for every image."""
    machines = set(re.findall(r"platform_machine == '(\w+)'", match[1]))
    return f" ; platform_machine == '{machines.pop()}'" if len(machines) == 1 else ""


def main() -> None:
    """Write every lock, or say which packages have no version yet."""
    LOCKS.mkdir(exist_ok=True)
    known, absent = pins(), []
    known["tensorflow-cpu"] = known["tensorflow"]
    for name, (requirements, overrides) in wanted().items():
        text = compile_lock(requirements, overrides)
        found = re.findall(r"^([\w.-]+)(?:\[[^]]*\])?==([\w.+]+)", text, re.MULTILINE)
        absent += [f"{package}=={version}" for package, version in found if known.get(canonical(package)) != version]
        head = f"# Made by 'make lock' from setup.cfg and constraints.txt; do not edit. For: {name}.\n"
        (LOCKS / f"{name}.txt").write_text(head + text, "utf-8")
    if absent:
        sys.exit("constraints.txt lacks these; add them and run 'make lock' again:\n" + "\n".join(sorted(set(absent))))


if __name__ == "__main__":
    main()
