"""`bids_hypo BIDS_DIR OUTPUT_DIR {participant,group}`: the BIDS App."""

from __future__ import annotations

import argparse
import logging
import sys
from typing import TYPE_CHECKING

from bids_hypo import __version__
from bids_hypo.cli import group, gui
from bids_hypo.cli.arguments import build_parser, spell_options
from bids_hypo.cli.checks import check_folders, check_new_folder
from bids_hypo.cli.running import run_command, say
from bids_hypo.cli.scratch import choose_scratch
from bids_hypo.errors import ExitCode, UsageError

if TYPE_CHECKING:
    from bids_hypo.workflow.options import RunOptions
    from bids_hypo.workflow.result import ScanResult

logger = logging.getLogger("bids_hypo")

LEVELS = ("participant", "group")


def main(argv: list[str] | None = None) -> int:
    """Run the BIDS App; returns an exit code (see docs/reference/usage.md)."""
    given = sys.argv[1:] if argv is None else argv
    if given[:1] == ["gui"] and not (given[1:] and not given[1].startswith("-")):  # else a dataset called gui
        return gui.main(given[1:])
    return run_command(build_parser(), argv, _run_level)


def _run_level(args: argparse.Namespace) -> int:
    if args.level not in LEVELS:
        logger.error("analysis level %r: expected one of: %s.", args.level, ", ".join(LEVELS))
        return ExitCode.INVALID_LEVEL
    if args.dry_run:
        check_new_folder(args.work_dir, "--work-dir")
    elif not args.array_script:
        choose_scratch(args.work_dir, args.output_dir)
    return group.run(args) if args.level == "group" else _participant(args)


def _participant(args: argparse.Namespace) -> ExitCode:
    options = make_options(args)
    if args.array_script:
        return _print_array_script(args, options)
    from bids_hypo.execute.participant import run_participant

    code, results = run_participant(options)
    _print_summary(results, options)
    return code


def _print_array_script(args: argparse.Namespace, options: RunOptions) -> ExitCode:
    from bids_hypo.execute.array_script import HANDLED, array_script

    print(array_script(args.array_script, options, spell_options(args, leave_out=HANDLED)), end="")
    return ExitCode.OK


def make_options(args: argparse.Namespace) -> RunOptions:
    """Turn parsed arguments into `RunOptions`.

    Raises
    ------
    UsageError
        For values that cannot be used together.
    NoInputError
        If a folder or file that is named does not exist.
    """
    from bids_hypo.bids.selection import Selection, normalise_labels, read_filter_file
    from bids_hypo.structures import DEFAULT_STRUCTURES
    from bids_hypo.workflow.options import RunOptions

    for name in ("nprocs", "omp_nthreads", "batch_size"):
        value = getattr(args, name)
        if value is not None and value < 1:
            raise UsageError(f"--{name.replace('_', '-')} {value}: expected a number of at least 1.")
    if args.mem is not None and args.mem <= 0:
        raise UsageError(f"--mem {args.mem}: expected gigabytes above 0.")
    if args.reports_only and args.overwrite:
        raise UsageError("--reports-only draws from existing outputs; it cannot be combined with --overwrite.")
    if args.reports_only and args.no_reports:
        raise UsageError("--reports-only and --no-reports contradict each other; leave one out.")
    if args.scheduler_config is not None and args.scheduler is None:
        raise UsageError("--scheduler-config describes the jobs of a queue; give --scheduler slurm, pbs or sge, too.")
    check_folders(args.derivatives, "--derivatives")
    check_folders(args.maps, "--maps")
    selection = Selection(
        participant_labels=normalise_labels(args.participant_label, "sub"),
        session_labels=normalise_labels(args.session_label, "ses"),
        run_labels=normalise_labels(args.run_label, "run"),
        acquisitions=normalise_labels(args.acquisition, "acq"),
        filters=read_filter_file(args.bids_filter_file) if args.bids_filter_file else {},
    )
    return RunOptions(
        bids_dir=args.bids_dir.resolve(),
        output_dir=args.output_dir.resolve(),
        selection=selection,
        structures=tuple(dict.fromkeys(args.structures or DEFAULT_STRUCTURES)),
        maps=tuple(path.resolve() for path in args.maps),
        database_dir=args.bids_database_dir,
        models_dir=args.models,
        derivatives=tuple(path.resolve() for path in args.derivatives),
        skip_bids_validation=args.skip_bids_validation,
        dry_run=args.dry_run,
        overwrite=args.overwrite,
        stop_on_first_crash=args.stop_on_first_crash,
        fast=args.fast,
        reports_only=args.reports_only,
        use_edited=args.use_edited,
        no_reports=args.no_reports,
        n_procs=args.nprocs,
        omp_nthreads=args.omp_nthreads,
        memory_gb=args.mem,
        device=args.device,
        batch_size=args.batch_size,
        scheduler=args.scheduler,
        scheduler_config=args.scheduler_config,
    )


def _print_summary(results: list[ScanResult], options: RunOptions) -> None:
    from bids_hypo.execute.participant import summary_table

    table = summary_table(results)
    say(table.to_string(index=False, na_rep="-", float_format=lambda x: f"{x:.1f}"), table=True)
    counts = ", ".join(f"{n} {status}" for status, n in table["status"].value_counts().items())
    say(f"bids_hypo {__version__}: {counts}. Results: {options.output_dir}")
    for result in results:
        if result.error:
            say(f"{result.status.upper()} {result.name}: {result.error}", file=sys.stderr)


if __name__ == "__main__":
    sys.exit(main())
