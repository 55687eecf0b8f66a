"""``ihf restore HARMONIZED -o ORIGINAL``: undo a harmonization."""

from __future__ import annotations

import argparse
from pathlib import Path

from bids_ihf.errors import UsageError


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of ``ihf restore``."""
    parser.add_argument(
        "harmonized", type=Path, metavar="HARMONIZED.nii.gz", help="harmonized image"
    )
    parser.add_argument(
        *("-o", "--output"),
        type=Path,
        required=True,
        metavar="ORIGINAL.nii.gz",
        help="image to write",
    )
    parser.add_argument(
        "--change",
        type=Path,
        metavar="CHANGE.nii.gz",
        help="change map (default: the one beside the harmonized image)",
    )


def run(arguments: argparse.Namespace) -> int:
    """Write harmonized minus change.

    Raises
    ------
    UsageError
        The output is one of the inputs, or is not named as a compressed NIfTI image.
    """
    output: Path = arguments.output
    inputs = [path.resolve() for path in (arguments.harmonized, arguments.change) if path]
    if output.resolve() in inputs:
        raise UsageError(f"{output}: the output is one of the inputs; choose another name.")
    if not output.name.endswith(".nii.gz"):
        raise UsageError(f"{output}: the output is compressed NIfTI; end its name in .nii.gz.")
    from bids_ihf.pipeline.restore import restore

    restore(arguments.harmonized, arguments.change, output)
    return 0
