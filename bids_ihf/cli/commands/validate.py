"""``ihf validate BIDS_DIR OUT_DIR``: does harmonization help, on one's own traveling people."""

from __future__ import annotations

import argparse
import sys
from functools import partial
from pathlib import Path

from bids_ihf.bids.names import ANATOMICAL_MODALITIES
from bids_ihf.cli.options import add_option
from bids_ihf.cli.output_paths import require_no_raw_folder
from bids_ihf.config.option import unique_items
from bids_ihf.errors import UsageError
from bids_ihf.pipeline.process import available_processors
from bids_ihf.validation.scans import EVERY_SCANNER


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of ``ihf validate``."""
    add = parser.add_argument
    add("bids_dir", type=Path, metavar="BIDS_DIR", help="dataset with people on several scanners")
    add("out_dir", type=Path, metavar="OUT_DIR", help="folder for validation.html and its tables")
    add(
        "--to", metavar="SCANNER",
        help="scanner to harmonize to, as the page names it, or 'each' (default: the one with "
        "most people)",
    )  # fmt: skip
    add(
        "--scanner-column", metavar="COLUMN",
        help="column of participants.tsv, _sessions.tsv or _scans.tsv that names the scanner "
        "(default: vendor, model, field strength and serial number in the JSON files)",
    )  # fmt: skip
    add(
        "--modalities", nargs="+", choices=ANATOMICAL_MODALITIES, default=ANATOMICAL_MODALITIES,
        help="kinds of images (default: all that people were scanned with on two scanners)",
    )  # fmt: skip
    add(
        "--covariates", nargs="+", metavar="COLUMN",
        help="columns of participants.tsv whose effects on volumes are measured and kept by "
        "ComBat (default: age sex)",
    )  # fmt: skip
    add(
        "--source-profiles", action="store_true",
        help="profiles of the source scanners from other people's scans, as with --source-profile "
        "of ihf-harmony (default: typical profiles of their vendors)",
    )  # fmt: skip
    add("--atropos", action="store_true", help="also measure tissue volumes by ANTs Atropos")
    add(
        "--deformable", action="store_true",
        help="also compare images after deformable alignment, which takes minutes for each pair",
    )  # fmt: skip
    add(
        "--write-images", action="store_true",
        help="keep the harmonized images in OUT_DIR/harmonized, to measure them with another "
        "tool; for one target scanner",
    )  # fmt: skip
    for stage in ("before", "after"):
        images = "the images" if stage == "before" else "the harmonized images"
        add(
            f"--volumes-{stage}", type=Path, metavar="PATH",
            help=f"volumes that another tool measured in {images}: a table in mm3 (.tsv, .csv, "
            "SynthSeg's too), or a folder of FreeSurfer or FastSurfer",
        )  # fmt: skip
    for setting in (
        "participant_label", "derivatives", "longitudinal", "preprocessed", "device", "n_procs",
    ):  # fmt: skip
        add_option(parser, setting)


def run(arguments: argparse.Namespace) -> int:
    """Measure, and write the page and the tables.

    Raises
    ------
    UsageError
        OUT_DIR lies among the raw data, or there is no such scanner, column or file.
    NothingSelected
        There are too few people on two scanners.
    """
    bids_dir, out_dir = arguments.bids_dir, arguments.out_dir
    require_no_raw_folder(out_dir, bids_dir)
    if arguments.write_images and arguments.to == EVERY_SCANNER:
        raise UsageError("--write-images keeps images of one target; choose a scanner with --to.")
    from bids_ihf.pipeline.harmonization import choose_device
    from bids_ihf.pipeline.process import set_up_process
    from bids_ihf.pipeline.run_log import NOTICE_LEVEL
    from bids_ihf.validation.measuring import Workers
    from bids_ihf.validation.outcomes import Settings
    from bids_ihf.validation.run import (
        DEFAULT_COVARIATES,
        IMAGES_FOLDER,
        ValidationPlan,
        validate,
    )

    set_up = partial(set_up_process, 0)
    set_up()
    plan = ValidationPlan(
        bids_dir=bids_dir,
        out_dir=out_dir,
        modalities=tuple(arguments.modalities),
        labels=unique_items(getattr(arguments, "participant_label", None) or ()),
        scanner_column=arguments.scanner_column,
        derivatives=tuple(getattr(arguments, "derivatives", None) or ()),
        to=arguments.to,
        covariates=tuple(arguments.covariates or DEFAULT_COVARIATES),
        volumes_before=arguments.volumes_before,
        volumes_after=arguments.volumes_after,
        settings=Settings(
            preprocessed=bool(getattr(arguments, "preprocessed", False)),
            atropos=arguments.atropos,
            deformable=arguments.deformable,
            source_profiles=arguments.source_profiles,
            longitudinal=bool(getattr(arguments, "longitudinal", False)),
            device=choose_device(getattr(arguments, "device", None) or "auto"),
            images_dir=out_dir / IMAGES_FOLDER if arguments.write_images else None,
        ),
    )
    count = getattr(arguments, "n_procs", None) or available_processors()
    failures = validate(plan, Workers(count, set_up, progress_level=NOTICE_LEVEL))
    sys.stdout.write(f"{out_dir / 'validation.html'}\n")
    return 1 if failures else 0
