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

    from bids_ihf.lab.benchmarks.dwi.travelers import Scan

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
        self._folder = folder
        self._works: dict[bytes, Any] = {}

    def add_to(self, maps: Maps, scan: Scan, mask: Mask) -> Maps:
        """The maps with NDI and ODI, fitted inside a mask."""
        found = self._fit(scan, mask)
        return evolve(maps, ndi=found["NDI"], odi=found["ODI"])

    def _fit(self, scan: Scan, mask: Mask) -> dict[str, Array]:
        """AMICO reads files and writes to the terminal; here, only in its folder and nowhere.

        Its kernels belong to one table, which it does not check, and take longer than a fit; so
        each table has its own folder.
        """
        from bids_ihf.lab.simulation.gradient_scheme import fsl_text

        tables = fsl_text(scan.gradients)
        key = b"".join(tables)
        with _quiet():
            work = self._works.get(key) or self._begin(tables, f"table-{len(self._works)}")
            place = Path(work.get_config("DATA_path"))
            _save(place / "dwi.nii", np.moveaxis(scan.volumes, 0, -1))
            _save(place / "mask.nii", mask.astype(np.uint8))
            work.load_data("dwi.nii", "scheme", mask_filename="mask.nii", b0_thr=0)
            if key not in self._works:
                work.set_model("NODDI")
                work.generate_kernels(regenerate=True, ndirs=DIRECTIONS)
                work.load_kernels()
                self._works[key] = work
            work.fit()
        values = work.RESULTS["MAPs"]
        return {name: values[..., k] for k, name in enumerate(work.model.maps_name)}

    def _begin(self, tables: tuple[bytes, bytes], name: str) -> Any:
        """An evaluation in a folder of its own, with its table and no data yet."""
        import amico

        place = self._folder / name / "s"
        place.mkdir(parents=True)
        names = [str(place / end) for end in ("bval", "bvec", "scheme")]
        for path, content in zip(names, tables, strict=False):
            Path(path).write_bytes(content)
        amico.set_verbose(0)
        amico.util.fsl2scheme(*names)
        # Kept in ~/.dipy, a quarter of a second.
        amico.lut.precompute_rotation_matrices(12, DIRECTIONS)
        work: Any = amico.Evaluation(str(self._folder / name), "s")
        work.set_config("nthreads", 1)
        return work


def _save(path: Path, values: NDArray[Any]) -> None:
    import nibabel

    nibabel.save(nibabel.Nifti1Image(values, np.eye(4)), path)


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
