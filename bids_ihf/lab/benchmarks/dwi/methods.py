"""The methods that the diffusion benchmark compares, each from a series to a series."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from attrs import evolve, frozen

from bids_ihf.lab.comparators import rish as dwi_rish
from bids_ihf.targets.source_profile import SourceProfile

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from bids_ihf.dwi.shell_fit import ShellFit
    from bids_ihf.lab.benchmarks.dwi.travelers import DiffusionSubject, Scan
    from bids_ihf.lab.comparators.rish import Features
    from bids_ihf.targets.diffusion_profile import DiffusionProfile

    Array = NDArray[np.float32]

NONE, OURS, REPEAT = "none", "shell model", "repeat scan"
ALONE, KNOWN = "shell model, vendor unknown", "shell model, known scanner"
DESCRIPTIONS = {
    NONE: "the source's series",
    "histogram matching": "each shell to the brains of the reference people",
    "linear scaling": "each shell by one factor, median to median of these brains",
    "RISH": "harmonics scaled by maps from matched people, both scanners",
    OURS: "the product where the vendor is known: its typical scanner, and the series itself",
    ALONE: "the product where it is not: the source is measured on the series itself alone",
    KNOWN: "the product with the source scanner's own profile, from the reference people",
    REPEAT: "the second series by the target's scanner",
}

STRIDE = 5
"""Every how many brain voxels one is kept of a reference."""


@frozen(eq=False)
class Knowledge:
    """What methods know of one scanner: signals of each shell in the reference people's brains,
    RISH features over all of them, and the profile of the product."""

    signals: tuple[Array, ...]
    features: Features
    profile: DiffusionProfile
    people: int


@frozen(eq=False)
class Sample:
    """What is kept of one reference series."""

    signals: tuple[Array, ...]
    features: Features
    profile: DiffusionProfile


def sample(scan: Scan, person: DiffusionSubject) -> Sample:
    """Keep what the methods need of a reference series."""
    inside = person.brain
    signals = tuple(
        scan.volumes[shell.volumes][:, inside][:, ::STRIDE].ravel() for shell in scan.shells
    )
    return Sample(signals, dwi_rish.features(scan, person), profile_of(scan, person))


def profile_of(scan: Scan, person: DiffusionSubject) -> DiffusionProfile:
    """The product's profile of a series, with the true mask and without a bias correction."""
    return measure_fits(scan.fits(person.brain), person)


def measure_fits(fits: Sequence[ShellFit], person: DiffusionSubject) -> DiffusionProfile:
    """The profile of fits in the brain."""
    from bids_ihf.dwi.profile import measure_profile

    ones = np.ones(int(person.brain.sum()), dtype=np.float32)
    return measure_profile(fits, person.inside[person.brain], ones)


def pool(samples: Sequence[Sample]) -> Knowledge:
    """All reference people's series by one scanner."""
    from bids_ihf.targets.diffusion_profile import merge_diffusion_profiles

    signals = [np.concatenate(parts) for parts in zip(*(s.signals for s in samples), strict=True)]
    features = dwi_rish.total([s.features for s in samples])
    return Knowledge(
        tuple(signals),
        features,
        merge_diffusion_profiles([s.profile for s in samples]),
        len(samples),
    )


def results(
    scan: Scan, person: DiffusionSubject, source: Knowledge, target: Knowledge
) -> dict[str, Scan]:
    """The series by every method that changes it, and by none."""
    scanners = {
        OURS: SourceProfile(source.profile),
        ALONE: None,
        KNOWN: SourceProfile(source.profile, source.people),
    }
    volumes = {
        NONE: scan.volumes,
        "histogram matching": histogram_matched(scan, person, target),
        "linear scaling": linearly_scaled(scan, person, target),
        "RISH": rish(scan, person, source, target),
        **shell_model(scan, person, target.profile, scanners),
    }
    return {name: evolve(scan, volumes=values) for name, values in volumes.items()}


def histogram_matched(scan: Scan, person: DiffusionSubject, target: Knowledge) -> Array:
    """Each shell's histogram in the brain, all directions together, made that of the target."""
    from skimage.exposure import match_histograms

    out = scan.volumes.copy()
    for shell, wanted in zip(scan.shells, target.signals, strict=True):
        inside = out[shell.volumes][:, person.brain]
        matched = match_histograms(inside.ravel(), wanted).reshape(inside.shape)
        for volume, values in zip(shell.volumes, matched, strict=True):
            out[volume][person.brain] = values
    return out


def linearly_scaled(scan: Scan, person: DiffusionSubject, target: Knowledge) -> Array:
    """Each shell by the ratio of the medians in the brain."""
    out = scan.volumes.copy()
    for shell, wanted in zip(scan.shells, target.signals, strict=True):
        own = np.median(out[shell.volumes][:, person.brain])
        out[shell.volumes] *= np.float32(np.median(wanted) / own)
    return out


def rish(scan: Scan, person: DiffusionSubject, source: Knowledge, target: Knowledge) -> Array:
    """Harmonics scaled from the source's scanner to the target's."""
    own = float(np.median(scan.volumes[scan.shells[0].volumes][:, person.brain]))
    gains = {0: float(np.median(target.signals[0])) / own}
    return dwi_rish.scaled(scan, person, source.features, target.features, gains)


def shell_model(
    scan: Scan,
    person: DiffusionSubject,
    target: DiffusionProfile,
    scanners: Mapping[str, SourceProfile[DiffusionProfile] | None],
) -> dict[str, Array]:
    """The product's own way, with the true mask and without a bias correction, with all that may
    be known of the source's scanner."""
    from bids_ihf.dwi.harmonize import harmonize_volumes, make_harmonizer, make_plan

    where = person.brain
    fits = scan.fits(where)
    ones = np.ones(int(where.sum()), dtype=np.float32)
    weight = where.astype(np.float32)
    own = measure_fits(fits, person)
    out = {}
    for name, scanner in scanners.items():
        plan = make_plan(own, target, scanner)
        changer = make_harmonizer(fits, plan, ones)
        pairs = harmonize_volumes(
            iter(scan.volumes), scan.gradients, changer, where, weight, plan.gain
        )
        out[name] = np.stack([image for _, image in pairs])
    return out
