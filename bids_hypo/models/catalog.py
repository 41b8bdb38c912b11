"""Where models are found: shipped with the package, or in a folder of the user's."""

from __future__ import annotations

import os
from collections.abc import Collection
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path

from bids_hypo.errors import ModelError, UsageError
from bids_hypo.models.bundle import (
    DESCRIPTION,
    HEAD,
    ICV_ROLE,
    ModelBundle,
    check_weights,
    describe_bundle,
    load_bundle,
)
from bids_hypo.structures import DEFAULT_STRUCTURES, ICV, clashes

ANATOMY = "anatomy"  # the head bundle that also measures the ICV
LOCATOR = "locator"  # the head bundle for images of any contrast
_ICV_FOLDER = "icv"
ALL = "all"


@dataclass(frozen=True)
class Catalog:
    """The models of a run.

    Attributes
    ----------
    heads : tuple of ModelBundle
        What finds the pose; the first that fits an image does.
    icv : ModelBundle or None
        A model of its own for the intracranial volume.
    structures : dict of str to ModelBundle
        By the name of the structure.
    """

    heads: tuple[ModelBundle, ...]
    icv: ModelBundle | None
    structures: dict[str, ModelBundle]

    @property
    def suffixes(self) -> tuple[str, ...]:
        """BIDS suffixes of the images that something is measured on, each once."""
        every = (suffix for bundle in self.structures.values() for suffix in bundle.suffixes)
        return tuple(dict.fromkeys(every))

    @property
    def used(self) -> tuple[ModelBundle, ...]:
        """All bundles that a scan of some suffix needs."""
        heads = [self.head_for(suffix) for suffix in self.suffixes]
        needed = [head for head in self.heads if head in heads]
        return (*needed, *([self.icv] if self.icv else []), *self.structures.values())

    def head_for(self, suffix: str) -> ModelBundle:
        """The bundle that finds the pose in an image.

        Raises
        ------
        ModelError
            If there is none for such images.
        """
        found = next((head for head in self.heads if suffix in head.suffixes), None)
        if found is None:
            known = ", ".join(dict.fromkeys(s for head in self.heads for s in head.suffixes))
            raise ModelError(
                f"{suffix}: no model of role {HEAD} is for such images; there are some for {known}. Add one to the "
                "folder given with --models."
            )
        return found

    def structures_for(self, suffix: str) -> dict[str, ModelBundle]:
        """The bundles of the structures that are measured on images of a suffix."""
        return {name: bundle for name, bundle in self.structures.items() if suffix in bundle.suffixes}

    def makers(self, suffix: str) -> dict[str, tuple[ModelBundle, ...]]:
        """What is measured on images of a suffix, the ICV too, each with all bundles that its result depends on."""
        head = self.head_for(suffix)
        made: dict[str, tuple[ModelBundle, ...]] = {
            name: (head, bundle) for name, bundle in self.structures_for(suffix).items()
        }
        if not head.measures_icv:
            return made
        return {**made, ICV: (head, self.icv) if self.icv else (head,)}


def find_models(models_dir: Path | None = None, wanted: Collection[str] = DEFAULT_STRUCTURES) -> Catalog:
    """The models that participant level uses for the structures wanted.

    Parameters
    ----------
    models_dir : Path, optional
        A folder of bundle folders; what it lacks comes from the package. Those of role ``head`` with names of their own
        are for images that ours are not for.
    wanted : collection of str
        Names of structures, or ``all``.

    Raises
    ------
    ModelError, UsageError
        See `find_structures`.
    """
    structures = find_structures(models_dir, wanted)
    own_icv = models_dir is not None and _holds(models_dir, _ICV_FOLDER)
    icv = _with_role(find_bundle(_ICV_FOLDER, models_dir), ICV_ROLE) if own_icv else None
    shipped = [name for name in (ANATOMY, LOCATOR) if _holds(_shipped(), name)]
    heads = [_with_role(find_bundle(name, models_dir), HEAD) for name in shipped]
    others = _bundle_folders(models_dir) if models_dir is not None else []
    further = (describe_bundle(folder) for folder in others if folder.name not in shipped)
    heads += [check_weights(bundle) for bundle in further if bundle.role == HEAD]
    return Catalog(tuple(heads), icv, structures)


def find_structures(models_dir: Path | None = None, wanted: Collection[str] = (ALL,)) -> dict[str, ModelBundle]:
    """The structures that can be measured, the only list of them.

    Parameters
    ----------
    models_dir : Path, optional
        A folder of bundle folders. A structure of it takes the place of ours of the same name.
    wanted : collection of str
        Names of structures, or ``all``.

    Returns
    -------
    dict of str to ModelBundle
        By the name of the structure: those that are wanted, in that order; of ``all`` the shipped ones first.

    Raises
    ------
    UsageError
        If there is no such structure.
    ModelError
        If the user's folder holds no bundle at all, a bundle is damaged, or two cannot be told apart.
    """
    found: dict[str, ModelBundle] = {}
    for place in (_shipped(), models_dir):
        if place is None:
            continue
        here: dict[str, ModelBundle] = {}
        for folder in _bundle_folders(place):
            bundle = describe_bundle(folder)
            if bundle.structure is None:
                continue
            other = here.setdefault(bundle.structure.name, bundle)
            if other is not bundle:
                raise ModelError(
                    f"{folder}: measures the structure {bundle.structure.name}, as {other.folder} does; expected one "
                    "bundle for each structure. Take one away, or rename the structure in its bundle.json."
                )
        found |= here
    names = list(found) if ALL in wanted else list(dict.fromkeys(wanted))
    unknown = [name for name in names if name not in found]
    if unknown:
        raise UsageError(
            f"--structures: there is no model for {', '.join(unknown)}; there are {', '.join(sorted(found))}. Add its "
            "folder to the one given with --models."
        )
    chosen = {name: check_weights(found[name]) for name in names}
    shared = clashes(bundle.structure for bundle in chosen.values() if bundle.structure)
    if shared:
        where = " and ".join(str(bundle.folder / DESCRIPTION) for bundle in chosen.values())
        raise ModelError(f"{where}: {shared[0]}; expected numbers and abbreviations of parts that are used once.")
    return chosen


def find_bundle(name: str, models_dir: Path | None = None) -> ModelBundle:
    """Load a bundle by the name of its folder, from a user's folder when it holds one, else from the package.

    Parameters
    ----------
    name : str
        Such as ``anatomy``.
    models_dir : Path, optional
        A folder of bundle folders.

    Raises
    ------
    ModelError
        If the user's folder holds no bundle at all, or the bundle is damaged.
    """
    if models_dir is not None:
        _bundle_folders(models_dir)
        if _holds(models_dir, name):
            return load_bundle(models_dir / name)
    return load_bundle(_shipped() / name)


def _shipped() -> Path:
    return Path(str(files("bids_hypo") / "bundles"))


def _bundle_folders(models_dir: Path) -> list[Path]:
    """The folders of bundles in a folder, sorted; one at least."""
    folders = [path for path in sorted(models_dir.glob("*")) if _holds(models_dir, path.name)]
    if not folders:
        raise ModelError(f"{models_dir}: found no model bundle; expected folders that hold a {DESCRIPTION}.")
    return folders


def _holds(models_dir: Path, name: str) -> bool:
    """Whether a folder has this bundle; a broken one counts, so that ours never steps in for it unsaid."""
    try:
        os.lstat(models_dir / name / DESCRIPTION)
    except (FileNotFoundError, NotADirectoryError):
        return (models_dir / name).is_symlink() and not (models_dir / name).exists()
    except OSError:
        return True
    return True


def _with_role(bundle: ModelBundle, role: str) -> ModelBundle:
    if bundle.role != role:
        raise ModelError(
            f"{bundle.folder / DESCRIPTION}: the entry role is {bundle.role}; expected {role} in a bundle named "
            f"{bundle.folder.name}. Is it in the right folder?"
        )
    return bundle
