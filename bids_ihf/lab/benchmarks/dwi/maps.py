"""Maps of a series: the diffusion tensor by dipy, NODDI by AMICO if it is installed."""

from __future__ import annotations

import os
import tempfile
from contextlib import contextmanager, redirect_stdout
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import nibabel
import numpy as np
from attrs import evolve, frozen

from bids_ihf.lab.simulation.gradient_scheme import fsl_text

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from bids_ihf.lab.benchmarks.dwi.traveling_subjects import DiffusionScan

    Array = NDArray[np.float32]
    Mask = NDArray[np.bool_]

MAX_TENSOR_B_VALUE_S_PER_MM2 = 1200.0
"""Largest b-value that the tensor is fitted to; it is no model of the signal above."""

NODDI_DIRECTION_COUNT = 500
"""Orientations that the kernels of NODDI are rotated to."""

MD_UNIT_MM2_PER_S = 1e-3
"""Unit of mean diffusivity in the maps."""


@frozen(eq=False)
class Maps:
    """Maps (X, Y, Z) of a series, 0 outside the mask.

    Attributes
    ----------
    fa, md
        Fractional anisotropy; mean diffusivity in MD_UNIT_MM2_PER_S.
    direction
        Principal direction, (X, Y, Z, 3).
    ndi, odi
        Neurite density and orientation dispersion, if they were fitted.
    """

    fa: Array
    md: Array
    direction: Array
    ndi: Array | None = None
    odi: Array | None = None

    def scalars(self) -> dict[str, Array]:
        """The scalar maps by name."""
        maps = {"FA": self.fa, "MD": self.md, "NDI": self.ndi, "ODI": self.odi}
        return {name: values for name, values in maps.items() if values is not None}


def tensor_maps(
    scan: DiffusionScan, mask: Mask, max_b_value: float = MAX_TENSOR_B_VALUE_S_PER_MM2
) -> Maps:
    """FA, MD and principal direction by a weighted fit (dipy) of the shells up to a b-value."""
    from dipy.core.gradients import gradient_table
    from dipy.reconst.dti import TensorModel

    low = scan.gradients.bvals <= max_b_value
    gradients = gradient_table(scan.gradients.bvals[low], bvecs=scan.gradients.bvecs[low])
    signal = np.maximum(np.moveaxis(scan.volumes[low][:, mask], 0, -1), 1e-3)
    fit = TensorModel(gradients, fit_method="WLS").fit(signal)
    return Maps(
        _unmask(mask, np.nan_to_num(fit.fa)),
        _unmask(mask, fit.md / MD_UNIT_MM2_PER_S),
        _unmask(mask, fit.evecs[..., 0]),
    )


def _unmask(mask: Mask, values: NDArray[np.floating]) -> Array:
    volume = np.zeros((*mask.shape, *values.shape[1:]), dtype=np.float32)
    volume[mask] = values
    return volume


class NoddiFitter:
    """NODDI (Zhang et al. 2012, NeuroImage 61:1000) by AMICO (Daducci et al. 2015, NeuroImage
    105:32).

    AMICO reads and writes files, all of them in ``folder``.  Its kernels belong to one gradient
    table, which it does not check, and take longer than a fit; each table has its own folder.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._evaluations: dict[bytes, Any] = {}

    def add_to(self, maps: Maps, scan: DiffusionScan, mask: Mask) -> Maps:
        """The maps with NDI and ODI, fitted inside a mask."""
        fitted = self._fit(scan, mask)
        return evolve(maps, ndi=fitted["NDI"], odi=fitted["ODI"])

    def _fit(self, scan: DiffusionScan, mask: Mask) -> dict[str, Array]:
        tables = fsl_text(scan.gradients)
        key = b"".join(tables)
        with _without_output():
            evaluation = self._evaluations.get(key)
            if evaluation is None:
                evaluation = self._new_evaluation(tables, f"table-{len(self._evaluations)}")
            folder = Path(evaluation.get_config("DATA_path"))
            _save(folder / "dwi.nii", np.moveaxis(scan.volumes, 0, -1))
            _save(folder / "mask.nii", mask.astype(np.uint8))
            evaluation.load_data("dwi.nii", "scheme", mask_filename="mask.nii", b0_thr=0)
            if key not in self._evaluations:
                evaluation.set_model("NODDI")
                evaluation.generate_kernels(regenerate=True, ndirs=NODDI_DIRECTION_COUNT)
                evaluation.load_kernels()
                self._evaluations[key] = evaluation
            evaluation.fit()
        values = evaluation.RESULTS["MAPs"]
        return {name: values[..., k] for k, name in enumerate(evaluation.model.maps_name)}

    def _new_evaluation(self, tables: tuple[bytes, bytes], name: str) -> Any:
        """An evaluation in a folder with its gradient table, without data."""
        import amico

        folder = self._folder / name / "s"
        folder.mkdir(parents=True)
        files = [str(folder / filename) for filename in ("bval", "bvec", "scheme")]
        for path, content in zip(files, tables, strict=False):
            Path(path).write_bytes(content)
        amico.set_verbose(0)
        amico.util.fsl2scheme(*files)
        # Kept in ~/.dipy, a quarter of a second.
        amico.lut.precompute_rotation_matrices(12, NODDI_DIRECTION_COUNT)
        evaluation: Any = amico.Evaluation(str(self._folder / name), "s")
        evaluation.set_config("nthreads", 1)
        return evaluation


def _save(path: Path, values: NDArray[Any]) -> None:
    nibabel.save(nibabel.Nifti1Image(values, np.eye(4)), path)


@contextmanager
def noddi_fitter() -> Iterator[NoddiFitter | None]:
    """AMICO with a temporary folder, or None if it is not installed."""
    if find_spec("amico") is None:
        yield None
        return
    with tempfile.TemporaryDirectory(prefix="ihf-noddi-") as folder:
        yield NoddiFitter(Path(folder))


@contextmanager
def _without_output() -> Iterator[None]:
    with Path(os.devnull).open("w", encoding="utf-8") as null, redirect_stdout(null):
        yield
