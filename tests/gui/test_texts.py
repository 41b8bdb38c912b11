"""Every text that the code asks for is in the one file, and the file holds no other."""

import ast
import re
from pathlib import Path

import pytest

from bids_hypo.gui import texts
from bids_hypo.gui.html import STAGES
from bids_hypo.gui.texts import all_texts, text

FOLDER = Path(texts.__file__).parent


def _asked_for():
    """Keys of calls of `text`; those of f-strings as patterns."""
    for path in sorted(FOLDER.glob("*.py")):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if not (isinstance(node, ast.Call) and getattr(node.func, "id", "") == "text"):
                continue
            asked = node.args[0]
            for part in (asked.body, asked.orelse) if isinstance(asked, ast.IfExp) else (asked,):
                if isinstance(part, ast.JoinedStr):
                    yield "".join(re.escape(v.value) if isinstance(v, ast.Constant) else r"\w+" for v in part.values)
                elif isinstance(part, ast.Constant):
                    yield re.escape(part.value)


def test_the_code_asks_for_what_is_there_and_nothing_is_left_over():
    keys = set(all_texts())
    patterns = [re.compile(p) for p in _asked_for()]
    assert len(patterns) > 80
    assert [p.pattern for p in patterns if not any(p.fullmatch(key) for key in keys)] == []
    also = {"error.dicom_none", "error.dicom_failed", "status.done", "status.kept", "status.failed"}
    left = {key for key in keys if not any(p.fullmatch(key) for p in patterns)} - also
    assert left == set()


def test_every_stage_of_the_core_has_a_text():
    source = "".join((FOLDER.parent / "workflow" / name).read_text("utf-8") for name in ("scan.py", "process.py"))
    stages = set(re.findall(r'watch\.stage\("(\w+)"\)', source))
    assert stages == set(STAGES)
    assert all(text(f"progress.{stage}") for stage in stages)


def test_values_are_filled_in():
    assert text("error.folder_relative", folder="x/y") == "x/y: give the whole path, from / on."
    with pytest.raises(KeyError):
        text("error.folder_relative", file="x")
    with pytest.raises(KeyError):
        text("no.such")
