"""Names and texts from data: what becomes part of a path, what a terminal and a shell make of the rest."""

import json
import os
import subprocess

import pytest

from bids_hypo.cli import train
from bids_hypo.train.recipe import RECIPES, load_recipe
from bids_hypo.untrusted import UnsafeNameError, is_plain_name, markdown, plain_name, shell_words, visible


@pytest.mark.parametrize("name", ["anatomy", "vernikouskaya2023-icv", "3T", "a.b_c+d e", "sub-01_T1w.nii.gz", "Größe"])
def test_plain_names(name):
    assert plain_name(name, "x") == name


@pytest.mark.parametrize(
    "name", ["", ".", "..", "../../x", "a/b", "/etc/x", "-rf", ".hidden", "a\\b", "a\nb", "a\x00b", "a" * 256, None, 7,
             ["a"], "C:x", "~root", "a\x1b[2Jb"],
)  # fmt: skip
def test_names_that_are_more_than_a_name(name):
    assert not is_plain_name(name)
    with pytest.raises(UnsafeNameError, match=r"recipe.json: 'name' is .*Correct it"):
        plain_name(name, "recipe.json: 'name'")


@pytest.mark.parametrize("change", [{"name": "../../x"}, {"phases": [{"name": "../x"}]}, {"name": None}])
def test_a_recipe_cannot_name_a_folder_elsewhere(tmp_path, change, capfd):
    recipe = json.loads((RECIPES / "vernikouskaya2023.json").read_text()) | change
    path = tmp_path / "recipe.json"
    path.write_text(json.dumps(recipe))
    with pytest.raises(UnsafeNameError):
        load_recipe(str(path))
    (tmp_path / "model.h5").write_text("not reached")
    models = tmp_path / "a" / "b" / "models"
    code = train.main(["import", str(tmp_path / "model.h5"), "--recipe", str(path), "--models", str(models)])
    assert code == 65 and str(path) in capfd.readouterr().err
    assert sorted(p.name for p in tmp_path.iterdir()) == ["model.h5", "recipe.json"]


def test_what_hides_is_written_out_and_what_does_not_stays():
    assert visible("sub-01\nERROR: all lost\x1b[2J\r\u202ex\udcff\x9b") == (
        r"sub-01\nERROR: all lost\x1b[2J\r\u202ex\udcff\x9b"
    )
    assert visible("a\n\tb", keep="\n") == "a\n\\tb"
    assert visible("Größe ± 3 mm³, 脳 \\n 'x'") == "Größe ± 3 mm³, 脳 \\n 'x'"


def test_markup_in_markdown_is_text():
    assert markdown("<script>x</script> [a](javascript:x)") == r"\<script>x\</script> \[a\](javascript:x)"


WORDS = [
    "plain", "two words", "it's", "a\nb", "$(touch x)", "\x1b[2J'\"\\`$x`", "tab\there", "Größe", "\udcff\n", "",
    "\\n\n",
]  # fmt: skip


def test_a_shell_reads_the_same_words_from_one_line():
    line = shell_words(WORDS)
    assert "\n" not in line and "\x1b" not in line
    script = os.fsencode(f"# {line}\nwords=({line})\nprintf '%s\\0' \"${{words[@]}}\"\n")
    out = subprocess.run(["bash"], input=script, capture_output=True, check=True, env={"LC_ALL": "C.UTF-8"}).stdout
    assert out.split(b"\0")[:-1] == [os.fsencode(word) for word in WORDS]
    assert shell_words(["a", "b c"]) == "a 'b c'"
