"""One image of a BIDS dataset, and the paths of its derivatives."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from attrs import field, frozen

from bids_ihf.bids.contrast import contrast_by_sidecar
from bids_ihf.bids.names import (
    ANATOMICAL_MODALITIES,
    TEMPLATE_SPACE,
    BIDSName,
    NamedImage,
    derivative_name,
    parse_name,
)
from bids_ihf.bids.scanners import UNKNOWN_VENDOR, normalize_vendor
from bids_ihf.errors import HarmonyError
from bids_ihf.io.paths import NIFTI_EXTENSIONS, file_stem


@frozen
class Problem:
    """Why an image of the dataset cannot be harmonized, known before it is read.

    Attributes
    ----------
    message
        One sentence: which file, what is wrong, what to do.
    error
        Kind of the error, which decides on the exit code.
    """

    message: str
    error: type[HarmonyError]

    def raise_error(self) -> None:
        """Raise the error."""
        raise self.error(self.message)


@frozen
class SourceImage(NamedImage):
    """An anatomical or diffusion image of the input dataset.

    Attributes
    ----------
    path
        Absolute, symbolic links never resolved (DataLad's file names are links).
    root
        The dataset that the image belongs to.
    name
        Its parsed file name.
    metadata
        Its JSON sidecars, merged by the inheritance principle; empty if there is none.
    vendor
        Vendor of the scanner, normalized, or ``unknown``.
    bval, bvec
        Gradient table of a DWI, by the inheritance principle.
    mask
        Brain mask from the given derivatives.
    sidecars
        The JSON files that apply to it, the nearest last.
    problem
        What makes this image fail, while others are harmonized.
    """

    path: Path
    root: Path
    name: BIDSName
    metadata: dict[str, Any] = field(factory=dict)
    vendor: str = UNKNOWN_VENDOR
    bval: Path | None = None
    bvec: Path | None = None
    mask: Path | None = None
    sidecars: tuple[Path, ...] = ()
    problem: Problem | None = None

    @classmethod
    def from_path(
        cls, path: Path, root: Path, metadata: dict[str, Any] | None = None
    ) -> SourceImage:
        """Make an image from its path; the vendor is the metadata's ``Manufacturer``.

        Raises
        ------
        InvalidBIDS
            The file name does not follow BIDS.
        """
        metadata = dict(metadata or {})
        vendor = normalize_vendor(metadata.get("Manufacturer"))
        return cls(path, root, parse_name(path), metadata, vendor)

    @property
    def modality(self) -> str:
        """What it is harmonized as: its suffix, unless its sidecar says another contrast."""
        return contrast_by_sidecar(self.suffix, self.metadata)[0]

    @property
    def datatype(self) -> str:
        """Folder of the image and of its derivatives."""
        return self.name.datatype or ("dwi" if self.suffix == "dwi" else "anat")

    @property
    def relative(self) -> str:
        """Path inside the dataset, with forward slashes."""
        return self.path.relative_to(self.root).as_posix()

    @property
    def uri(self) -> str:
        """BIDS URI of the image for ``Sources``; ``raw`` is defined in ``DatasetLinks``."""
        return f"bids:raw:{self.relative}"

    @property
    def fetched(self) -> bool:
        """False for a dangling link: DataLad has the name, but not the content."""
        return self.path.exists()


@frozen
class OutputPaths:
    """Paths of everything derived from one image.

    Attributes
    ----------
    folder
        ``OUT/sub-X[/ses-Y]/<datatype>``.
    harmonized, change, mask
        Images on the native grid.
    template_image
        The harmonized image in template space.
    transform
        From native to template space.
    anisotropy, diffusivity
        Maps of the tensor of a harmonized series.
    companion
        An image without diffusion weighting with the intensities of its series.
    """

    folder: Path
    harmonized: Path
    change: Path
    mask: Path
    template_image: Path
    transform: Path
    anisotropy: Path
    diffusivity: Path
    companion: Path


def output_paths(out_dir: Path, image: SourceImage) -> OutputPaths:
    """Name everything derived from `image`; no file or folder is made."""
    folder = session_folder(out_dir, image) / image.datatype

    def path(extension: str = ".nii.gz", suffix: str | None = None, **add: str) -> Path:
        return folder / derivative_name(image.name, add=add, suffix=suffix, extension=extension)

    tensor = {"model": "tensor", "desc": "harmonized"}
    to_template = {"from": image.suffix, "to": TEMPLATE_SPACE, "mode": "image"}
    return OutputPaths(
        folder=folder,
        harmonized=path(desc="harmonized"),
        change=path(desc="change"),
        mask=path(desc=mask_desc_label(image), suffix="mask"),
        template_image=path(space=TEMPLATE_SPACE, res="1", desc="harmonized"),
        transform=path(".mat", "xfm", **to_template),
        anisotropy=path(suffix="dwimap", **tensor, param="fa"),
        diffusivity=path(suffix="dwimap", **tensor, param="md"),
        companion=path(desc="harmonizedB0"),
    )


def sidecar_path(image_path: Path) -> Path:
    """Path of the JSON file of an image or transform."""
    return image_path.with_name(f"{file_stem(image_path)}.json")


def gradient_table_paths(dwi_path: Path) -> tuple[Path, Path]:
    """Paths of the ``.bval`` and ``.bvec`` files of a DWI.

    The change map of a DWI needs copies of its own: the BIDS validator asks for a gradient table
    for every file with the suffix ``dwi``.  A series in template space has
    directions of its own.
    """
    stem = file_stem(dwi_path)
    return dwi_path.with_name(f"{stem}.bval"), dwi_path.with_name(f"{stem}.bvec")


def session_folder(out_dir: Path, image: SourceImage) -> Path:
    """``OUT/sub-X[/ses-Y]``, the folder of the scans table."""
    folder = out_dir / f"sub-{image.subject}"
    return folder / f"ses-{image.session}" if image.session else folder


def mask_desc_label(image: SourceImage) -> str:
    """Return the ``desc`` of the brain mask: ``brain``, or ``brainT2w`` where that is taken.

    Names of masks have no modality, so the mask of a T2w or FLAIR image that has all its entities
    in common with a T1w image would overwrite that of the T1w image.  BIDS allows no ``mod``
    entity there.
    """
    return f"brain{image.suffix}" if has_twin(image) else "brain"


def has_twin(image: SourceImage) -> bool:
    """Whether the folder has an image with exactly the same entities whose mask has the plain
    name: a T1w image, or for FLAIR a T2w image."""
    if image.suffix not in ANATOMICAL_MODALITIES:
        return False
    entities = dict(image.name.entities)
    earlier = ANATOMICAL_MODALITIES[: ANATOMICAL_MODALITIES.index(image.suffix)]
    twins = (
        image.path.with_name(derivative_name(image.name, add=entities, suffix=suffix, extension=e))
        for suffix in earlier
        for e in NIFTI_EXTENSIONS
    )
    # A dangling link counts: names must not depend on what has been fetched.
    return any(twin.exists() or twin.is_symlink() for twin in twins)


def not_fetched_message(path: Path) -> str:
    """Sentence about a link without content."""
    return (
        f"{path} is a link without content (not fetched): "
        "fetch it first, for example with 'datalad get'."
    )
