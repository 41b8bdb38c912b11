"""``make torture``: the command is killed, ended, starved and crowded, and must lose nothing by it.

Each step runs the command on four scans of the demo dataset, in processes of its own, and compares what it left with
an unbroken run, byte for byte. Only what differs by nature is left out: seconds per stage in the sidecars and on the
pages, and the checksums of those sidecars. The networks are stand-ins (`command.py`), so that all of it fits into a
quarter of an hour on two cores; on a busy machine ``--small`` takes scans of fewer voxels.

    python -m tests.torture [--seed N] [--only WORD] [--small]
"""

from __future__ import annotations

import argparse
import hashlib
import os
import random
import re
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from uuid import uuid4

from bids_hypo.demo import DemoSettings, write_demo_dataset
from tests.phantoms import make_bids_dataset

ROOT = Path(__file__).resolve().parents[2]
SIDE_BY_SIDE = 2
TOTAL_SECONDS = 14 * 60
END_SECONDS = 5.0  # after SIGTERM; docker kills after ten
N_KILLS, N_ENDS = 20, 6
N_SCANS = 4
MARK = "BIDS_HYPO_TORTURE"
ENDED = (143, -signal.SIGTERM)  # the second in the first moments, before the command has asked for signals
FAILED = (1, 73, 74)  # and said so


class SkippedError(Exception):
    """A step cannot be tried here."""


class Run:
    """One process of the command with all that it starts; they bear a mark, by which they are found."""

    def __init__(
        self, data: Path, out: Path, *more: str, env: dict[str, str | None] | None = None, log_in: Path | None = None,
        before: Sequence[str] = (), **how: object,
    ) -> None:  # fmt: skip
        self.mark = uuid4().hex
        self.log = (log_in or out.parent) / f"{out.name}-{self.mark[:6]}.log"
        self.tmp = out.with_name(f"{self.log.stem}-tmp")
        self.tmp.mkdir()
        given = {**os.environ, "PYTHONPATH": str(ROOT), "TMPDIR": str(self.tmp), MARK: self.mark, **(env or {})}
        command = [*before, sys.executable, "-m", "tests.torture.command", data, out, "participant", "--device", "cpu"]
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                [*map(str, command), *more], stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd=ROOT,
                env={name: value for name, value in given.items() if value is not None}, **how,
            )  # fmt: skip

    def family(self) -> list[int]:
        """Numbers of all living processes with our mark."""
        found = []
        for folder in Path("/proc").glob("[0-9]*"):
            try:
                marked = f"{MARK}={self.mark}".encode() in (folder / "environ").read_bytes().split(b"\0")
                if marked and (folder / "stat").read_text().rpartition(")")[2].split()[0] != "Z":
                    found.append(int(folder.name))
            except OSError:
                continue  # gone meanwhile, or another's
        return found

    def wait(self, seconds: float) -> int:
        try:
            return self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            for number in self.family():
                os.kill(number, signal.SIGKILL)
            self.process.wait()
            raise AssertionError(f"still running after {seconds:g} s") from None

    def told(self) -> str:
        return self.log.read_text(errors="replace")


def snapshot(out: Path) -> dict[str, str]:
    """Checksums of all files, by their path, without what differs between any two runs."""
    return {str(p.relative_to(out)): _digest(p) for p in sorted(out.rglob("*")) if p.is_file()}


def _digest(path: Path) -> str:
    content = path.read_bytes()
    if path.suffix == ".json":
        content = re.sub(rb'"Seconds": \{[^}]*\}', b"", content)
        content = re.sub(rb'(\.json": )"[0-9a-f]{64}"', rb"\1", content)
    elif path.suffix == ".html":
        content = re.sub(rb"<tr><td>Seconds</td>.*?</tr>", b"", content)
    return hashlib.sha256(content).hexdigest()


def check_same(out: Path, unbroken: dict[str, str]) -> None:
    now = snapshot(out)
    differing = sorted(name for name in now.keys() | unbroken.keys() if now.get(name) != unbroken.get(name))
    assert not differing, f"{len(differing)} files are not as after an unbroken run: {', '.join(differing[:4])}"


def check_nothing_half(run: Run, out: Path) -> None:
    """No process, no temporary file, no lock, and no result without the file that closes its set."""
    deadline = time.monotonic() + 1.0  # multiprocessing's own helper ends after the processes that it helps
    while (left := run.family()) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not left, f"{len(left)} processes stay"
    hidden = [p.name for p in out.rglob(".*") if p.name != ".bidsignore"]
    assert not hidden, f"left over: {', '.join(hidden[:4])}"
    assert not list(run.tmp.iterdir()), f"temporary files left: {[p.name for p in run.tmp.iterdir()]}"
    for folder in out.rglob("anat"):
        closed = list(folder.glob("*_desc-volumetric_morph.json"))
        assert closed or not list(folder.iterdir()), f"{folder}: results without their closing record"


class Torture:
    """The steps. Each takes a folder of its own and a seeded generator, and raises `AssertionError` if it breaks."""

    def __init__(self, folder: Path, *, small: bool) -> None:
        self.data, self.limit, self.slowest_end = folder / "data", TOTAL_SECONDS, 0.0
        if small:
            make_bids_dataset(self.data, [{"sub": f"0{n}"} for n in range(1, N_SCANS + 1)])
        else:
            write_demo_dataset(self.data, DemoSettings(n_subjects=N_SCANS - 1))  # one of them has two sessions
        begin = time.monotonic()
        self.finish(folder / "unbroken")
        self.seconds = time.monotonic() - begin
        self.limit = max(60.0, 8 * self.seconds)
        self.unbroken = snapshot(folder / "unbroken")
        self.n_bytes = sum(path.stat().st_size for path in (folder / "unbroken").rglob("anat/*"))

    def finish(self, out: Path, *more: str, **how: object) -> None:
        """Run the command to a good end."""
        run = Run(self.data, out, *more, **how)
        code = run.wait(self.limit)
        assert code == 0, f"exit {code}: {run.told()[-500:]}"

    def resumed(self, out: Path, *more: str, **how: object) -> None:
        self.finish(out, *more, **how)
        check_same(out, self.unbroken)

    def in_its_middle(self, chance: random.Random) -> None:
        time.sleep(chance.uniform(0.3, 1.3 * self.seconds))  # others run beside, so it may take longer than alone

    def kill(self, folder: Path, chance: random.Random, n_procs: int) -> None:
        out = folder / "out"
        run = Run(self.data, out, "--nprocs", str(n_procs))
        self.in_its_middle(chance)
        run.process.kill()
        run.wait(30)
        deadline = time.monotonic() + END_SECONDS
        while (left := run.family()) and time.monotonic() < deadline:
            time.sleep(0.05)
        assert not left, f"{len(left)} orphans {END_SECONDS:g} s after kill -9"
        self.resumed(out, "--nprocs", str(n_procs))

    def end(self, folder: Path, chance: random.Random, n_procs: int) -> None:
        out = folder / "out"
        run = Run(self.data, out, "--nprocs", str(n_procs))
        self.in_its_middle(chance)
        begin = time.monotonic()
        run.process.terminate()
        code = run.wait(30)
        took = time.monotonic() - begin
        self.slowest_end = max(self.slowest_end, took)
        assert code in (*ENDED, 0), f"exit {code}: {run.told()[-300:]}"
        assert took < END_SECONDS, f"took {took:.1f} s to end"
        check_nothing_half(run, out)
        self.resumed(out, "--nprocs", str(n_procs))

    def full_disk(self, folder: Path, _chance: random.Random) -> None:
        with tmpfs(folder / "disk", f"{self.n_bytes // 2}") as disk:
            run = Run(self.data, out := disk / "out", log_in=folder)
            code = run.wait(self.limit)
            assert code in FAILED and "No space left" in run.told(), f"exit {code}: {run.told()[-300:]}"
            assert not [p.name for p in out.rglob(".*") if p.suffix in (".part", ".lock")], "files left over"
            mount("-o", "remount,size=500m", str(disk))
            self.resumed(out)

    def read_only(self, folder: Path, _chance: random.Random) -> None:
        before = []
        if os.geteuid() == 0:
            before = ["setpriv", "--bounding-set=-dac_override,-dac_read_search", "--inh-caps=-all"]
            if shutil.which("setpriv") is None or subprocess.run([*before, "true"], check=False).returncode:
                raise SkippedError("root cannot give up its rights here")
        out = folder / "out"
        run = Run(self.data, out, before=before)
        while not list(out.rglob("*_morph.json")) and run.process.poll() is None:
            time.sleep(0.02)
        folders = [out, *(p for p in out.rglob("*") if p.is_dir())]
        for path in folders:
            path.chmod(0o555)
        code = run.wait(self.limit)
        for path in folders:
            path.chmod(0o755)
        assert code in (*FAILED, 0) and "Traceback" not in run.told(), f"exit {code}: {run.told()[-300:]}"
        self.resumed(out)

    def two_runs(self, folder: Path, _chance: random.Random) -> None:
        out = folder / "out"
        runs = [Run(self.data, out) for _ in range(2)]
        codes = [run.wait(self.limit) for run in runs]
        assert codes == [0, 0], f"exit {codes}: {''.join(run.told()[-300:] for run in runs)}"
        check_nothing_half(runs[0], out)
        check_same(out, self.unbroken)

    def no_home(self, folder: Path, _chance: random.Random) -> None:
        self.resumed(folder / "out", env={"HOME": None})

    def plain_c(self, folder: Path, _chance: random.Random) -> None:
        self.resumed(folder / "out", env={"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"})

    def few_files(self, folder: Path, _chance: random.Random) -> None:
        few = {"preexec_fn": lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (64, 64))}
        self.resumed(folder / "out", "--nprocs", "2", **few)

    def steps(self) -> list[tuple[str, Callable[[Path, random.Random], None]]]:
        def with_procs(step: Callable[..., None], n: int) -> Callable[[Path, random.Random], None]:
            return lambda folder, chance: step(folder, chance, n)

        few = [
            ("disk full", self.full_disk), ("output read-only half-way", self.read_only),
            ("two runs on one output", self.two_runs), ("no HOME", self.no_home), ("LC_ALL=C", self.plain_c),
            ("ulimit -n 64", self.few_files),
        ]  # fmt: skip
        kills = [(f"kill -9, --nprocs {1 + n % 2}", with_procs(self.kill, 1 + n % 2)) for n in range(N_KILLS)]
        ends = [(f"SIGTERM, --nprocs {1 + n % 2}", with_procs(self.end, 1 + n % 2)) for n in range(N_ENDS)]
        return few + ends + kills


def mount(*arguments: str) -> None:
    subprocess.run(["mount", *arguments], check=True, capture_output=True)


@contextmanager
def tmpfs(place: Path, size: str) -> Iterator[Path]:
    """A small disk in memory."""
    place.mkdir()
    try:
        mount("-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(place))
    except (OSError, subprocess.CalledProcessError):
        raise SkippedError("only root may mount a small disk, and not in every container") from None
    try:
        yield place
    finally:
        subprocess.run(["umount", "--lazy", str(place)], check=False)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(10**6))
    parser.add_argument("--only", default="", help="steps whose name holds this")
    parser.add_argument("--small", action="store_true", help="scans of fewer voxels than the demo's")
    parser.add_argument("--jobs", type=int, default=SIDE_BY_SIDE)
    args = parser.parse_args()
    begin = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="torture-") as name:
        torture = Torture(Path(name), small=args.small)
        steps = [step for step in torture.steps() if args.only in step[0]]
        print(f"seed {args.seed}; an unbroken run takes {torture.seconds:.0f} s; {len(steps)} steps", flush=True)

        def attempt(number: int) -> str:
            what, step = steps[number]
            folder = Path(name, f"step-{number}")
            folder.mkdir()
            try:
                if time.monotonic() - begin > TOTAL_SECONDS:
                    raise AssertionError(f"not tried: {TOTAL_SECONDS} s are over")
                step(folder, random.Random(f"{args.seed} {number}"))
                outcome, why = "held", ""
            except SkippedError as reason:
                outcome, why = "skipped", f": {reason}"
            except Exception as error:  # a step that breaks must not keep the others from being tried
                outcome, why = "BROKEN", f": {type(error).__name__} {error}"
            shutil.rmtree(folder, ignore_errors=True)
            print(f"{outcome:8}{what}{why}", flush=True)
            return outcome

        with ThreadPoolExecutor(args.jobs) as pool:
            outcomes = list(pool.map(attempt, range(len(steps))))
    counts = {outcome: outcomes.count(outcome) for outcome in ("held", "BROKEN", "skipped")}
    print(f"slowest end after SIGTERM {torture.slowest_end:.1f} s; {time.monotonic() - begin:.0f} s in all")
    print(f"{counts['held']} held, {counts['BROKEN']} broken, {counts['skipped']} skipped (seed {args.seed})")
    return 1 if counts["BROKEN"] else 0


if __name__ == "__main__":
    sys.exit(main())
