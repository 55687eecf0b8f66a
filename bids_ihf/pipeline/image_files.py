"""One image with the files that belong to it, and its preparation."""

from __future__ import annotations

from contextlib import nullcontext
from pathlib import Path

from attrs import frozen

from bids_ihf.bids.images import gradient_table_paths
from bids_ihf.bids.metadata import metadata_beside
from bids_ihf.bids.names import IMAGE_SUFFIXES
from bids_ihf.bids.scanners import UNKNOWN_VENDOR, normalize_vendor
from bids_ihf.dwi.mean_b0 import SeriesFiles, mean_b0_image
from bids_ihf.errors import UsageError
from bids_ihf.preprocessing.prepare import Prepared, prepare
from bids_ihf.targets.build import modality_of_file
from bids_ihf.targets.target import ANY_MODALITY


@frozen
class ImageFiles:
    """One image and the files that belong to it.

    Attributes
    ----------
    image
        NIfTI file: T1w, T2w or FLAIR (3D), or a diffusion series (4D).
    modality
        ``T1w``, ``T2w``, ``FLAIR`` or ``dwi``; of a reference also ``any``: all but ``dwi``.
    vendor
        Vendor of its scanner, ``unknown`` where nothing tells.
    mask
        Brain mask in the same world, on any grid.
    t1w
        T1w image of the same session, by which another image is registered.
    bval, bvec
        Gradient table of a diffusion series, as FSL and BIDS have it.
    b0_threshold
        Largest b-value that counts as b=0 (s/mm2); None: it is found.
    """

    image: Path
    modality: str
    vendor: str = UNKNOWN_VENDOR
    mask: Path | None = None
    t1w: Path | None = None
    bval: Path | None = None
    bvec: Path | None = None
    b0_threshold: float | None = None

    @property
    def series(self) -> SeriesFiles:
        """The files of a diffusion series."""
        return SeriesFiles(self.image, self.bval, self.bvec, self.b0_threshold)

    @classmethod
    def around(
        cls,
        image: Path,
        *,
        modality: str | None = None,
        source_vendor: str | None = None,
        mask: Path | None = None,
        t1w: Path | None = None,
        bval: Path | None = None,
        bvec: Path | None = None,
        b0_threshold: float | None = None,
    ) -> ImageFiles:
        """The image with what its name, its sidecar and the files beside it tell.

        Raises
        ------
        UsageError
            The modality is neither named nor told by the file name.
        """
        modality = modality_of_file(image, modality)
        if modality not in IMAGE_SUFFIXES:
            endings = ", ".join(f"_{suffix}" for suffix in IMAGE_SUFFIXES)
            raise UsageError(
                f"{image}: its name ends in none of {endings}; name its modality with --modality."
            )
        if modality == "dwi":
            tables = zip((bval, bvec), gradient_table_paths(image), strict=True)
            bval, bvec = (
                table or (beside if beside.is_file() else None) for table, beside in tables
            )
        vendor = normalize_vendor(metadata_beside(image).get("Manufacturer"))
        if vendor == UNKNOWN_VENDOR:
            vendor = normalize_vendor(source_vendor)
        return cls(image, modality, vendor, mask, t1w, bval, bvec, b0_threshold)


def prepare_files(
    files: ImageFiles, folder: Path, *, preprocessed: bool, t1w: Prepared | None = None
) -> Prepared:
    """Prepare an image; of a diffusion series its mean b0, which is written to ``folder``.

    ``t1w`` is the T1w image of its session where that is prepared already.

    Raises
    ------
    BadData
        The image or a file that belongs to it cannot be used.
    """
    unweighted = (
        mean_b0_image(files.series, folder)
        if files.modality == "dwi"
        else nullcontext(files.image)
    )
    with unweighted as path:
        if t1w is None and files.t1w and files.modality != "T1w" and not preprocessed:
            t1w = prepare(files.t1w, modality="T1w")
        return prepare(
            path,
            modality="T1w" if files.modality == ANY_MODALITY else files.modality,
            preprocessed=preprocessed,
            mask_path=files.mask,
            t1w_reference=t1w,
        )
