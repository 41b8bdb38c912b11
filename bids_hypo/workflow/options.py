"""Options of a run, made once from the parsed arguments."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bids_hypo.bids.query import Selection
from bids_hypo.image.limits import VoxelLimit
from bids_hypo.structures import DEFAULT_STRUCTURES


@dataclass(frozen=True)
class RunOptions:
    """What a participant-level run was asked to do.

    Attributes
    ----------
    bids_dir, output_dir : Path
    selection : Selection
        Which scans.
    structures : tuple of str
        What to measure, by name, or ``all``.
    maps : tuple of Path
        Further datasets (of derivatives) to find images in.
    database_dir, models_dir : Path or None
    derivatives : tuple of Path
        Former output folders whose complete results are taken over.
    skip_bids_validation, dry_run, overwrite, stop_on_first_crash, fast, reports_only, use_edited : bool
    no_reports : bool
        Leave pages and methods text to a later run; for many jobs on one output folder.
    n_procs : int
        Scans at a time.
    omp_nthreads : int or None
        Threads of each process.
    memory_gb : float or None
        Bound for all processes together.
    device : str
        As given: auto, cpu, gpu, gpu:N.
    batch_size : int
        Slices per call of a network.
    overlap : int
        Scans in work at a time in one process; decided by the run.
    voxel_limit : VoxelLimit or None
        How large a scan may be; decided by the run, from ``memory_gb`` and the scans in work at a time. None where it
        follows from the memory of the machine that works.
    scheduler : str or None
        Address of a Dask scheduler to work on, or the kind of queue to start one for (slurm, pbs, sge).
    scheduler_config : Path or None
        Describes the jobs of such a queue.
    """

    bids_dir: Path
    output_dir: Path
    selection: Selection = field(default_factory=Selection)
    structures: tuple[str, ...] = DEFAULT_STRUCTURES
    maps: tuple[Path, ...] = ()
    database_dir: Path | None = None
    models_dir: Path | None = None
    derivatives: tuple[Path, ...] = ()
    skip_bids_validation: bool = False
    dry_run: bool = False
    overwrite: bool = False
    stop_on_first_crash: bool = False
    fast: bool = False
    reports_only: bool = False
    use_edited: bool = False
    no_reports: bool = False
    n_procs: int = 1
    omp_nthreads: int | None = None
    memory_gb: float | None = None
    device: str = "auto"
    batch_size: int = 16
    overlap: int = 1
    voxel_limit: VoxelLimit | None = None
    scheduler: str | None = None
    scheduler_config: Path | None = None

    @property
    def settings(self) -> dict[str, Any]:
        """Options that change a result; scans made with others are done again."""
        return {"Fast": self.fast}
