"""What :mod:`bids_ihf` offers to Python: harmonize, restore, load_target, build_target."""

from __future__ import annotations

from argparse import ArgumentTypeError
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import numpy as np
from attrs import frozen

from bids_ihf.config import values
from bids_ihf.errors import UsageError
from bids_ihf.io.atomic import write_atomic
from bids_ihf.io.memory import reuse_freed_memory
from bids_ihf.network.checkpoint import load_model_cached
from bids_ihf.pipeline.image_files import ImageFiles
from bids_ihf.pipeline.process import (
    MAX_THREADS_PER_IMAGE,
    available_processors,
    single_threaded,
)
from bids_ihf.pipeline.references import collect_references, target_from_references
from bids_ihf.pipeline.resources import load_harmonization
from bids_ihf.pipeline.restore import restore as restore_file
from bids_ihf.pipeline.single_image import SingleOutputs, harmonize_files
from bids_ihf.preprocessing.itk import configure_itk
from bids_ihf.targets.build import load_target as load_target_spec
from bids_ihf.targets.target import Target
from bids_ihf.targets.target_file import pack_target

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    import nibabel as nib

    PathLike = str | Path
    ImageLike = PathLike | nib.Nifti1Image

__all__ = ["Harmonized", "Target", "build_target", "harmonize", "load_target", "restore"]


@frozen(eq=False)
class Harmonized:
    """A harmonized image.

    Attributes
    ----------
    image : nibabel.Nifti1Image
        The image with the contrast of the target, float32, on its own voxel grid: (X, Y, Z), or
        (X, Y, Z, N) for a diffusion series.  Intensities are in the units of the target.
    change : nibabel.Nifti1Image
        Harmonized minus original, on the same grid.
    mask : nibabel.Nifti1Image
        Brain mask, (X, Y, Z), 0 and 1.
    measures : dict
        Measures of quality by name, as the BIDS App writes them to ``_scans.tsv`` (whose JSON
        file describes them); None or NaN where one does not apply.
    warning : str or None
        Why the image needs a look before it is used, if it does.
    device : str
        Where the network ran.
    """

    image: nib.Nifti1Image
    change: nib.Nifti1Image
    mask: nib.Nifti1Image
    measures: dict[str, float | None]
    warning: str | None
    device: str


@single_threaded()
def harmonize(
    image: ImageLike,
    target: PathLike | Target,
    *,
    modality: str | None = None,
    mask: ImageLike | None = None,
    t1w: ImageLike | None = None,
    bval: PathLike | None = None,
    bvec: PathLike | None = None,
    b0_threshold: float | None = None,
    source_vendor: str | None = None,
    source_profile: PathLike | Target | None = None,
    preprocessed: bool = False,
    model: PathLike | None = None,
    device: str = "auto",
    batch_size: int = 8,
    threads: int | None = None,
    random_seed: int = 0,
    progress: Callable[[str, float], None] | None = None,
) -> Harmonized:
    """Harmonize one image to a target, as the BIDS App does.

    Parameters
    ----------
    image
        T1w, T2w or FLAIR image (3D) or diffusion series (4D): a NIfTI file or a nibabel image.
        A JSON sidecar beside a file is read for ``Manufacturer`` and ``InversionTime``.  A nibabel
        image that was changed since it was loaded is one in memory, without name and sidecar.
    target
        ``Siemens``, ``GE`` or ``Philips``, a target file, a NIfTI file of the target scanner, or
        what :func:`load_target` or :func:`build_target` return.
    modality
        ``T1w``, ``T2w``, ``FLAIR`` or ``dwi``; by default the suffix of the file name.
    mask
        Brain mask in the same world space, on any grid; by default one is computed.
    t1w
        T1w image of the same session: another image is registered by it and
        shares its brain mask, as in the BIDS App.
    bval, bvec
        Gradient table of a diffusion series; by default the files beside it.
    b0_threshold
        Largest b-value (s/mm2), 50 or more, that counts as b=0; by default 50, or that of the
        lowest b-values up to 150 if the next are at least three times as large.
    source_vendor
        Vendor of the scanner where no sidecar names it.
    source_profile
        Target built from other participants' images of the same scanner: separates biological
        from scanner effects.
    preprocessed
        The image is bias-corrected, skull-stripped and in template orientation.
    model
        Network from ``ihf train``; by default the one that comes with the package.
    device
        ``auto``, ``cpu``, ``cuda`` or ``cuda:N``.
    batch_size
        Slices in the network at once.
    threads
        Batches in the network at a time, on the CPU; by default the processors granted to this
        job, at most 4.  Their number does not change the result.
    random_seed
        Seed of the registration.
    progress
        Called with the name of each step as it begins and the fraction done, 0 to 1.

    Returns
    -------
    Harmonized

    Raises
    ------
    bids_ihf.errors.HarmonyError
        The image, a file that belongs to it, or the target cannot be used; ``exit_code`` is that
        of the command line.
    """
    _checked("device", values.device, device)
    _checked("batch_size", values.positive_integer, batch_size)
    if threads is not None:
        _checked("threads", values.positive_integer, threads)
    reuse_freed_memory()
    configure_itk(random_seed)
    with TemporaryDirectory(prefix="ihf-harmony-") as name:
        folder = Path(name)
        files = ImageFiles.around(
            _as_file(image, folder / "image.nii"),
            modality=modality,
            source_vendor=source_vendor,
            mask=None if mask is None else _as_file(mask, folder / "mask.nii"),
            t1w=None if t1w is None else _as_file(t1w, folder / "t1w.nii"),
            bval=None if bval is None else Path(bval),
            bvec=None if bvec is None else Path(bvec),
            b0_threshold=b0_threshold,
        )
        out, change, brain = (folder / f"{name}.nii.gz" for name in ("out", "change", "brain"))
        harmonization = load_harmonization(
            _name_or_target(target),
            None if source_profile is None else _name_or_target(source_profile),
            *(_network(model), device, batch_size),
            threads or min(available_processors(), MAX_THREADS_PER_IMAGE),
            preprocessed=preprocessed,
        )
        result = harmonize_files(
            files,
            SingleOutputs(out, change, brain),
            harmonization,
            progress or _ignore,
            preprocessed=preprocessed,
        )
        return Harmonized(
            image=_in_memory(out),
            change=_in_memory(change),
            mask=_in_memory(brain),
            measures=dict(result.measures),
            warning=result.warning,
            device=result.device,
        )


def restore(
    harmonized: ImageLike | Harmonized, change: ImageLike | None = None
) -> nib.Nifti1Image:
    """The original image: harmonized minus change, to the rounding of float32.

    Parameters
    ----------
    harmonized
        What :func:`harmonize` returned, or a harmonized image: a NIfTI file or a nibabel image.
    change
        Its change map; by default the one beside the file, as the BIDS App names it.

    Raises
    ------
    bids_ihf.errors.BadData
        A file is missing or unreadable, or the two are on different grids.
    """
    if isinstance(harmonized, Harmonized):
        return restore(harmonized.image, harmonized.change)
    with TemporaryDirectory(prefix="ihf-harmony-") as name:
        folder = Path(name)
        output = folder / "original.nii.gz"
        source = _as_file(harmonized, folder / "harmonized.nii")
        if change is None and source.parent == folder:
            raise UsageError("An image in memory needs its change map: name it with `change`.")
        change_file = None if change is None else _as_file(change, folder / "change.nii")
        restore_file(source, change_file, output)
        return _in_memory(output)


@single_threaded()
def load_target(
    name: PathLike, *, model: PathLike | None = None, preprocessed: bool = False
) -> Target:
    """Load a target: a built-in vendor in any case, a target file, or a NIfTI reference image.

    Parameters
    ----------
    name
        ``Siemens``, ``GE``, ``Philips``, a ``.safetensors`` file, or an image of the target
        scanner, which is prepared as the images to harmonize are.
    model
        Network with whose encoder the target is used; by default that of the package.
    preprocessed
        The reference image is bias-corrected, skull-stripped and in template orientation.

    Raises
    ------
    bids_ihf.errors.UsageError
        There is no such target.
    bids_ihf.errors.BadData
        The file cannot be used.

    Examples
    --------
    >>> import bids_ihf
    >>> target = bids_ihf.load_target("siemens")
    >>> target.name, target.modalities
    ('Siemens', ('FLAIR', 'T1w', 'T2w'))
    """
    return load_target_spec(
        str(name), load_model_cached("cpu", _network(model)), preprocessed=preprocessed
    )


@single_threaded()
def build_target(
    images: Sequence[PathLike],
    *,
    name: str,
    modality: str | None = None,
    output: PathLike | None = None,
    model: PathLike | None = None,
    preprocessed: bool = False,
    b0_threshold: float | None = None,
) -> Target:
    """Build a target from images of one scanner, as ``ihf target build`` does.

    Parameters
    ----------
    images
        NIfTI files, BIDS datasets, or both.
    name
        Name of the target.
    modality
        Use only this modality of the datasets; modality of files whose names do not tell it.
    output
        ``.safetensors`` file to write, for ``--target``; nothing is written by default.
    model
        Network with whose encoder the target is built; by default that of the package.
    preprocessed
        The images are bias-corrected, skull-stripped and in template orientation.
    b0_threshold
        Largest b-value that counts as b=0, as for :func:`harmonize`.

    Raises
    ------
    bids_ihf.errors.HarmonyError
        An image cannot be used, none is left, or the file cannot be written.
    """
    references = collect_references(
        [Path(image) for image in images], modality=modality, b0_threshold=b0_threshold
    )
    target = target_from_references(
        references, name, load_model_cached("cpu", _network(model)), preprocessed=preprocessed
    )
    if output is not None:
        write_atomic(Path(output), pack_target(target))
    return target


def _network(model: PathLike | None) -> Path | None:
    return None if model is None else Path(model)


def _name_or_target(target: PathLike | Target) -> str | Target:
    return target if isinstance(target, Target) else str(target)


def _as_file(image: ImageLike, path: Path) -> Path:
    """The file of an image; an image in memory is written to ``path``, uncompressed."""
    if isinstance(image, str | Path):
        return Path(image)
    import nibabel as nib

    file = image.get_filename()
    if file is not None and _is_as_stored(image, Path(file)):
        return Path(file)
    data = np.asarray(image.dataobj)
    kind = type(image) if isinstance(image, nib.Nifti1Image) else nib.Nifti1Image
    nib.save(kind(data, image.affine, image.header, dtype=data.dtype), path)
    return path


def _is_as_stored(image: nib.Nifti1Image, file: Path) -> bool:
    """Whether an image is just what its file holds: neither voxels, header nor affine were changed
    since it was loaded."""
    import nibabel as nib

    is_nifti = isinstance(image, nib.Nifti1Image)
    if not is_nifti or not nib.is_proxy(image.dataobj) or not file.is_file():
        return False
    stored: Any = nib.load(file)
    return stored.header == image.header and np.array_equal(stored.affine, image.affine)


def _in_memory(path: Path) -> nib.Nifti1Image:
    """An image whose voxels are loaded, so that its file may go."""
    import nibabel as nib

    image: Any = nib.load(path)
    in_memory: nib.Nifti1Image = type(image)(np.asarray(image.dataobj), image.affine, image.header)
    return in_memory


def _checked(name: str, convert: Callable[[str], object], value: object) -> None:
    """Raise UsageError where a setting is not what the command line would take."""
    try:
        convert(str(value))
    except ArgumentTypeError as error:
        raise UsageError(f"{name}: {error}.") from error


def _ignore(_step: str, _fraction: float) -> None:
    """No progress is asked for."""
