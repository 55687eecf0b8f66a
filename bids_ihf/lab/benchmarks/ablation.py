"""Ablation of the losses as in Table 1 of the paper, on simulated subjects and equal budgets.

Trains one small T1w network for every set of losses, all with the same simulated scans, encoder,
seed and number of steps, and measures them with ``ihf benchmark`` on subjects not used in
training.  Tables and figures go to OUT_DIR/benchmark.

Usage: python -m bids_ihf.lab.benchmarks.ablation LABELS_DIR OUT_DIR [--steps N]
"""

from __future__ import annotations

import argparse
from pathlib import Path

TRAINING_STEPS = 400
LOSS_WEIGHTS = {
    "without L_art": (0, 1, 0),
    "without L_ac": (0, 0, 2),
    "the paper's losses": (0, 1, 2),
    "supervised alone": (1, 0, 0),
    "supervised and the paper's": (1, 0.1, 0.01),
}
"""Weights of the supervised, anatomy (L_ac) and artefact (L_art) loss; those of the paper are 1
and 2."""

CONFIG_TEMPLATE = """
name = "{name}"
output = "{folder}"
seed = 7
threads = 1
bfloat16 = true

[data]
source = "{labels}"
people_file = "people.safetensors"
pool = "pool"
people = ["head-01", "head-02", "head-03", "head-04", "head-05", "head-06"]
modalities = ["T1w"]

[encoder]
file = "shipped"

[network]
hidden = [32, 64]
steps = {steps}
batch = 6
supervised = {supervised}
anatomy = {anatomy}
artefact = {artefact}
"""


def train_all(labels: Path, output: Path, steps: int) -> dict[str, Path]:
    """The network of each set of losses; one that exists is not trained again."""
    from bids_ihf.lab.training.training_run import train

    networks = {}
    for number, (name, (supervised, anatomy, artefact)) in enumerate(LOSS_WEIGHTS.items()):
        path = output / f"losses-{number}.toml"
        networks[name] = output / path.stem / "network.safetensors"
        if networks[name].exists():
            continue
        path.write_text(
            CONFIG_TEMPLATE.format(
                name=name, folder=path.stem, labels=labels.resolve(), steps=steps,
                supervised=supervised, anatomy=anatomy, artefact=artefact,
            )
        )  # fmt: skip
        train(path)
    return networks


def main() -> None:
    """Train, then measure."""
    from bids_ihf.cli.toolbox import main as toolbox

    parser = argparse.ArgumentParser(
        prog="python -m bids_ihf.lab.benchmarks.ablation",
        description=(__doc__ or "").splitlines()[0],
    )
    parser.add_argument("labels", type=Path, metavar="LABELS_DIR", help="label maps")
    parser.add_argument("output", type=Path, metavar="OUT_DIR", help="networks, tables, figures")
    parser.add_argument(
        "--steps", type=int, default=TRAINING_STEPS, metavar="N",
        help=f"training steps of each network (default: {TRAINING_STEPS})",
    )  # fmt: skip
    arguments = parser.parse_args()
    arguments.output.mkdir(parents=True, exist_ok=True)
    networks = train_all(arguments.labels, arguments.output, arguments.steps)
    toolbox(
        [
            "benchmark", str(arguments.labels), "-o", str(arguments.output / "benchmark"),
            "--modalities", "T1w",
            "--network", *(f"{name}={path}" for name, path in networks.items()),
        ]
    )  # fmt: skip


if __name__ == "__main__":
    main()
