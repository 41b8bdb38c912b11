"""Arguments of the page; nothing heavy is loaded for them."""

import subprocess
import sys

import pytest

from bids_hypo.cli import gui
from bids_hypo.cli.main import main
from bids_hypo.errors import ExitCode, NoInputError, UsageError


def _options(*arguments):
    return gui.make_options(gui.build_parser().parse_args(arguments))


def test_private_by_default():
    options = _options()
    assert options.host == "127.0.0.1" and options.port == 7860 and options.auth is None
    assert options.local and options.folders_allowed
    assert not _options("--host", "0.0.0.0").local and not _options("--host", "0.0.0.0").folders_allowed
    assert all(_options("--host", host).local for host in ("::1", "[::1]", "localhost"))


def test_under_further_names_not_every_folder_may_be_read(tmp_path):
    assert not _options("--allow-host", "scans.example").folders_allowed  # others come, through a proxy
    assert _options("--allow-host", "scans.example", "--data", str(tmp_path)).folders_allowed


def test_the_upload_limit_bounds_what_is_unpacked_too():
    limits = _options("--max-upload-mb", "60").limits
    assert (limits.upload_mb, limits.unpacked_mb, limits.total_mb) == (60, 240, 1200)
    assert _options("--max-total-mb", "700", "--max-sessions", "3").limits.total_mb == 700


@pytest.mark.parametrize(
    "arguments", [["--port", "0"], ["--port", "70000"], ["--max-upload-mb", "0"], ["--device", "tpu"], ["--auth", "me"],
                  ["--max-total-mb", "499"], ["--max-sessions", "0"], ["--allow-host", "http://x"],
                  ["--allow-host", "a b"]],
)  # fmt: skip
def test_bad_values_are_refused(arguments):
    with pytest.raises(UsageError, match=arguments[1]):
        _options(*arguments)
    assert gui.main(arguments) == ExitCode.USAGE


def test_the_password_comes_from_a_file(tmp_path):
    (tmp_path / "password").write_text("open sesame\nmore\n")
    assert _options("--auth", f"clinic:{tmp_path}/password").auth == ("clinic", "open sesame")
    (tmp_path / "empty").write_text("\n")
    with pytest.raises(UsageError, match="empty"):
        gui.read_auth(f"clinic:{tmp_path}/empty")
    with pytest.raises(NoInputError, match="cannot be read"):
        gui.read_auth(f"clinic:{tmp_path}/none")


def test_the_data_folder_must_exist(tmp_path):
    with pytest.raises(NoInputError, match="no such folder"):
        _options("--data", str(tmp_path / "none"))


def test_bids_hypo_gui_is_the_same_command(monkeypatch):
    seen = []
    monkeypatch.setattr(gui, "_serve", lambda args: seen.append(args.port) or 0)
    assert main(["gui", "--port", "7999"]) == 0 and main(["gui"]) == 0
    assert seen == [7999, 7860]
    assert main(["gui", "no-such-out", "participant"]) != 0 and len(seen) == 2  # a dataset in a folder called gui


def test_a_container_says_how_the_page_is_reached(tmp_path, monkeypatch):
    monkeypatch.setattr(gui, "IN_CONTAINER", (tmp_path / "mark",))
    assert gui._welcome("http://127.0.0.1:7860", _options()).startswith("Open http://127.0.0.1:7860")
    (tmp_path / "mark").touch()
    assert "-p 127.0.0.1:7999:7999 ... gui --host 0.0.0.0" in gui._welcome("x", _options("--port", "7999"))
    assert gui._welcome("http://x", _options("--host", "0.0.0.0")).startswith("Open http://x")


def test_help_loads_neither_gradio_nor_tensorflow():
    code = (
        "import sys\nfrom bids_hypo.cli.gui import main\n"
        "assert main(['--help']) == 0\n"
        "heavy = {'gradio', 'tensorflow', 'pandas', 'matplotlib', 'numpy'} & set(sys.modules)\n"
        "assert not heavy, heavy\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "--auth" in done.stdout
