"""Workers as jobs of a queue (SLURM, PBS, SGE) through dask-jobqueue, described by a small YAML file."""

from __future__ import annotations

import logging
import shutil
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from bids_hypo.ending import undone_at_end
from bids_hypo.errors import NoInputError, UsageError

logger = logging.getLogger(__name__)

# Name on the command line: class of dask-jobqueue, command that hands in a job.
QUEUES = {"slurm": ("SLURMCluster", "sbatch"), "pbs": ("PBSCluster", "qsub"), "sge": ("SGECluster", "qsub")}
REQUIRED = ("jobs", "cores", "memory", "walltime")


def read_job_file(path: Path) -> dict[str, Any]:
    """Read the description of the jobs.

    Parameters
    ----------
    path : Path
        YAML with ``jobs`` (how many), ``cores``, ``memory`` and ``walltime`` of each; further keys are those of
        dask-jobqueue, such as ``queue``, ``account``, ``job_extra_directives``; ``security`` may hold paths of
        certificates, by the names of `distributed.Security`.

    Returns
    -------
    dict
        With one process a job unless told.

    Raises
    ------
    NoInputError, UsageError
        If the file cannot be read, is no such YAML or lacks a key.
    """
    import yaml

    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise NoInputError(f"{path}: the file of --scheduler-config cannot be read ({error}).") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise UsageError(f"{path}: not a YAML file ({error}); correct it.") from error
    if not isinstance(content, dict):
        raise UsageError(f"{path}: found {type(content).__name__}; expected keys such as {', '.join(REQUIRED)}.")
    absent = [key for key in REQUIRED if content.get(key) is None]
    if absent:
        raise UsageError(f"{path}: {', '.join(absent)} missing; expected are {', '.join(REQUIRED)}.")
    jobs = content["jobs"]
    if isinstance(jobs, bool) or not isinstance(jobs, int) or jobs < 1:
        raise UsageError(f"{path}: jobs is {jobs!r}; expected a whole number of at least 1.")
    if not isinstance(content["walltime"], str):  # YAML reads 02:00:00 as a number of seconds
        raise UsageError(f"{path}: walltime is {content['walltime']!r}; put it in quotes, such as '02:00:00'.")
    return {"processes": 1, **content}


@contextmanager
def job_cluster(kind: str, config: Path | None) -> Iterator[Any]:
    """Start a scheduler in this process and hand in jobs for its workers; they end with the block.

    Parameters
    ----------
    kind : str
        One of `QUEUES`.
    config : Path or None
        See `read_job_file`.

    Yields
    ------
    dask_jobqueue.JobQueueCluster

    Raises
    ------
    UsageError
        If dask-jobqueue is not installed, the description does not fit, or the queue does not take the jobs.
    """
    if config is None:
        raise UsageError(
            f"--scheduler {kind}: give --scheduler-config FILE, a YAML with {', '.join(REQUIRED)}; see "
            "docs/howto/clusters.md."
        )
    dask_jobqueue = _dask_jobqueue(kind)
    settings = read_job_file(config)
    class_name, command = QUEUES[kind]
    if shutil.which(command) is None:
        raise UsageError(f"--scheduler {kind}: there is no {command} here; run it where jobs are handed in.")
    n_jobs = settings.pop("jobs")
    try:
        if isinstance(settings.get("security"), dict):
            from distributed import Security

            settings["security"] = Security(**settings["security"])
        cluster = getattr(dask_jobqueue, class_name)(**settings)
    except (TypeError, ValueError, RuntimeError, OSError, ImportError) as error:  # security: true needs cryptography
        raise UsageError(f"{config}: dask-jobqueue cannot use it ({error}); correct the file.") from error
    with cluster, undone_at_end(cluster.close):
        try:
            cluster.scale(jobs=n_jobs)
            cluster.sync(_settled, cluster)
        except (RuntimeError, ValueError, OSError) as error:
            raise UsageError(f"{config}: {command} did not take a job ({error}); correct the file.") from error
        yield cluster


def _dask_jobqueue(kind: str) -> Any:
    """Import dask-jobqueue without its handler of Ctrl-C, which would end the process before we can tidy up."""
    handler = signal.getsignal(signal.SIGINT)
    try:
        import dask_jobqueue
    except ImportError as error:
        raise UsageError(f"--scheduler {kind} needs dask-jobqueue: pip install 'bids_hypo[cluster]'.") from error
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGINT, handler)
    return dask_jobqueue


async def _settled(cluster: Any) -> None:
    """Wait until the jobs are handed in; if the queue took none, hand one in again to raise what it says."""
    from distributed.core import Status

    await cluster
    refused = [job for job in cluster.workers.values() if job.job_id is None]
    try:
        if refused and len(refused) == len(cluster.workers):
            await refused[0]
    finally:
        for job in refused:
            job.status = Status.failed  # closing the cluster insists on it
    if refused:
        logger.warning("the queue took only %d of %d jobs", len(cluster.workers) - len(refused), len(cluster.workers))
