"""The options of ``ihf-harmony``, in the spellings that users of BIDS Apps know."""

from __future__ import annotations

import argparse
from pathlib import Path

from bids_ihf import __version__
from bids_ihf.cli import values

SPACE = "MNI152NLin2009aSym"
EPILOG = (
    "exit codes: 0 done; 1 some image failed; 2 wrong command line; 16 invalid BIDS; "
    "18 nothing selected; 65 unusable data; 73 cannot write; 75 passing trouble, try again"
)


def build_parser() -> argparse.ArgumentParser:
    """The parser of ``ihf-harmony``."""
    parser = argparse.ArgumentParser(
        prog="ihf-harmony",
        description="Make brain MRI (T1w, T2w) from different scanners comparable.",
        epilog=EPILOG,
        allow_abbrev=False,
    )
    parser.add_argument(
        "bids_dir", type=values.folder, metavar="BIDS_DIR", help="raw BIDS dataset"
    )
    parser.add_argument("out_dir", type=values.folder, metavar="OUT_DIR", help="where results go")
    parser.add_argument(
        "analysis_level",
        choices=("participant", "group"),
        help="participant: harmonize images; group: tables and page from what participants wrote",
    )
    parser.add_argument("--version", action="version", version=f"ihf-harmony {__version__}")
    selection = parser.add_argument_group("which images")
    _add_labels(selection)
    _add_filters(selection)
    _add_processing(parser.add_argument_group("what is done"))
    resources = parser.add_argument_group("resources")
    _add_resources(resources)
    _add_computing(resources)
    _add_running(parser.add_argument_group("running"))
    return parser


def _add_labels(group: argparse._ArgumentGroup) -> None:
    add = group.add_argument
    add(
        *(
            "--participant-label",
            "--participant_label",
            "--participant-labels",
            "--participant_labels",
        ),
        nargs="+",
        default=[],
        metavar="LABEL",
        help="participants, with or without 'sub-', or a file with one label a line",
    )
    add(
        *("--session-label", "--session_label", "--session-id", "--session_id"),
        nargs="+",
        default=[],
        metavar="LABEL",
        help="sessions, with or without 'ses-', or a file with one label a line",
    )


def _add_filters(group: argparse._ArgumentGroup) -> None:
    add = group.add_argument
    add(
        *("-m", "--modalities"),
        nargs="+",
        type=values.modality,
        default=["T1w", "T2w", "dwi"],
        metavar="SUFFIX",
        help="T1w, T2w, dwi; default: all",
    )
    add(
        *("--bids-filter-file", "--bids_filter_file"),
        type=values.existing_file,
        metavar="JSON",
        help='for each modality {entity: value}; null means absent, "*" present',
    )
    add(
        *("--bids-database-dir", "--bids_database_dir"),
        type=values.folder,
        metavar="DIR",
        help="where to keep the index of the dataset",
    )
    add(
        *("-d", "--derivatives"),
        nargs="+",
        type=values.derivative,
        default=[],
        metavar="[NAME=]DIR",
        help="derivatives whose brain masks are used (fMRIPrep, FreeSurfer or SynthStrip names)",
    )
    add(
        *("--brain-mask", "--brain_mask"),
        choices=("auto", "network", "derivatives"),
        default="auto",
        help="auto: the mask in --derivatives, else of a stripped image its signal, else the "
        "network's; network: never one of --derivatives; derivatives: no other",
    )
    add(
        *("--skip-bids-validation", "--skip_bids_validation"),
        action="store_true",
        help="do not check the selected participants with the BIDS validator",
    )


def _add_processing(group: argparse._ArgumentGroup) -> None:
    add = group.add_argument
    add(
        "--target",
        metavar="NAME|FILE",
        help="Siemens, GE, Philips, a target file or a NIfTI image",
    )
    add(
        "--model",
        type=values.existing_file,
        metavar="FILE",
        help="network from 'ihf train' (default: the shipped one); its encoder lies beside it, or "
        "is the shipped one",
    )
    add(
        *("--source-vendor", "--source_vendor"),
        metavar="VENDOR",
        help="scanner vendor of images whose sidecar does not name one",
    )
    add(
        *("--source-profile", "--source_profile"),
        type=values.existing_file,
        metavar="FILE",
        help="target file built from other people's images of the source scanner: what is a "
        "person's own is then told from what is the scanner's",
    )
    add(
        "--preprocessed",
        action="store_true",
        help="inputs are bias-corrected, skull-stripped and in template orientation",
    )
    add(
        *("--output-spaces", "--output_spaces"),
        nargs="*",
        choices=(SPACE,),
        default=[],
        help="also write the harmonized image in template space",
    )
    add(
        "--normalization",
        choices=("rigid", "affine", "syn"),
        default="rigid",
        help="how the template-space image is made (the native one never depends on it)",
    )
    add(
        *("--random-seed", "--random_seed"),
        type=int,
        default=0,
        metavar="N",
        help="seed of the registration's sampling (default: 0)",
    )


def _add_resources(group: argparse._ArgumentGroup) -> None:
    add = group.add_argument
    add(
        *("-w", "--work-dir", "--work_dir"),
        type=values.folder,
        default=Path("work").absolute(),
        metavar="DIR",
        help="intermediate files (default: ./work)",
    )
    add(
        *("--n-procs", "--n_procs", "--nprocs", "--n-cpus", "--n_cpus", "--nthreads"),
        type=values.positive,
        metavar="N",
        help="processors used in all (default: those granted to this job)",
    )
    add(
        *("--omp-nthreads", "--omp_nthreads"),
        type=values.positive,
        metavar="N",
        help="processors used for one image (default: what is left when all images run at once)",
    )
    add(
        *("--mem", "--mem-mb", "--mem_mb"),
        dest="mem_gb",
        type=values.memory,
        metavar="AMOUNT",
        help="memory to use at most, such as 8G; a bare number is in MB",
    )


def _add_computing(group: argparse._ArgumentGroup) -> None:
    add = group.add_argument
    add("--device", type=values.device, default="auto", help="auto, cpu, cuda or cuda:N")
    add(
        *("--batch-size", "--batch_size"),
        type=values.positive,
        default=8,
        metavar="N",
        help="slices in the network at once (default: 8)",
    )
    add(
        *("--use-plugin", "--use_plugin", "--nipype-plugin-file"),
        type=values.existing_file,
        metavar="YAML",
        help="nipype plugin and its plugin_args",
    )


def _add_running(group: argparse._ArgumentGroup) -> None:
    add = group.add_argument
    add(
        *("--config-file", "--config_file"),
        type=Path,
        metavar="TOML",
        help="settings of an earlier run; options given here win",
    )
    add(
        *("--dry-run", "--dry_run"),
        action="store_true",
        help="only list every image, its vendor, the target and what would be done",
    )
    add(
        *("--reports-only", "--reports_only"),
        action="store_true",
        help="only rebuild the reports from what is there",
    )
    add(
        *("--stop-on-first-crash", "--stop_on_first_crash"),
        action="store_true",
        help="stop at the first image that fails instead of going on with the others",
    )
    add(
        "--notrack",
        action="store_true",
        help="accepted for compatibility: nothing is ever tracked",
    )
    add("-v", "--verbose", action="count", default=0, help="say more; -vv and -vvv still more")
