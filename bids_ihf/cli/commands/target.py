"""``ihf target list | show NAME | build REF...``."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

from bids_ihf.bids.names import IMAGE_SUFFIXES
from bids_ihf.cli.options import add_option
from bids_ihf.config.option import unique_items
from bids_ihf.errors import CannotWrite

if TYPE_CHECKING:
    import argparse

    from bids_ihf.targets.target import Target

TARGET_EXTENSION = ".safetensors"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of ``ihf target``."""
    actions = parser.add_subparsers(dest="action", metavar="ACTION", required=True)
    actions.add_parser("list", help="list the built-in targets")
    show = actions.add_parser("show", help="show what a target was built from")
    show.add_argument("name", metavar="NAME|FILE", help="built-in target or target file")
    build = actions.add_parser("build", help="build a target from images of a scanner")
    add = build.add_argument
    add("references", nargs="+", type=Path, metavar="REF", help="NIfTI images or BIDS datasets")
    add(
        *("-o", "--output"),
        type=Path,
        required=True,
        metavar=f"FILE{TARGET_EXTENSION}",
        help="target file to write",
    )
    add("--name", metavar="TEXT", help="name of the target (default: name of the file)")
    add(
        "--modality",
        choices=IMAGE_SUFFIXES,
        help="use only this modality of the datasets; type of images whose names lack a suffix",
    )
    add(
        "--matched",
        action="store_true",
        help="the people of the diffusion series are matched (age, sex, number) with those of a "
        "target of another scanner; with both as --target and --source-profile, harmonics are "
        "scaled place by place",
    )
    for setting in ("participant_label", "bids_filter_file", "preprocessed", "b0_threshold"):
        add_option(build, setting)
    add(
        "--model",
        type=Path,
        metavar="FILE",
        help="network that the target is for, if not the built-in one: its encoder measures",
    )


def run(arguments: argparse.Namespace) -> int:
    """List, show or build."""
    if arguments.action == "build":
        return build(arguments)
    from bids_ihf.targets.build import target_file
    from bids_ihf.targets.target import BUILTIN_VENDORS
    from bids_ihf.targets.target_file import builtin_path, read_target

    if arguments.action == "show":
        _describe(read_target(target_file(arguments.name) or builtin_path(arguments.name)))
        return 0
    for vendor in BUILTIN_VENDORS:
        target = read_target(builtin_path(vendor))
        sys.stdout.write(f"{target.name}\t{_modalities(target)}\t{target.hash[:12]}\n")
    return 0


def _modalities(target: Target) -> str:
    return " ".join([*target.modalities, *(["dwi"] if target.diffusion else [])])


def _describe(target: Target) -> None:
    from bids_ihf.targets.target import DIFFUSION_KEY

    properties = {
        "name": target.name,
        "modalities": _modalities(target),
        "hash": target.hash,
        "encoder": target.encoder_hash,
        **{key: value for key, value in target.record.items() if key != DIFFUSION_KEY},
    }
    if target.matched is not None:
        properties["matched people"] = target.matched.people
    if target.diffusion is not None:
        properties["shells"] = " ".join(f"{shell.b:.0f}" for shell in target.diffusion.shells)
    for key, value in properties.items():
        sys.stdout.write(f"{key}: {value}\n")


def build(arguments: argparse.Namespace) -> int:
    """Prepare all references and write the target file.

    Raises
    ------
    CannotWrite
        The file name has another extension.
    NothingSelected
        The datasets hold no fitting image.
    """
    output: Path = arguments.output
    if output.suffix != TARGET_EXTENSION:
        raise CannotWrite(f"{output}: a target file ends in {TARGET_EXTENSION}; rename it.")
    from bids_ihf.io.atomic import write_atomic
    from bids_ihf.network.checkpoint import load_model_cached
    from bids_ihf.pipeline.process import set_up_process
    from bids_ihf.pipeline.references import collect_references, target_from_references
    from bids_ihf.targets.target_file import pack_target

    references = collect_references(
        arguments.references,
        modality=arguments.modality,
        labels=unique_items(arguments.participant_label or ()),
        filter_file=arguments.bids_filter_file,
        b0_threshold=arguments.b0_threshold,
    )
    set_up_process(0)
    name = arguments.name or output.stem
    model = load_model_cached("cpu", arguments.model)
    preprocessed = arguments.preprocessed
    target = target_from_references(
        references, name, model, preprocessed=preprocessed, matched=arguments.matched
    )
    write_atomic(output, pack_target(target))
    _describe(target)
    return 0
