"""Table 1 of the paper on simulated people: which loss does what, from equal budgets.

Trains one small T1w network for every set of losses, all from the same simulated pool, encoder,
seed and number of steps, and measures them with ``ihf benchmark`` on people none has seen.

Usage: python -m bids_ihf.lab.benchmarks.ablation LABELS_DIR OUT_DIR [STEPS]
"""

from __future__ import annotations

import sys
from pathlib import Path

from bids_ihf.cli.toolbox import main as toolbox
from bids_ihf.lab.training.training_run import train

STEPS = 400
LOSSES = {  # supervised, anatomy (L_ac), artefact (L_art); the paper weighs the last two 1 and 2
    "without L_art": (0, 1, 0),
    "without L_ac": (0, 0, 2),
    "the paper's losses": (0, 1, 2),
    "supervised alone": (1, 0, 0),
    "supervised and the paper's": (1, 0.1, 0.01),
}
CONFIG = """
name = "{name}"
output = "{folder}"
seed = 7
threads = 1
bfloat16 = true

[data]
source = "{labels}"
pool = "pool"
people = ["head-01", "head-02", "head-03", "head-04", "head-05", "head-06"]
modalities = ["T1w"]
vendor_scanners = 1
random_scanners = 6
random_per_person = 4

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


def train_all(labels: Path, out: Path, steps: int) -> dict[str, Path]:
    """The network of each set of losses; one that is there already is kept."""
    networks = {}
    for number, (name, weights) in enumerate(LOSSES.items()):
        supervised, anatomy, artefact = weights
        path = out / f"losses-{number}.toml"
        networks[name] = out / path.stem / "network.safetensors"
        if networks[name].exists():
            continue
        path.write_text(
            CONFIG.format(
                name=name, folder=path.stem, labels=labels.resolve(), steps=steps,
                supervised=supervised, anatomy=anatomy, artefact=artefact,
            )
        )  # fmt: skip
        train(path)
    return networks


def main(labels: Path, out: Path, steps: int = STEPS) -> None:
    """Train, then measure; tables and figures go to OUT_DIR/benchmark."""
    out.mkdir(parents=True, exist_ok=True)
    networks = train_all(labels, out, steps)
    named = [f"{name}={path}" for name, path in networks.items()]
    where = [str(labels), "-o", str(out / "benchmark")]
    toolbox(["benchmark", *where, "--modalities", "T1w", "--network", *named])


if __name__ == "__main__":
    first, second, *rest = sys.argv[1:]
    main(Path(first), Path(second), *(int(value) for value in rest))
