"""Make the vendors' diffusion profiles that the package carries.

    python -m bids_ihf.lab.benchmarks.diffusion_targets LABELS_DIR bids_ihf/data/diffusion.json

The reference people of the diffusion benchmark go through each vendor's simulated scanner; what is
measured on their series is merged.  People who are measured there (head-13 to head-16) take no
part.  How far people and scanners of one vendor differ is said on the terminal: PEOPLE and
PEOPLE_ANISOTROPY in targets/diffusion.py are the former, rounded.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np

from bids_ihf.lab.benchmarks.dwi.benchmark import DwiPlan, all_samples
from bids_ihf.targets.diffusion_profile import (
    DiffusionProfile,
    merge_diffusion_profiles,
    to_content,
)


def main(labels: Path, output: Path) -> None:
    """Scan, measure and write."""
    plan = DwiPlan(labels)
    found = {
        vendor: [one.profile for one in samples] for vendor, samples in all_samples(plan).items()
    }
    content = {
        "record": {
            "people": list(plan.references),
            "seed": plan.seed,
            "source": "simulated scanners of bids_ihf.lab.simulation.diffusion_session",
        },
        "targets": {
            vendor: to_content(merge_diffusion_profiles(profiles))
            for vendor, profiles in found.items()
        },
    }
    output.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
    tell_spread(found)


def tell_spread(found: dict[str, list[DiffusionProfile]]) -> None:
    """Standard deviations of the logarithms: of people, and of what is left of vendors."""
    names = ("fibrous", "other", "anisotropy")
    logs = np.log(
        [
            [[[getattr(shell, name) for name in names] for shell in p.shells] for p in profiles]
            for profiles in found.values()
        ]
    )  # (vendors, people, shells, names)
    # Anisotropy counts relative to attenuation, which exponents change along with it.
    logs[..., 2] -= logs[..., :2].mean(axis=-1)
    own = logs - logs.mean(axis=1, keepdims=True)
    people = own.std(axis=1, ddof=1).mean(axis=(0, 1))
    left = (own - own.mean(axis=0)).std(axis=1, ddof=1).mean(axis=(0, 1))
    for name, one, other in zip(names, people, left, strict=True):
        print(f"{name}: people {one:.4f}, scanners of one vendor and noise {other:.4f}")


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
