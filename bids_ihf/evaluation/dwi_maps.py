"""Maps of a series: the diffusion tensor by dipy, NODDI by AMICO where it is installed."""

from __future__ import annotations

import os
import tempfile
from contextlib import contextmanager, redirect_stdout
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from attrs import evolve, frozen

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from bids_ihf.evaluation.dwi_people import Scan

    Array = NDArray[np.float32]
    Mask = NDArray[np.bool_]

TENSOR_UP_TO = 1200.0
"""Largest b-value (s/mm2) that the tensor is fitted to: it is no model of what lies above."""

DIRECTIONS = 500
"""Orientations that NODDI's kernels are turned to."""

MD_UNIT = 1e-3
"""mm2/s in which mean diffusivity is told."""


@frozen(eq=False)
class Maps:
    """Maps (X, Y, Z), 0 outside the mask: FA, MD (MD_UNIT), the principal direction (X, Y, Z, 3),
    and NDI and ODI where they were fitted."""

    fa: Array
    md: Array
    direction: Array
    ndi: Array | None = None
    odi: Array | None = None

    def named(self) -> dict[str, Array]:
        """The scalar maps by name."""
        maps = {"FA": self.fa, "MD": self.md, "NDI": self.ndi, "ODI": self.odi}
        return {name: values for name, values in maps.items() if values is not None}


def tensor_maps(scan: Scan, mask: Mask, up_to: float = TENSOR_UP_TO) -> Maps:
    """FA, MD and principal direction by a weighted fit (dipy) of the shells up to a b-value."""
    from dipy.core.gradients import gradient_table
    from dipy.reconst.dti import TensorModel

    low = scan.gradients.bvals <= up_to
    gradients = gradient_table(scan.gradients.bvals[low], bvecs=scan.gradients.bvecs[low])
    signal = np.maximum(np.moveaxis(scan.volumes[low][:, mask], 0, -1), 1e-3)
    fit = TensorModel(gradients, fit_method="WLS").fit(signal)
    return Maps(
        _in(mask, np.nan_to_num(fit.fa)),
        _in(mask, fit.md / MD_UNIT),
        _in(mask, fit.evecs[..., 0]),
    )


def _in(mask: Mask, values: NDArray[np.floating]) -> Array:
    out = np.zeros((*mask.shape, *values.shape[1:]), dtype=np.float32)
    out[mask] = values
    return out


def has_noddi() -> bool:
    """Whether AMICO is installed."""
    return find_spec("amico") is not None


class Noddi:
    """AMICO's NODDI (Daducci et al. 2015, NeuroImage 105:32)."""

    def __init__(self, folder: Path) -> None:
        self._folder, self._made = folder, False

    def add_to(self, maps: Maps, scan: Scan, mask: Mask) -> Maps:
        """The maps with NDI and ODI, fitted inside a mask."""
        found = self._fit(scan, mask)
        return evolve(maps, ndi=found["NDI"], odi=found["ODI"])

    def _fit(self, scan: Scan, mask: Mask) -> dict[str, Array]:
        """AMICO reads files and writes to the terminal; here, only in its folder and nowhere."""
        with _quiet():
            import amico

            amico.set_verbose(0)
            if not self._made:  # kept in ~/.dipy, a quarter of a second
                amico.lut.precompute_rotation_matrices(12, DIRECTIONS)
            self._write(scan, mask, amico)
            work: Any = amico.Evaluation(str(self._folder), "s")
            work.set_config("nthreads", 1)
            work.load_data("dwi.nii", "scheme", mask_filename="mask.nii", b0_thr=0)
            work.set_model("NODDI")
            # Kept kernels are wrong for another table, and AMICO does not notice.
            work.generate_kernels(regenerate=True, ndirs=DIRECTIONS)
            work.load_kernels()
            work.fit()
        self._made = True
        values = work.RESULTS["MAPs"]
        return {name: values[..., k] for k, name in enumerate(work.model.maps_name)}

    def _write(self, scan: Scan, mask: Mask, amico: Any) -> None:
        import nibabel

        from bids_ihf.simulation.gradients import to_text

        place = self._folder / "s"
        place.mkdir(parents=True, exist_ok=True)
        volumes = np.moveaxis(scan.volumes, 0, -1)
        nibabel.save(nibabel.Nifti1Image(volumes, np.eye(4)), place / "dwi.nii")
        nibabel.save(nibabel.Nifti1Image(mask.astype(np.uint8), np.eye(4)), place / "mask.nii")
        names = [str(place / name) for name in ("bval", "bvec", "scheme")]
        for name, content in zip(names, to_text(scan.gradients), strict=False):
            Path(name).write_bytes(content)
        amico.util.fsl2scheme(*names)


@contextmanager
def noddi() -> Iterator[Noddi | None]:
    """AMICO with a folder of its own, or None where it is not installed."""
    if not has_noddi():
        yield None
        return
    with tempfile.TemporaryDirectory(prefix="ihf-noddi-") as folder:
        yield Noddi(Path(folder))


@contextmanager
def _quiet() -> Iterator[None]:
    with Path(os.devnull).open("w", encoding="utf-8") as nowhere, redirect_stdout(nowhere):
        yield
