"""Make the vendors' diffusion profiles that the package ships.

The reference subjects of the diffusion benchmark are scanned by each vendor's simulated scanner,
and the profiles of their series are merged; the test subjects (head-13 to head-16) are not used.
The standard deviations between subjects and between scanners of one vendor are printed; rounded,
they are the constants of bids_ihf/dwi/profile.py.

Usage: python -m bids_ihf.lab.benchmarks.diffusion_targets LABELS_DIR bids_ihf/data/diffusion.json
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from bids_ihf.targets.diffusion_profile import DiffusionProfile

PROFILE_QUANTITIES = ("fibrous", "other", "anisotropy")
"""Fields of a shell's profile: attenuation in fibrous and in other tissue, and anisotropy."""


def main() -> None:
    """Scan, measure and write."""
    parser = argparse.ArgumentParser(
        prog="python -m bids_ihf.lab.benchmarks.diffusion_targets",
        description=(__doc__ or "").splitlines()[0],
    )
    parser.add_argument("labels", type=Path, metavar="LABELS_DIR", help="label maps")
    parser.add_argument("output", type=Path, metavar="OUT.json", help="file of the profiles")
    arguments = parser.parse_args()
    write_profiles(arguments.labels, arguments.output)


def write_profiles(labels: Path, output: Path) -> None:
    """Write the profiles and print how much they vary."""
    from bids_ihf.lab.benchmarks.dwi.benchmark import DwiPlan, scan_all_references
    from bids_ihf.targets.diffusion_profile import merge_diffusion_profiles, to_content

    plan = DwiPlan(labels)
    profiles = {
        vendor: [subject.profile for subject in series]
        for vendor, series in scan_all_references(plan).items()
    }
    content = {
        "record": {
            "people": list(plan.references),
            "seed": plan.seed,
            "source": "simulated scanners of bids_ihf.lab.simulation",
        },
        "targets": {
            vendor: to_content(merge_diffusion_profiles(subjects))
            for vendor, subjects in profiles.items()
        },
    }
    output.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
    print_variation(profiles)


def print_variation(profiles: Mapping[str, Sequence[DiffusionProfile]]) -> None:
    """Print standard deviations of the logarithms: between subjects, and within vendors."""
    logs = np.log(
        [
            [
                [[getattr(shell, name) for name in PROFILE_QUANTITIES] for shell in profile.shells]
                for profile in subjects
            ]
            for subjects in profiles.values()
        ]
    )  # (vendors, subjects, shells, quantities)
    # Anisotropy is relative to attenuation, which exponents change along with it.
    logs[..., 2] -= logs[..., :2].mean(axis=-1)
    deviation = logs - logs.mean(axis=1, keepdims=True)
    subject_sd = deviation.std(axis=1, ddof=1).mean(axis=(0, 1))
    residual = deviation - deviation.mean(axis=0)
    scanner_sd = residual.std(axis=1, ddof=1).mean(axis=(0, 1))
    for name, between, within in zip(PROFILE_QUANTITIES, subject_sd, scanner_sd, strict=True):
        print(f"{name}: subjects {between:.4f}, scanners of one vendor and noise {within:.4f}")


if __name__ == "__main__":
    main()
