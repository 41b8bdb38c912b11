"""Finding the segmentations of a structure, by any tool, in a folder."""

from __future__ import annotations

import logging
import re
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from bids_hypo.bids.entities import (
    DERIVATIVE_ENTITIES,
    T1_SUFFIXES,
    shorten,
    sort_entities,
    split_name,
)
from bids_hypo.bids.folders import closed_folders
from bids_hypo.bids.matching import scan_name
from bids_hypo.errors import NoInputError, UsageError
from bids_hypo.image.label_numbers import Wanted
from bids_hypo.structures import BOTH, LEFT, RIGHT

_log = logging.getLogger(__name__)

EXTENSIONS = (".nii.gz", ".nii", ".mgz", ".mgh")
KINDS = ("dseg", "mask", "probseg")
_OF_UNIFORM = "_space-UNIT1_"
_OWN_SPACES = frozenset({*T1_SUFFIXES, "orig", "T1", "native", "individual", "scanner"})
_PLACEHOLDERS = {"subject": "sub", "session": "ses", "hemi": "hemi"}
_LABEL = r"[0-9A-Za-z+]+"
# Images that a space is named after, alone or behind a plus sign: those are on the grid of the image itself.
_IMAGE_SPACE = re.compile(r"(.*\+)?(T1w|T2w|PDw|T2starw|FLAIR|UNIT1|[A-Za-z0-9]+map)")
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
    tool : str or None
        The program in whose own place it was found, see `bids_hypo.image.label_numbers`.
    """

    entities: dict[str, str]
    kind: str | None
    paths: dict[str, Path]
    tool: str | None = None

    @property
    def name(self) -> str:
        """The scan, such as ``sub-01_ses-1_run-1``."""
        return scan_name(self.entities)


def find_segmentations(folder: str | Path, wanted: Wanted, pattern: str | None = None) -> list[SegmentationFiles]:
    """Find one segmentation of a structure for each scan.

    Without a pattern: BIDS names (a dseg; else a mask or a probseg for each side; else a 4-D probseg; else a mask;
    the plainest name if there are several of one kind), in the space of the scan; else the places where programs with
    folders of their own leave theirs.

    Parameters
    ----------
    folder : path-like
        A dataset of derivatives, any folder of files with BIDS names, or a SUBJECTS_DIR.
    wanted : Wanted
        The structure.
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
    found = _by_bids_name(root, wanted)
    for tool, place in wanted.places:
        found = found or [replace(files, tool=tool) for files in _by_pattern(root, place)]
    if found:
        return found
    places = "".join(f", no {place}" for place in dict(reversed(wanted.places)).values())
    raise NoInputError(
        f"{root}: found no segmentation of the {wanted.title}: no sub-*_dseg, *_label-L_mask and *_label-R_mask, "
        f"*_probseg or *_label-{wanted.name}_mask{places}. Say where the files are with a pattern, such as "
        "'{subject}/anat/*_seg.nii.gz'."
    )


def _by_bids_name(root: Path, wanted: Wanted) -> list[SegmentationFiles]:
    groups: dict[str, list[tuple[dict[str, str], str, Path]]] = defaultdict(list)
    for path in _bids_files(root):
        try:
            entities, suffix, extension = split_name(path.name)
        except ValueError:
            continue
        if suffix in KINDS and extension in EXTENSIONS and _concerns(entities, suffix, wanted):
            groups[scan_name(_of_scan(entities))].append((entities, suffix, path))
    own = {name: [f for f in files if _is_own_space(f[0])] for name, files in groups.items()}
    found = [_choose(own[name] or groups[name]) for name in sorted(groups)]
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


def _concerns(entities: Mapping[str, str], suffix: str, wanted: Wanted) -> bool:
    if not (_is_own_space(entities) or _IMAGE_SPACE.fullmatch(entities["space"])):
        return False
    named = [entities[key] for key in ("seg", "label", "atlas") if key in entities]
    if not named:
        return not (suffix == "mask" and "brain" in entities.get("desc", "").lower())
    return any(map(wanted.is_named, named)) or (len(named) == 1 and _side(entities) is not None)


def _is_own_space(entities: Mapping[str, str]) -> bool:
    return entities.get("space", "orig") in _OWN_SPACES


def _side(entities: Mapping[str, str]) -> str | None:
    for key in ("hemi", "label"):
        if _SIDE.fullmatch(entities.get(key, "")):
            return entities[key][0].upper()
    return None


def _choose(files: Sequence[tuple[dict[str, str], str, Path]]) -> SegmentationFiles:
    """The file, or pair of files, of a scan to use."""
    scan = _of_scan(files[0][0])
    ranks: list[tuple[str, tuple[str, ...]]] = [("dseg", (BOTH,)), ("mask", (LEFT, RIGHT)), ("probseg", (LEFT, RIGHT)),
                                                ("probseg", (BOTH,)), ("mask", (BOTH,))]  # fmt: skip
    for kind, sides in ranks:
        of_kind = {s: [f for f in files if f[1] == kind and (_side(f[0]) or BOTH) == s] for s in sides}
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
        side = entities.pop("hemi", BOTH)
        name = scan_name(entities)
        if side in found[name]:
            raise UsageError(
                f"{path}: the pattern '{pattern}' matches {found[name][side].name} as well, for the same scan {name}. "
                "Make it narrower, or add {session} or {hemi}."
            )
        found[name][side], scans[name] = path, entities
    for name, paths in found.items():
        if set(paths) not in ({BOTH}, {LEFT, RIGHT}):
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
