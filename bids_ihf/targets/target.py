"""Targets: a named set of profiles, one for each modality."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from attrs import field, frozen

from bids_ihf.errors import BadData
from bids_ihf.targets.diffusion_profile import DiffusionProfile, to_content
from bids_ihf.targets.map_profiles import is_map_key
from bids_ihf.targets.matched_maps import MatchedMaps
from bids_ihf.targets.profile import Profile

BUILTIN_VENDORS = ("Siemens", "GE", "Philips")
"""Vendors whose targets come with the package."""

DIFFUSION_KEY, SERIES_COUNT_KEY = "diffusion", "dwi_scans"
"""Entries of a file's record with the diffusion profile and its number of series."""

ANY_MODALITY = "any"
"""Modality of a reference image whose file name has no known suffix; used for every modality."""


@frozen(eq=False)
class Target:
    """What images are harmonized to.

    Attributes
    ----------
    name
        Name of the vendor, or that the target was given.
    encoder_hash
        SHA-256 of the encoder behind the embeddings.
    profiles
        Anatomical profiles by modality, and those of the maps of diffusion series, see
        `map_profiles.map_key`.
    diffusion
        Diffusion profile, if any.
    provenance
        How the target was made, as in its file.
    hash
        SHA-256 of the anatomical profiles as the file holds them.
    matched
        Harmonics of people who are matched with those of another scanner, if any.
    is_builtin
        Whether this is the target of a built-in vendor, or an unchanged copy of its file.
    """

    name: str
    encoder_hash: str
    profiles: Mapping[str, Profile]
    diffusion: DiffusionProfile | None = None
    provenance: Mapping[str, Any] = field(factory=dict)
    hash: str = ""
    is_builtin: bool = False
    matched: MatchedMaps | None = None

    @property
    def modalities(self) -> tuple[str, ...]:
        """Modalities of the profiles, diffusion and its maps not included."""
        return tuple(sorted(key for key in self.profiles if not is_map_key(key)))

    @property
    def record(self) -> dict[str, Any]:
        """The record in the header of the target's file: provenance, the number of scans behind
        each profile, and the diffusion profile unless it is a built-in vendor's."""
        record = dict(self.provenance)
        record |= {f"{name}_scans": profile.scan_count for name, profile in self.profiles.items()}
        if self.diffusion is not None and not self.is_builtin:
            record[DIFFUSION_KEY] = to_content(self.diffusion)
            record[SERIES_COUNT_KEY] = self.diffusion.scan_count
        return dict(sorted(record.items()))

    def profile(self, modality: str) -> Profile:
        """The profile of an anatomical modality.

        Raises
        ------
        BadData
            The target has none.
        """
        profile = self.profiles.get(modality, self.profiles.get(ANY_MODALITY))
        if profile is None:
            raise BadData(
                f"{self.name}: this target has no {modality} profile (it has "
                f"{', '.join(self.modalities)}); name one built from {modality} images "
                "('ihf target build')."
            )
        return profile

    def diffusion_profile(self) -> DiffusionProfile:
        """The diffusion profile.

        Raises
        ------
        BadData
            The target has none.
        """
        if self.diffusion is None:
            raise BadData(
                f"{self.name}: this target has no diffusion profile; name a vendor, or a target "
                "built from diffusion series."
            )
        return self.diffusion

    def require_encoder(self, encoder_hash: str) -> None:
        """Raise BadData unless the profiles come from the encoder with this hash."""
        if self.encoder_hash != encoder_hash:
            raise BadData(
                f"{self.name}: this target was built with another encoder than the one in use; "
                "build it again with 'ihf target build' and the same --model, if any."
            )
