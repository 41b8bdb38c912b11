"""Where an image lies and how large its voxels are: what a NIfTI header says of it, and whether it agrees with itself.

A header holds the size of a voxel up to three times (sform, qform, pixdim) and left and right twice. Programs differ in
which they believe, so a contradiction is never resolved here by a guess.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import nibabel as nib
import numpy as np

from bids_hypo.errors import ScanReadError

HEADER_INCONSISTENT = "header_inconsistent"
TEMPLATE_SPACE = "template_space"

MIN_VOXEL_MM = 0.25
MAX_VOXEL_MM = 5.0
MAX_VOXEL_MM3 = 27.5  # cubes of 3 mm; a hypothalamus of 800 mm3 has 30 of them
# Scanners round pixdim to two or three digits: 1.33 for 1.3333 is 0.25 %.
SIZES_AGREE, VOLUMES_AGREE, SIZES_CONTRADICT = 0.005, 0.007, 0.02
AXES_AGREE_DEG, AXES_CONTRADICT_DEG = 1.0, 45.0
SHEAR_AGREES_DEG = 2.0
PLACES_AGREE_MM = 1.0
_TEMPLATE_CODES = (3, 4)  # Talairach, MNI
_MM_OF_UNIT = {0: 1.0, 1: 1000.0, 2: 1.0, 3: 0.001}  # xyzt_units: unknown, metre, mm, micron
_UNIT_NAMES = {1: "metres", 3: "microns"}


@dataclass(frozen=True)
class Placement:
    """What a header says of an image's place.

    Attributes
    ----------
    affine : (4, 4) float, voxel to RAS mm
    doubts : tuple of str
        `HEADER_INCONSISTENT` where the header disagrees with itself by less than would be a contradiction,
        `TEMPLATE_SPACE` where it says that the image was moved into a template's space.
    """

    affine: np.ndarray
    doubts: tuple[str, ...] = ()


@dataclass(frozen=True)
class _Form:
    """One of the two transforms of a header, and its voxel sizes in mm; ``None`` for a transform not in use."""

    name: str
    code: int
    affine: np.ndarray | None

    @property
    def sizes(self) -> np.ndarray:
        assert self.affine is not None
        return np.linalg.norm(self.affine[:3, :3], axis=0)

    @property
    def axes(self) -> np.ndarray:
        assert self.affine is not None
        return self.affine[:3, :3] / self.sizes

    @property
    def origin(self) -> np.ndarray:
        assert self.affine is not None
        return self.affine[:3, 3]

    def text(self) -> str:
        if self.affine is None:
            return f"{self.name} (code {self.code}) cannot be read" if self.code else f"{self.name} is not in use"
        codes = "".join(str(code) for code in nib.aff2axcodes(self.affine))
        return f"{self.name} (code {self.code}) says {_mm(self.sizes)}, axes {codes}"


def check_placement(path: Path, header: nib.Nifti1Header, *, any_size: bool = False) -> Placement:
    """Compare sform, qform and pixdim of a header, and choose between them.

    Parameters
    ----------
    path : Path
        Named in errors.
    header : Nifti1Header
    any_size : bool
        Voxels may have any size: a segmentation to be compared, not a scan to be measured.

    Returns
    -------
    Placement
        By the sform where it is in use, else by the qform, as the NIfTI standard and nibabel have it, in millimetres
        whatever the unit of the header.

    Raises
    ------
    ScanReadError
        If there is no transform; if voxel sizes are not above 0; if they differ by more than 2 %, left and right are
        exchanged or an axis is turned by more than 45 degrees between the transforms; or if voxels have a size that
        cannot be worked on.
    """
    scale, unit_doubtful = _unit(path, header)
    sform, qform = _forms(header, scale)
    if not (sform.code or qform.code):
        raise ScanReadError(
            f"{path}: the header has no affine (sform_code and qform_code are 0), so left and right are unknown. "
            "Convert the scan again from DICOM, or set the orientation if you are sure of it."
        )
    used = sform if sform.code else qform
    pixdim = np.abs(np.asarray(header["pixdim"][1:4], dtype=float)) * scale
    _check_numbers(path, used, pixdim)
    doubtful = _compare(path, (sform, qform), pixdim) or unit_doubtful
    if not any_size:
        _check_sizes(path, used)
    doubts = ((HEADER_INCONSISTENT,) if doubtful else ()) + ((TEMPLATE_SPACE,) if used.code in _TEMPLATE_CODES else ())
    assert used.affine is not None
    return Placement(used.affine, doubts)


def _unit(path: Path, header: nib.Nifti1Header) -> tuple[float, bool]:
    """Millimetres in the header's unit of length, and whether that unit is doubtful."""
    code = int(header["xyzt_units"]) & 7
    sizes = np.abs(np.asarray(header["pixdim"][1:4], dtype=float))
    scale = _MM_OF_UNIT.get(code)
    if scale is not None and (scale == 1.0 or _workable(sizes * scale)):
        return scale, False
    if _workable(sizes):  # in a unit that makes no head; as millimetres they do
        return 1.0, True
    found = _UNIT_NAMES.get(code, f"a unit with the unknown number {code}")
    if scale is None:
        raise ScanReadError(f"{path}: the header gives lengths in {found}; expected millimetres. Repair xyzt_units.")
    raise ScanReadError(
        f"{path}: the header gives lengths in {found} (xyzt_units), which makes voxels of {_mm(sizes * scale)}. "
        "Repair xyzt_units and pixdim, or convert the scan again from DICOM."
    )


def _workable(sizes_mm: np.ndarray) -> bool:
    return bool(np.isfinite(sizes_mm).all() and sizes_mm.min() >= MIN_VOXEL_MM / 2 and sizes_mm.max() <= MAX_VOXEL_MM)


def _forms(header: nib.Nifti1Header, scale: float) -> tuple[_Form, _Form]:
    def scaled(affine: np.ndarray) -> np.ndarray:
        out = np.array(affine, dtype=float)
        out[:3] *= scale
        return out

    codes = {"sform": int(header["sform_code"]), "qform": int(header["qform_code"])}
    sform = scaled(header.get_sform()) if codes["sform"] > 0 else None
    try:
        qform = scaled(header.get_qform()) if codes["qform"] > 0 else None
        qform = qform if qform is None or np.isfinite(qform).all() else None
    except (ValueError, nib.spatialimages.HeaderDataError):  # a quaternion longer than 1
        qform = None
    return _Form("sform", max(codes["sform"], 0), sform), _Form("qform", max(codes["qform"], 0), qform)


def _check_numbers(path: Path, used: _Form, pixdim: np.ndarray) -> None:
    if used.affine is None:
        raise ScanReadError(f"{path}: the qform of the header cannot be read and there is no sform; repair the header.")
    sizes = used.sizes if np.isfinite(used.affine).all() else np.full(3, np.nan)
    if not np.isfinite([*sizes, *pixdim]).all() or sizes.min() <= 0 or pixdim.min() <= 0:
        raise ScanReadError(
            f"{path}: voxel sizes {np.round(pixdim, 3).tolist()} mm (pixdim), {np.round(sizes, 3).tolist()} mm "
            f"({used.name}) cannot be right; expected values above 0. Repair the header (pixdim and affine)."
        )
    if abs(np.linalg.det(used.axes)) < 0.5:
        raise ScanReadError(f"{path}: the axes of the affine are not independent; repair the header.")


def _compare(path: Path, forms: tuple[_Form, _Form], pixdim: np.ndarray) -> bool:
    """Whether what the header says more than once differs a little; raises where it contradicts itself."""
    there = [form for form in forms if form.affine is not None]
    off = max(float(np.max(np.abs(form.sizes / pixdim - 1))) for form in there)
    said = f"{forms[0].text()}; {forms[1].text()}; pixdim says {_mm(pixdim)}"
    if off > SIZES_CONTRADICT:
        raise ScanReadError(f"{path}: the header contradicts itself in the size of a voxel: {said}. {_advice(forms)}")
    volumes = max(abs(float(np.prod(form.sizes / pixdim)) - 1) for form in there)
    shear = max(_shear_deg(form.axes) for form in there)
    doubtful = off > SIZES_AGREE or volumes > VOLUMES_AGREE or shear > SHEAR_AGREES_DEG
    if len(there) < 2:
        return doubtful or any(form.code and form.affine is None for form in forms)
    sform, qform = there
    turned = _angles_deg(sform.axes, qform.axes)
    if np.sign(np.linalg.det(sform.axes)) != np.sign(np.linalg.det(qform.axes)):
        raise ScanReadError(f"{path}: sform and qform are mirror images, so left is right in one: {said}. "
                            f"{_advice(forms)}")  # fmt: skip
    if turned > AXES_CONTRADICT_DEG:
        raise ScanReadError(f"{path}: the axes of sform and qform lie {turned:.0f} degrees apart: {said}. "
                            f"{_advice(forms)}")  # fmt: skip
    # Transforms with different codes lead into different spaces (scanner, aligned): they may be turned and moved.
    moved = float(np.linalg.norm(sform.origin - qform.origin))
    return doubtful or (sform.code == qform.code and (turned > AXES_AGREE_DEG or moved > PLACES_AGREE_MM))


def _advice(forms: tuple[_Form, _Form]) -> str:
    advice = "It is not known which is right, so nothing was measured. Convert the scan again from DICOM."
    if all(form.affine is not None for form in forms):
        return advice + (
            " If you are sure of one, copy it over the other: 'fslorient -copyqform2sform FILE' or '-copysform2qform' "
            "of FSL; in nibabel image.set_sform(image.get_qform(), 1), or image.set_qform(image.get_sform(), 1)."
        )
    return advice + " If you are sure of the affine, save it again with nibabel, image.set_qform(image.affine, 1)."


def _check_sizes(path: Path, used: _Form) -> None:
    sizes = used.sizes
    found = f"{path}: found voxels of {_mm(sizes)}"
    if np.round(sizes.min(), 3) < MIN_VOXEL_MM:
        raise ScanReadError(
            f"{found}; expected {MIN_VOXEL_MM} to {MAX_VOXEL_MM:g} mm. Images this fine were never tried and take "
            f"much memory. {_perhaps(sizes)}Is the header right? If so, resample the scan to 0.5 mm."
        )
    if np.round(sizes.max(), 2) > MAX_VOXEL_MM or np.prod(sizes) > MAX_VOXEL_MM3:
        raise ScanReadError(
            f"{found}; expected {MIN_VOXEL_MM} to {MAX_VOXEL_MM:g} mm and at most {MAX_VOXEL_MM3:g} mm3. The "
            "hypothalamus, of about 800 mm3, cannot be measured on so coarse a grid. Is the header right?"
        )


def _perhaps(sizes: np.ndarray) -> str:
    """The unit in which tiny voxels would be those of a scan, as a question."""
    for factor, name in ((10.0, "centimetres"), (1000.0, "metres")):
        if sizes.min() * factor >= 2 * MIN_VOXEL_MM and _workable(sizes * factor):
            return f"Are these {name}, though the header does not say so (xyzt_units)? "
    return ""


def _angles_deg(a: np.ndarray, b: np.ndarray) -> float:
    """The largest angle between corresponding axes."""
    return float(np.degrees(np.arccos(np.clip((a * b).sum(axis=0), -1, 1))).max())


def _shear_deg(axes: np.ndarray) -> float:
    """How far the axes are from being at right angles."""
    products = np.abs((axes.T @ axes)[np.triu_indices(3, 1)])
    return float(np.degrees(np.arcsin(np.clip(products, 0, 1))).max())


def _mm(sizes: np.ndarray) -> str:
    return f"{' x '.join(f'{size:.2f}' if size >= 0.1 else f'{size:.2g}' for size in sizes)} mm"
