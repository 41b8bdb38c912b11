"""Where models are found: shipped with the package, or in a folder of the user's."""

from __future__ import annotations

import os
from importlib.resources import files
from pathlib import Path

from bids_hypo.errors import ModelError
from bids_hypo.models.bundle import DESCRIPTION, ModelBundle, load_bundle

ANATOMY = "anatomy"
HYPOTHALAMUS = "hypothalamus"
ICV = "icv"


_NEEDED = {ANATOMY: "pose_template_mm", HYPOTHALAMUS: "region_centre_mm"}  # constants, by the name of the bundle
_N_LABELS = {ANATOMY: range(3, 1001), HYPOTHALAMUS: range(2, 4), ICV: range(2, 3)}


def find_bundles(models_dir: Path | None = None) -> dict[str, ModelBundle]:
    """All bundles that participant level uses, by name: two always, ``icv`` if the user's folder holds one.

    Parameters
    ----------
    models_dir : Path, optional
        A folder of bundle folders; what it lacks comes from the package.
    """
    names = [ANATOMY, HYPOTHALAMUS]
    if models_dir is not None and _holds(models_dir, ICV):
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
        If the user's folder holds no bundle at all, or the bundle is damaged or cannot do what its name says.
    """
    folder = Path(str(files("bids_hypo") / "bundles" / name))
    if models_dir is not None:
        if not any(models_dir.glob(f"*/{DESCRIPTION}")):
            raise ModelError(f"{models_dir}: found no model bundle; expected folders that hold a {DESCRIPTION}.")
        if _holds(models_dir, name):
            folder = models_dir / name
    bundle = load_bundle(folder)
    _check_role(bundle, name)
    return bundle


def _holds(models_dir: Path, name: str) -> bool:
    """Whether a user's folder has this bundle; a broken one counts, so that ours never steps in for it unsaid."""
    try:
        os.lstat(models_dir / name / DESCRIPTION)
    except (FileNotFoundError, NotADirectoryError):
        return (models_dir / name).is_symlink() and not (models_dir / name).exists()
    except OSError:
        return True
    return True


def _check_role(bundle: ModelBundle, name: str) -> None:
    path, needed, n_labels = bundle.folder / DESCRIPTION, _NEEDED.get(name), _N_LABELS.get(name)
    if needed is not None and needed not in bundle.constants:
        raise ModelError(f"{path}: the entry constants.{needed} is missing; expected it in a bundle named {name}.")
    if n_labels is not None and len(bundle.labels) not in n_labels:
        raise ModelError(
            f"{path}: found {len(bundle.labels)} labels; expected {n_labels.start} to {n_labels.stop - 1} in a bundle "
            f"named {name}. Is it in the right folder?"
        )
