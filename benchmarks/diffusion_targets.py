"""Make the vendors' diffusion profiles that the package carries.

    python benchmarks/diffusion_targets.py LABELS_DIR bids_ihf/data/diffusion.json

The reference people of the diffusion benchmark go through each vendor's simulated scanner; what is
measured on their series is merged.  People who are measured there (head-13 to head-16) take no
part.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

from bids_ihf.evaluation.dwi_benchmark import DwiPlan, knowledge
from bids_ihf.targets.diffusion_file import pack_profile


def main(labels: Path, output: Path) -> None:
    """Scan, measure and write."""
    plan = DwiPlan(labels)
    found = knowledge(plan)
    content = {
        "record": {
            "people": list(plan.references),
            "seed": plan.seed,
            "source": "simulated scanners of bids_ihf.simulation.epi",
        },
        "targets": {vendor: pack_profile(one.profile) for vendor, one in found.items()},
    }
    output.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
