"""An index on disk that somebody changed: built anew, or refused; never a traceback, never a file outside."""

import os
import sqlite3
from contextlib import closing

import pytest

from bids_hypo.bids import Selection, find_scans
from bids_hypo.bids.stored_index import DATABASE_FILE, INDEX_VERSION


@pytest.fixture
def indexed(tmp_path):
    root = tmp_path / "raw"
    for label in ("01", "02"):
        (root / f"sub-{label}" / "anat").mkdir(parents=True)
        (root / f"sub-{label}" / "anat" / f"sub-{label}_T1w.nii").touch()
    (root / "dataset_description.json").write_text('{"Name": "s", "BIDSVersion": "1.9.0"}')
    find_scans(root, Selection(), database_dir=tmp_path / "index")
    return root, tmp_path / "index" / DATABASE_FILE


def _execute(path, *statements):
    with closing(sqlite3.connect(path)) as database:
        for statement in statements:
            database.execute(statement)
        database.commit()


def _pipe(path):
    path.unlink()
    os.mkfifo(path)


def _other_tables(path):
    path.unlink()
    version = f"PRAGMA user_version = {INDEX_VERSION}"
    _execute(path, "CREATE TABLE files (filename)", "CREATE TABLE layout_info (x)", version)


def _move_files(path, to):
    """Let the index say that the image of the first subject lies elsewhere."""
    for table, column in (("files", "path"), ("tags", "file_path")):
        new = to.format(path=column)
        _execute(path, f"UPDATE {table} SET {column} = {new} WHERE {column} LIKE '%sub-01_T1w.nii'")


def _link_to(path, target):
    path.unlink()
    path.symlink_to(target)


DAMAGE = {
    "text": lambda path: path.write_text("no database"),
    "cut": lambda path: path.write_bytes(path.read_bytes()[:5000]),
    "pipe": _pipe,
    "device": lambda path: _link_to(path, "/dev/zero"),
    "link to itself": lambda path: _link_to(path, path.name),
    "other tables": _other_tables,
    "no tags": lambda path: _execute(path, "DROP TABLE tags"),
    "no settings": lambda path: _execute(path, "DELETE FROM layout_info"),
    "deep settings": lambda path: _execute(path, f"UPDATE layout_info SET _config = '{'[' * 100_000}'"),
    "other types": lambda path: _move_files(path, "5"),
    "absolute path": lambda path: _move_files(path, "'/etc/sub-01/anat/sub-01_T1w.nii'"),
    "path upwards": lambda path: _move_files(path, "replace({path}, '/sub-01/', '/../x/sub-01/')"),
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_a_damaged_index_is_built_anew(indexed, caplog, damage):
    root, path = indexed
    DAMAGE[damage](path)
    scans, missing = find_scans(root, Selection(), database_dir=path.parent)
    assert [scan.subject for scan in scans] == ["01", "02"] and missing == []
    assert all(scan.path.is_relative_to(root) and ".." not in scan.path.parts for scan in scans)
    assert str(path) in caplog.text and "it is built again" in caplog.text
    caplog.clear()
    assert len(find_scans(root, Selection(), database_dir=path.parent)[0]) == 2
    assert "built again" not in caplog.text


def test_a_dry_run_only_leaves_it_out(indexed):
    root, path = indexed
    path.write_text("no database")
    assert len(find_scans(root, Selection(), database_dir=path.parent, keep_index=False)[0]) == 2
    assert path.read_text() == "no database"
