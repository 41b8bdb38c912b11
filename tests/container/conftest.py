"""What builds and runs images: docker, podman, or any program with the interface below.

The tests of images take minutes and need a builder, so they run only when asked for: `make image`, which sets
``BIDS_HYPO_TEST_IMAGES=1``. Without it, or without a builder, they are skipped and say so.

``BIDS_HYPO_CONTAINER_TOOL`` may name another program (a path) that takes the place of docker. It is called as::

    TOOL build  CONTEXT DOCKERFILE TAG [OPTIONS...]       options as of `docker build`
    TOOL run    TAG DATA_DIR OUT_DIR -- ARGUMENTS...      data read-only at /data, results at /out, no network,
                                                          read-only root, no capabilities; RUN_USER is the user
                                                          (UID:GID), RUN_OPTS more options of `docker run`; the exit
                                                          code is the container's
    TOOL podman ARGUMENTS...                              the engine itself, for `image inspect`
    TOOL sif    CONTEXT DEFINITION OUT.sif                as `apptainer build`
    TOOL sifrun OUT.sif DATA_DIR OUT_DIR -- ARGUMENTS...  as `apptainer run --containall`, without a network
"""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path

import pytest

from bids_hypo import __version__
from bids_hypo.demo import DemoSettings, write_demo_dataset

ASKED = "BIDS_HYPO_TEST_IMAGES"
TOOL = "BIDS_HYPO_CONTAINER_TOOL"
HARDENED = ("--read-only", "--cap-drop", "ALL", "--security-opt", "no-new-privileges", "--network", "none")


def pytest_configure(config: pytest.Config) -> None:
    """Name the marker of the tests that build images."""
    config.addinivalue_line("markers", "container: builds and runs images; only on `make image`")


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Tell the sizes that tests recorded."""
    for report in terminalreporter.stats.get("passed", []):
        for name, value in report.user_properties if report.when == "call" else ():
            terminalreporter.write_line(f"{name}: {value}")


@dataclass(frozen=True)
class Engine:
    """A way to build and run images.

    Attributes
    ----------
    name : str
        ``docker``, ``podman`` or ``tool`` (see the interface above).
    program : str
    """

    name: str
    program: str

    def build(self, context: Path, tag: str, *options: str) -> None:
        """Build the Dockerfile of a folder."""
        if self.name == "tool":
            call(self.program, "build", context, context / "Dockerfile", tag, *options)
        else:
            call(self.program, "build", "-t", tag, *options, context)

    def inspect(self, tag: str, template: str) -> str:
        """A property of an image, as a Go template."""
        engine = (self.program, "podman") if self.name == "tool" else (self.program,)
        return call(*engine, "image", "inspect", tag, "--format", template).stdout.strip()

    def run(self, tag: str, data: Path, out: Path, *arguments: str, user: str, options: str = "") -> Finished:
        """Run an image with everything taken away that it should not need."""
        out.mkdir(parents=True, exist_ok=True)
        if self.name != "docker":  # podman gives a read-only container writable /tmp and /run; docker does not
            options += " --read-only-tmpfs=false"
        if self.name == "tool":
            return call(self.program, "run", tag, data, out, "--", *arguments, check=False,
                        RUN_USER=user, RUN_OPTS=options)  # fmt: skip
        out.chmod(0o777)
        mounts = ("-v", f"{data}:/data:ro", "-v", f"{out}:/out")
        return call(self.program, "run", "--rm", *HARDENED, "--user", user, *options.split(), *mounts, tag, *arguments,
                    check=False)  # fmt: skip


@dataclass(frozen=True)
class Apptainer:
    """A way to build and run SIF files; see `Engine`."""

    name: str
    program: str

    def build(self, context: Path, definition: Path, sif: Path) -> None:
        """Build a definition file; its paths are relative to the context."""
        if self.name == "tool":
            call(self.program, "sif", context, definition, sif)
        else:
            call(self.program, "build", sif, definition, cwd=context)

    def run(self, sif: Path, data: Path, out: Path, *arguments: str) -> Finished:
        """Run a SIF file as the current user (or uid 1000 if that is root), contained and without a network."""
        out.mkdir(parents=True, exist_ok=True)
        if self.name == "tool":
            return call(self.program, "sifrun", sif, data, out, "--", *arguments, check=False, RUN_USER="1000:1000")
        binds = ("-B", f"{data}:/data:ro", "-B", f"{out}:/out")
        return call(self.program, "run", "--cleanenv", "--containall", *binds, sif, *arguments, check=False)


Finished = subprocess.CompletedProcess[str]


def call(*words: str | Path, check: bool = True, cwd: Path | None = None, **variables: str) -> Finished:
    """Run a program; on failure its last lines are the error."""
    done = subprocess.run(
        [str(w) for w in words], capture_output=True, text=True, check=False, cwd=cwd, env=os.environ | variables
    )
    if check and done.returncode:
        pytest.fail(f"{words[0]} {words[1]} ended with {done.returncode}:\n{done.stdout[-2000:]}{done.stderr[-4000:]}")
    return done


def works(*words: str) -> bool:
    """Whether a program is there and answers."""
    return shutil.which(words[0]) is not None and call(*words, check=False).returncode == 0


def asked_for() -> None:
    """Skip where images were not asked for."""
    if not os.environ.get(ASKED):
        pytest.skip(f"builds an image, which takes minutes: run `make image`, or set {ASKED}=1")


def let_others_in(folder: Path) -> Path:
    """Open a folder of pytest, and those above it, to the other users that containers run as."""
    stop = Path(tempfile.gettempdir())
    for place in (folder, *folder.parents)[:3]:
        if place != stop and place.stat().st_uid == os.getuid():
            place.chmod(0o755)
    return folder


@pytest.fixture(scope="session")
def engine() -> Engine:
    """Docker, podman or the program that stands in for them."""
    asked_for()
    if tool := os.environ.get(TOOL):
        return Engine("tool", tool)
    for name in ("docker", "podman"):
        if works(name, "info"):
            return Engine(name, name)
    pytest.skip(f"neither docker nor podman works here, and {TOOL} names no other program")


@pytest.fixture(scope="session")
def apptainer() -> Apptainer:
    """Apptainer, Singularity or the program that stands in for them."""
    asked_for()
    if tool := os.environ.get(TOOL):
        return Apptainer("tool", tool)
    for name in ("apptainer", "singularity"):
        if works(name, "version"):
            return Apptainer(name, name)
    pytest.skip(f"neither apptainer nor singularity works here, and {TOOL} names no other program")


@pytest.fixture(scope="session")
def image(engine: Engine, repository: Path) -> str:
    """The image of the cpu target, built."""
    tag = f"bids_hypo:{__version__}-cpu"
    engine.build(repository, tag, "--target", "cpu")
    return tag


@pytest.fixture(scope="session")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A demo dataset of four subjects, in a folder that other users may read."""
    folder = let_others_in(tmp_path_factory.mktemp("container"))
    write_demo_dataset(folder / "data", DemoSettings(n_subjects=4))
    return folder / "data"
