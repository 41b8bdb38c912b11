"""A small labelled dataset."""

import nibabel as nib
import numpy as np
import pytest


def save_image(path, data):
    """Write an array as NIfTI, 1 mm voxels."""
    path.parent.mkdir(parents=True, exist_ok=True)
    nib.save(nib.Nifti1Image(data, np.eye(4)), path)


@pytest.fixture
def dataset(tmp_path):
    """Ten people, the first with two sessions; left and right masks of nine of them."""
    raw, labels = tmp_path / "study", tmp_path / "manual"
    rows = ["participant_id\tgroup"]
    for n in range(1, 11):
        sub = f"sub-{n:02d}"
        rows.append(f"{sub}\t{'ALS' if n <= 5 else 'CON'}")
        for ses in ("1", "2") if n == 1 else ("1",):
            folder = raw / sub / f"ses-{ses}" / "anat"
            save_image(folder / f"{sub}_ses-{ses}_T1w.nii.gz", np.ones((4, 4, 4), np.float32))
            for side, x in (("L", 1), ("R", 2)):
                mask = np.zeros((4, 4, 4), np.uint8)
                mask[x, 1:3, 1] = 1
                if n < 10:
                    save_image(labels / sub / f"{sub}_ses-{ses}_label-{side}_mask.nii.gz", mask)
    (raw / "participants.tsv").write_text("\n".join(rows) + "\n")
    (raw / "dataset_description.json").write_text('{"Name": "s", "BIDSVersion": "1.9.0"}')
    return raw, labels
