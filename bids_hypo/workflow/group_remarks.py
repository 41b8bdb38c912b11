"""What a reader of the results of a series has to know about its scans."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd

from bids_hypo.bids.ensembles import ENSEMBLE
from bids_hypo.bids.entities import PLAIN_SUFFIX, image_name
from bids_hypo.stats.analysis import Design
from bids_hypo.stats.groups import Groups
from bids_hypo.stats.table import ICV, NORMALISED


def remarks_on(table: pd.DataFrame, groups: Groups, design: Design) -> list[str]:
    """What a reader of the results has to know about the scans."""
    tested = table[table["tested"]]
    out = []
    if groups.left_out:
        out.append(f"Groups that are not compared: {', '.join(groups.left_out)}.")
    no_icv = int(tested[ICV].isna().sum())
    if no_icv:
        why = "skull removed or image cut"
        if table["image"].iloc[0] != PLAIN_SUFFIX:
            why = "it is measured on T1-weighted scans, and their sessions have none with an ICV"
        out.append(f"{no_icv} of {len(tested)} tested scans have no ICV ({why}) and so no "
                   "normalised volume; tests of plain volumes include them.")  # fmt: skip
    if tested[NORMALISED].notna().sum() == 0:
        out.append("No scan has a normalised volume: neither head size nor its effect on the volumes can be judged.")
    out += _of_mixtures(tested)
    doubtful = int(tested["icv_doubtful"].sum())
    if doubtful:
        out.append(f"The ICV of {doubtful} tested scans may be more than 5 % wrong; they count as flagged.")
    if design.site and tested[design.site].nunique() < 2:
        out.append(f"Column {design.site} names fewer than two sites; there is nothing to harmonise.")
    small = [f"{name} {n}" for name, n in tested["group"].value_counts().items() if n < 10]
    if small:
        out.append(f"Few participants ({', '.join(small)}): intervals are wide, and tests of normality see little.")
    return out


def _of_mixtures(tested: pd.DataFrame) -> list[str]:
    """What was not measured alike: models, settings, kinds of image, the images of ensembles."""
    out = []
    if tested["models"].nunique() > 1:
        made = "; ".join(f"{n} with {name or 'unnamed models'}" for name, n in tested["models"].value_counts().items())
        out.append(f"Scans were measured with different models or settings ({made}); process them alike first.")
    kinds = tested["scan"].str.rpartition("_")[2].value_counts()
    if len(kinds) > 1:
        made = ", ".join(f"{n} {kind}" for kind, n in kinds.items())
        out.append(f"Images of different kinds are compared ({made}); what differs may be the images.")
    averaged = tested.loc[tested["image"] == ENSEMBLE, "sources"].map(_kinds_of).value_counts()
    if len(averaged) > 1:
        made = "; ".join(f"{n} of {kinds}" for kinds, n in averaged.items())
        out.append(f"Ensembles of different images are compared ({made}); what differs may be the images.")
    return out


def _kinds_of(sources: Sequence[str]) -> str:
    return ", ".join(image_name(one).rpartition("_")[2] for one in sources)
