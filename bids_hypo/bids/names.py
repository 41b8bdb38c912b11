"""Names of everything that is written for one scan."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from bids_hypo.bids.entities import PLAIN_SUFFIX, MissingScan, Scan, join_name, split_name
from bids_hypo.structures import DEFAULT_STRUCTURES, ICV
from bids_hypo.untrusted import visible

TABLE_DESC = "volumetric"
OWN_SPACE = "orig"
EDITED_DESC = "edited"
LOGS = "logs"
FIGURES_FOLDER = "figures"  # of a subject (and session), of a group, of an evaluation

# Figures: for each the desc- and the extension of its name. Those of a structure have seg-<structure> before the desc-.
STRUCTURE_FIGURES: dict[str, tuple[str, str]] = {
    "overview": ("overview", ".png"),
    "surface": ("surface", ".json.gz"),
    "coronal": ("coronal", ".svg"),
    "sagittal": ("sagittal", ".svg"),
    "axial": ("axial", ".svg"),
}
HEAD_FIGURES: dict[str, tuple[str, str]] = {
    "thumbnail": ("thumbnail", ".jpg"),
    "head": ("head", ".svg"),
}
FIGURES_RECORD = ("figures", ".json")  # their checksums: closes the set of figures of a scan
ANY_STRUCTURE = "anyStructure"  # in place of a name, to look for the images of all of them
JOINT = "+"  # between a label that the source has and ours


@dataclass(frozen=True)
class StructureNames:
    """Paths of the images of one structure in one scan.

    Attributes
    ----------
    dseg : Path
        Its parts as labels.
    mask : Path
        All parts that count in the whole.
    probseg : Path
        4-D probabilities, a frame a part.
    """

    dseg: Path
    mask: Path
    probseg: Path

    @property
    def images(self) -> tuple[Path, ...]:
        """The three images, in the order to write them."""
        return (self.dseg, self.mask, self.probseg)

    @property
    def edited(self) -> Path:
        """Where corrected labels are looked for: the name of the dseg with ``desc-edited``."""
        return described(self.dseg, EDITED_DESC)


@dataclass(frozen=True)
class OutputNames:
    """Paths of the derivatives of one scan (see `output_names`).

    Attributes
    ----------
    scan : Scan
        The source.
    output_dir : Path
        Root of the derivative dataset.
    anat_dir, figures_dir : Path
        ``sub-01/[ses-1/]anat`` and ``sub-01/[ses-1/]figures``.
    structures : dict of str to StructureNames
        Of the structures wanted.
    icv_mask : Path
        Intracranial volume.
    morph : Path
        The table of volumes.
    report : Path
        Visual report of the subject (and session), shared by all its scans.
    crash : Path
        Where the cause is written if the scan fails.
    """

    scan: Scan
    output_dir: Path
    anat_dir: Path
    figures_dir: Path
    structures: dict[str, StructureNames]
    icv_mask: Path
    morph: Path
    report: Path
    crash: Path

    @property
    def items(self) -> tuple[str, ...]:
        """What is measured in the scan: the structures, and the ICV of a T1-weighted one."""
        return (*self.structures, *((ICV,) if self.scan.is_t1 else ()))

    def images_of(self, item: str) -> tuple[Path, ...]:
        """The images of a structure, whether wanted or not, or of the ICV."""
        return (self.icv_mask,) if item == ICV else self.structure(item).images

    def structure(self, name: str) -> StructureNames:
        """Paths of any structure in this scan, wanted or not."""
        return self.structures.get(name) or _structure_names(self.scan, self.anat_dir, name)

    @property
    def images(self) -> tuple[Path, ...]:
        """The images of all items."""
        return tuple(image for item in self.items for image in self.images_of(item))

    @property
    def files(self) -> tuple[Path, ...]:
        """Images, sidecars, table and its sidecar in the order to write them: the table's JSON closes the set."""
        return (*self.images, *(sidecar(image) for image in self.images), self.morph, sidecar(self.morph))

    @property
    def edited_icv_mask(self) -> Path:
        """Where a corrected intracranial mask is looked for."""
        return described(self.icv_mask, EDITED_DESC)

    def edited_of(self, item: str) -> Path:
        """Where a corrected mask of a structure, or of the ICV, is looked for."""
        return self.edited_icv_mask if item == ICV else self.structure(item).edited

    @property
    def edited(self) -> tuple[Path, ...]:
        """Where corrected masks are looked for."""
        return tuple(self.edited_of(item) for item in self.items)

    def figure(self, desc: str, extension: str = ".svg", structure: str | None = None) -> Path:
        """Path of a figure of this scan.

        Parameters
        ----------
        desc : str
            What it shows; letters and digits.
        extension : str
            With its dot.
        structure : str, optional
            Of which structure; of the head as a whole if not given.
        """
        extra = {**({"seg": structure} if structure else {}), "desc": _joined(self.scan.entities.get("desc"), desc)}
        return self.figures_dir / (join_name({**self.scan.entities, **extra}, self.scan.suffix) + extension)


def output_names(scan: Scan, output_dir: str | Path, structures: Iterable[str] = DEFAULT_STRUCTURES) -> OutputNames:
    """Name all derivatives of a scan; every entity of the source is kept.

    The images of a T1w are in ``space-orig``. Another kind of image has its suffix there instead (``space-UNIT1``), in
    the name of the table too, so that several kinds may lie side by side. Where the source has a ``space-`` or
    ``desc-`` of its own, as maps in a derivative dataset do, a plus sign stands between its label and ours.

    Parameters
    ----------
    scan : Scan
    output_dir : path-like
        Root of the derivative dataset.
    structures : iterable of str
        Those measured in it.

    Returns
    -------
    OutputNames
    """
    output_dir = Path(output_dir)
    folder = _subject_folder(scan, output_dir)
    anat = folder / "anat"
    own_space = scan.entities.get("space")
    is_plain = scan.suffix == PLAIN_SUFFIX and own_space is None
    table = {**({} if is_plain else _space(scan)), "desc": _joined(scan.entities.get("desc"), TABLE_DESC)}
    return OutputNames(
        scan=scan,
        output_dir=output_dir,
        anat_dir=anat,
        figures_dir=folder / FIGURES_FOLDER,
        structures={name: _structure_names(scan, anat, name) for name in structures},
        icv_mask=anat / (join_name({**scan.entities, **_space(scan), "label": ICV}, "mask") + ".nii.gz"),
        morph=anat / (join_name({**scan.entities, **table}, "morph") + ".tsv"),
        report=output_dir / f"{'_'.join(folder.relative_to(output_dir).parts)}.html",
        crash=crash_file(output_dir, scan),
    )


def _structure_names(scan: Scan, anat: Path, name: str) -> StructureNames:
    def named(entity: str, suffix: str) -> Path:
        return anat / (join_name({**scan.entities, **_space(scan), entity: name}, suffix) + ".nii.gz")

    return StructureNames(named("seg", "dseg"), named("label", "mask"), named("label", "probseg"))


def _space(scan: Scan) -> dict[str, str]:
    """The space that images on the grid of a scan are in, which tells its suffix apart."""
    own = scan.entities.get("space")
    if own is None:
        return {"space": OWN_SPACE if scan.suffix == PLAIN_SUFFIX else scan.suffix}
    return {"space": _joined(own, scan.suffix)}


def _joined(own: str | None, ours: str) -> str:
    return ours if own is None else f"{own}{JOINT}{ours}"


def described(path: Path, label: str) -> Path:
    """A file beside another one, whose name has a ``desc-`` more."""
    entities, suffix, extension = split_name(path.name)
    desc = _joined(entities.get("desc"), label)
    return path.with_name(join_name({**entities, "desc": desc}, suffix) + extension)


def citation_file(output_dir: str | Path, extension: str) -> Path:
    """``logs/CITATION.md`` (or ``.bib``, ``.tex``): the methods text."""
    return Path(output_dir) / LOGS / f"CITATION{extension}"


def index_file(output_dir: str | Path) -> Path:
    """The page that lists all scans of a derivative dataset."""
    return Path(output_dir) / "index.html"


def _subject_folder(scan: Scan, output_dir: Path) -> Path:
    folder = output_dir / f"sub-{scan.subject}"
    return folder if scan.session is None else folder / f"ses-{scan.session}"


def sidecar(path: Path) -> Path:
    """JSON file beside an image or a table."""
    return path.with_name(path.name.partition(".")[0] + ".json")


def crash_file(output_dir: str | Path, scan: Scan | MissingScan) -> Path:
    """``logs/crash-<scan>.txt``: one for each scan that failed, replaced when it fails again."""
    # A subject's folder without images may have any name.
    return Path(output_dir) / LOGS / f"crash-{visible(scan.name)}.txt"


def bids_uri(scan: Scan) -> str:
    """BIDS URI of a scan, such as ``bids:raw:sub-01/anat/sub-01_T1w.nii.gz``.

    Parameters
    ----------
    scan : Scan
        Its `link` is resolved by DatasetLinks in the dataset_description.json of the derivatives.
    """
    return f"bids:{scan.link}:{scan.path.relative_to(scan.dataset_root).as_posix()}"
