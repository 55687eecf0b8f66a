"""``ihf restore HARMONIZED -o ORIGINAL``: undo a harmonization."""

from __future__ import annotations

import argparse
from pathlib import Path

from bids_ihf.cli.output_paths import require_new_file
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
    parser.add_argument(
        "--overwrite", action="store_true", help="replace an output file that exists"
    )


def run(arguments: argparse.Namespace) -> int:
    """Write harmonized minus change.

    Raises
    ------
    UsageError
        The output is one of the inputs, or is not named as a compressed NIfTI image.
    CannotWrite
        The output exists.
    """
    from bids_ihf.pipeline.restore import change_path, restore

    output: Path = arguments.output
    change: Path = arguments.change or change_path(arguments.harmonized)
    if output.resolve() in (arguments.harmonized.resolve(), change.resolve()):
        raise UsageError(f"{output}: the output is one of the inputs; choose another name.")
    if not output.name.endswith(".nii.gz"):
        raise UsageError(f"{output}: the output is compressed NIfTI; end its name in .nii.gz.")
    require_new_file(output, overwrite=arguments.overwrite)
    restore(arguments.harmonized, change, output)
    return 0
