"""The file that holds a target, and the files of the built-in vendors."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

import attrs
import numpy as np
from numpy.typing import NDArray

from bids_ihf.errors import BadData, UsageError
from bids_ihf.io.paths import packaged_file
from bids_ihf.io.tensors import (
    flatten_groups,
    group_tensors,
    read_safetensors,
    tensor_hash,
    to_safetensors,
)
from bids_ihf.targets.diffusion_profile import from_content, to_content, vendor_diffusion_profiles
from bids_ihf.targets.intensity import IntensityScale
from bids_ihf.targets.matched_maps import MATCHED_GROUP, from_stored
from bids_ihf.targets.profile import Profile
from bids_ihf.targets.regional import empty_regions
from bids_ihf.targets.target import BUILTIN_VENDORS, DIFFUSION_KEY, SERIES_COUNT_KEY, Target

TARGET_FORMAT = "ihf-harmony target 2"


def pack_target(target: Target) -> bytes:
    """A target as the bytes of a safetensors file."""
    header = {
        "format": TARGET_FORMAT,
        "name": target.name,
        "encoder": target.encoder_hash,
        "record": target.record,
    }
    return to_safetensors(flatten_groups(_stored_groups(target)), header)


def as_stored(target: Target) -> Target:
    """The target as it would be read from its file: rounded alike, and with its hash."""
    groups, diffusion = _stored_arrays(target), target.diffusion
    stored = flatten_groups(_stored_groups(target))
    return attrs.evolve(
        target,
        profiles={
            modality: _profile_from(arrays, target.profiles[modality].scan_count)
            for modality, arrays in groups.items()
        },
        diffusion=diffusion and from_content(to_content(diffusion), diffusion.scan_count),
        hash=tensor_hash(stored),
    )


def _stored_groups(target: Target) -> dict[str, dict[str, NDArray[Any]]]:
    """All arrays of a file, by group."""
    groups = _stored_arrays(target)
    return groups if target.matched is None else groups | {MATCHED_GROUP: target.matched.stored()}


def _stored_arrays(target: Target) -> dict[str, dict[str, NDArray[Any]]]:
    """Arrays of each profile in the precision of a file."""
    return {
        modality: {
            "positions": profile.positions,
            "histograms": profile.histograms.astype(np.float32),
            "embeddings": profile.embeddings.astype(np.float16),
            "landmarks": profile.landmarks,
            "tissues": profile.tissue_histograms.astype(np.float32),
            "scale": np.array([profile.scale.low, profile.scale.high]),
            "regions": profile.regions.astype(np.float16),
        }
        for modality, profile in target.profiles.items()
    }


def _profile_from(arrays: Mapping[str, NDArray[Any]], scan_count: int) -> Profile:
    low, high = (float(value) for value in arrays["scale"])
    regions = arrays.get("regions", empty_regions())  # targets of version 0.1.0 have none
    if regions.ndim != empty_regions().ndim:  # of a development version
        regions = empty_regions()
    return Profile(
        positions=arrays["positions"],
        histograms=arrays["histograms"].astype(np.float64),
        embeddings=arrays["embeddings"].astype(np.float32),
        landmarks=arrays["landmarks"].astype(np.float64),
        tissue_histograms=arrays["tissues"].astype(np.float64),
        scale=IntensityScale(low, high),
        scan_count=scan_count,
        regions=regions.astype(np.float64),
    )


def read_target(path: Path) -> Target:
    """Read a target file.

    Raises
    ------
    BadData
        The file is unreadable, altered, of another format, or incomplete.
    """
    tensors, header = read_safetensors(path, TARGET_FORMAT)
    name, digest = str(header.get("name", path.stem)), str(header["sha256"])
    record = dict(header.get("record", {}))
    is_builtin = name in BUILTIN_VENDORS and (
        path == builtin_path(name) or read_target(builtin_path(name)).hash == digest
    )
    diffusion = vendor_diffusion_profiles().get(name) if is_builtin else None
    content, series_count = record.pop(DIFFUSION_KEY, None), record.pop(SERIES_COUNT_KEY, 1)
    profiles, modality, matched = {}, "diffusion", None
    groups = group_tensors(tensors)
    try:
        if content is not None:
            diffusion = from_content(content, int(series_count))
        if MATCHED_GROUP in groups:
            matched = from_stored(groups.pop(MATCHED_GROUP))
        for modality, arrays in groups.items():
            profiles[modality] = _profile_from(arrays, int(record.pop(f"{modality}_scans", 1)))
            profiles[modality].require_consistent()
    except (KeyError, ValueError, TypeError) as error:
        raise BadData(
            f"{path}: its {modality} profile is incomplete or inconsistent ({error}); build the "
            "target again."
        ) from error
    if not profiles and diffusion is None:
        raise BadData(f"{path}: contains no profile; build the target again.")
    return Target(
        name=name,
        encoder_hash=str(header.get("encoder")),
        profiles=profiles,
        diffusion=diffusion,
        provenance=record,
        hash=digest,
        is_builtin=is_builtin,
        matched=matched,
    )


@lru_cache(maxsize=8)
def vendor_target(vendor: str, encoder_hash: str | None = None) -> Target | None:
    """The target of a built-in vendor; None for any other vendor, or where its anatomical
    profiles belong to another encoder than the one of this hash."""
    if vendor not in BUILTIN_VENDORS:
        return None
    target = read_target(builtin_path(vendor))
    return target if encoder_hash in (None, target.encoder_hash) else None


def builtin_path(vendor: str) -> Path:
    """File of a built-in vendor's target; the name in any case.

    Raises
    ------
    UsageError
        No such vendor.
    """
    by_name = {name.lower(): name for name in BUILTIN_VENDORS}
    if vendor.lower() not in by_name:
        raise UsageError(
            f"--target {vendor}: neither a built-in vendor ({', '.join(BUILTIN_VENDORS)}) nor an "
            "existing target file (here or in the folder IHF_HARMONY_TARGETS) or NIfTI image; "
            "check the name."
        )
    return packaged_file(f"target-{vendor.lower()}.safetensors")
