"""What other people's T1w or T2w scans tell of the scanner of a scan, and the curve that knows it.

A curve that leads from one person's tissues to the average of a target takes away what the scanner
does to them, and with it what is the person's own.  Where the scanner is known from other people,
the two can be told apart.
"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING

from attrs import frozen

from bids_ihf.targets.contrast import WHITE_MATTER, same_protocol_weight
from bids_ihf.targets.intensity import IntensityCurve, weighted_mean_curve
from bids_ihf.targets.target import BUILTIN_VENDORS, builtin_path, is_builtin, read_target

if TYPE_CHECKING:
    from bids_ihf.targets.profile import Profile
    from bids_ihf.targets.target import Target

VENDOR_SCANNER_WEIGHT = 0.25
"""The scanner's share of what a scan deviates from the typical scan by its vendor, where that is
little: of 0, 0.25, 0.5, 0.75 and 1 the one with the smallest error, T1w and T2w taken together,
between the vendors' scans of the training's 11 people, each known from the other ten."""


@frozen(eq=False)
class SourceProfile:
    """A scanner as other people's scans show it.

    ``share``, 0 to 1, of what a scan deviates from ``profile`` is held to be its scanner's, the
    rest the person's; see :meth:`share_of`.
    """

    profile: Profile
    share: float

    @classmethod
    def of_vendor(cls, profile: Profile) -> SourceProfile:
        """A scanner of a vendor whose typical scan is known."""
        return cls(profile, VENDOR_SCANNER_WEIGHT)

    @classmethod
    def of_people(cls, profile: Profile, people: int) -> SourceProfile:
        """The very scanner, known from so many people's scans: the person is one more."""
        return cls(profile, 1 / (people + 1))

    def share_of(self, own: Profile) -> float:
        """The scanner's share of what a scan deviates: 1, so that nothing is held to be the
        person's, as its tissues' contrasts leave the span of people or cannot be told."""
        return 1.0 - (1.0 - self.share) * same_protocol_weight(
            own.landmarks, self.profile.landmarks
        )

    def gain(self, own: Profile) -> float:
        """Factor that brings a scan's white matter to where the typical scan has it."""
        return float(
            (self.profile.landmarks[WHITE_MATTER] + 1) / (own.landmarks[WHITE_MATTER] + 1)
        )


def source_profile_of(target: Target, modality: str) -> SourceProfile | None:
    """The scanner that a target's scans were made by; None where it has none of this modality."""
    profile = target.profiles.get(modality)
    if profile is None:
        return None
    if is_builtin(target):
        return SourceProfile.of_vendor(profile)
    return SourceProfile.of_people(profile, profile.scan_count)


@lru_cache(maxsize=8)
def vendor_source_profile(vendor: str, modality: str, encoder_hash: str) -> SourceProfile | None:
    """A vendor's scanner; None of another vendor's, or where another encoder looks at scans."""
    if vendor not in BUILTIN_VENDORS:
        return None
    target = read_target(builtin_path(vendor))
    return source_profile_of(target, modality) if target.encoder_hash == encoder_hash else None


def scanner_weight(own: Profile, source: SourceProfile | None) -> float:
    """The scanner's share, 0 to 1, of what a scan deviates: all where nothing is known of it."""
    return 1.0 if source is None else source.share_of(own)


def harmonization_curve(
    own: Profile, target: Profile, source: SourceProfile | None
) -> IntensityCurve:
    """The curve that brings a scan with the profile ``own`` to a target.

    Between the curve of its own tissues, which the scanner's share belongs to, and that from the
    source scanner's typical scan, white matter laid on white matter; the first alone where nothing
    is known of the source.
    """
    plain = target.curve_from(own)
    share = scanner_weight(own, source)
    if source is None or share >= 1:
        return plain
    typical = target.curve_from(source.profile)
    brought = IntensityCurve(
        (typical.input_knots + 1) / source.gain(own) - 1, typical.output_knots
    )
    return weighted_mean_curve(plain, brought, share)
