"""Writing one harmonized diffusion series; its sidecar last, as the mark of completion."""

from __future__ import annotations

import codecs
import hashlib
import logging
from typing import TYPE_CHECKING, Any

import numpy as np

from bids_ihf.bids.images import gradient_table_paths, sidecar_path
from bids_ihf.bids.output_files import require_written
from bids_ihf.bids.sidecars import (
    CHANGE_DESCRIPTION,
    COMPACT_CHANGE_DESCRIPTION,
    HARMONIZED_DESCRIPTION,
    derivative_sidecar,
    write_json,
)
from bids_ihf.dwi.shell_plan import relative_exponent
from bids_ihf.dwi.tensor import MAX_TENSOR_B_S_PER_MM2
from bids_ihf.io.atomic import write_atomic
from bids_ihf.io.nifti import encode_nifti

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from bids_ihf.bids.images import OutputPaths, SourceImage
    from bids_ihf.dwi.series import HarmonizedSeries
    from bids_ihf.preprocessing.prepare import Prepared

LOGGER = logging.getLogger(__name__)

MATCHED_MODEL = "matched harmonics 1"
"""Ratios of harmonics between matched people of both scanners."""

ANISOTROPY_DESCRIPTION, DIFFUSIVITY_DESCRIPTION = (
    f"{name} of the harmonized series: diffusion tensor fitted to the logarithm of the signal up "
    f"to b {MAX_TENSOR_B_S_PER_MM2:.0f} s/mm2 by least squares, in the brain mask."
    for name in ("Fractional anisotropy", "Mean diffusivity")
)

DIFFUSION_MODEL = "diffusion shells 2"
"""The shell model: numbers per shell, no weights."""


def write_tables(bval: Path | None, bvec: Path | None, outputs: Iterable[Path]) -> None:
    """The source's b-table beside each image made of it, byte for byte; but commas and a byte
    order mark, which BIDS has not in tables, are left out."""
    for series in outputs:
        for path, source in zip(gradient_table_paths(series), (bval, bvec), strict=True):
            if source is not None:
                content = source.read_bytes().removeprefix(codecs.BOM_UTF8)
                write_atomic(path, content.replace(b",", b" "))


def write_tensor_maps(
    image: SourceImage,
    paths: OutputPaths,
    prepared: Prepared,
    series: HarmonizedSeries,
    extra: dict[str, Any],
) -> None:
    """FA and MD of the harmonized series with their sidecars; none where directions are too few.

    Raises
    ------
    CannotWrite
        A file cannot be written.
    """
    if series.anisotropy is None or series.diffusivity is None:
        LOGGER.warning("%s: too few directions for maps of the tensor.", image.path.name)
        return
    for path, data, description, units in (
        (paths.anisotropy, series.anisotropy[1], ANISOTROPY_DESCRIPTION, "1"),
        (paths.diffusivity, series.diffusivity, DIFFUSIVITY_DESCRIPTION, "mm2/s"),
    ):
        write_atomic(path, encode_nifti(data, prepared.volume))
        sidecar = derivative_sidecar(
            image,
            description=description,
            skull_stripped=True,
            extra={**extra, "Units": units},
        )
        write_json(sidecar_path(path), sidecar)


def write_sidecars(
    image: SourceImage,
    paths: OutputPaths,
    prepared: Prepared,
    target_name: str,
    extra: dict[str, Any],
    *,
    change: bool,
) -> None:
    """The sidecars of the series, that of the harmonized one last."""
    require_written(paths, change=change)
    plain = extra["ChangeMap"] == "float32"
    descriptions = {paths.change: CHANGE_DESCRIPTION if plain else COMPACT_CHANGE_DESCRIPTION}
    for path, description in (
        *(descriptions.items() if change else ()),
        (paths.harmonized, HARMONIZED_DESCRIPTION.format(target_name)),
    ):
        sidecar = derivative_sidecar(
            image, description=description, skull_stripped=prepared.stripped, extra=extra
        )
        write_json(sidecar_path(path), sidecar)


def model_name(series: HarmonizedSeries, network: str) -> str:
    """Name of what harmonized a series: the harmonics of matched people, or the shell model and,
    where it was applied, a network by its name."""
    if series.by_matched:
        return MATCHED_MODEL
    return f"{DIFFUSION_MODEL}, {network}" if series.network_applied else DIFFUSION_MODEL


def model_hash(identity: str = DIFFUSION_MODEL) -> str:
    """Hash of what harmonizes diffusion series; the shell model has no weights, so its name says
    it all."""
    return hashlib.sha256(identity.encode()).hexdigest()


def provenance(series: HarmonizedSeries) -> dict[str, Any]:
    """Sidecar fields that tell how a series was harmonized."""
    plan = series.plan
    return {
        "HarmonizationShells": [
            {
                "BValue": shell.b,
                "TargetBValue": shell.target_b,
                "AttenuationExponent": shell.exponent,
                "MeasuredExponent": shell.measured,
                "AnisotropyFactor": shell.anisotropy,
            }
            for shell in plan.shells
        ],
        "SourceProfile": series.source_name,
        "NetworkApplied": series.network_applied,
        "RoundTripMaxError": series.round_trip_error,
        "IntensityScaling": {
            "SourceLevels": plan.source_levels,
            "TargetLevels": plan.target_levels,
            "SourceNoiseFloor": plan.source_floor,
            "TargetNoiseFloor": plan.target_floor,
        },
    }


def measures(prepared: Prepared, series: HarmonizedSeries) -> dict[str, float]:
    """Columns of the scans table that tell of the change."""
    before, after = series.distances
    row = {
        "out_of_range_score": relative_exponent(series.plan),
        "distance_before": before,
        "distance_after": after,
        "change_rms": series.change_rms,
        "round_trip_max_error": series.round_trip_error,
    }
    if series.anisotropy is not None:
        fa_before, fa_after = (float(np.median(fa[prepared.mask])) for fa in series.anisotropy)
        row |= {"fa_before": fa_before, "fa_after": fa_after}
    return row
