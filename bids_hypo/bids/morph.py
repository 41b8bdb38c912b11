"""The columns of the table of volumes, and what they mean."""

from __future__ import annotations

from typing import Any

MORPH_COLUMNS: tuple[str, ...] = ("structure", "part", "hemisphere", "volume_mm3", "volume_sd_mm3", "flags")
SUSCEPTIBILITY_COLUMNS = ("mean_ppm", "contrast_ppm")  # of susceptibility maps, before the flags


def morph_table_dictionary(*, susceptibility: bool = False) -> dict[str, Any]:
    """Meaning of the columns of the table of volumes (`MORPH_COLUMNS`), as BIDS asks for beside every table.

    Parameters
    ----------
    susceptibility : bool
        Whether it is that of a susceptibility map, with `SUSCEPTIBILITY_COLUMNS`.
    """
    more = {
        "mean_ppm": {
            "Description": "Mean susceptibility in the mask, as the map has it, whose reference is arbitrary; n/a if "
            "there is no mask",
            "Units": "ppm",
        },
        "contrast_ppm": {
            "Description": "Mean susceptibility in the mask less the median of a shell 2 to 6 mm outside of it; n/a if "
            "there is no mask",
            "Units": "ppm",
        },
    }
    return {
        "structure": {"Description": "Structure that was measured; ICV is the intracranial volume"},
        "part": {"Description": "Part of the structure; whole is the sum of the parts that count in it"},
        "hemisphere": {
            "Description": "Side of the part; n/a where it has none",
            "Levels": {
                "L": "The subject's left",
                "R": "The subject's right",
                "M": "On the midline",
                "B": "All sides together",
            },
        },
        "volume_mm3": {
            "Description": "Number of voxels in the mask times the volume of a voxel; n/a if not measurable",
            "Units": "mm^3",
        },
        "volume_sd_mm3": {
            "Description": "Standard deviation of the volume between the folds of a model; n/a with a single fold",
            "Units": "mm^3",
        },
        **(more if susceptibility else {}),
        "flags": {
            "Description": "Reasons to look at the result before using it, separated by semicolons; n/a if none",
            "Delimiter": ";",
        },
    }
