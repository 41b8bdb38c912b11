"""Write the Boutiques descriptor, and Nipoppy's copy of it, from the command line's own parser.

Run ``python descriptors/generate.py`` after an option of bids_hypo changed; a test compares the files with the parser.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

from bids_hypo import __version__
from bids_hypo.cli.arguments import build_parser
from bids_hypo.cli.main import LEVELS

HERE = Path(__file__).resolve().parent
IMAGE = f"bids_hypo:{__version__}"
TARGETS = (HERE / "boutiques.json", HERE / "nipoppy" / f"bids_hypo-{__version__}" / "descriptor.json")

ERROR_CODES = {
    1: "Some scans failed; the others are complete. logs/ in the output folder has the causes.",
    16: "The input folder is not a valid BIDS dataset.",
    17: "The analysis level is not known.",
    18: "The filters selected no scan.",
    64: "Options that do not exist, contradict each other or cannot be used.",
    65: "Data that cannot be used: an unreadable image, a damaged model.",
    66: "The input does not exist.",
    73: "The output folder cannot be created or written.",
    74: "Reading or writing failed on the way.",
}

# What a run leaves behind: key, name, path below the output folder, whether every run has it.
OUTPUTS = (
    ("description", "Description of the derivative dataset", "dataset_description.json", False),
    ("page", "Page that lists all scans", "index.html", True),
    ("group_volumes", "Volumes of all scans (group level)", "group_volumes.tsv", True),
    ("group_statistics", "Comparison of the groups (group level)", "group_statistics.tsv", True),
    ("group_report", "Report of the comparison (group level)", "group_report.html", True),
)


def describe() -> dict[str, Any]:
    """The descriptor, in Boutiques' schema 0.5."""
    actions = [a for a in build_parser()._actions if not isinstance(a, argparse._HelpAction | argparse._VersionAction)]
    inputs = [describe_input(a) for a in actions]
    return {
        "name": "bids_hypo",
        "description": "Measures the hypothalamus (left, right) and the intracranial volume on T1-weighted MRI of a "
        "BIDS dataset, and compares groups.",
        "author": "bids_hypo contributors",
        "tool-version": __version__,
        "schema-version": "0.5",
        "command-line": "/opt/bids_hypo/bin/bids_hypo " + " ".join(entry["value-key"] for entry in inputs),
        "container-image": {"type": "docker", "image": IMAGE},
        "inputs": inputs,
        "groups": describe_groups(actions),
        "output-files": [describe_output(*output) for output in OUTPUTS],
        "error-codes": [{"code": code, "description": text} for code, text in ERROR_CODES.items()],
        "suggested-resources": {"cpu-cores": 2, "ram": 4, "walltime-estimate": 300},
        "tags": {"domain": ["neuroinformatics", "BIDS-App"]},
    }


def describe_input(action: argparse.Action) -> dict[str, Any]:
    """One argument: positional, flag, or option with one value or several."""
    entry: dict[str, Any] = {
        "id": action.dest,
        "name": action.dest.replace("_", " "),
        "description": action.help or "",
        "value-key": f"[{action.dest.upper()}]",
        "optional": not action.required,
        "type": _type(action),
    }
    if action.option_strings:
        entry["command-line-flag"] = next(s for s in action.option_strings if s.startswith("--") or len(s) == 2)
    if action.nargs in ("+", "*"):
        entry |= {"list": True, "list-separator": " "}
    choices = list(LEVELS) if action.dest == "level" else action.choices
    if choices:
        entry["value-choices"] = list(choices)
    if action.type is int:
        entry["integer"] = True
    if entry["type"] != "Flag" and action.default not in (None, []):
        entry["default-value"] = action.default
    return entry


def _type(action: argparse.Action) -> str:
    if action.nargs == 0:
        return "Flag"
    if action.type in (int, float):
        return "Number"
    # A "File" must exist before the run, as folders of input do; folders that the run makes are names.
    makes = action.dest in ("output_dir", "work_dir", "bids_database_dir")
    return "File" if action.type is Path and not makes else "String"


def describe_groups(actions: list[argparse.Action]) -> list[dict[str, Any]]:
    """Options that exclude each other."""
    known = {a.dest for a in actions}
    groups = [[a.dest for a in group._group_actions] for group in build_parser()._mutually_exclusive_groups]
    return [
        {
            "id": "_or_".join(members),
            "name": " or ".join(members),
            "members": members,
            "mutually-exclusive": True,
        }
        for members in groups
        if set(members) <= known
    ]


def describe_output(key: str, name: str, path: str, optional: bool) -> dict[str, Any]:
    """One file in the output folder."""
    return {"id": key, "name": name, "path-template": f"[OUTPUT_DIR]/{path}", "optional": optional}


def main() -> None:
    """Write both files."""
    text = json.dumps(describe(), indent=2, ensure_ascii=False) + "\n"
    for target in TARGETS:
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
