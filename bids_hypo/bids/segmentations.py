"""Finding the segmentations of any tool in a folder, and pairing those of two folders by scan."""

from __future__ import annotations

import logging
import re
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from bids_hypo.bids.entities import (
    DERIVATIVE_ENTITIES,
    T1_SUFFIXES,
    join_name,
    shorten,
    sort_entities,
    split_name,
)
from bids_hypo.bids.folders import closed_folders
from bids_hypo.errors import NoInputError, UsageError

_log = logging.getLogger(__name__)

EXTENSIONS = (".nii.gz", ".nii", ".mgz", ".mgh")
KINDS = ("dseg", "mask", "probseg")
# Where the tools that have their own folders leave the hypothalamus.
TOOL_PATTERNS: dict[str, str] = {
    "freesurfer": "{subject}/mri/hypothalamic_subunits_seg.v1.mgz",
    "fastsurfer": "{subject}/mri/hypothalamus.HypVINN.nii.gz",
}
_OF_UNIFORM = "_space-UNIT1_"
_OWN_SPACES = frozenset({*T1_SUFFIXES, "orig", "T1", "native", "individual", "scanner"})
_PLACEHOLDERS = {"subject": "sub", "session": "ses", "hemi": "hemi"}
_LABEL = r"[0-9A-Za-z+]+"
_STRUCTURE = re.compile(r"hypo|^hyp|^htha?$|^ht$", re.IGNORECASE)
_SIDE = re.compile(r"(l|lh|left|r|rh|right)", re.IGNORECASE)


@dataclass(frozen=True)
class SegmentationFiles:
    """The segmentation of one scan by one method.

    Attributes
    ----------
    entities : dict of str to str
        Those of the scan (sub, ses, acq, run ...), short names.
    kind : str or None
        ``dseg``, ``mask`` or ``probseg``; None if the name does not tell.
    paths : dict of str to Path
        ``L`` and ``R`` for a file a side, ``B`` for one file.
    """

    entities: dict[str, str]
    kind: str | None
    paths: dict[str, Path]

    @property
    def name(self) -> str:
        """The scan, such as ``sub-01_ses-1_run-1``."""
        return scan_name(self.entities)


@dataclass(frozen=True)
class Match:
    """A reference and what was found for it.

    Attributes
    ----------
    reference : dict of str to str
        Entities that were looked for.
    index : int or None
        Position among the candidates; None if there is none, or more than one.
    reason : str
        Why there is none; empty if there is one.
    """

    reference: dict[str, str]
    index: int | None
    reason: str = ""


def scan_name(entities: Mapping[str, str]) -> str:
    """``sub-01_ses-1_run-1`` of a scan's entities."""
    return join_name(entities, "").rstrip("_")


def find_segmentations(folder: str | Path, pattern: str | None = None) -> list[SegmentationFiles]:
    """Find one segmentation of the hypothalamus for each scan.

    Without a pattern: BIDS names (a dseg; else a mask or a probseg for each side; else a 4-D probseg; else a mask;
    the plainest name if there are several of one kind), in the space of the scan; else the places where FreeSurfer
    and FastSurfer leave theirs.

    Parameters
    ----------
    folder : path-like
        A dataset of derivatives, any folder of files with BIDS names, or a SUBJECTS_DIR.
    pattern : str, optional
        Glob relative to the folder with ``{subject}`` and, if there are any, ``{session}`` and ``{hemi}`` (L, lh,
        left ...) where the labels stand, such as ``{subject}/mri/seg.mgz``.

    Returns
    -------
    list of SegmentationFiles
        Sorted by scan.

    Raises
    ------
    NoInputError
        If the folder is not there or nothing is found.
    UsageError
        If the pattern cannot be used, or a scan has several files that fit equally well.
    """
    root = Path(folder)
    if not root.is_dir():
        state = "it is a file" if root.exists() else "it does not exist"
        raise NoInputError(f"{root}: expected a folder of segmentations, but {state}. Check the path.")
    for why in closed_folders(root, (entry.name.removeprefix("sub-") for entry in root.glob("sub-*/"))).values():
        _log.warning("%s Segmentations in it are not used.", why)
    if pattern is not None:
        matching = _by_pattern(root, pattern)
        if not matching:
            raise NoInputError(f"{root}: no file matches the pattern '{pattern}'. Correct it, or leave it out.")
        return matching
    found = _by_bids_name(root)
    for tool_pattern in TOOL_PATTERNS.values():
        found = found or _by_pattern(root, tool_pattern)
    if found:
        return found
    raise NoInputError(
        f"{root}: found no segmentation of the hypothalamus: no sub-*_dseg, *_label-L_mask and *_label-R_mask, "
        "*_probseg or *_label-hypothalamus_mask, and no output of FreeSurfer or FastSurfer. Say where the files are "
        "with a pattern, such as '{subject}/anat/*_seg.nii.gz'."
    )


def _by_bids_name(root: Path) -> list[SegmentationFiles]:
    groups: dict[str, list[tuple[dict[str, str], str, Path]]] = defaultdict(list)
    for path in _bids_files(root):
        try:
            entities, suffix, extension = split_name(path.name)
        except ValueError:
            continue
        if suffix in KINDS and extension in EXTENSIONS and _concerns_structure(entities, suffix):
            groups[scan_name(_of_scan(entities))].append((entities, suffix, path))
    found = [_choose(groups[name]) for name in sorted(groups)]
    uniform = [files.name for files in found if any(_OF_UNIFORM in path.name for path in files.paths.values())]
    if uniform and len(uniform) < len(found):
        _log.warning(
            "%s: of %d segmentations %d belong to UNIT1 images (%s), the others to images of another kind; all are "
            "used. If one kind is meant, say so with a pattern.", root, len(found), len(uniform), shorten(uniform),
        )  # fmt: skip
    return found


def _bids_files(root: Path) -> Iterable[Path]:
    for entry in sorted(root.glob("sub-*")):
        yield from sorted(entry.rglob("sub-*_*")) if entry.is_dir() else [entry]


def _of_scan(entities: Mapping[str, str]) -> dict[str, str]:
    return {k: v for k, v in entities.items() if k not in DERIVATIVE_ENTITIES | {"hemi"}}


def _concerns_structure(entities: Mapping[str, str], suffix: str) -> bool:
    if entities.get("space", "orig") not in _OWN_SPACES:
        return False
    named = [entities[key] for key in ("seg", "label", "atlas") if key in entities]
    if not named:
        return not (suffix == "mask" and "brain" in entities.get("desc", "").lower())
    return any(_STRUCTURE.search(label) for label in named) or (len(named) == 1 and _side(entities) is not None)


def _side(entities: Mapping[str, str]) -> str | None:
    for key in ("hemi", "label"):
        if _SIDE.fullmatch(entities.get(key, "")):
            return entities[key][0].upper()
    return None


def _choose(files: Sequence[tuple[dict[str, str], str, Path]]) -> SegmentationFiles:
    """The file, or pair of files, of a scan to use."""
    scan = _of_scan(files[0][0])
    ranks: list[tuple[str, tuple[str, ...]]] = [("dseg", ("B",)), ("mask", ("L", "R")), ("probseg", ("L", "R")),
                                                ("probseg", ("B",)), ("mask", ("B",))]  # fmt: skip
    for kind, sides in ranks:
        of_kind = {s: [f for f in files if f[1] == kind and (_side(f[0]) or "B") == s] for s in sides}
        if all(of_kind.values()):
            return SegmentationFiles(scan, kind, {s: _plainest(found) for s, found in of_kind.items()})
    path = files[0][2]
    raise UsageError(
        f"{path}: found one side only; expected a file for the other side beside it, or one file for both. Name the "
        "files with a pattern."
    )


def _plainest(files: Sequence[tuple[dict[str, str], str, Path]]) -> Path:
    fewest = min(len(entities) for entities, _, _ in files)
    plain = [path for entities, _, path in files if len(entities) == fewest]
    if len(plain) > 1:
        mark = "_space-UNIT1_*" if any(_OF_UNIFORM in path.name for path in plain) else "_desc-manual_"
        raise UsageError(
            f"{plain[0]}: there is also {shorten(p.name for p in plain[1:])}. Say which is meant with a pattern, such "
            f"as '{{subject}}/anat/*{mark}dseg.nii.gz'."
        )
    return plain[0]


def _by_pattern(root: Path, pattern: str) -> list[SegmentationFiles]:
    regex = _regex(pattern)
    found: dict[str, dict[str, Path]] = defaultdict(dict)
    scans: dict[str, dict[str, str]] = {}
    for path in sorted(root.glob(re.sub(r"\{\w+\}", "*", pattern))):
        captured = regex.fullmatch(path.relative_to(root).as_posix())
        if captured is None or not path.is_file():
            continue
        entities = _captured_entities(captured.groupdict())
        side = entities.pop("hemi", "B")
        name = scan_name(entities)
        if side in found[name]:
            raise UsageError(
                f"{path}: the pattern '{pattern}' matches {found[name][side].name} as well, for the same scan {name}. "
                "Make it narrower, or add {session} or {hemi}."
            )
        found[name][side], scans[name] = path, entities
    for name, paths in found.items():
        if set(paths) not in ({"B"}, {"L", "R"}):
            path = next(iter(paths.values()))
            raise UsageError(f"{path}: found only this side of {name}; expected the other as well.")
    return [SegmentationFiles(scans[name], None, found[name]) for name in sorted(found)]


def _regex(pattern: str) -> re.Pattern[str]:
    names = re.findall(r"\{(\w*)\}", pattern)
    if "subject" not in names or not set(names) <= set(_PLACEHOLDERS) or len(names) != len(set(names)):
        raise UsageError(
            f"the pattern '{pattern}' has {', '.join(f'{{{n}}}' for n in names) or 'no placeholder'}; expected "
            "{subject} once and, if needed, {session} and {hemi} once."
        )
    if Path(pattern).is_absolute() or ".." in Path(pattern).parts:
        raise UsageError(f"the pattern '{pattern}' must be relative to the folder and stay in it.")
    text = ""
    for piece in re.split(r"(\{\w+\}|\*\*/|\*|\?)", pattern):
        whole = text == "" or text.endswith("/")
        text += _piece(piece, whole_component=whole and f"{piece}/" in pattern)
    return re.compile(text)


def _piece(piece: str, *, whole_component: bool) -> str:
    if piece == "{subject}" and whole_component:  # a folder: sub-01, sub-01_ses-1 or any name
        return "(?P<subject>[^/]+)"
    if piece in ("{subject}", "{session}"):
        name = piece[1:-1]
        return f"(?:{_PLACEHOLDERS[name]}-)?(?P<{name}>{_LABEL})"
    if piece == "{hemi}":
        return f"(?P<hemi>(?i:{_SIDE.pattern}))"
    return {"**/": "(?:.*/)?", "*": "[^/]*", "?": "[^/]"}.get(piece, re.escape(piece))


def _captured_entities(captured: Mapping[str, str | None]) -> dict[str, str]:
    subject = str(captured["subject"])
    try:
        entities, _, _ = split_name(f"{subject}_x")  # sub-01_ses-1 as the name of a folder
    except ValueError:
        entities = {"sub": subject.removeprefix("sub-")}
    if captured.get("session"):
        entities["ses"] = str(captured["session"]).removeprefix("ses-")
    if captured.get("hemi"):
        entities["hemi"] = str(captured["hemi"])[0].upper()
    return sort_entities(entities)


def match_scans(references: Sequence[Mapping[str, str]], candidates: Sequence[Mapping[str, str]]) -> list[Match]:
    """Match scans by their entities.

    Equal entities match; else those that contradict each other nowhere (a run named on one side only), if there is
    exactly one such candidate and no other reference could have it.

    Parameters
    ----------
    references, candidates : sequence of mapping of str to str

    Returns
    -------
    list of Match
        In the order of the references.
    """
    fitting = [[i for i, c in enumerate(candidates) if _agree(r, c)] for r in references]
    equal = [[i for i in fit if dict(candidates[i]) == dict(r)] for r, fit in zip(references, fitting, strict=True)]
    taken = {fit[0] for fit in equal if fit}
    wanted = [[i for i in fit if i not in taken] for fit in fitting]
    matches = []
    for n, reference in enumerate(references):
        index, reason = None, "no file for this scan"
        if equal[n]:
            index, reason = equal[n][0], ""
        elif len(wanted[n]) > 1:
            reason = f"several files fit: {shorten(scan_name(candidates[i]) for i in wanted[n])}"
        elif wanted[n]:
            only = wanted[n][0]
            rivals = [scan_name(r) for m, r in enumerate(references) if m != n and not equal[m] and only in wanted[m]]
            index, reason = (None, f"one file fits this scan and {shorten(rivals)}") if rivals else (only, "")
        matches.append(Match(dict(reference), index, reason))
    return matches


def _agree(a: Mapping[str, str], b: Mapping[str, str]) -> bool:
    return a.get("sub") == b.get("sub") and all(a[key] == b[key] for key in a.keys() & b.keys())
