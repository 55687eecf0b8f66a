"""The profile of the scanner that made a scan, estimated from scans of other subjects.

A curve from one subject's tissues to the average of a target removes what the scanner does to
them, and with it what is particular to the subject.  Where a typical profile of the source scanner
is available, the two can be separated.
"""

from __future__ import annotations

from typing import Generic, TypeVar

from attrs import frozen

from bids_ihf.targets.contrast import WHITE_MATTER, same_protocol_weight
from bids_ihf.targets.diffusion_profile import DiffusionProfile
from bids_ihf.targets.intensity import IntensityCurve, weighted_mean_curve
from bids_ihf.targets.profile import Profile
from bids_ihf.targets.target import Target

VENDOR_SCANNER_WEIGHT = 0.25
"""Scanner weight of an anatomical scan with its vendor's typical profile, within one protocol.

Of 0, 0.25, 0.5, 0.75 and 1 the one with the smallest error, T1w and T2w together, between the
vendors' scans of the 11 training subjects, with profiles from the other ten."""

PROTOCOL_POWER = 4.0
"""How fast the assumption that a scan has its scanner's typical protocol is given up beyond what
subjects differ by.  Of 1, 2, 4 and 99 on the validation subject: docs/method.md."""

AnyProfile = TypeVar("AnyProfile", Profile, DiffusionProfile)


@frozen(eq=False)
class SourceProfile(Generic[AnyProfile]):
    """Typical profile of a source scanner.

    ``subjects`` is the number of subjects whose scans by this very scanner it averages; None where
    it is the typical profile of the scanner's vendor.  ``name`` is that of the vendor or target.
    """

    profile: AnyProfile
    subjects: int | None = None
    name: str = ""

    def scanner_weight(self, vendor_weight: float) -> float:
        """Weight, 0 to 1, with which a scan's deviation from the profile is attributed to its
        scanner; the rest is attributed to its subject.

        1 / (n + 1) with n subjects, of whom the scan's is one more; ``vendor_weight`` for the
        profile of a vendor.

        >>> SourceProfile(None, subjects=4).scanner_weight(0.25)
        0.2
        >>> SourceProfile(None).scanner_weight(0.25)
        0.25
        """
        return vendor_weight if self.subjects is None else 1 / (self.subjects + 1)


def source_profile_of(target: Target | None, modality: str) -> SourceProfile[Profile] | None:
    """The scanner behind the scans of a modality of a target; None without any."""
    profile = target.profiles.get(modality) if target else None
    return _source_profile(target, profile) if target and profile else None


def diffusion_source_of(target: Target | None) -> SourceProfile[DiffusionProfile] | None:
    """The scanner behind the diffusion series of a target; None without any."""
    return _source_profile(target, target.diffusion) if target and target.diffusion else None


def _source_profile(target: Target, profile: AnyProfile) -> SourceProfile[AnyProfile]:
    subjects = None if target.is_builtin else profile.scan_count
    return SourceProfile(profile, subjects, target.name)


def scanner_weight(scan: Profile, source: SourceProfile[Profile] | None) -> float:
    """Weight, 0 to 1, with which the deviation of an anatomical scan is attributed to its scanner.

    1 without a source profile, and towards 1 as the tissue contrasts of the scan leave the range
    of inter-subject variability around it.
    """
    if source is None:
        return 1.0
    same_protocol = same_protocol_weight(
        scan.landmarks, source.profile.landmarks, power=PROTOCOL_POWER
    )
    return 1.0 - (1.0 - source.scanner_weight(VENDOR_SCANNER_WEIGHT)) * same_protocol


def harmonization_curve(
    scan: Profile, target: Profile, source: SourceProfile[Profile] | None
) -> IntensityCurve:
    """The curve that brings a scan to a target, preserving what is attributed to the subject.

    With a source profile it is the mean of the curve from the scan, weighted by the scanner
    weight, and the curve from the source profile, after aligning white matter.
    """
    from_scan = target.curve_from(scan)
    weight = scanner_weight(scan, source)
    if source is None or weight >= 1:
        return from_scan
    from_source = target.curve_from(source.profile)
    source_white, scan_white = (p.landmarks[WHITE_MATTER] + 1 for p in (source.profile, scan))
    aligned = (from_source.input_knots + 1) / float(source_white / scan_white) - 1
    return weighted_mean_curve(
        from_scan, IntensityCurve(aligned, from_source.output_knots), weight
    )
