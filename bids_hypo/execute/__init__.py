"""Where the work runs: this process, several local ones, a Dask cluster, an array of jobs."""
