"""The two steps of each scan: prepare and measure it, then harmonize it and measure again.

Each step is a function of values that a worker process can be sent.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from attrs import evolve
from numpy.typing import NDArray

from bids_ihf.anat.harmonize import Harmonized, harmonize
from bids_ihf.bids.images import output_paths, sidecar_path
from bids_ihf.bids.names import Modality
from bids_ihf.bids.sidecars import HARMONIZED_DESCRIPTION, derivative_sidecar, write_json
from bids_ihf.errors import BadData
from bids_ihf.io.atomic import write_atomic
from bids_ihf.io.nifti import encode_nifti
from bids_ihf.network.checkpoint import load_model_cached
from bids_ihf.preprocessing.prepare import Prepared, prepare
from bids_ihf.preprocessing.prepared_file import load_prepared, save_prepared
from bids_ihf.preprocessing.segmentation import segment
from bids_ihf.qc.histogram_matching import match_brain, pool_brains
from bids_ihf.targets.network_input import measure_profile, to_network_input
from bids_ihf.targets.profile import merge_profiles
from bids_ihf.targets.source_profile import SourceProfile, source_profile_of
from bids_ihf.targets.target_file import vendor_target
from bids_ihf.targets.tissue_priors import contrast_by_tissues
from bids_ihf.validation.comparison import Metrics, compare_images
from bids_ihf.validation.features import blurred_features, features_of, image_features
from bids_ihf.validation.outcomes import (
    BLURRED,
    HISTOGRAM_MATCHING,
    IHF_HARMONY,
    UNTOUCHED,
    Outcome,
    Reading,
    Settings,
    SiteTarget,
    ToolVolumes,
)
from bids_ihf.validation.scans import Scan
from bids_ihf.validation.volumes import (
    ATROPOS_TOOL,
    SEGMENTATION_TOOL,
    atropos_volumes,
    segmentation_volumes,
)

LOGGER = logging.getLogger(__name__)

BRAIN_QUANTILES = 4001
"""Quantiles by which the histogram of a brain is handed on."""


def read_scan(scan: Scan, file: Path, settings: Settings) -> tuple[Reading, list[Outcome]]:
    """Prepare a scan, keep that in a file, and measure the scan as it is and blurred.

    Raises
    ------
    BadData
        The image cannot be used.
    """
    LOGGER.info("%s: preparing", scan.name)
    modality = _modality(scan)
    prepared = _prepare(scan, modality, settings)
    if modality == "T2w" and contrast_by_tissues(prepared) is not None:
        raise BadData(
            f"{scan.image.path}: its name says T2w, but its CSF is dark as in FLAIR; rename it to "
            "have it measured with FLAIR images."
        )
    save_prepared(prepared, file)
    encoder = load_model_cached(settings.device).encoder
    try:
        on_grid = to_network_input(prepared, modality)
        profile = measure_profile(on_grid, encoder)
        features = image_features(on_grid, profile)
        blurred = blurred_features(on_grid, encoder)
    except ValueError as error:
        raise BadData(f"{scan.image.path}: {error}; check the image and its mask.") from error
    corrected = prepared.corrected
    quantiles = np.quantile(corrected[prepared.mask], np.linspace(0, 1, BRAIN_QUANTILES))
    limits = float(corrected.min()), float(corrected.max())
    volumes = _volumes(prepared, prepared.volume.data, corrected, modality, settings)
    return Reading(scan, file, profile, quantiles.astype(np.float64), limits), [
        Outcome(scan, UNTOUCHED, None, volumes, features),
        Outcome(scan, BLURRED, None, {}, blurred),
    ]


def harmonize_scan(
    reading: Reading,
    target: SiteTarget,
    truth: Reading | None,
    settings: Settings,
    visits: Sequence[Reading] = (),
) -> list[Outcome]:
    """Harmonize a scan to a scanner by each method, and measure what comes of it.

    Where the person was on that scanner, the images are compared with ``truth``.  ``visits`` are
    all scans that share a mapping with this one, itself included.

    Raises
    ------
    HarmonyError
        The image cannot be used, or the device is full.
    """
    scan = reading.scan
    LOGGER.info("%s: harmonizing to %s", scan.name, target.scanner)
    modality, prepared = _modality(scan), load_prepared(reading.file)
    model = load_model_cached(settings.device)
    source = target.source or source_profile_of(
        vendor_target(scan.image.vendor, model.encoder_hash), modality
    )
    own = next((n for n, visit in enumerate(visits) if visit.scan == scan), 0)
    harmonized = harmonize(
        prepared,
        target.profile,
        model,
        modality=modality,
        source=source,
        before=[load_prepared(visit.file) for visit in visits[:own]],
        after=[load_prepared(visit.file) for visit in visits[own + 1 :]],
    )
    if settings.images_dir is not None:
        _write_image(scan, target.scanner, prepared, harmonized, settings.images_dir)
    corrected = prepared.corrected
    images = {
        HISTOGRAM_MATCHING: match_brain(
            corrected, prepared.mask, target.brain_values, target.limits
        ),
        IHF_HARMONY: harmonized.image,
    }
    outcomes = {
        method: Outcome(
            scan,
            method,
            target.scanner,
            _volumes(prepared, image, image, modality, settings),
            features_of(prepared, image, modality, model.encoder),
        )
        for method, image in images.items()
    }
    if truth is None:
        return list(outcomes.values())
    metrics = _compare({UNTOUCHED: corrected, **images}, prepared, truth, modality, settings)
    outcomes[UNTOUCHED] = Outcome(scan, UNTOUCHED, target.scanner)
    return [
        evolve(outcome, truth=truth.scan, metrics=metrics.get(method, {}))
        for method, outcome in outcomes.items()
    ]


def site_target(
    scanner: str,
    references: Sequence[Reading],
    by_source_scanner: Sequence[Reading] = (),
) -> SiteTarget:
    """The target of other people's scans by a scanner, and the profile of the source scanner from
    theirs by it, if there are any."""
    profiles = [reading.profile for reading in by_source_scanner]
    merged = merge_profiles(profiles) if profiles else None
    return SiteTarget(
        scanner,
        merge_profiles([reading.profile for reading in references]),
        *pool_brains(
            [reading.brain_values for reading in references],
            [reading.limits for reading in references],
        ),
        None if merged is None else SourceProfile(merged, merged.scan_count),
    )


def _prepare(scan: Scan, modality: Modality, settings: Settings) -> Prepared:
    t1w = None
    if scan.t1w is not None and not settings.preprocessed:
        t1w = prepare(scan.t1w.path, modality="T1w", mask_path=scan.t1w.mask)
    return prepare(
        scan.image.path,
        modality=modality,
        preprocessed=settings.preprocessed,
        mask_path=scan.image.mask,
        t1w_reference=t1w,
    )


def _write_image(
    scan: Scan, scanner: str, prepared: Prepared, harmonized: Harmonized, folder: Path
) -> None:
    """Write a harmonized image, named as by the BIDS App, and its sidecar."""
    path = output_paths(folder, scan.image).harmonized
    write_atomic(path, encode_nifti(harmonized.image, prepared.volume))
    sidecar = derivative_sidecar(
        scan.image,
        description=HARMONIZED_DESCRIPTION.format(f"{scanner}, as other people's scans show it"),
        skull_stripped=prepared.stripped,
        extra={"HarmonizationTarget": scanner, "IntensityScaling": harmonized.scaling},
    )
    write_json(sidecar_path(path), sidecar)


def _volumes(
    prepared: Prepared,
    data: NDArray[np.float32],
    corrected: NDArray[np.float32],
    modality: Modality,
    settings: Settings,
) -> ToolVolumes:
    """Volumes of an image (X, Y, Z); Atropos takes it without bias field."""
    affine = prepared.volume.affine
    is_scan = data is prepared.volume.data  # which is segmented already
    segmentation = prepared.segment() if is_scan else segment(data, affine)
    volumes = {SEGMENTATION_TOOL: segmentation_volumes(segmentation)}
    if settings.atropos:
        volumes[ATROPOS_TOOL] = atropos_volumes(corrected, affine, prepared.mask, modality)
    return {tool: by_structure for tool, by_structure in volumes.items() if by_structure}


def _compare(
    images: dict[str, NDArray[np.float32]],
    prepared: Prepared,
    truth: Reading,
    modality: Modality,
    settings: Settings,
) -> dict[str, Metrics]:
    """Metrics by method; empty, with a warning, where the two scans cannot be aligned."""
    try:
        return compare_images(
            images,
            prepared,
            to_network_input(prepared, modality),
            to_network_input(load_prepared(truth.file), modality),
            own_range=UNTOUCHED,
            deformable=settings.deformable,
        )
    except (RuntimeError, ValueError) as error:
        LOGGER.warning(
            "%s and %s are not compared as images: %s.",
            prepared.volume.path.name, truth.scan.image.path.name, error,
        )  # fmt: skip
        return {}


def _modality(scan: Scan) -> Modality:
    modality: Modality = scan.image.modality  # type: ignore[assignment]
    return modality
