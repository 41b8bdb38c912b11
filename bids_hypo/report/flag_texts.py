"""What a quality flag means to the person who looks at the scan, and what to look at."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from bids_hypo.measure import quality
from bids_hypo.measure.quality import FLAG_TEXTS

TITLES: dict[str, str] = {
    quality.SKULL_STRIPPED: "Skull-stripped",
    quality.ICV_CUT: "ICV cut by the field of view",
    quality.BORDER: "Touches the region's border",
    quality.ASYMMETRIC: "Asymmetric",
    quality.SMALL: "Too small",
    quality.LARGE: "Too large",
    quality.SMALL_PART: "Part missing or too small",
    quality.POSE: "Pose uncertain",
    quality.COARSE: "Voxels coarser than the models were made for",
    quality.FOLDS: "Networks disagree",
    quality.CONTRAST: "Poor contrast",
    quality.MOTION: "Possible motion",
    quality.DEFACED: "Defaced into the brain",
    quality.SMALL_HEAD: "Small head",
    quality.LARGE_HEAD: "Large head",
    quality.HEADER_INCONSISTENT: "Header does not agree with itself",
    quality.NOISY_AIR: "Noise around the head",
    quality.UNCERTAIN: "Background uncertain",
    quality.UNDEFINED: "Voxels without a value",
    quality.TEMPLATE_SPACE: "In a template's space",
    quality.NOT_VISIBLE: "Not visible",
    quality.LOW_CONFIDENCE: "Low confidence",
    quality.CORRECTION_FAR: "Correction far from the automatic mask",
    quality.SIDES_SWAPPED: "Correction with left and right swapped",
    quality.IMAGES_DISAGREE: "Images disagree",
    quality.TABLE_CHANGED: "Table changed",
}
ADVICE: dict[str, str] = {
    quality.SKULL_STRIPPED: "The structures can be judged. To normalise their volumes, use the scan with its skull.",
    quality.ICV_CUT: "See on the whole-head slices where the image ends.",
    quality.BORDER: "See on the first and last coronal slices whether the outline is cut off.",
    quality.ASYMMETRIC: "Compare the sides on the coronal slices: one may be missed, or displaced by a lesion.",
    quality.SMALL: "See whether the outline leaves out tissue; a small brain or atrophy is a good reason too.",
    quality.LARGE: "See whether the outline takes in a neighbour, a vessel or fluid.",
    quality.SMALL_PART: "See in the table which part it is, and on the slices whether its tissue went to a neighbour.",
    quality.POSE: "See whether the coronal slices cut the structure at the right place.",
    quality.COARSE: "Volumes are less certain; do not mix such scans with finer ones without a check.",
    quality.FOLDS: "The networks were not sure of this scan: follow the whole outline.",
    quality.CONTRAST: "See whether the borders can be told at all with the outlines switched off.",
    quality.MOTION: "Look for rings and ghosts on the whole-head slices; motion makes volumes smaller.",
    quality.DEFACED: "See on the whole-head slices whether brain is missing; the ICV is then too small.",
    quality.SMALL_HEAD: "Are the voxel sizes in the header right? If so, see whether the outline leaves out a part.",
    quality.LARGE_HEAD: "Are the voxel sizes in the header right? If so, see whether the outline takes in too much.",
    quality.HEADER_INCONSISTENT: "Compare voxel sizes, left and right with the protocol; viewers may differ in them.",
    quality.NOISY_AIR: "If the scanner also made an image without that noise, use that one.",
    quality.UNCERTAIN: "Set what surrounds the head to one value, or use the image as the scanner made it.",
    quality.UNDEFINED: "See whether they lie near the outline; fill them, or export the image again.",
    quality.TEMPLATE_SPACE: "Use the scan as the scanner made it; a copy moved to a template has another size.",
    quality.NOT_VISIBLE: "See whether it can be told from its surroundings: the image may end before, or be masked.",
    quality.LOW_CONFIDENCE: "See whether there is a structure under the outline at all; do not trust its volume.",
    quality.CORRECTION_FAR: "See whether the outline lies on the structure: it may be another person's, or shifted.",
    quality.SIDES_SWAPPED: "See which number is which side in dseg.tsv, and exchange the labels.",
    quality.IMAGES_DISAGREE: "Compare the outlines of the images of the session: one of them may have missed a part.",
    quality.TABLE_CHANGED: "Run participant level again: the scan is then measured anew.",
}


@dataclass(frozen=True)
class FlagText:
    """A flag in words: its key, a title, what was found, what to look at."""

    key: str
    title: str
    found: str
    advice: str


def describe_flags(flags: Iterable[str]) -> list[FlagText]:
    """Flags in words; one that is not known (made by a newer version) stands for itself."""
    return [
        FlagText(
            flag,
            TITLES.get(flag, flag.replace("_", " ").capitalize()),
            FLAG_TEXTS.get(flag, "not known to this version"),
            ADVICE.get(flag, "Look at the scan."),
        )
        for flag in flags
    ]
