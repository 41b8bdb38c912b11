"""Scripts that process a dataset as an array of jobs: SLURM, PBS, GNU parallel."""

from __future__ import annotations

import math
import sys
from collections.abc import Sequence

from bids_hypo import __version__
from bids_hypo.bids.query import check_dataset, find_scans
from bids_hypo.errors import NothingSelectedError, UsageError
from bids_hypo.execute.participant import make_plan
from bids_hypo.models.catalog import find_models
from bids_hypo.untrusted import shell_words
from bids_hypo.workflow.options import RunOptions

MAX_TASKS = 1000  # SLURM's MaxArraySize is 1001 unless the site says otherwise
THREADS, MEMORY_GB = 2, 4.0
MINUTES_PER_SCAN, MIN_MINUTES = 5, 30  # ten times what a scan takes on two cores

# Attributes of the command line that the script settles itself.
HANDLED = (
    "array_script", "participant_label", "dry_run", "nprocs", "omp_nthreads", "mem", "overwrite", "no_reports",
    "scheduler", "scheduler_config",
)  # fmt: skip

_HEADS = {
    "slurm": """\
#SBATCH --job-name=bids_hypo
#SBATCH --array=0-{last}
#SBATCH --ntasks=1
#SBATCH --cpus-per-task={cpus}
#SBATCH --mem={memory_mb}M
#SBATCH --time={time}
{gpu}""",
    "pbs": """\
#PBS -N bids_hypo
{array}#PBS -l select=1:ncpus={cpus}:mem={memory_mb}mb{gpu}
#PBS -l walltime={time}
""",
    "parallel": "",
}
_TASKS = {
    "slurm": "task=${SLURM_ARRAY_TASK_ID:?not set: hand this file in with sbatch}",
    "pbs": "task=${PBS_ARRAY_INDEX:-${PBS_ARRAYID:-0}}",
}
_TASK_BODY = """
participants=(
{labels}
)
per_task={chunk}

{task}
labels=("${{participants[@]:task * per_task:per_task}}")
if (( ${{#labels[@]}} == 0 )); then
    echo "task $task: there are only ${{#participants[@]}} participants, $per_task to a task" >&2
    exit 64
fi
exec "${{command[@]}}" --participant-label "${{labels[@]}}"
"""
_PARALLEL_BODY = """
participants=(
{labels}
)

run_some() {{
    {command}
    "${{command[@]}}" --participant-label "$@"
}}
export -f run_some
export SHELL="$BASH"  # parallel starts its jobs with it

# The status of parallel is the number of jobs that failed; ours is 1 if any did.
parallel --jobs {jobs} --max-args {chunk} run_some {{}} ::: "${{participants[@]}}" || exit 1
"""


def array_script(kind: str, options: RunOptions, spelled: Sequence[str]) -> str:
    """Write a script with one task for each participant that has a scan to process.

    Parameters
    ----------
    kind : str
        ``slurm``, ``pbs`` or ``parallel``.
    options : RunOptions
        Which scans, threads and memory.
    spelled : sequence of str
        The other options, to be passed on as they are.

    Returns
    -------
    str
        A bash script; more than `MAX_TASKS` participants share tasks.

    Raises
    ------
    NothingSelectedError
        If there is nothing to do.
    UsageError
        If the options and an array contradict each other.
    """
    if options.reports_only or options.scheduler:
        raise UsageError("--array-script is for processing; leave out --reports-only and --scheduler.")
    check_dataset(options.bids_dir, validate=not options.skip_bids_validation)
    catalog = find_models(options.models_dir, options.structures)
    scans, missing = find_scans(
        options.bids_dir, options.selection, suffixes=catalog.suffixes, maps=options.maps,
        database_dir=options.database_dir,
    )  # fmt: skip
    plan = make_plan(scans, missing, catalog, options)
    labels = sorted({scan.subject for scan in plan.todo})
    if not labels:
        raise NothingSelectedError(
            f"{options.output_dir}: all {len(plan.kept)} scans are complete; there is nothing to hand in. "
            "Give --overwrite to do them again."
        )
    chunk = math.ceil(len(labels) / MAX_TASKS) if kind != "parallel" else 1
    base = [sys.executable, "-m", "bids_hypo", str(options.bids_dir), str(options.output_dir), "participant", *spelled]
    command = f"command=({shell_words([*base, *_settled(kind, options)])})"
    listed = "\n".join(f"    {label}" for label in labels)
    parts = [_head(kind, options, len(labels), chunk, len(plan.todo)), _about(kind, len(labels), len(plan.todo), chunk)]
    if kind == "parallel":
        parts.append(_PARALLEL_BODY.format(labels=listed, command=command, jobs=_n_jobs(options), chunk=chunk))
    else:
        parts += [f"{command}\n", _TASK_BODY.format(labels=listed, chunk=chunk, task=_TASKS[kind])]
    asked_for = options.selection.participant_labels
    after = shell_words([*base, "--participant-label", *asked_for] if asked_for else base)
    parts.append(f"\n# At the end, to try once more what failed and to make the pages:\n#   {after}\n")
    return "".join(parts)


def _settled(kind: str, options: RunOptions) -> list[str]:
    """Options that the script settles; under ``parallel``, its jobs are the processes."""
    words = ["--no-reports", "--omp-nthreads", str(options.omp_nthreads or THREADS)]
    if options.overwrite:  # not in the command for the pages at the end
        words.append("--overwrite")
    if kind != "parallel":
        words += ["--nprocs", str(options.n_procs), "--mem", f"{_memory_gb(options):g}"]
    return words


def _memory_gb(options: RunOptions) -> float:
    return options.memory_gb or MEMORY_GB * options.n_procs


def _n_jobs(options: RunOptions) -> int:
    """Jobs at a time on this machine, as far as ``--mem`` allows."""
    if options.memory_gb is None:
        return options.n_procs
    return max(1, min(options.n_procs, int(options.memory_gb // MEMORY_GB)))


def _head(kind: str, options: RunOptions, n_labels: int, chunk: int, n_scans: int) -> str:
    n_tasks = math.ceil(n_labels / chunk)
    minutes = max(MIN_MINUTES, MINUTES_PER_SCAN * math.ceil(chunk * n_scans / n_labels))
    on_gpu = options.device.startswith("gpu")
    gpu = {"slurm": "#SBATCH --gres=gpu:1\n", "pbs": ":ngpus=1", "parallel": ""}[kind] if on_gpu else ""
    return "#!/bin/bash\n" + _HEADS[kind].format(
        last=n_tasks - 1,
        array=f"#PBS -J 0-{n_tasks - 1}\n" if n_tasks > 1 else "",  # PBS takes no array of one
        cpus=(options.omp_nthreads or THREADS) * options.n_procs,
        memory_mb=math.ceil(1024 * _memory_gb(options)),
        time=f"{minutes // 60:02d}:{minutes % 60:02d}:00",
        gpu=gpu,
    )


def _about(kind: str, n_labels: int, n_scans: int, chunk: int) -> str:
    start = {"slurm": "sbatch FILE", "pbs": "qsub FILE", "parallel": "bash FILE"}[kind]
    share = "one a task" if chunk == 1 else f"{chunk} a task"
    return (
        f"\n# bids_hypo {__version__}: {n_scans} scans of {n_labels} participants, {share}. Start it with: {start}\n"
        "# Complete scans are skipped, so it may be started again. For a container, put its call (singularity run\n"
        "# ...) in place of the first words of the command.\n\n"
        "set -u\n"
    )
