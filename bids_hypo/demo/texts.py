"""The words and dictionaries that go into the demo dataset."""

from __future__ import annotations

from typing import Any

from bids_hypo import __version__

DATASET_DESCRIPTION: dict[str, Any] = {
    "Name": "bids_hypo demo: synthetic T1w heads with known hypothalamus and intracranial volumes",
    "BIDSVersion": "1.10.0",
    "DatasetType": "raw",
    "License": (
        "Derived from the ICBM152 2009a symmetric template: copyright 1993-2009 Louis Collins, McConnell Brain Imaging "
        "Centre, Montreal Neurological Institute, McGill University; use, copying, modification and distribution for "
        "any purpose and without fee are permitted provided that this copyright notice appears in all copies"
    ),
    "Authors": ["bids_hypo developers"],
    "HowToAcknowledge": (
        "Cite the template: Fonov V et al. Unbiased average age-appropriate atlases for pediatric studies. "
        "NeuroImage 2011;54:313-327"
    ),
    "ReferencesAndLinks": ["https://doi.org/10.1016/j.neuroimage.2010.07.033"],
    "GeneratedBy": [{"Name": "bids_hypo_demo", "Version": __version__, "Description": "Synthetic; nobody was scanned"}],
}

SCAN_SIDECAR: dict[str, Any] = {
    "Description": (
        "Synthetic T1w image: the ICBM152 average brain, deformed, with a painted skull, scalp, face and neck. "
        "It shows no real person. The bright capsule outside the head is on the RIGHT temple."
    )
}

PARTICIPANTS_COLUMNS: dict[str, Any] = {
    "participant_id": {"Description": "Participant, as in the folder name"},
    "age": {"Description": "Age of the imaginary participant", "Units": "year"},
    "sex": {"Description": "Sex of the imaginary participant", "Levels": {"F": "female", "M": "male"}},
    "group": {
        "Description": "Group of the imaginary participant",
        "Levels": {
            "ALS": "hypothalamus region planted at 0.88 of its expected volume on average",
            "control": "hypothalamus region planted at 1.00 of its expected volume on average",
        },
    },
}

TRUTH_COLUMNS: dict[str, Any] = {
    "participant_id": {"Description": "Participant, as in the folder name"},
    "filename": {"Description": "Scan, relative to the dataset"},
    "group": {"Description": "Group of the participant"},
    "factor_left": {
        "Description": (
            "Planted volume factor of the left hypothalamus region: its volume over the volume that it would have if "
            "the template were only scaled to the subject's intracranial volume"
        )
    },
    "factor_right": {"Description": "The same for the right side"},
    "region_left_mm3": {
        "Description": (
            "True volume of the deformed left reference region, an ellipsoid inside the hypothalamus "
            "(not a tracing of the hypothalamus: compare ratios, not volumes)"
        ),
        "Units": "mm^3",
    },
    "region_right_mm3": {"Description": "The same for the right side", "Units": "mm^3"},
    "icv_mm3": {
        "Description": "True intracranial volume: inside of the inner skull, above the foramen magnum",
        "Units": "mm^3",
    },
    "warp_amplitude_mm": {"Description": "Longest displacement of the smooth random warp", "Units": "mm"},
}

README = """bids_hypo demo dataset
======================

Synthetic T1-weighted head scans for trying out and testing bids_hypo. Nobody was scanned and nothing here says anything
about ALS: the group difference was planted.

How it was made. The brain is the ICBM152 2009a symmetric average that comes with nilearn. Cerebrospinal fluid, skull,
scalp, face and neck were painted around it. Each subject is that head after a smooth random warp of 1 to 3 mm, a
scaling to a given intracranial volume and a planted change of the hypothalamus region on each side, seen by a scanner
with its own grid, shading and noise. The scans differ in orientation, voxel size, obliquity, number type and
compression; sub-02 has two sessions of the same anatomy.

Left and right. The template is symmetric, so an oil capsule marks the RIGHT temple in every scan.

Truth. sourcedata/truth.tsv (explained in truth.json) gives for every scan the planted volume factors, the true volumes
of the reference regions, the true intracranial volume and the size of the warp.

To make it again: bids_hypo_demo DIR (same options, same bytes; see sourcedata/bids_hypo_demo.json).
"""

CHANGES = """1.0.0 2025-01-01
  - First version.
"""
