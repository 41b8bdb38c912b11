"""bids_hypo: volumes of brain structures, such as the hypothalamus, from MRI, as a BIDS App.

For other programs there are `segment` and `load_models`; see `bids_hypo.api`.
"""

from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from bids_hypo.api import Segmented, load_models, segment

try:
    __version__ = version("bids_hypo")
except PackageNotFoundError:  # run from a source tree that was never installed
    __version__ = "0+unknown"

__all__ = ["Segmented", "__version__", "load_models", "segment"]


def __getattr__(name: str) -> Any:
    """Load the public API when it is first used: the command line need not wait for it."""
    if name in ("Segmented", "load_models", "segment"):
        return getattr(import_module("bids_hypo.api"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
