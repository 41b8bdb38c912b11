"""A small labelled dataset, and a toy head map."""

import nibabel as nib
import numpy as np
import pytest

STRUCTURES = {  # centre (mm) and radius (mm) of a toy head's structures, FreeSurfer numbers, left is negative x
    10: ((-11, -19, 7), 7), 49: ((11, -19, 7), 7), 16: ((0, -31, -33), 9), 4: ((-14, -18, 20), 5),
    43: ((14, -18, 20), 5), 14: ((0, -12, -2), 4), 11: ((-14, 10, 10), 5), 50: ((14, 10, 10), 5),
    12: ((-27, 1, 0), 6), 51: ((27, 1, 0), 6), 17: ((-28, -22, -14), 5), 53: ((28, -22, -14), 5),
    8: ((-20, -62, -36), 16), 47: ((20, -62, -36), 16), 28: ((-9, -14, -13), 3.5), 60: ((9, -14, -13), 3.5),
}  # fmt: skip


@pytest.fixture(scope="session")
def head_file(tmp_path_factory):
    """A toy head map of 1 mm: scalp, bone, CSF, cortex, white matter, structures, and a neck with a spinal canal."""
    shape = (150, 190, 170)
    x = np.stack(np.indices(shape), -1) - np.array([75, 95, 95])
    labels = np.zeros(shape, np.int32)
    radius = np.linalg.norm(x / np.array([1, 1.2, 1]), axis=-1)
    for number, size in ((507, 72), (515, 66), (24, 60), (3, 56), (2, 53)):
        labels[radius < size] = number
    for left, right in ((3, 42), (2, 41)):
        labels[(labels == left) & (x[..., 0] > 0)] = right
    for number, (centre, size) in STRUCTURES.items():
        labels[np.linalg.norm(x - np.array(centre), axis=-1) < size] = number
    labels[(np.hypot(x[..., 0], x[..., 1] + 25) < 5) & (x[..., 2] < -50)] = 24
    path = tmp_path_factory.mktemp("maps") / "toy.nii.gz"
    affine = np.diag([-1.0, 1, 1, 1])  # stored LAS: reading must bring it to RAS
    nib.save(nib.Nifti1Image(np.ascontiguousarray(labels[::-1]), affine), path)
    return path


def save_image(path, data, affine=None):
    """Write an array as NIfTI, by default with voxels of 1 mm."""
    path.parent.mkdir(parents=True, exist_ok=True)
    nib.save(nib.Nifti1Image(data, np.eye(4) if affine is None else affine), path)


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
