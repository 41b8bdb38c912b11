"""Tiny BIDS datasets, made from lists of file names."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from bids_hypo.bids import Scan
from bids_hypo.bids.entities import split_name

MakeDataset = Callable[..., Path]


def write_image(path: Path, shape: tuple[int, ...] = (4, 4, 4), dtype: type = np.uint8) -> None:
    """Write a NIfTI of zeros with units and codes set."""
    path.parent.mkdir(parents=True, exist_ok=True)
    image = nib.Nifti1Image(np.zeros(shape, dtype), np.eye(4))
    image.header.set_xyzt_units("mm", "sec")
    image.set_qform(np.eye(4), 1)
    nib.save(image, path)


def place(root: Path, file_name: str) -> Path:
    """Path in a dataset where BIDS wants an anatomical image of this name."""
    entities, _, _ = split_name(file_name)
    folders = [f"{key}-{entities[key]}" for key in ("sub", "ses") if key in entities]
    return root.joinpath(*folders, "anat", file_name)


@pytest.fixture
def make_dataset(tmp_path: Path) -> MakeDataset:
    """Function (file names, folder name, real images or empty files) -> root of a BIDS dataset."""

    def make(file_names: Iterable[str], name: str = "raw", *, images: bool = False) -> Path:
        root = tmp_path / name
        root.mkdir()
        description = {"Name": "test", "BIDSVersion": "1.8.0", "License": "CC0", "Authors": ["A. Nobody"]}
        (root / "dataset_description.json").write_text(json.dumps(description))
        (root / "README").write_text("A dataset made for a test. " * 10)
        for file_name in file_names:
            path = place(root, file_name)
            path.parent.mkdir(parents=True, exist_ok=True)
            if images:
                write_image(path)
            else:
                path.touch()
        return root

    return make


@pytest.fixture
def make_scan() -> Callable[[Path, str], Scan]:
    """Function (dataset root, file name) -> Scan."""

    def make(root: Path, file_name: str) -> Scan:
        entities, suffix, _ = split_name(file_name)
        return Scan(place(root, file_name), entities, suffix, root)

    return make
