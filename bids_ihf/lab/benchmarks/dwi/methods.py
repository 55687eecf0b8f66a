"""The methods of the diffusion benchmark, each from a series to a series."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from attrs import evolve, frozen
from skimage.exposure import match_histograms

from bids_ihf.dwi.harmonize import ShellHarmonizer, harmonize_volumes
from bids_ihf.dwi.profile import measure_profile
from bids_ihf.dwi.shell_plan import make_plan
from bids_ihf.lab.benchmarks.dwi.networks import ratios_by_network
from bids_ihf.lab.comparators import rish
from bids_ihf.targets.diffusion_profile import merge_diffusion_profiles
from bids_ihf.targets.source_profile import SourceProfile

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from bids_ihf.dwi.harmonize import PlaceRatios
    from bids_ihf.dwi.place_change import MapNetwork
    from bids_ihf.dwi.shell_fit import ShellFit
    from bids_ihf.dwi.shell_plan import ShellPlan
    from bids_ihf.lab.benchmarks.dwi.traveling_subjects import DiffusionScan, DiffusionSubject
    from bids_ihf.lab.comparators.rish import RishFeatures
    from bids_ihf.targets.diffusion_profile import DiffusionProfile

    Array = NDArray[np.float32]

NO_HARMONIZATION = "none"
HISTOGRAM_MATCHING = "histogram matching"
LINEAR_SCALING = "linear scaling"
RISH_METHOD = "RISH"
SHELL_MODEL = "shell model"
SHELL_MODEL_NETWORK = "shell model, network"
SHELL_MODEL_VENDOR_UNKNOWN = "shell model, vendor unknown"
SHELL_MODEL_KNOWN_SCANNER = "shell model, known scanner"
REPEAT_SCAN = "repeat scan"

METHOD_DESCRIPTIONS = {
    NO_HARMONIZATION: "the source's series",
    HISTOGRAM_MATCHING: "each shell to the brains of the reference subjects",
    LINEAR_SCALING: "each shell by one factor, median to median of these brains",
    RISH_METHOD: "harmonics scaled by maps from matched subjects, both scanners",
    SHELL_MODEL: "the product where the vendor of the source is known",
    SHELL_MODEL_NETWORK: "the same, and then the network",
    SHELL_MODEL_VENDOR_UNKNOWN: "the product where it is not",
    SHELL_MODEL_KNOWN_SCANNER: "the product with the source scanner's profile from the reference "
    "subjects",
    REPEAT_SCAN: "the second series by the target's scanner",
}
"""Every method that the benchmark compares, by the name in its tables."""

VOXEL_STRIDE = 5
"""Every how many brain voxels one is kept of a reference series."""


@frozen(eq=False)
class ReferenceSeries:
    """What the methods know of a scanner from the series of one or several subjects.

    Attributes
    ----------
    signals
        Brain voxels of each shell.
    features
        RISH features.
    profile
        The product's profile.
    subjects
        Number of subjects.
    """

    signals: tuple[Array, ...]
    features: RishFeatures
    profile: DiffusionProfile
    subjects: int


def reference_series(scan: DiffusionScan, subject: DiffusionSubject) -> ReferenceSeries:
    """What the methods need of one reference series."""
    signals = tuple(
        scan.volumes[shell.volumes][:, subject.brain][:, ::VOXEL_STRIDE].ravel()
        for shell in scan.shells
    )
    features = rish.measure_features(scan, subject.brain)
    profile = profile_of_fits(scan.fits(subject.brain), subject)
    return ReferenceSeries(signals, features, profile, subjects=1)


def profile_of_fits(fits: Sequence[ShellFit], subject: DiffusionSubject) -> DiffusionProfile:
    """The product's profile of fits in the brain, with the true mask and no bias correction."""
    no_bias = np.ones(int(subject.brain.sum()), dtype=np.float32)
    return measure_profile(fits, subject.inside[subject.brain], no_bias)


def pool_references(series: Sequence[ReferenceSeries]) -> ReferenceSeries:
    """The reference series of several subjects by one scanner."""
    shells = zip(*(subject.signals for subject in series), strict=True)
    return ReferenceSeries(
        tuple(np.concatenate(signals) for signals in shells),
        rish.pool_features([subject.features for subject in series]),
        merge_diffusion_profiles([subject.profile for subject in series]),
        len(series),
    )


def harmonize_by_all(
    scan: DiffusionScan,
    subject: DiffusionSubject,
    source: ReferenceSeries,
    target: ReferenceSeries,
    network: MapNetwork | None = None,
) -> dict[str, DiffusionScan]:
    """The series by every method, and unharmonized; by the network to the target, if any."""
    scanners = {
        SHELL_MODEL: SourceProfile(source.profile),
        SHELL_MODEL_VENDOR_UNKNOWN: None,
        SHELL_MODEL_KNOWN_SCANNER: SourceProfile(source.profile, source.subjects),
    }
    b0 = float(np.median(scan.volumes[scan.shells[0].volumes][:, subject.brain]))
    b0_gain = float(np.median(target.signals[0])) / b0
    volumes = {
        NO_HARMONIZATION: scan.volumes,
        HISTOGRAM_MATCHING: match_histograms_by_shell(scan, subject, target),
        LINEAR_SCALING: scale_by_shell(scan, subject, target),
        RISH_METHOD: rish.harmonize(
            scan, subject.brain, source.features, target.features, b0_gain
        ),
        **harmonize_by_shell_model(scan, subject, target.profile, scanners, network),
    }
    return {name: evolve(scan, volumes=values) for name, values in volumes.items()}


def match_histograms_by_shell(
    scan: DiffusionScan, subject: DiffusionSubject, target: ReferenceSeries
) -> Array:
    """Match each shell's histogram in the brain, all directions together, to the target's."""
    harmonized = scan.volumes.copy()
    for shell, signals in zip(scan.shells, target.signals, strict=True):
        brain = harmonized[shell.volumes][:, subject.brain]
        matched = match_histograms(brain.ravel(), signals).reshape(brain.shape)
        for volume, values in zip(shell.volumes, matched, strict=True):
            harmonized[volume][subject.brain] = values
    return harmonized


def scale_by_shell(
    scan: DiffusionScan, subject: DiffusionSubject, target: ReferenceSeries
) -> Array:
    """Scale each shell by the ratio of the medians in the brain."""
    harmonized = scan.volumes.copy()
    for shell, signals in zip(scan.shells, target.signals, strict=True):
        median = np.median(harmonized[shell.volumes][:, subject.brain])
        harmonized[shell.volumes] *= np.float32(np.median(signals) / median)
    return harmonized


def harmonize_by_shell_model(
    scan: DiffusionScan,
    subject: DiffusionSubject,
    target: DiffusionProfile,
    scanners: Mapping[str, SourceProfile[DiffusionProfile] | None],
    network: MapNetwork | None = None,
) -> dict[str, Array]:
    """The product's method, for each state of knowledge of the source's scanner, and with the
    network where the vendor is known.

    With the true brain mask and without bias correction.
    """
    brain = subject.brain
    fits = scan.fits(brain)
    no_bias = np.ones(int(brain.sum()), dtype=np.float32)
    profile = profile_of_fits(fits, subject)

    def harmonize(plan: ShellPlan, place: PlaceRatios | None = None) -> Array:
        harmonizer = ShellHarmonizer(fits, plan, no_bias, place)
        weight = brain.astype(np.float32)
        pairs = harmonize_volumes(
            *(iter(scan.volumes), scan.gradients, harmonizer, brain, weight, plan.gain)
        )
        return np.stack([image for _, image in pairs])

    harmonized = {}
    for name, scanner in scanners.items():
        plan = make_plan(profile, target, scanner)
        harmonized[name] = harmonize(plan)
        if name == SHELL_MODEL and network is not None:
            place = ratios_by_network(fits, plan, scan, subject, network)
            harmonized[SHELL_MODEL_NETWORK] = harmonize(plan, place)
    return harmonized
