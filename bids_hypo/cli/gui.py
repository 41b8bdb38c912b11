"""``bids_hypo_gui`` (or ``bids_hypo gui``): the page for people who do not program."""

from __future__ import annotations

import argparse
import logging
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from bids_hypo import __version__
from bids_hypo.cli.checks import check_new_folder
from bids_hypo.cli.parser import Parser
from bids_hypo.cli.running import run_command
from bids_hypo.errors import ExitCode, NoInputError, UsageError

if TYPE_CHECKING:
    from bids_hypo.gui.options import GuiOptions

MAX_PORT = 65535
TOTAL_PER_UPLOAD = 20
IN_CONTAINER = (Path("/.dockerenv"), Path("/run/.containerenv"))  # Docker; Podman. Apptainer shares the host's network


def build_parser() -> argparse.ArgumentParser:
    """The command's options."""
    parser = Parser(
        prog="bids_hypo_gui",
        description="Open a page in the browser to measure scans without typing commands. Uploads stay on this "
        "computer and are deleted when the page is closed.",
    )
    parser.add_argument(
        "--host", default="127.0.0.1", metavar="ADDRESS",
        help="where to listen (default: 127.0.0.1, this computer only; 0.0.0.0: everywhere)",
    )  # fmt: skip
    parser.add_argument("--port", type=int, default=7860, metavar="N", help="port (default: 7860)")
    parser.add_argument(
        "--allow-host", action="append", default=[], metavar="NAME[:PORT]",
        help="answer to this name in the browser's address too, such as that of a proxy in front of the page (may be "
        "given several times; this computer, --host and, where others can reach the page, IP addresses always are)",
    )  # fmt: skip
    parser.add_argument("--auth", metavar="USER:PASSWORD-FILE",
                        help="ask for this user and the password in the first line of the file")  # fmt: skip
    parser.add_argument("--max-upload-mb", type=int, default=500, metavar="MB",
                        help="largest file that is taken (default: 500)")  # fmt: skip
    parser.add_argument("--max-total-mb", type=int, metavar="MB",
                        help="disk space for the uploads and results of all pages together (default: 20 times "
                        "--max-upload-mb)")  # fmt: skip
    parser.add_argument("--max-sessions", type=int, default=50, metavar="N",
                        help="pages with uploads or results at the same time (default: 50)")  # fmt: skip
    parser.add_argument("--data", type=Path, metavar="DIR",
                        help="BIDS folders may be chosen inside DIR only, and no link may lead out of it; without it, "
                        "anywhere if only this computer can reach the page, else nowhere")  # fmt: skip
    parser.add_argument("--models", type=Path, metavar="DIR", help="a folder of model bundles to use instead of ours")
    parser.add_argument("--device", default="auto", metavar="{auto,cpu,gpu,gpu:N}", help="as in bids_hypo")
    parser.add_argument("--omp-nthreads", type=int, metavar="N", help="threads to compute with")
    parser.add_argument(
        "-w", "--work-dir", type=Path, metavar="DIR",
        help="where uploads and results lie while a page is open (default: the temporary folder)",
    )  # fmt: skip
    parser.add_argument("-v", "--verbose", action="count", default=0, help="say more (-vv: everything)")
    parser.add_argument("--version", action="version", version=f"bids_hypo {__version__}")
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command.

    Parameters
    ----------
    argv : sequence of str, optional
        Arguments after the program's name; those of the process unless told.

    Returns
    -------
    int
        An `ExitCode`: 0 stopped by the user, 64 usage, 66 no password file, 73 the port is taken.
    """
    return run_command(build_parser(), argv, _serve)


def make_options(args: argparse.Namespace) -> GuiOptions:
    """Turn parsed arguments into `GuiOptions`.

    Raises
    ------
    UsageError
        For values that cannot be used.
    NoInputError
        If the password file or the data folder cannot be read.
    """
    from bids_hypo.gui.door import allowed_place
    from bids_hypo.gui.options import GuiOptions, Limits
    from bids_hypo.models.device import parse_device

    parse_device(args.device)
    if not 1 <= args.port <= MAX_PORT:
        raise UsageError(f"--port {args.port}: expected 1 to {MAX_PORT}.")
    for name in ("max_upload_mb", "max_total_mb", "max_sessions", "omp_nthreads"):
        value = getattr(args, name)
        if value is not None and value < 1:
            raise UsageError(f"--{name.replace('_', '-')} {value}: expected a number of at least 1.")
    total_mb = args.max_total_mb or TOTAL_PER_UPLOAD * args.max_upload_mb
    if total_mb < args.max_upload_mb:
        raise UsageError(f"--max-total-mb {total_mb}: one file may have {args.max_upload_mb} MB (--max-upload-mb); "
                         "expected at least as much.")  # fmt: skip
    for name in args.allow_host:
        allowed_place(name)
    if args.data is not None and not args.data.is_dir():
        raise NoInputError(f"--data {args.data}: there is no such folder.")
    if args.work_dir is not None:
        check_new_folder(args.work_dir, "--work-dir")
        args.work_dir.mkdir(parents=True, exist_ok=True)
    limits = Limits(upload_mb=args.max_upload_mb, unpacked_mb=4 * args.max_upload_mb, total_mb=total_mb,
                    sessions=args.max_sessions)  # fmt: skip
    return GuiOptions(
        host=args.host.strip("[]"), port=args.port, auth=None if args.auth is None else read_auth(args.auth),
        allow_hosts=tuple(args.allow_host), limits=limits, device=args.device, omp_nthreads=args.omp_nthreads,
        models_dir=args.models, data_root=args.data,
        work_dir=None if args.work_dir is None else args.work_dir.resolve(),
    )  # fmt: skip


def read_auth(given: str) -> tuple[str, str]:
    """User and password from ``USER:PASSWORD-FILE``; a password among the arguments could be seen by others.

    Raises
    ------
    UsageError
        If the form is another, or the password is empty.
    NoInputError
        If the file cannot be read.
    """
    user, _, name = given.partition(":")
    if not user or not name:
        raise UsageError(f"--auth {given}: expected USER:PASSWORD-FILE, such as clinic:/run/secrets/password.")
    try:
        lines = Path(name).read_text("utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise NoInputError(f"--auth: the password file {name} cannot be read ({error}).") from error
    password = lines[0].strip() if lines else ""
    if not password:
        raise UsageError(f"--auth: the first line of {name} is empty; it has to be the password.")
    return user, password


def _serve(args: argparse.Namespace) -> int:
    options = make_options(args)
    from bids_hypo.gui.server import serve

    for name in ("httpx", "httpcore", "uvicorn", "asyncio"):
        logging.getLogger(name).setLevel(logging.WARNING)
    _log_apart()
    serve(options, started=lambda address: print(_welcome(address, options), flush=True))
    return ExitCode.OK


def _log_apart() -> None:
    """Log to a copy of standard error: that itself is held back while the networks load, and people come meanwhile."""
    for handler in logging.getLogger().handlers:
        if isinstance(handler, logging.StreamHandler) and handler.stream is sys.stderr:
            handler.setStream(os.fdopen(os.dup(sys.stderr.fileno()), "w", buffering=1, errors="backslashreplace"))


def _welcome(address: str, options: GuiOptions) -> str:
    if options.local and any(mark.exists() for mark in IN_CONTAINER):
        return (
            f"The page listens on {address} inside this container, where no browser can reach it. Start it with: "
            f"docker run -p 127.0.0.1:{options.port}:{options.port} ... gui --host 0.0.0.0"
        )
    return f"Open {address} in a browser. Ctrl-C stops it."


if __name__ == "__main__":
    sys.exit(main())
