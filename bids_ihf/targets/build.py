"""Build targets from scans, and find the one that ``--target`` names."""

from __future__ import annotations

import logging
import os
from collections import defaultdict
from collections.abc import Iterable, Sequence
from pathlib import Path

from bids_ihf.bids.contrast import contrast_by_sidecar, misnamed_text
from bids_ihf.bids.metadata import metadata_beside
from bids_ihf.bids.names import IMAGE_SUFFIXES
from bids_ihf.errors import BadData, UsageError
from bids_ihf.io.paths import file_stem, is_nifti_name
from bids_ihf.network.checkpoint import ModelBundle
from bids_ihf.preprocessing.prepare import Prepared, prepare
from bids_ihf.targets.diffusion_profile import DiffusionProfile, merge_diffusion_profiles
from bids_ihf.targets.map_profiles import MapProfiles, merge_maps
from bids_ihf.targets.matched_maps import MatchedMaps, merge_matched
from bids_ihf.targets.network_input import measure_profile, to_network_input
from bids_ihf.targets.profile import Profile, merge_profiles
from bids_ihf.targets.target import ANY_MODALITY, BUILTIN_VENDORS, Target
from bids_ihf.targets.target_file import as_stored, builtin_path, read_target
from bids_ihf.targets.tissue_priors import contrast_by_tissues, modality_by_contrast

LOGGER = logging.getLogger(__name__)

TARGETS_FOLDER_VARIABLE = "IHF_HARMONY_TARGETS"
"""Environment variable with the folder of a laboratory's own target files."""


def modality_from_name(path: Path) -> str:
    """Suffix out of `IMAGE_SUFFIXES` where a BIDS-like file name ends in it, else ``any``.

    >>> modality_from_name(Path("sub-01_T2w.nii.gz")), modality_from_name(Path("scan.nii"))
    ('T2w', 'any')
    """
    stem = file_stem(path)
    return next(
        (suffix for suffix in IMAGE_SUFFIXES if stem.endswith(f"_{suffix}") or stem == suffix),
        ANY_MODALITY,
    )


def modality_of_file(path: Path, named: str | None = None) -> str:
    """Modality of an image outside a dataset: the one that is named or in its file name, unless
    the sidecar beside it tells of another contrast.

    Raises
    ------
    BadData
        The sidecar cannot be read.
    """
    suffix = named or modality_from_name(path)
    modality, reason = contrast_by_sidecar(suffix, metadata_beside(path))
    if reason is not None:
        LOGGER.warning("%s", misnamed_text(path.name, suffix, modality, reason))
    return modality


def build_target(
    scans: Iterable[tuple[str, Prepared]],
    name: str,
    model: ModelBundle,
    series: Sequence[DiffusionProfile] = (),
    maps: Sequence[MapProfiles] = (),
    matched: Sequence[MatchedMaps] = (),
) -> Target:
    """A target from prepared anatomical scans, each with its modality, and from the profiles of
    diffusion series, of their maps and, of matched people, their harmonics; those of one modality
    are averaged.

    Raises
    ------
    UsageError
        There is neither a scan nor a series.
    BadData
        A scan contains too little signal, or the series differ in their shells.
    """
    profiles: dict[str, list[Profile]] = defaultdict(list)
    for named, prepared in scans:
        modality = modality_by_contrast(named, prepared)
        contrast = contrast_by_tissues(prepared) if modality == ANY_MODALITY else modality
        try:
            network_input = to_network_input(prepared, contrast)
            profiles[modality].append(measure_profile(network_input, model.encoder))
        except ValueError as error:
            path = prepared.volume.path
            raise BadData(f"{path}: {error}; check the image and its mask.") from error
    if not profiles and not series:
        raise UsageError("A target needs at least one reference image; name one.")
    merged = {modality: merge_profiles(group) for modality, group in profiles.items()}
    try:
        diffusion = merge_diffusion_profiles(series) if series else None
    except ValueError as error:
        raise BadData(
            f"The diffusion series are of different protocols ({error}); select those of one."
        ) from error
    if diffusion is not None:
        merged |= merge_maps(maps, [shell.b for shell in diffusion.shells])
    features = merge_matched(matched) if matched else None
    return as_stored(Target(name, model.encoder_hash, merged, diffusion, matched=features))


def reference_target(path: Path, model: ModelBundle, *, preprocessed: bool = False) -> Target:
    """A target from one NIfTI image of the target scanner, prepared like the images to harmonize.

    Raises
    ------
    UsageError
        It is a diffusion series.
    """
    modality = modality_of_file(path)
    if modality == "dwi":
        raise UsageError(
            f"{path}: a single diffusion series is not a target; build one from several series of "
            "the scanner with 'ihf target build'."
        )
    prepared = prepare(path, modality=modality, preprocessed=preprocessed)
    return build_target([(modality, prepared)], path.name, model)


def site_target_path(name: str) -> Path | None:
    """File of a laboratory's own target in the folder IHF_HARMONY_TARGETS, if there is one."""
    folder = os.environ.get(TARGETS_FOLDER_VARIABLE)
    if not folder or name.lower() in {vendor.lower() for vendor in BUILTIN_VENDORS}:
        return None
    files = (Path(folder) / name, Path(folder) / f"{name}.safetensors")
    return next((file for file in files if file.is_file()), None)


def target_file(spec: str) -> Path | None:
    """The target file that a name stands for; None for a vendor's name, or what is no file."""
    path = Path(spec)
    return path if path.is_file() else site_target_path(spec)


def load_target(spec: str, model: ModelBundle, *, preprocessed: bool = False) -> Target:
    """The target that a vendor's name, a target file or a NIfTI image stands for.

    A name may also be that of a file in the folder IHF_HARMONY_TARGETS, with or without its
    extension; a vendor's name is always the built-in target.

    Raises
    ------
    UsageError
        There is no such target.
    BadData
        The file cannot be used, or was built with another encoder.
    """
    if is_nifti_name(spec):
        return reference_target(Path(spec), model, preprocessed=preprocessed)
    target = read_target(target_file(spec) or builtin_path(spec))
    target.require_encoder(model.encoder_hash)
    return target
