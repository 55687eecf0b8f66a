"""Make targets from scans, and find the one that ``--target`` names."""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bids_ihf.bids.names import IMAGE_SUFFIXES
from bids_ihf.dwi.profile_file import KEY
from bids_ihf.errors import BadData, UsageError
from bids_ihf.io.paths import file_stem, is_nifti_name
from bids_ihf.targets.network_input import measure_profile, to_network_input
from bids_ihf.targets.profile import merge_profiles
from bids_ihf.targets.target import ANY_MODALITY, Target, builtin_path, pack_target, read_target

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from bids_ihf.network.checkpoint import ModelBundle
    from bids_ihf.preprocessing.prepare import Prepared
    from bids_ihf.targets.profile import Profile


def modality_from_name(path: Path) -> str:
    """T1w, T2w or dwi where a BIDS-like file name says so, else ``any``."""
    stem = file_stem(path)
    return next(
        (suffix for suffix in IMAGE_SUFFIXES if stem.endswith(f"_{suffix}") or stem == suffix),
        ANY_MODALITY,
    )


def build_target(
    scans: Iterable[tuple[str, Prepared]],
    name: str,
    model: ModelBundle,
    record: Mapping[str, Any] | None = None,
) -> Target:
    """A target from prepared scans, each with its modality; scans of one modality are averaged.

    ``record`` is kept as it is; what is known of diffusion stands there.

    Raises
    ------
    UsageError
        There is no scan, and nothing is known of diffusion.
    BadData
        A scan holds too little signal.
    """
    found: dict[str, list[Profile]] = defaultdict(list)
    for modality, prepared in scans:
        try:
            found[modality].append(measure_profile(to_network_input(prepared), model.encoder))
        except ValueError as error:
            path = prepared.volume.path
            raise BadData(f"{path}: {error}; check the image and its mask.") from error
    if not found and KEY not in (record or {}):
        raise UsageError("A target needs at least one reference image; name one.")
    counts = {f"{modality}_scans": len(profiles) for modality, profiles in found.items()}
    profiles = {modality: merge_profiles(each) for modality, each in found.items()}
    target = Target(name, model.encoder_hash, profiles, {**counts, **(record or {})})
    return with_hash(target)


def with_hash(target: Target) -> Target:
    """The target as it reads back from its file: rounded alike, with its hash."""
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "target.safetensors"
        path.write_bytes(pack_target(target))
        return read_target(path)


def reference_target(path: Path, model: ModelBundle, *, preprocessed: bool = False) -> Target:
    """A target from one NIfTI image of the target scanner, prepared as the images to harmonize
    are.

    Raises
    ------
    UsageError
        It is a diffusion series.
    """
    from bids_ihf.preprocessing.prepare import prepare

    modality = modality_from_name(path)
    if modality == "dwi":
        raise UsageError(
            f"{path}: a diffusion series is no target by itself; make one of it and others of "
            "its scanner with 'ihf target build'."
        )
    prepared = prepare(path, modality=modality, preprocessed=preprocessed)
    return build_target([(modality, prepared)], path.name, model)


def load_target(spec: str, model: ModelBundle, *, preprocessed: bool = False) -> Target:
    """The target that a vendor's name, a target file or a NIfTI image stands for.

    Raises
    ------
    UsageError
        Nothing of that name is known.
    BadData
        The file cannot be used, or was built with another encoder.
    """
    path = Path(spec)
    if is_nifti_name(spec):
        return reference_target(path, model, preprocessed=preprocessed)
    target = read_target(path if path.is_file() else builtin_path(spec))
    target.require_encoder(model.encoder_hash)
    return target
