"""Whether an installation is whole: everything can be loaded and the weights are what they say.

Runs while the image is built, and in ``apptainer test``.
"""

from __future__ import annotations

import argparse
import importlib
import json
import subprocess
import sys
from importlib import metadata, resources
from pathlib import Path

MODULES = (
    "ants",
    "bidsschematools.schema",
    "bids_ihf.cli.run",
    "bids_ihf.anat.harmonize",
    "bids_ihf.reports.group_page",
    "bids_ihf.reports.participant",
    "bids_ihf.preprocessing.prepare",
    "bids_ihf.pipeline.participants",
    "isal.igzip",
    "matplotlib.pyplot",
    "nipype.pipeline.engine",
    "skimage.metrics",
    "sklearn.decomposition",
    "torch",
)

PINNED_BY_TORCH = ("nvidia", "cuda", "triton")
"""How the names begin of packages that a CUDA build of PyTorch brings, at its own versions."""


def check_pins(constraints: Path) -> None:
    """Every installed package has the version that the constraints pin."""
    pinned = {line.strip().lower() for line in constraints.read_text().splitlines()}
    for package in metadata.distributions():
        name, version = package.name.lower(), package.version.split("+")[0]
        own = name == "ihf-harmony" or name.startswith(PINNED_BY_TORCH)
        if not own and f"{name}=={version}" not in pinned:
            sys.exit(
                f"{name} {version} is installed but not pinned; add it to {constraints.name}."
            )


def check_weights() -> int:
    """Compare the sha256 in each shipped file's header with its tensors; how many there are."""
    from safetensors import safe_open

    from bids_ihf.io.tensors import HEADER_KEY, tensor_hash
    from bids_ihf.network.checkpoint import load_model

    files = sorted(Path(str(resources.files("bids_ihf") / "data")).glob("*.safetensors"))
    for path in files:
        with safe_open(path, framework="pt") as file:
            header = json.loads((file.metadata() or {})[HEADER_KEY])
            tensors = {key: file.get_tensor(key) for key in file.keys()}
        if header["sha256"] != tensor_hash(tensors):
            sys.exit(f"{path}: its sha256 does not match its content.")
    load_model()
    return len(files)


def main() -> None:
    """Check, and say what was checked."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--version", help="the version that must be installed")
    parser.add_argument("--constraints", type=Path, help="pinned versions to compare with")
    given = parser.parse_args()

    from bids_ihf.bids.validation import find_validator
    from bids_ihf.geometry.template import load_template
    from bids_ihf.version import __version__

    if given.version not in (None, __version__):
        sys.exit(f"This is {__version__}, not {given.version}; mend VERSION in the Dockerfile.")
    if given.constraints:
        check_pins(given.constraints)
    for name in MODULES:
        importlib.import_module(name)
    load_template()
    validator = find_validator()
    if validator is None:
        sys.exit("The BIDS validator is not installed.")
    subprocess.run([validator, "--version"], check=True, capture_output=True)
    files = check_weights()
    sys.stdout.write(f"ihf-harmony {__version__}: {len(MODULES)} modules, {files} weight files\n")


if __name__ == "__main__":
    main()
