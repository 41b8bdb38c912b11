"""Build the archive of the source and the wheel, and try the wheel where nothing of the repository can be seen.

``make dist`` runs it. Nothing is fetched: the wheel is installed without its dependencies, and uses those of the Python
that runs this.
"""

from __future__ import annotations

import os
import subprocess
import sys
import sysconfig
import tarfile
import tempfile
import venv
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
COMMANDS = ("bids_hypo", "bids_hypo_demo", "bids_hypo_train", "bids_hypo_evaluate", "bids_hypo_gui")
_BUILD = "import sys; from setuptools import build_meta; print(build_meta.build_{kind}(sys.argv[1]))"
# What has to be in the package as it was installed: every shipped model, whole by its checksum.
_MODELS = """
import bids_hypo
from bids_hypo.models.bundle import load_bundle
from pathlib import Path
package = Path(bids_hypo.__file__).parent
bundles = [load_bundle(path.parent) for path in sorted((package / "bundles").glob("*/bundle.json"))]
assert len(bundles) >= 3, bundles
print(package, *(bundle.name for bundle in bundles))
"""


def build(source: Path, out: Path) -> tuple[Path, Path]:
    """Build the archive of the source, and the wheel from what is in the archive.

    Parameters
    ----------
    source : Path
        The repository; is left as it is but for what setuptools writes into it.
    out : Path
        Gets both files.

    Returns
    -------
    archive, wheel : Path
    """
    out.mkdir(parents=True, exist_ok=True)
    archive = out / _hook("sdist", source, out)
    with tempfile.TemporaryDirectory() as folder:
        with tarfile.open(archive) as packed:
            packed.extractall(folder, filter="data")
        (unpacked,) = Path(folder).iterdir()
        return archive, out / _hook("wheel", unpacked, out)


def try_wheel(wheel: Path, folder: Path) -> str:
    """Install a wheel into a new environment and run each of its commands there.

    Parameters
    ----------
    wheel : Path
    folder : Path
        Gets the environment; is outside of the repository.

    Returns
    -------
    str
        Where the package lies, and the names of its models.

    Raises
    ------
    CalledProcessError
        If it cannot be installed, a command does not start, or a model is not whole.
    """
    venv.create(folder, with_pip=True)
    python = folder / "bin" / "python"
    _run(python, "-m", "pip", "install", "--quiet", "--no-deps", "--no-index", wheel, cwd=folder)
    own = _run(python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))", cwd=folder).strip()
    # A plain path: packages that the other environment has "in place", such as the repository, are not seen through it.
    (Path(own) / "dependencies.pth").write_text(sysconfig.get_path("purelib") + "\n")
    for command in COMMANDS:
        _run(folder / "bin" / command, "--help", cwd=folder)
    return _run(python, "-c", _MODELS, cwd=folder)


def _hook(kind: str, source: Path, out: Path) -> str:
    """Run a hook of the build system; returns the name of the file."""
    return _run(sys.executable, "-c", _BUILD.format(kind=kind), out.resolve(), cwd=source).strip().splitlines()[-1]


def _run(*words: str | Path, cwd: Path) -> str:
    """Run a program without the variables that lead Python elsewhere; returns what it prints."""
    variables = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "PIP_", "COV_"))}
    done = subprocess.run([*map(str, words)], cwd=cwd, env=variables, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        sys.stderr.write(done.stdout + done.stderr)
        done.check_returncode()
    return done.stdout


def main() -> int:
    """Build into ``dist`` and try the wheel."""
    archive, wheel = build(ROOT, ROOT / "dist")
    with tempfile.TemporaryDirectory() as folder:
        found = try_wheel(wheel, Path(folder) / "venv")
    sys.stdout.write(f"{archive}\n{wheel}\ninstalled and tried: {found}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
