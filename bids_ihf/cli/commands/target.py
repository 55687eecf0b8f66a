"""``ihf target list | show NAME | build REF...``."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

from bids_ihf.cli.values import available_processors, existing_file, positive
from bids_ihf.errors import CannotWrite

if TYPE_CHECKING:
    import argparse

    from bids_ihf.targets.target import Target

EXTENSION = ".safetensors"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of ``ihf target``."""
    actions = parser.add_subparsers(dest="action", metavar="ACTION", required=True)
    actions.add_parser("list", help="the targets that come with the package")
    show = actions.add_parser("show", help="what a target was made from")
    show.add_argument("name", metavar="NAME", help="vendor or target file")
    build = actions.add_parser("build", help="a target from one's own images")
    add = build.add_argument
    add("references", nargs="+", type=Path, metavar="REF", help="NIfTI images or BIDS datasets")
    add("-o", "--output", type=Path, required=True, metavar=f"FILE{EXTENSION}")
    add("--name", metavar="TEXT", help="name of the target (default: that of the file)")
    add("--modality", choices=("T1w", "T2w", "dwi"), help="of images whose names do not tell it")
    add(
        *("--participant-label", "--participant_label"),
        nargs="+",
        default=[],
        metavar="LABEL",
        help="participants of the BIDS datasets (default: all)",
    )
    add("--bids-filter-file", "--bids_filter_file", type=existing_file, metavar="JSON")
    add("--preprocessed", action="store_true", help="images are stripped, corrected and aligned")
    add("--n-procs", "--n_procs", "--nprocs", type=positive, metavar="N", help="threads")


def run(given: argparse.Namespace) -> int:
    """List, show or build."""
    if given.action == "list":
        return list_targets()
    if given.action == "show":
        return show_target(given.name)
    return build(given)


def list_targets() -> int:
    """Name, modalities and hash of each built-in target."""
    from bids_ihf.targets.target import BUILTIN_VENDORS, builtin_path, read_target

    for vendor in BUILTIN_VENDORS:
        target = read_target(builtin_path(vendor))
        sys.stdout.write(f"{target.name}\t{_modalities(target)}\t{target.hash[:12]}\n")
    return 0


def show_target(name: str) -> int:
    """All that a target file says of itself, as ``key: value`` lines."""
    from bids_ihf.targets.target import builtin_path, read_target

    path = Path(name) if Path(name).is_file() else builtin_path(name)
    _describe(read_target(path))
    return 0


def _modalities(target: Target) -> str:
    from bids_ihf.dwi.profile_file import content_of

    return " ".join([*target.modalities, *(["dwi"] if content_of(target) else [])])


def _describe(target: Target) -> None:
    from bids_ihf.dwi.profile_file import KEY, content_of, profile_of_target

    facts = {
        "name": target.name,
        "modalities": _modalities(target),
        "hash": target.hash,
        "encoder": target.encoder_hash,
        **{key: value for key, value in target.record.items() if key != KEY},
    }
    if content_of(target) is not None:
        shells = profile_of_target(target).shells
        facts["shells"] = " ".join(f"{shell.b:.0f}" for shell in shells)
    for key, value in facts.items():
        sys.stdout.write(f"{key}: {value}\n")


def build(given: argparse.Namespace) -> int:
    """Prepare all references and write the target file.

    Raises
    ------
    CannotWrite
        The file name has another extension.
    NothingSelected
        The datasets hold no fitting image.
    """
    if given.output.suffix != EXTENSION:
        raise CannotWrite(f"{given.output}: a target file ends in {EXTENSION}; rename it.")
    from bids_ihf.dwi.profile_file import record_of
    from bids_ihf.io.atomic import write_atomic
    from bids_ihf.pipeline.references import collect, diffusion_profiles, prepared_scans
    from bids_ihf.pipeline.worker import fix_threads, model_on
    from bids_ihf.targets.build import build_target
    from bids_ihf.targets.target import pack_target

    scans = collect(
        given.references,
        modality=given.modality,
        labels=given.participant_label,
        filter_file=given.bids_filter_file,
    )
    fix_threads(given.n_procs or available_processors(), 0)
    name = given.name or given.output.stem
    series = [scan for scan in scans if scan.modality == "dwi"]
    others = [scan for scan in scans if scan.modality != "dwi"]
    record = record_of(diffusion_profiles(series, preprocessed=given.preprocessed))
    prepared = prepared_scans(others, preprocessed=given.preprocessed)
    target = build_target(prepared, name, model_on("cpu"), record)
    write_atomic(given.output, pack_target(target))
    _describe(target)
    return 0
