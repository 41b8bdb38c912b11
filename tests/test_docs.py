"""The pages: links lead somewhere, commands exist, every entry is listed, and what can be run runs."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from dataclasses import fields
from pathlib import Path

import pandas as pd
import pytest

ROOT = Path(__file__).resolve().parent.parent
DOCS = ROOT / "docs"
PAGES = sorted(path for path in DOCS.rglob("*.md") if "_build" not in path.parts)
AT_THE_TOP = sorted(ROOT.glob("*.md"))
TUTORIALS = ("first_dataset", "correct_outline", "two_groups", "own_model")
LONGEST_ROW = 420  # characters of a table row: what is longer belongs into sentences
# The tests run the same commands on fewer people and for fewer steps than a reader does.
SMALLER = {
    "bids_hypo_demo demo/data": "bids_hypo_demo demo/data --subjects 6",
    "ms --patients 40": "ms --patients 16 --seed 1",
    "fit recipe.json": "fit recipe.json --set training.steps=4 training.warmup_steps=1 training.checkpoint_every=2"
    " training.batches_per_chunk=2",
}

pytestmark = pytest.mark.skipif(not PAGES, reason="the docs are not beside the tests")


def fences(page: Path, *languages: str) -> list[tuple[str, str]]:
    """Language and content of the blocks of code of a page, in their order."""
    found = re.findall(r"^ *```([^`\n]*)\n(.*?)^ *```$", page.read_text("utf-8"), flags=re.M | re.S)
    return [(language, text) for language, text in found if language in languages]


def commands(page: Path) -> list[list[str]]:
    """The words of each of our commands in the blocks of a page."""
    lines = []
    for _, text in fences(page, "", "bash"):
        for line in re.sub(r"\\\n\s*", " ", text).splitlines():
            words = shlex.split(line, comments=True) if re.match(r"\s*bids_hypo\w* [^\d]", line) else []
            lines += [words] if words and words[0] in COMMANDS and "{" not in "".join(words[1:4]) else []
    return [line[: next((k for k, word in enumerate(line) if word in (">", "|")), None)] for line in lines]


COMMANDS = ("bids_hypo", "bids_hypo_demo", "bids_hypo_train", "bids_hypo_evaluate", "bids_hypo_gui")


def parser_of(command: str):
    from bids_hypo.cli import arguments, demo, evaluate, gui, train

    parsers = (
        arguments.build_parser, demo.build_parser, train._parser, evaluate.build_parser, gui.build_parser
    )  # fmt: skip
    return dict(zip(COMMANDS, parsers, strict=True))[command]()


@pytest.mark.parametrize("page", [*PAGES, *AT_THE_TOP], ids=lambda path: path.relative_to(ROOT).as_posix())
def test_commands_on_a_page_can_be_parsed(page):
    for words in commands(page):
        if words[1:] in (["--version"], ["gui"]) or "..." in words or any(set("$[") & {*word[:1]} for word in words):
            continue  # ends at once, shows how a command is made up, or has a variable of the shell
        try:
            parser_of(words[0]).parse_args(words[1:])
        except SystemExit:
            pytest.fail(f"{page.name}: {shlex.join(words)}")


def test_commands_are_found():
    assert sum(len(commands(page)) for page in PAGES) > 60
    with pytest.raises(SystemExit):
        parser_of("bids_hypo").parse_args(["in", "out", "participant", "--no-such-option"])


@pytest.mark.parametrize("page", AT_THE_TOP, ids=lambda path: path.name)
def test_links_of_pages_at_the_top_lead_to_files(page):
    """Those of the docs are checked when they are built."""
    targets = re.findall(r"\]\((?!https?://|#|mailto:)([^)#]+)", page.read_text("utf-8"))
    assert [target for target in targets if not (page.parent / target).exists()] == []


def test_code_and_texts_name_pages_that_exist():
    texts = [*(ROOT / "bids_hypo").rglob("*.py"), *(ROOT / "bids_hypo").rglob("*.md"), *AT_THE_TOP,
             ROOT / "Dockerfile", ROOT / "Singularity.def"]  # fmt: skip
    named = {
        (path.name, name)
        for path in texts
        if path.name != "CHANGELOG.md"  # tells of pages as they were
        for name in re.findall(r"docs/[\w/]+\.md", path.read_text("utf-8"))
    }
    assert len(named) > 5
    assert [(path, name) for path, name in sorted(named) if not (ROOT / name).is_file()] == []


@pytest.mark.parametrize("page", PAGES, ids=lambda path: path.relative_to(DOCS).as_posix())
def test_rows_of_tables_are_short(page):
    if page.name == "accuracy.md":
        pytest.skip("is written with the figures of each model")
    rows = [line for line in page.read_text("utf-8").splitlines() if line.lstrip().startswith("|")]
    assert [row for row in rows if len(row) > LONGEST_ROW] == []


def test_every_entry_of_a_recipe_is_explained():
    from bids_hypo.train import recipe_entries as entries
    from bids_hypo.train.contrasts import SynthesisOptions
    from bids_hypo.train.recipe import SAME_STRUCTURE
    from bids_hypo.train.region_options import RegionOptions
    from bids_hypo.train.settings import Augmentation, Schedule

    page = (DOCS / "reference" / "recipes.md").read_text("utf-8")
    names = {*entries.KNOWN, *entries._PREPROCESSING, *entries._ARCHITECTURE, *entries._LOSS, SAME_STRUCTURE}
    names |= {
        field.name for kind in (Augmentation, RegionOptions, Schedule, SynthesisOptions) for field in fields(kind)
    }
    assert sorted(name for name in names if f"`{name}`" not in page) == []


@pytest.mark.parametrize("name", ["recipes", "training"])
def test_defaults_of_training_are_as_the_pages_say(name):
    from bids_hypo.train.settings import Schedule

    if name == "training":
        text = (DOCS / "reference" / "training.md").read_text("utf-8")
        assert f"(default: {parser_of('bids_hypo_train').parse_args(['measure', 'icv']).n_contrasts})" in text
        return
    rows = re.findall(r"^\| `(\w+)` \| .* \| (\S+) \|$", (DOCS / "reference" / "recipes.md").read_text("utf-8"), re.M)
    told = {entry: value.strip("`") for entry, value in rows}
    kept = {field.name: str(field.default).lower() for field in fields(Schedule) if field.name in told}
    other = {
        entry: value
        for entry, value in kept.items()
        if (float(told[entry]) != float(value) if value[0].isdigit() else told[entry] not in (value, "needed", "never"))
    }
    assert len(kept) > 5 and other == {}


def options_of(parser) -> set[str]:
    """All options of a command and of its own commands; of several spellings the first."""
    names = set()
    for action in parser._actions:
        if action.__class__.__name__ == "_SubParsersAction":
            names |= set().union(*(options_of(inner) for inner in action.choices.values()))
        elif action.option_strings:
            names.add(next((name for name in action.option_strings if name.startswith("--")), action.option_strings[0]))
    return names - {"--help", "--version", "--verbose"}


@pytest.mark.parametrize(
    ("command", "pages"),
    [
        ("bids_hypo_train", ["reference/training.md", "howto/compare_encoders.md"]),
        ("bids_hypo_evaluate", ["reference/evaluation.md"]),
        ("bids_hypo_gui", ["howto/gui.md"]),
    ],
)
def test_pages_list_the_options_that_exist(command, pages):
    text = "".join((DOCS / page).read_text("utf-8") for page in pages)
    assert sorted(name for name in options_of(parser_of(command)) if not re.search(rf"`{name}\b", text)) == []


def test_recipe_of_the_tutorial_can_be_read():
    from bids_hypo.train.recipe import load_recipe

    assert load_recipe(str(DOCS / "tutorials" / "own_structure.json")).structure.name == "myregion"


@pytest.mark.slow
def test_tutorials_and_examples_run(tmp_path):
    """All blocks of ``bash`` and ``python``, in the order in which a reader comes to them."""
    (tmp_path / "recipe.json").write_bytes((DOCS / "tutorials" / "own_structure.json").read_bytes())
    pages = [*(DOCS / "tutorials" / f"{name}.md" for name in TUTORIALS), DOCS / "howto" / "examples.md"]
    assert run_blocks(pages, tmp_path) > 25
    volumes = (tmp_path / "demo/out/sub-01/anat/sub-01_desc-volumetric_morph.tsv").read_text()
    assert "hypothalamus\twhole\tB" in volumes and (tmp_path / "groups.png").stat().st_size > 1000


def test_tutorial_of_simulated_patients_runs_and_finds_what_is_planted(tmp_path):
    from bids_hypo.demo.patients import CHANGE

    assert run_blocks([DOCS / "tutorials" / "change_over_time.md"], tmp_path) == 5
    out = tmp_path / "ms" / "derivatives"
    volumes, rows = (
        pd.read_csv(out / f"group_{name}.tsv", sep="\t", na_values="n/a") for name in ("volumes", "statistics")
    )
    assert set(volumes["image"]) == {"T1w", "ensemble"} and volumes["icv_source"].str.endswith("_T1w").all()
    assert volumes["change_percent_per_year"].notna().all()
    rows = rows[rows["chosen"] & rows["primary"] & (rows["image"] == "ensemble")]
    change = rows[(rows["analysis"] == "longitudinal") & (rows["measure"] == "volume_mm3") & (rows["term"] == "years")]
    for group, (mean, _) in CHANGE.items():
        row = change[change["group_a"] == group].iloc[0]
        assert row["estimate_low"] < mean < row["estimate_high"]
    worse = rows[(rows["analysis"] == "worsening") & (rows["measure"] == "change_percent_per_year")].iloc[0]
    assert worse["estimate"] > 1 and worse["p_holm"] >= worse["p"]
    assert (rows["analysis"] == "trial").sum() == 8
    page = (out / "group_report.html").read_text()
    for words in ("thalamus averaged over images", "Who has got worse (worsened)", "A trial that slows the loss",
                  "Change of each participant", "means over the kinds of image of a session"):  # fmt: skip
        assert words in page


def run_blocks(pages: list[Path], folder: Path) -> int:
    """Run the blocks of ``bash`` and ``python`` of pages one after the other; how many there were."""
    environment = os.environ | {"PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"}
    n_run = 0
    for page in pages:
        before = ""  # what is in Python goes on from the blocks before on the page
        for language, text in fences(page, "bash", "python"):
            before += text if language == "python" else ""
            words = [sys.executable, "-c", before] if language == "python" else ["bash", "-ec", smaller(text)]
            done = subprocess.run(words, cwd=folder, env=environment, capture_output=True, text=True, check=False)
            said = f"{page.name}: {text}\n{done.stdout[-2000:]}\n{done.stderr[-4000:]}"
            untrained = page.name == "own_model.md" and "was not found" in said  # by a network of a few steps
            assert done.returncode == 0 or untrained, said
            n_run += 1
    return n_run


def smaller(text: str) -> str:
    """The same commands, with less to do."""
    for before, after in SMALLER.items():
        text = text.replace(before, after)
    return text
