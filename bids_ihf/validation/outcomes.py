"""What is done to scans, how they are measured, and what comes of it: the values of a study."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from attrs import field, frozen
from numpy.typing import NDArray

from bids_ihf.targets.profile import Profile
from bids_ihf.targets.source_profile import SourceProfile
from bids_ihf.validation.comparison import Metrics
from bids_ihf.validation.features import Features
from bids_ihf.validation.scans import Scan

ToolVolumes = dict[str, dict[str, float]]
"""Volumes (mL) by tool and structure."""

UNTOUCHED, BLURRED = "untouched", "blurred"
HISTOGRAM_MATCHING, IHF_HARMONY = "histogram matching", "ihf-harmony"
METHODS = {
    UNTOUCHED: "The images as they are",
    BLURRED: "The images blurred: a control for the probes",
    HISTOGRAM_MATCHING: "Histogram matching of the brain to other people's scans by the target "
    "scanner",
    IHF_HARMONY: "Harmonized to a target built from other people's scans by the target scanner",
}
"""What was done to the images, by the name in the tables."""


@frozen
class Settings:
    """How scans are prepared and measured.

    Attributes
    ----------
    preprocessed
        The images are bias-corrected, skull-stripped and in template orientation.
    atropos
        Measure volumes by Atropos too.
    deformable
        Compare images after deformable alignment too.
    source_profiles
        Tell what is the person's from what is the scanner's by other people's scans of the source
        scanner (``--source-profile`` of the BIDS App); otherwise by the vendor's typical profile.
    longitudinal
        A person's scans by one scanner share one mapping (``--longitudinal`` of the BIDS App).
    device
        ``cpu``, ``cuda`` or ``cuda:N``.
    images_dir
        Folder for the harmonized images; None: they are not kept.
    """

    preprocessed: bool = False
    atropos: bool = False
    deformable: bool = False
    source_profiles: bool = False
    longitudinal: bool = False
    device: str = "cpu"
    images_dir: Path | None = None


@frozen(eq=False)
class Reading:
    """A scan that was prepared, with what others need of it.

    ``file`` keeps what was prepared; ``brain_values`` are BRAIN_QUANTILES quantiles of the brain's
    intensities and ``limits`` the darkest and brightest intensity of the image, all without bias
    field.
    """

    scan: Scan
    file: Path
    profile: Profile
    brain_values: NDArray[np.float64]
    limits: tuple[float, float]


@frozen(eq=False)
class Outcome:
    """What was measured of one image: a scan after a method.

    ``target`` is the scanner it was harmonized to, None where that does not matter; ``metrics``
    compare it with ``truth``, the person's scan by that scanner, if there is one.
    """

    scan: Scan
    method: str
    target: str | None
    volumes: ToolVolumes = field(factory=dict)
    features: Features = field(factory=dict)
    truth: Scan | None = None
    metrics: Metrics = field(factory=dict)


@frozen(eq=False)
class SiteTarget:
    """A scanner as a person's images are harmonized to it: from scans of others by it.

    ``source`` is the profile of the person's own scanner, from scans of others.
    """

    scanner: str
    profile: Profile
    brain_values: NDArray[np.float64]
    limits: tuple[float, float]
    source: SourceProfile[Profile] | None = None
