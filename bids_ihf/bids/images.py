"""One image of a BIDS dataset, and the paths of what is derived from it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from attrs import field, frozen

from bids_ihf.bids.names import BIDSName, derivative_name, parse_name
from bids_ihf.bids.vendors import normalize_vendor
from bids_ihf.errors import BadData

TEMPLATE = "MNI152NLin2009aSym"


@frozen
class SourceImage:
    """A T1w, T2w or DWI image as it was found.

    Attributes
    ----------
    path
        As found: absolute, symbolic links never resolved (a DataLad name is a link).
    root
        The dataset it belongs to.
    name
        Its file name taken apart.
    metadata
        Its JSON sidecars, merged by the inheritance principle; empty where there is none.
    vendor
        Maker of the scanner, normalised, or "unknown".
    bval, bvec
        The b-table of a DWI, by inheritance too.
    mask
        A brain mask found in the derivatives that were given.
    """

    path: Path
    root: Path
    name: BIDSName
    metadata: dict[str, Any] = field(factory=dict)
    vendor: str = "unknown"
    bval: Path | None = None
    bvec: Path | None = None
    mask: Path | None = None

    @classmethod
    def from_path(
        cls, path: Path, root: Path, metadata: dict[str, Any] | None = None, **others: Any
    ) -> SourceImage:
        """Make an image from its path; the vendor comes from the metadata's ``Manufacturer``.

        Raises
        ------
        InvalidBIDS
            The file name does not follow BIDS.
        """
        known = dict(metadata or {})
        vendor = normalize_vendor(known.get("Manufacturer"))
        return cls(path, root, parse_name(path), known, **({"vendor": vendor} | others))

    @property
    def subject(self) -> str:
        """Label of the participant, without ``sub-``."""
        return self.name.get("sub") or ""

    @property
    def session(self) -> str | None:
        """Label of the session, without ``ses-``."""
        return self.name.get("ses")

    @property
    def suffix(self) -> str:
        """``T1w``, ``T2w`` or ``dwi``."""
        return self.name.suffix

    @property
    def entities(self) -> tuple[tuple[str, str], ...]:
        """All (key, value) pairs of the file name."""
        return self.name.entities

    @property
    def datatype(self) -> str:
        """The folder that the image, and what is derived from it, belongs in."""
        return self.name.datatype or ("dwi" if self.suffix == "dwi" else "anat")

    @property
    def relative(self) -> str:
        """Path inside the dataset, with forward slashes."""
        return self.path.relative_to(self.root).as_posix()

    @property
    def uri(self) -> str:
        """BIDS URI of the image for ``Sources``; ``raw`` is named in ``DatasetLinks``."""
        return f"bids:raw:{self.relative}"

    @property
    def fetched(self) -> bool:
        """False for a link to nothing: DataLad has the name, but not the content."""
        return self.path.exists()

    def require_fetched(self) -> None:
        """Raise BadData where the content is not here."""
        if not self.fetched:
            raise BadData(not_fetched_message(self.path))


@frozen
class OutputPaths:
    """Where everything derived from one image goes.

    Attributes
    ----------
    folder
        ``OUT/sub-X[/ses-Y]/<datatype>``.
    harmonized, change, mask
        Images on the native grid.
    template
        The harmonized image in template space.
    transform
        From the native to the template space.
    """

    folder: Path
    harmonized: Path
    change: Path
    mask: Path
    template_image: Path
    transform: Path


def output_paths(out_dir: Path, image: SourceImage) -> OutputPaths:
    """Name all that is derived from `image`; nothing is made."""
    folder = scans_folder(out_dir, image) / image.datatype

    def path(extension: str = ".nii.gz", suffix: str | None = None, **add: str) -> Path:
        return folder / derivative_name(image.name, add=add, suffix=suffix, extension=extension)

    to_template = {"from": image.suffix, "to": TEMPLATE, "mode": "image"}
    return OutputPaths(
        folder=folder,
        harmonized=path(desc="harmonized"),
        change=path(desc="change"),
        mask=path(desc=mask_desc_label(image), suffix="mask"),
        template_image=path(space=TEMPLATE, res="1", desc="harmonized"),
        transform=path(".mat", "xfm", **to_template),
    )


def sidecar_path(image_path: Path) -> Path:
    """Path of the JSON file that belongs to an image or transform."""
    return image_path.with_name(image_path.name.split(".", 1)[0] + ".json")


def gradient_table_paths(dwi_path: Path) -> tuple[Path, Path]:
    """Paths of the ``.bval`` and ``.bvec`` of a DWI.

    The change map of a DWI needs its own copies: the BIDS validator asks for a b-table for every
    file named ``dwi``.  An image in template space inherits those of the native one.
    """
    stem = dwi_path.name.split(".", 1)[0]
    return dwi_path.with_name(f"{stem}.bval"), dwi_path.with_name(f"{stem}.bvec")


def scans_folder(out_dir: Path, image: SourceImage) -> Path:
    """``OUT/sub-X[/ses-Y]``: where the scans table lies."""
    folder = out_dir / f"sub-{image.subject}"
    return folder / f"ses-{image.session}" if image.session else folder


def mask_desc_label(image: SourceImage) -> str:
    """Return the ``desc`` of the brain mask: ``brain``, or ``brainT2w`` where that is taken.

    Mask names carry no modality, so a T2w image that shares all its entities with a T1w would
    write over the mask of the T1w.  BIDS allows no ``mod`` entity there.
    """
    return "brainT2w" if image.suffix == "T2w" and has_t1w_twin(image) else "brain"


def has_t1w_twin(image: SourceImage) -> bool:
    """Whether a T1w of the very same entities lies beside this image."""
    stem = derivative_name(image.name, add=dict(image.entities), suffix="T1w", extension="")
    twins = (image.path.with_name(stem + extension) for extension in (".nii.gz", ".nii"))
    # A link to nothing counts: names must not depend on what has been fetched.
    return any(twin.exists() or twin.is_symlink() for twin in twins)


def not_fetched_message(path: Path) -> str:
    """Sentence for a link to nothing."""
    return (
        f"{path} is a link whose content is not here (not fetched): "
        "fetch it first, for instance with 'datalad get'."
    )
