"""bids_hypo: hypothalamus and intracranial volumes from T1-weighted MRI, as a BIDS App."""

from importlib.metadata import PackageNotFoundError, version

try:
    __version__ = version("bids_hypo")
except PackageNotFoundError:  # run from a source tree that was never installed
    __version__ = "0+unknown"

__all__ = ["__version__"]
