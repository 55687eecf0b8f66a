"""A pool of simulated traveling people: every person scanned by every scanner."""

from __future__ import annotations

import logging
from concurrent.futures import ProcessPoolExecutor
from itertools import count, repeat
from multiprocessing import get_context
from typing import TYPE_CHECKING, Any

import attrs
import numpy as np
from attrs import frozen
from scipy import ndimage

from bids_ihf.errors import BadData
from bids_ihf.lab.simulation.tissues import TISSUE_INDEX
from bids_ihf.lab.training.pool import Pool, add_scan, fit_box, read_index, write_index

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from bids_ihf.lab.simulation.anatomy import Anatomy
    from bids_ihf.lab.simulation.protocol import Modality
    from bids_ihf.lab.simulation.scanner import Scanner
    from bids_ihf.lab.training.config import TrainConfig
    from bids_ihf.lab.training.pool import Scan
    from bids_ihf.preprocessing.prepare import Prepared
    from bids_ihf.preprocessing.segmentation import Segmentation

LOGGER = logging.getLogger(__name__)

MATTER = tuple(
    [TISSUE_INDEX[name] for name in names]
    for names in (("grey", "deep_grey"), ("white", "lesion"))
)
"""Rows of the tissues that count as grey and as white matter."""

BORDER = 12
"""Voxels of head kept round the brain: enough for what the network sees, and quicker to scan."""

RANDOM = "random"
"""Vendor of the scanners that are nobody's."""

STRIDE = 7
"""By how many random scanners the rounds of two people are apart."""

PURE = 0.95
"""White-matter fraction of the voxels that calibrate a scan's units."""

BIAS_GRID = 8
"""Voxel size (mm) of N4's grid: a fifth of the time of the usual one, and a field within 2 %."""


def scanners(
    config: TrainConfig, modality: Modality, person: int
) -> dict[str, tuple[str, Scanner]]:
    """Site name to (vendor, scanner) of what scans a person: all the vendors' scanners, with small
    changes from scan to scan, and ``random_per_person`` of the random ones, in turn."""
    from bids_ihf.lab.simulation.scanner import random_scanner, vendor_scanner
    from bids_ihf.targets.target import BUILTIN_VENDORS

    found = {}
    for vendor in BUILTIN_VENDORS:
        for number in range(config.data.vendor_scanners):
            # Other changes for everybody, so that a vendor's average is that of its scans.
            seed = config.seed * 1000 + person * config.data.vendor_scanners + number
            found[f"{vendor.lower()}{number}"] = (vendor, vendor_scanner(vendor, modality, seed))
    total = config.data.random_scanners
    for visit in range(min(config.data.random_per_person, total)):
        number = (person * STRIDE + visit) % total
        seed = config.seed * 1000 + 100 + number
        found[f"random{number}"] = (RANDOM, random_scanner(modality, seed))
    return found


def undistorted(scanner: Scanner) -> Scanner:
    """The scanner without what moves edges: pairs must overlie."""
    return attrs.evolve(scanner, distortion=0.0)


def calibrated(
    image: NDArray[np.float32], anatomy: Anatomy, scanner: Scanner
) -> NDArray[np.float32]:
    """A scan with the median of its white matter at the scanner's ``units``.

    A scan's gain is arbitrary, and no statistics of other people's scans can tell it; left as the
    simulated fields make it, it would drown what methods differ in.
    """
    white = anatomy.fractions[TISSUE_INDEX["white"]].numpy() > PURE
    found = float(np.median(image[white & anatomy.brain.numpy()]))
    return image * np.float32(scanner.units / found)


def appearance(scanner: Scanner) -> tuple[float, ...]:
    """What the encoder learns to recover: tissue contrast to white matter, noise and blur."""
    from bids_ihf.lab.simulation.protocol import brain_contrast

    contrast = brain_contrast(scanner.protocol)
    blur = float(np.mean(scanner.psf))
    values = [contrast["grey"], contrast["deep_grey"], contrast["csf"], scanner.noise, blur]
    return tuple(float(v) for v in np.log(np.maximum(values, 1e-3)))


def crop(anatomy: Anatomy) -> Anatomy:
    """The box round a person's brain."""
    corners = np.argwhere(anatomy.brain.numpy())
    low = np.maximum(corners.min(axis=0) - BORDER, 0)
    high = np.minimum(corners.max(axis=0) + BORDER + 1, anatomy.brain.shape)
    box = tuple(slice(int(a), int(b)) for a, b in zip(low, high, strict=True))
    affine = anatomy.affine.copy()
    affine[:3, 3] += affine[:3, :3] @ low
    return attrs.evolve(
        anatomy,
        fractions=anatomy.fractions[(slice(None), *box)].clone(),
        texture=anatomy.texture[box].clone(),
        brain=anatomy.brain[box].clone(),
        affine=affine,
    )


def brain_mask(anatomy: Anatomy, reach: int) -> NDArray[np.bool_]:
    """Brain with its ventricles and the CSF within ``reach`` voxels, as real masks have it."""
    brain: NDArray[np.bool_] = anatomy.brain.numpy()
    csf = anatomy.fractions[TISSUE_INDEX["csf"]].numpy() > 0.5
    grown = ndimage.binary_dilation(brain, iterations=reach) & (brain | csf)
    closed: NDArray[np.bool_] = ndimage.binary_closing(grown, iterations=2) | brain
    return closed


def true_segmentation(anatomy: Anatomy, brain: NDArray[np.bool_]) -> Segmentation:
    """What a perfect segmentation of a person would be, with ``brain`` as the mask."""
    from bids_ihf.geometry.grid import Grid, canonical_grid, resample
    from bids_ihf.preprocessing.segmentation import SEGMENTATION_VOXEL_MM, Segmentation, antialias

    native = Grid(anatomy.shape, anatomy.affine)
    grid = canonical_grid(anatomy.shape, anatomy.affine, zoom=SEGMENTATION_VOXEL_MM)
    inside = brain.astype(np.float32)
    grey, white = (anatomy.fractions[rows].sum(dim=0).numpy() * inside for rows in MATTER)
    shares = [1 - inside, grey, white, np.clip(inside - grey - white, 0, 1)]
    coarse = [
        resample(antialias(each, native, SEGMENTATION_VOXEL_MM), native, grid) for each in shares
    ]
    coarse[0] = 1 - np.sum(coarse[1:], axis=0)
    return Segmentation(np.stack(coarse), np.ones(grid.shape, dtype=bool), grid)


def as_prepared(
    data: NDArray[np.float32],
    brain: NDArray[np.bool_],
    segmentation: Segmentation,
    to_template: NDArray[np.float64],
    path: Path,
    affine: NDArray[np.float64],
) -> Prepared:
    """A simulated scan as :func:`~bids_ihf.preprocessing.prepare.prepare` would return it."""
    import nibabel as nib

    from bids_ihf.io.nifti import Volume
    from bids_ihf.preprocessing.prepare import Prepared

    header = nib.Nifti1Image(data, affine).header
    return Prepared(
        volume=Volume(data=data, affine=affine, header=header, path=path),
        bias=np.ones_like(data), mask=brain, segmentation=segmentation, stripped=False,
        to_template=to_template, similarity=None,
    )  # fmt: skip


def record_of(config: TrainConfig, people: list[str]) -> dict[str, Any]:
    """What a pool was made from; another record means another pool."""
    plain = attrs.asdict(config.data)
    plain |= {"source": config.data.source.name, "people": people, "seed": config.seed}
    plain.pop("pool")
    plain["modalities"] = list(plain["modalities"])
    return plain


def label_maps(config: TrainConfig) -> list[Path]:
    """The label maps of the configured people (all in the folder where none is named)."""
    found = sorted(config.data.source.glob("*_dseg.nii.gz"))
    if config.data.people:
        found = [path for path in found if path.name.split("_")[0] in config.data.people]
    if len(found) < 2:
        raise BadData(
            f"{config.data.source}: holds {len(found)} of the label maps (*_dseg.nii.gz) asked "
            "for; training needs two people at least."
        )
    return found


def simulate_pool(config: TrainConfig) -> Pool:
    """The pool of a configuration: read where it is there already, else simulated."""
    maps = label_maps(config)
    people = [path.name.split("_")[0] for path in maps]
    folder, record = config.data.pool, record_of(config, people)
    pool = read_index(folder, record)
    if pool is not None:
        LOGGER.info("Using the %d scans in %s", len(pool.scans), folder)
        return pool
    folder.mkdir(parents=True, exist_ok=True)
    scans: list[Scan] = []
    with ProcessPoolExecutor(config.threads, mp_context=get_context("spawn")) as workers:
        work = workers.map(_scan_person, repeat(config), maps, people, count())
        for person, found in zip(people, work, strict=True):
            scans += found
            LOGGER.info("Simulated %s (%d people in all)", person, len(people))
    return write_index(folder, scans, record)


@frozen(eq=False)
class Person:
    """One of those who are scanned; masks reach a little less or further from one to another."""

    anatomy: Anatomy
    brain: NDArray[np.bool_]
    segmentation: Segmentation
    to_template: NDArray[np.float64]
    path: Path
    seed: int

    def prepared(self, image: NDArray[np.float32]) -> Prepared:
        """A scan of the person as :func:`~bids_ihf.preprocessing.prepare.prepare` would return
        it, the tissues known."""
        return as_prepared(
            image, self.brain, self.segmentation, self.to_template, self.path, self.anatomy.affine
        )


def load_person(config: TrainConfig, path: Path, number: int) -> Person:
    """A person from a label map; every other one has lesions, so that these do not pass for
    tissue or artefact."""
    import torch

    from bids_ihf.lab.simulation.anatomy import from_labels
    from bids_ihf.lab.simulation.lesions import with_lesions
    from bids_ihf.preprocessing.alignment import align_to_template

    torch.set_num_threads(1)
    seed = config.seed * 100 + number
    anatomy = crop(from_labels(path, seed=seed))
    if number % 2:
        anatomy, _ = with_lesions(anatomy, seed)
    brain = brain_mask(anatomy, reach=1 + seed % 3)
    segmentation = true_segmentation(anatomy, brain)
    way = align_to_template(segmentation).matrix
    return Person(anatomy, brain, segmentation, way, path, seed)


def _scan_person(config: TrainConfig, path: Path, name: str, number: int) -> list[Scan]:
    from bids_ihf.lab.simulation.scanner import scan
    from bids_ihf.preprocessing.bias_field import bias_field
    from bids_ihf.targets.network_input import to_network_input

    person = load_person(config, path, number)
    scans = []
    for modality in config.data.modalities:
        chosen = scanners(config, modality, number)
        for visit, (site, (vendor, scanner)) in enumerate(chosen.items()):
            image = scan(person.anatomy, undistorted(scanner), person.seed * 1000 + visit)
            image /= bias_field(image, person.anatomy.affine, person.brain, shrink=BIAS_GRID)
            image = calibrated(image, person.anatomy, scanner)
            scans.append(
                add_scan(
                    config.data.pool,
                    to_network_input(person.prepared(image)),
                    person=name,
                    site=site,
                    vendor=vendor,
                    modality=modality,
                    appearance=appearance(scanner),
                )
            )
    _save_tissue(config, person, name)
    return scans


def _save_tissue(config: TrainConfig, person: Person, name: str) -> None:
    """Grey (deep grey with it), white and CSF shares on the network's grid."""
    from bids_ihf.targets.network_input import to_network_input

    shares = []
    for group in (("grey", "deep_grey"), ("white",), ("csf",)):
        tissues = [TISSUE_INDEX[tissue] for tissue in group]
        share = person.anatomy.fractions[tissues].sum(dim=0).numpy()
        on_grid = to_network_input(person.prepared(share))
        shares.append(fit_box((np.clip(on_grid.data, 0, 1) * 255).astype(np.uint8), 0))
    np.save(config.data.pool / f"{name}_tissue.npy", np.stack(shares))
