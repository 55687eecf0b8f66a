"""Studies measured as by ``ihf validate``."""

from __future__ import annotations

import hashlib
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING

from isal import igzip

from bids_ihf.bids.images import SourceImage
from bids_ihf.io.atomic import write_atomic
from bids_ihf.io.nifti import GZIP_LEVEL
from bids_ihf.lab.benchmarks.tables import Column
from bids_ihf.lab.benchmarks.virtual_subjects import seed_of
from bids_ihf.lab.simulation.vendor_scanners import vendor_scanner
from bids_ihf.pipeline.process import set_up_process
from bids_ihf.targets.target import BUILTIN_VENDORS
from bids_ihf.targets.target_file import builtin_path, read_target
from bids_ihf.validation.measuring import Workers, measure_study
from bids_ihf.validation.results import COLUMNS, METHOD_LEVELS

if TYPE_CHECKING:
    import nibabel as nib

    from bids_ihf.lab.simulation.scanner import Scanner
    from bids_ihf.network.checkpoint import ModelBundle
    from bids_ihf.validation.measuring import Findings
    from bids_ihf.validation.outcomes import Settings
    from bids_ihf.validation.scans import Study


VOLUMETRIC_SEQUENCES = ("MPRAGE", "SPGR")
"""Sequences of T1w scans that volumes are measured in."""


def work_folder(folder: Path, model: ModelBundle, *facts: object) -> Path:
    """The folder of what is made on the way to a result, named after what it depends on: network,
    encoder, the vendors' targets, and further facts."""
    weights = (model.hash, model.encoder_hash)
    targets = (read_target(builtin_path(vendor)).hash for vendor in BUILTIN_VENDORS)
    words = " ".join(map(str, (*weights, *targets, *facts)))
    return folder / hashlib.sha256(words.encode()).hexdigest()[:12]


def volumetric_scanner(vendor: str, *labels: str, seed: int) -> Scanner:
    """A scanner of a vendor's population, the first one drawn that makes 3D gradient-echo T1w
    scans, as studies of volumes do: not 2D spin echoes with thick slices."""
    seeds = (seed_of(seed, vendor, *labels, f"scanner {draw}") for draw in count())
    scanners = (vendor_scanner(vendor, "T1w", number) for number in seeds)
    return next(
        scanner
        for scanner in scanners
        if scanner.protocol.sequence in VOLUMETRIC_SEQUENCES and not scanner.thickness
    )


def measure(study: Study, targets: tuple[str, ...], settings: Settings, folder: Path) -> Findings:
    """Measure a study in which nobody needs to be on two scanners."""
    folder.mkdir(parents=True, exist_ok=True)
    workers = Workers(1, lambda: set_up_process(0))
    return measure_study(study, targets, settings, workers, folder, min_travelers=0)


def validation_columns(name: str) -> dict[str, Column]:
    """Columns of a table of ``ihf validate``."""
    columns = {
        key: Column(entry["Description"], entry.get("Units"), entry.get("LongName"))
        for key, entry in COLUMNS[name].items()
    }
    method = Column(columns["method"].description, levels=METHOD_LEVELS)
    return columns | {"method": method}


def bids_label(name: str) -> str:
    """A name as a label: letters and digits alone.

    >>> bids_label("IXI202-HH-1526")
    'IXI202HH1526'
    """
    return "".join(letter for letter in name if letter.isalnum())


def image_path(root: Path, label: str) -> Path:
    """Path of a participant's T1w image in a dataset, whose folder is made."""
    path = root / f"sub-{label}/anat/sub-{label}_T1w.nii.gz"
    path.parent.mkdir(parents=True, exist_ok=True)
    return path


def write_image(path: Path, image: nib.Nifti1Image) -> None:
    """Write an image (.nii.gz) in one step: one that exists is complete and not made again."""
    write_atomic(path, igzip.compress(image.to_bytes(), GZIP_LEVEL, mtime=0))


def link(source: Path, root: Path, label: str) -> SourceImage:
    """An image under a BIDS name."""
    path = image_path(root, label)
    if not path.exists():
        path.symlink_to(source.absolute())
    return SourceImage.from_path(path, root)
