"""Where models are found: shipped with the package, or in a folder of the user's."""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path

from bids_hypo.errors import ModelError
from bids_hypo.models.bundle import DESCRIPTION, ModelBundle, load_bundle

ANATOMY = "anatomy"
HYPOTHALAMUS = "hypothalamus"
ICV = "icv"


def find_bundles(models_dir: Path | None = None) -> dict[str, ModelBundle]:
    """All bundles that participant level uses, by name: two always, ``icv`` if the user's folder holds one.

    Parameters
    ----------
    models_dir : Path, optional
        A folder of bundle folders; what it lacks comes from the package.
    """
    names = [ANATOMY, HYPOTHALAMUS]
    if models_dir is not None and (models_dir / ICV / DESCRIPTION).is_file():
        names.append(ICV)
    return {name: find_bundle(name, models_dir) for name in names}


def find_bundle(name: str, models_dir: Path | None = None) -> ModelBundle:
    """Load a bundle by name, from a user's folder when it holds one, else from the package.

    Parameters
    ----------
    name : str
        ``anatomy``, ``hypothalamus`` or ``icv``.
    models_dir : Path, optional
        A folder of bundle folders.

    Returns
    -------
    ModelBundle

    Raises
    ------
    ModelError
        If the user's folder holds no bundle at all, or the bundle is damaged.
    """
    if models_dir is not None:
        if not any(models_dir.glob(f"*/{DESCRIPTION}")):
            raise ModelError(f"{models_dir}: found no model bundle; expected folders that hold a {DESCRIPTION}.")
        if (models_dir / name / DESCRIPTION).is_file():
            return load_bundle(models_dir / name)
    return load_bundle(Path(str(files("bids_hypo") / "bundles" / name)))
