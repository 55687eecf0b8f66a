"""Targets on disk: a named set of profiles, one for each modality, in one safetensors file."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from attrs import field, frozen

from bids_ihf.errors import BadData, UsageError
from bids_ihf.targets.intensity import HISTOGRAM_BINS, IntensityScale
from bids_ihf.targets.profile import Profile

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

TARGET_FORMAT = "ihf-harmony target 2"
BUILTIN_VENDORS = ("Siemens", "GE", "Philips")
DIFFUSION_KEY = "diffusion"
"""Key of a target's record under which its diffusion profile is kept."""
ANY_MODALITY = "any"
"""Modality of a reference image whose name does not tell it; serves every modality."""


@frozen(eq=False)
class Target:
    """What images are harmonized to.  ``encoder`` is the hash of the encoder behind the
    embeddings."""

    name: str
    encoder_hash: str
    profiles: Mapping[str, Profile]
    record: Mapping[str, Any] = field(factory=dict)
    hash: str = ""

    @property
    def modalities(self) -> tuple[str, ...]:
        """Suffixes (T1w, T2w, ...) this target has a profile for."""
        return tuple(sorted(self.profiles))

    def profile(self, modality: str) -> Profile:
        """The profile of a modality.

        Raises
        ------
        BadData
            The target has none.
        """
        found = self.profiles.get(modality, self.profiles.get(ANY_MODALITY))
        if found is None:
            raise BadData(
                f"{self.name}: this target has no {modality} profile (it has "
                f"{', '.join(self.modalities)}); name a target built from {modality} images."
            )
        return found

    def require_encoder(self, encoder_hash: str) -> None:
        """Raise BadData unless the profiles come from the encoder with this hash."""
        if self.encoder_hash != encoder_hash:
            raise BadData(
                f"{self.name}: this target was built with another encoder than the one in use; "
                "build it again with 'ihf target build'."
            )


def pack_target(target: Target) -> bytes:
    """A target as the bytes of a safetensors file."""
    import torch

    from bids_ihf.io.tensors import to_safetensors

    tensors = {}
    for modality, profile in target.profiles.items():
        scale = np.array([profile.scale.low, profile.scale.high])
        tensors[f"{modality}.positions"] = torch.from_numpy(profile.positions)
        tensors[f"{modality}.histograms"] = torch.from_numpy(profile.histograms).float()
        tensors[f"{modality}.embeddings"] = torch.from_numpy(profile.embeddings).half()
        tensors[f"{modality}.landmarks"] = torch.from_numpy(profile.landmarks)
        tensors[f"{modality}.tissues"] = torch.from_numpy(profile.tissue_histograms).float()
        tensors[f"{modality}.scale"] = torch.from_numpy(scale)
    header = {
        "format": TARGET_FORMAT,
        "name": target.name,
        "encoder": target.encoder_hash,
        "record": dict(target.record),
    }
    return to_safetensors(tensors, header)


def read_target(path: Path) -> Target:
    """Read a target file.

    Raises
    ------
    BadData
        The file is unreadable, altered, of another format, or lacks a part.
    """
    from bids_ihf.io.tensors import read_safetensors

    tensors, header = read_safetensors(path, TARGET_FORMAT)
    arrays = {key: tensor.numpy() for key, tensor in tensors.items()}
    profiles = {}
    for modality in {key.split(".")[0] for key in arrays}:
        try:
            low, high = (float(value) for value in arrays[f"{modality}.scale"])
            profile = Profile(
                positions=arrays[f"{modality}.positions"],
                histograms=arrays[f"{modality}.histograms"].astype(np.float64),
                embeddings=arrays[f"{modality}.embeddings"].astype(np.float32),
                landmarks=arrays[f"{modality}.landmarks"].astype(np.float64),
                tissue_histograms=arrays[f"{modality}.tissues"].astype(np.float64),
                scale=IntensityScale(low, high),
                scan_count=int(header.get("record", {}).get(f"{modality}_scans", 1)),
            )
        except (KeyError, ValueError, TypeError) as error:
            raise BadData(
                f"{path}: a part of its {modality} profile is missing; build it again."
            ) from error
        if not _fits(profile):
            raise BadData(
                f"{path}: the parts of its {modality} profile do not fit; build it again."
            )
        profiles[modality] = profile
    if not profiles and DIFFUSION_KEY not in header.get("record", {}):
        raise BadData(f"{path}: holds no profile at all; build it again.")
    return Target(
        name=str(header.get("name", path.stem)),
        encoder_hash=str(header.get("encoder")),
        profiles=profiles,
        record=dict(header.get("record", {})),
        hash=str(header["sha256"]),
    )


def _fits(profile: Profile) -> bool:
    """Whether the parts of a profile are of one length, and numbers."""
    count = len(profile.positions)
    shapes = (
        profile.positions.shape == (count,),
        profile.histograms.shape == (count, HISTOGRAM_BINS),
        profile.embeddings.ndim == 2 and len(profile.embeddings) == count,
        profile.landmarks.shape == (3,),
        profile.tissue_histograms.shape == (3, HISTOGRAM_BINS),
    )
    numbers = (profile.histograms, profile.embeddings, profile.tissue_histograms)
    finite = all(np.isfinite(array).all() for array in numbers)
    return (
        count > 0
        and profile.scan_count > 0
        and all(shapes)
        and finite
        and profile.scale.high > profile.scale.low
    )


def builtin_path(vendor: str) -> Path:
    """File of a built-in vendor target, named in any case.

    Raises
    ------
    UsageError
        No such vendor.
    """
    from bids_ihf.io.paths import packaged_file

    by_name = {name.lower(): name for name in BUILTIN_VENDORS}
    if vendor.lower() not in by_name:
        raise UsageError(
            f"--target {vendor}: neither a built-in vendor ({', '.join(BUILTIN_VENDORS)}) nor an "
            "existing target file or NIfTI image; check the name."
        )
    return packaged_file(f"target-{vendor.lower()}.safetensors")


def is_builtin(target: Target) -> bool:
    """Whether a target is the very file of the vendor whose name it bears."""
    return (
        target.name in BUILTIN_VENDORS
        and read_target(builtin_path(target.name)).hash == target.hash
    )
