"""Names of everything that is written for one scan."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from bids_hypo.bids.entities import PLAIN_SUFFIX, MissingScan, Scan, join_name, split_name
from bids_hypo.files import DAMAGED, read_json
from bids_hypo.untrusted import visible

RAW_LINK = "raw"  # the key of DatasetLinks in dataset_description.json that BIDS URIs refer to
TABLE_DESC = "volumetric"
OWN_SPACE = "orig"
EDITED_DESC = "edited"
LOGS = "logs"
FIGURES_FOLDER = "figures"  # of a subject (and session), of a group, of an evaluation

# Figures of a scan: for each the desc- and the extension of its name.
FIGURES: dict[str, tuple[str, str]] = {
    "overview": ("hypothalamus", ".png"),
    "thumbnail": ("thumbnail", ".jpg"),
    "surface": ("surface", ".json.gz"),
    "coronal": ("coronal", ".svg"),
    "sagittal": ("sagittal", ".svg"),
    "axial": ("axial", ".svg"),
    "head": ("head", ".svg"),
}
FIGURES_RECORD = ("figures", ".json")  # their checksums: closes the set of figures of a scan


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
    dseg : Path
        Left and right hypothalamus as labels.
    hypothalamus_mask, hypothalamus_probseg, icv_mask : Path
        Both halves together; 4-D probabilities (left, right); intracranial volume.
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
    dseg: Path
    hypothalamus_mask: Path
    hypothalamus_probseg: Path
    icv_mask: Path
    morph: Path
    report: Path
    crash: Path

    @property
    def images(self) -> tuple[Path, ...]:
        """The four images."""
        return (self.dseg, self.hypothalamus_mask, self.hypothalamus_probseg, self.icv_mask)

    @property
    def files(self) -> tuple[Path, ...]:
        """Images, table and sidecars in the order to write them: the table's JSON closes the set."""
        return (*self.images, *(sidecar(image) for image in self.images), self.morph, sidecar(self.morph))

    @property
    def edited_dseg(self) -> Path:
        """Where a corrected hypothalamus is looked for: the name of the dseg with ``desc-edited``."""
        return _edited(self.dseg)

    @property
    def edited_icv_mask(self) -> Path:
        """Where a corrected intracranial mask is looked for."""
        return _edited(self.icv_mask)

    @property
    def edited(self) -> tuple[Path, ...]:
        """Where corrected masks are looked for."""
        return (self.edited_dseg, self.edited_icv_mask)

    def figure(self, desc: str, extension: str = ".svg") -> Path:
        """Path of a figure of this scan.

        Parameters
        ----------
        desc : str
            What it shows; letters and digits.
        extension : str
            With its dot.
        """
        return self.figures_dir / (join_name({**self.scan.entities, "desc": desc}, self.scan.suffix) + extension)


def output_names(scan: Scan, output_dir: str | Path) -> OutputNames:
    """Name all derivatives of a scan; every entity of the source is kept.

    The images of a T1w are in ``space-orig``. Another kind of image has its suffix there instead (``space-UNIT1``), in
    the name of the table too, so that several kinds may lie side by side.

    Parameters
    ----------
    scan : Scan
    output_dir : path-like
        Root of the derivative dataset.

    Returns
    -------
    OutputNames
    """
    output_dir = Path(output_dir)
    folder = _subject_folder(scan, output_dir)
    anat = folder / "anat"
    is_plain = scan.suffix == PLAIN_SUFFIX
    space = {"space": OWN_SPACE if is_plain else scan.suffix}

    def named(extra: Mapping[str, str], suffix: str, extension: str) -> Path:
        return anat / (join_name({**scan.entities, **extra}, suffix) + extension)

    return OutputNames(
        scan=scan,
        output_dir=output_dir,
        anat_dir=anat,
        figures_dir=folder / FIGURES_FOLDER,
        dseg=named({**space, "seg": "hypothalamus"}, "dseg", ".nii.gz"),
        hypothalamus_mask=named({**space, "label": "hypothalamus"}, "mask", ".nii.gz"),
        hypothalamus_probseg=named({**space, "label": "hypothalamus"}, "probseg", ".nii.gz"),
        icv_mask=named({**space, "label": "ICV"}, "mask", ".nii.gz"),
        morph=named({**({} if is_plain else space), "desc": TABLE_DESC}, "morph", ".tsv"),
        report=output_dir / f"{'_'.join(folder.relative_to(output_dir).parts)}.html",
        crash=crash_file(output_dir, scan),
    )


def find_written(output_dir: str | Path, dataset_root: str | Path) -> list[OutputNames]:
    """The scans of which a derivative dataset holds a finished table of volumes.

    Parameters
    ----------
    output_dir : path-like
    dataset_root : path-like
        The input dataset that their sources lie in.

    Returns
    -------
    list of OutputNames
        In the order of their names.
    """
    output_dir, root = Path(output_dir), Path(dataset_root)
    found = []
    for path in closing_files(output_dir):
        try:
            source = read_json(path)["Sources"][0]
            entities, suffix, _ = split_name(source.rpartition("/")[2])
        except DAMAGED:
            continue  # half a set: the scan will be done again
        scan = Scan(root / source.removeprefix(f"bids:{RAW_LINK}:"), entities, suffix, root)
        found.append(output_names(scan, output_dir))
    return sorted(found, key=lambda names: names.scan.name)


def scan_of_table(path: Path, dataset_root: Path) -> Scan:
    """The scan that a table of volumes is about, by the table's name (see `output_names`); its path is the table's.

    Raises
    ------
    ValueError, KeyError
        If it is not the name of such a table.
    """
    entities, _, _ = split_name(path.name)
    del entities["desc"]
    suffix = entities.pop("space", PLAIN_SUFFIX)
    return Scan(path=path, entities=entities, suffix=suffix, dataset_root=dataset_root)


def closing_files(output_dir: str | Path) -> list[Path]:
    """The files that close the set of each scan of a derivative dataset (the JSON of its table), in no order."""
    pattern, root = f"anat/*_desc-{TABLE_DESC}_morph.json", Path(output_dir)
    return [*root.glob(f"sub-*/{pattern}"), *root.glob(f"sub-*/ses-*/{pattern}")]


def _edited(path: Path) -> Path:
    entities, suffix, extension = split_name(path.name)
    return path.with_name(join_name({**entities, "desc": EDITED_DESC}, suffix) + extension)


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
        ``raw`` is resolved by DatasetLinks in the dataset_description.json of the derivatives.
    """
    return f"bids:{RAW_LINK}:{scan.path.relative_to(scan.dataset_root).as_posix()}"
