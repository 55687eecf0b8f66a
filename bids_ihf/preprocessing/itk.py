"""ANTs in this process: its settings, and conversion between arrays in RAS and images in LPS."""

from __future__ import annotations

import io
import os
import sys
import tempfile
from contextlib import contextmanager
from types import ModuleType
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy.io import loadmat, savemat

from bids_ihf.io.affines import voxel_sizes

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

RAS_TO_LPS = np.diag([-1.0, -1.0, 1.0, 1.0])
"""Maps RAS to LPS and back."""

ITK_AFFINE_TYPE = "AffineTransform_double_3_3"

THREADS_VARIABLE, SEED_VARIABLE = "ITK_GLOBAL_DEFAULT_NUMBER_OF_THREADS", "ANTS_RANDOM_SEED"
"""Environment variables of ITK's threads and of the seed of registrations."""


def configure_itk(seed: int = 0) -> None:
    """Set ITK to one thread and to a seed, so that equal input gives equal results to the bit.

    ITK's metrics sum in the order in which threads finish, hence one thread; images are processed
    in parallel instead.  Both are environment variables, which child processes inherit; ITK reads
    its threads when ANTs is first loaded, so call this before.  ITK takes a seed of 0 as "from the
    clock", so it is given `seed` + 1.
    """
    os.environ[THREADS_VARIABLE] = "1"
    os.environ[SEED_VARIABLE] = str(seed + 1)


UNUSED_PARTS = (
    *("ants.contrib", "ants.deeplearn", "ants.learn", "ants.plotting"),
    *("statsmodels", "statsmodels.api", "statsmodels.formula", "statsmodels.formula.api"),
)
"""Modules that ``import ants`` loads and that nothing here uses: two thirds of its time."""


def load_ants_without_plotting() -> None:
    """Import ANTs for a process of this program, which neither plots nor fits with it.

    In someone else's process its plotting would be missing.
    """
    if "ants" in sys.modules:
        return
    stand_ins = {name: ModuleType(name) for name in UNUSED_PARTS if name not in sys.modules}
    sys.modules.update(stand_ins)
    try:
        load_ants()
    except ImportError:  # another version needs what is left out: load it whole
        for name in [name for name in sys.modules if name == "ants" or name.startswith("ants.")]:
            del sys.modules[name]
    finally:
        for name in stand_ins:
            sys.modules.pop(name, None)
    load_ants()


def load_ants() -> Any:
    """Import ANTs, with `configure_itk` applied if the program has not done so."""
    if os.environ.get(THREADS_VARIABLE) != "1" or SEED_VARIABLE not in os.environ:
        configure_itk()
    import ants

    return ants


@contextmanager
def removing_temporary_files() -> Iterator[None]:
    """Remove what antspyx writes to the temporary folder: some of its commands leave it there."""
    usual = tempfile.tempdir
    with tempfile.TemporaryDirectory(prefix="ihf-ants-") as folder:
        tempfile.tempdir = folder
        try:
            yield
        finally:
            tempfile.tempdir = usual


def to_ants(data: NDArray[Any], affine: NDArray[np.float64]) -> Any:
    """Convert an array (X, Y, Z) with its affine (4, 4) to an ANTs image.

    Masks become bytes and all else single precision: ANTs takes its memory for these types without
    checking.
    """
    dtype = np.uint8 if data.dtype == np.bool_ else np.float32
    lps = RAS_TO_LPS @ affine
    zooms = voxel_sizes(lps)
    return load_ants().from_numpy(
        np.ascontiguousarray(data, dtype=dtype),
        origin=lps[:3, 3].tolist(),
        spacing=zooms.tolist(),
        direction=lps[:3, :3] / zooms,
    )


def write_affine(path: Path, fixed_to_moving: NDArray[np.float64]) -> None:
    """Write a map of points (4, 4), RAS mm, as the transform that ANTs resamples with."""
    path.write_bytes(encode_affine(fixed_to_moving))


def encode_affine(fixed_to_moving: NDArray[np.float64]) -> bytes:
    """Encode a map of points (4, 4), RAS mm, as an ITK .mat file (MATLAB 4)."""
    lps = RAS_TO_LPS @ fixed_to_moving @ RAS_TO_LPS
    parameters = np.concatenate([lps[:3, :3].ravel(), lps[:3, 3]])
    buffer = io.BytesIO()
    contents = {ITK_AFFINE_TYPE: parameters[:, None], "fixed": np.zeros((3, 1))}
    savemat(buffer, contents, format="4")
    return buffer.getvalue()


def read_affine(path: Path) -> NDArray[np.float64]:
    """Read the map of points (4, 4), RAS mm, of a linear transform in an ITK .mat file."""
    contents = loadmat(path)
    centre = contents["fixed"].ravel()
    values = next(value for key, value in contents.items() if "Transform" in key).ravel()
    lps = np.eye(4)
    lps[:3, :3] = values[:9].reshape(3, 3)
    lps[:3, 3] = values[9:12] + centre - lps[:3, :3] @ centre
    return np.asarray(RAS_TO_LPS @ lps @ RAS_TO_LPS, dtype=np.float64)


def pointer(image: Any) -> str:
    """The name of an image in memory on ANTs' command line."""
    return str(load_ants().internal.get_pointer_string(image))


def run_registration(arguments: Sequence[str]) -> None:
    """Run ``antsRegistration`` in this process, with the run's seed.

    Images are named by `pointer` and must be kept alive until it returns.

    Raises
    ------
    RuntimeError
        ANTs fails.
    """
    ants = load_ants()
    common = ["--dimensionality", "3", "--float", "1", "--random-seed", os.environ[SEED_VARIABLE]]
    ants.registration([*common, *arguments], None)
