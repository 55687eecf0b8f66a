"""``ihf harmonize IN -o OUT --target NAME``: one file in, one file out, without a BIDS dataset."""

from __future__ import annotations

import argparse
import logging
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bids_ihf.bids.images import gradient_table_paths
from bids_ihf.bids.names import IMAGE_SUFFIXES
from bids_ihf.cli.options import add_option
from bids_ihf.cli.output_paths import require_new_file
from bids_ihf.errors import UsageError
from bids_ihf.pipeline.process import MAX_THREADS_PER_IMAGE, available_processors

if TYPE_CHECKING:
    from bids_ihf.pipeline.image_files import ImageFiles

LOGGER = logging.getLogger(__name__)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of ``ihf harmonize``."""
    add = parser.add_argument
    add(
        "image",
        type=Path,
        metavar="IN.nii.gz",
        help="T1w, T2w or FLAIR image, or diffusion series",
    )
    add(
        *("-o", "--output"), type=Path, required=True, metavar="OUT.nii.gz",
        help="harmonized image to write, on the voxel grid of the input",
    )  # fmt: skip
    add(
        "--modality", choices=IMAGE_SUFFIXES,
        help="type of the image (default: the suffix of its file name)",
    )  # fmt: skip
    add(
        "--mask", type=Path, metavar="MASK.nii.gz",
        help="brain mask in the same world space (default: computed)",
    )  # fmt: skip
    add(
        "--t1w", type=Path, metavar="T1W.nii.gz",
        help="T1w image of the same session, by which another image is "
        "registered as in the BIDS App",
    )  # fmt: skip
    for name in ("bval", "bvec"):
        add(
            f"--{name}", type=Path, metavar="FILE",
            help=f"{name} file of a diffusion series (default: the one beside it)",
        )  # fmt: skip
    add("--change", type=Path, metavar="CHANGE.nii.gz", help="also write the change map")
    add("--save-mask", type=Path, metavar="MASK.nii.gz", help="also write the brain mask")
    add("--overwrite", action="store_true", help="replace output files that exist")
    for setting in (
        "target", "model", "source_vendor", "source_profile", "preprocessed", "random_seed",
        "b0_threshold", "change_map", "device", "batch_size", "omp_nthreads",
    ):  # fmt: skip
        add_option(parser, setting)


def run(arguments: argparse.Namespace) -> int:
    """Harmonize the image and write the files asked for.

    Raises
    ------
    UsageError
        The target is missing, or an output is an input or is not named ``.nii.gz``.
    CannotWrite
        An output exists already, or cannot be written.
    BadData
        The image or a file that belongs to it cannot be used.
    """
    target = getattr(arguments, "target", None)
    if target is None:
        raise UsageError("--target is required: Siemens, GE, Philips, a target file or an image.")
    _check_outputs(arguments)
    if arguments.change is not None and getattr(arguments, "change_map", None) == "none":
        raise UsageError("--change names a change map, which --change-map none does not write.")
    from bids_ihf.dwi.outputs import write_tables
    from bids_ihf.pipeline.image_files import ImageFiles
    from bids_ihf.pipeline.process import set_up_process
    from bids_ihf.pipeline.resources import load_harmonization
    from bids_ihf.pipeline.single_image import SingleOutputs, harmonize_files
    from bids_ihf.preprocessing.itk import load_ants_without_plotting

    options = _options(arguments)
    files = ImageFiles.around(
        arguments.image,
        modality=arguments.modality,
        source_vendor=options["source_vendor"],
        mask=arguments.mask,
        t1w=arguments.t1w,
        bval=arguments.bval,
        bvec=arguments.bvec,
        b0_threshold=options["b0_threshold"],
    )
    _check_tables(arguments, files)
    threads = options["omp_nthreads"] or min(available_processors(), MAX_THREADS_PER_IMAGE)
    set_up_process(options["random_seed"])
    load_ants_without_plotting()
    source = options["source_profile"]
    harmonization = load_harmonization(
        target,
        None if source is None else str(source),
        *(options["model"], options["device"], options["batch_size"], threads),
        preprocessed=options["preprocessed"],
    )
    outputs = SingleOutputs(
        arguments.output, arguments.change, arguments.save_mask, options["change_map"]
    )
    result = harmonize_files(
        files, outputs, harmonization, _log_progress, preprocessed=options["preprocessed"]
    )
    write_tables(files.bval, files.bvec, (arguments.output,))
    if result.warning:
        LOGGER.warning("%s: %s", arguments.image, result.warning)
    sys.stdout.write(f"{arguments.output}\n")
    return 0


def _options(arguments: argparse.Namespace) -> dict[str, Any]:
    """The settings that were given, and the defaults of the others."""
    from bids_ihf.config.settings import SETTING_OPTIONS

    return {
        name: getattr(arguments, name, None) or option.default
        for name, option in SETTING_OPTIONS.items()
    }


def _check_outputs(arguments: argparse.Namespace) -> None:
    files = [getattr(arguments, name) for name in ("image", "mask", "t1w", "bval", "bvec")]
    inputs = {path.resolve() for path in files if path is not None}
    named = (arguments.output, arguments.change, arguments.save_mask)
    outputs = [path for path in named if path is not None]
    resolved = [path.resolve() for path in outputs]
    for path in outputs:
        if path.resolve() in inputs or resolved.count(path.resolve()) > 1:
            raise UsageError(f"{path}: is named twice, as input or output; choose another name.")
        if not path.name.endswith(".nii.gz"):
            raise UsageError(f"{path}: outputs are compressed NIfTI; end the name in .nii.gz.")
        require_new_file(path, overwrite=arguments.overwrite)


def _check_tables(arguments: argparse.Namespace, files: ImageFiles) -> None:
    """The b-table of a series is written beside it, under its name."""
    sources = (files.bval, files.bvec)
    for path, source in zip(gradient_table_paths(arguments.output), sources, strict=True):
        if source is None:
            continue
        if path.resolve() == source.resolve():
            raise UsageError(f"{path}: belongs to the input; choose another name for the output.")
        require_new_file(path, overwrite=arguments.overwrite)


def _log_progress(step: str, fraction: float) -> None:
    LOGGER.info("%s (%.0f %% done)", step, 100 * fraction)
