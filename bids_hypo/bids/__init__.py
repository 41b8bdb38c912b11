"""Everything that knows BIDS: finding scans, naming derivatives, sidecars, the derivative dataset.

No other part of the package spells a BIDS file name or key.
"""

from bids_hypo.bids.dataset import clear_crash, prepare_output, write_crash, write_tsv
from bids_hypo.bids.entities import MissingScan, Scan
from bids_hypo.bids.morph import MORPH_COLUMNS, morph_table_dictionary
from bids_hypo.bids.names import OutputNames, bids_uri, crash_file, output_names, sidecar
from bids_hypo.bids.query import check_dataset, find_scans, select_subjects
from bids_hypo.bids.removal import remove_outputs
from bids_hypo.bids.resume import find_doubts
from bids_hypo.bids.selection import Selection, normalise_labels, read_filter_file
from bids_hypo.bids.sidecars import (
    Provenance,
    dseg_sidecar,
    icv_mask_sidecar,
    mask_sidecar,
    morph_sidecar,
    probseg_sidecar,
    write_json,
)

__all__ = [
    "MORPH_COLUMNS",
    "MissingScan",
    "OutputNames",
    "Provenance",
    "Scan",
    "Selection",
    "bids_uri",
    "check_dataset",
    "clear_crash",
    "crash_file",
    "dseg_sidecar",
    "find_doubts",
    "find_scans",
    "icv_mask_sidecar",
    "mask_sidecar",
    "morph_sidecar",
    "morph_table_dictionary",
    "normalise_labels",
    "output_names",
    "prepare_output",
    "probseg_sidecar",
    "read_filter_file",
    "remove_outputs",
    "select_subjects",
    "sidecar",
    "write_crash",
    "write_json",
    "write_tsv",
]
