"""The arguments of `bids_hypo`, in the habits of fMRIPrep and MRIQC."""

from __future__ import annotations

import argparse
from collections.abc import Collection
from pathlib import Path

from bids_hypo import __version__
from bids_hypo.cli.group import add_group_options
from bids_hypo.cli.parser import Parser


def build_parser() -> argparse.ArgumentParser:
    """The parser of the BIDS App's command line."""
    parser = Parser(
        prog="bids_hypo",
        description="Measure structures of the brain, such as the hypothalamus, and the intracranial volume on MRI.",
        epilog="Exit codes: 0 all done, 1 some scans failed, 16 not BIDS, 17 unknown level, 18 nothing selected, "
        "64 usage, 65 bad data, 66 no input, 73 cannot create the output, 74 input/output error.",
    )
    parser.add_argument("bids_dir", type=Path, metavar="BIDS_DIR", help="the BIDS dataset")
    parser.add_argument("output_dir", type=Path, metavar="OUTPUT_DIR", help="where the derivatives go")
    parser.add_argument("level", metavar="{participant,group}",
                        help="participant measures each scan; group compares groups from its results")  # fmt: skip
    _add_selection(parser.add_argument_group("which scans"))
    _add_processing(parser.add_argument_group("how to process (participant)"))
    _add_resources(parser.add_argument_group("resources (participant)"))
    add_group_options(parser.add_argument_group("what to compare (group)"))
    parser.add_argument("-v", "--verbose", action="count", default=0, help="say more (-vv: everything)")
    parser.add_argument("--version", action="version", version=f"bids_hypo {__version__}")
    return parser


def spell_options(args: argparse.Namespace, *, leave_out: Collection[str] = ()) -> list[str]:
    """Spell the options of a parsed command line again, for another process that may start in another folder.

    Parameters
    ----------
    args : Namespace
        By `build_parser`.
    leave_out : collection of str
        Names of attributes of `args`.

    Returns
    -------
    list of str
        Only options that differ from what holds unless told; paths absolute.
    """
    words: list[str] = []
    for action in build_parser()._actions:
        value = getattr(args, action.dest, None)
        if not action.option_strings or action.dest in leave_out or value is None or value == action.default:
            continue
        option = max(action.option_strings, key=len) if action.dest == "verbose" else action.option_strings[0]
        if action.nargs == 0:
            words += [option] * int(value)
        else:
            values = value if isinstance(value, list) else [value]
            words += [option, *(str(v.resolve()) if isinstance(v, Path) else str(v) for v in values)]
    return words


def _add_selection(group: argparse._ArgumentGroup) -> None:
    group.add_argument("--participant-label", "--participant_label", nargs="+", action="extend", metavar="LABEL",
                       help="subjects, with or without sub-, spaces or commas between; or a text file")  # fmt: skip
    for option, what in (
        ("--session-label", "sessions, with or without ses-"),
        ("--run-label", "runs, with or without run-"),
        ("--acquisition", "acquisitions, with or without acq-"),
    ):
        group.add_argument(option, nargs="+", action="extend", metavar="LABEL", help=what)
    group.add_argument("--bids-filter-file", type=Path, metavar="FILE", help="JSON with pybids filters for t1w")
    group.add_argument("--bids-database-dir", type=Path, metavar="DIR",
                       help="keep the index of the dataset here between runs")  # fmt: skip
    group.add_argument("--skip-bids-validation", "--skip_bids_validation", action="store_true",
                       help="accept a dataset without a dataset_description.json")  # fmt: skip


def _add_processing(group: argparse._ArgumentGroup) -> None:
    group.add_argument("--structures", nargs="+", action="extend", metavar="NAME",
                       help="what to measure (participant) or compare (group), or all; "
                       "by default the hypothalamus (participant), all that were measured (group)")  # fmt: skip
    group.add_argument("--maps", type=Path, nargs="+", action="extend", default=[], metavar="DIR",
                       help="further datasets to find images in, such as derivatives with R1 maps")  # fmt: skip
    group.add_argument("--models", type=Path, metavar="DIR", help="a folder of model bundles to use instead of ours")
    group.add_argument("--derivatives", type=Path, nargs="+", action="extend", default=[], metavar="DIR",
                       help="former output folders: complete results of the same models are taken over")  # fmt: skip
    group.add_argument("--fast", action="store_true",
                       help="one pass of one network of each structure: quicker, less steady")  # fmt: skip
    group.add_argument("--dry-run", action="store_true", help="say what would be done, write nothing (both levels)")
    how = group.add_mutually_exclusive_group()
    how.add_argument("--resume", action="store_true",
                     help="keep scans whose outputs are complete and made with the same models (default)")  # fmt: skip
    how.add_argument("--overwrite", action="store_true", help="do every scan again")
    group.add_argument("--reports-only", action="store_true",
                       help="make the figures and pages again from existing outputs")  # fmt: skip
    group.add_argument("--no-reports", action="store_true",
                       help="leave the pages to a later run (for many jobs on one OUTPUT_DIR)")  # fmt: skip
    group.add_argument("--use-edited", action="store_true",
                       help="count volumes in masks corrected by hand (desc-edited), without a network")  # fmt: skip
    group.add_argument("--stop-on-first-crash", action="store_true", help="stop at the first scan that fails")


def _add_resources(group: argparse._ArgumentGroup) -> None:
    group.add_argument("--device", default="auto", metavar="{auto,cpu,gpu,gpu:N}",
                       help="auto uses a GPU that works, else the CPU; gpu fails without one")  # fmt: skip
    group.add_argument("--nprocs", "--nthreads", "--n-cpus", type=int, default=1, metavar="N", help="scans at a time")
    group.add_argument("--omp-nthreads", type=int, metavar="N", help="threads of each process")
    group.add_argument("--mem", "--mem-gb", type=float, metavar="GB", help="memory for all processes together")
    group.add_argument("--batch-size", type=int, default=16, metavar="N", help="slices per call of a network")
    group.add_argument("--scheduler", metavar="ADDRESS",
                       help="work on this Dask cluster (tcp://host:8786) instead of this machine; or on jobs of a "
                       "queue (slurm, pbs, sge) described by --scheduler-config")  # fmt: skip
    group.add_argument("--scheduler-config", type=Path, metavar="FILE",
                       help="YAML with jobs, cores, memory, walltime and other settings of dask-jobqueue")  # fmt: skip
    group.add_argument("--array-script", choices=("slurm", "pbs", "parallel"),
                       help="print a script that processes the scans as an array of jobs, and end")  # fmt: skip
    group.add_argument("-w", "--work-dir", type=Path, metavar="DIR", help="folder for temporary files")
