"""The schema: all settings of a run, each with the option that gives it."""
# ruff: noqa: RUF009 (what is called for the defaults is attrs.field)

from __future__ import annotations

import uuid
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Any, Literal, get_args

from attrs import NOTHING, field, fields, frozen

from bids_ihf.bids.names import IMAGE_SUFFIXES, TEMPLATE_SPACE
from bids_ihf.config import values
from bids_ihf.config.option import Option, OptionGroup

Normalization = Literal["rigid", "affine", "syn"]
BrainMask = Literal["auto", "network", "derivatives"]
ChangeMap = Literal["compact", "float32", "none"]


def new_run_uuid() -> str:
    """Identity of a run: local time and a random part, so that concurrent runs never share it."""
    return f"{datetime.now().astimezone():%Y%m%d-%H%M%S}_{uuid.uuid4()}"


def _setting(group: OptionGroup, flags: str, text: str, *args: Any, **details: Any) -> Any:
    option = Option(group, flags, text, *args, **details)
    return field(default=option.default, metadata={"option": option})


_dataset = partial(_setting, "dataset", "")
_selection = partial(_setting, "input selection")
_processing = partial(_setting, "processing")
_resource = partial(_setting, "resources")
_execution = partial(_setting, "execution")
_FLAG_OPTION: dict[str, Any] = {"action": "store_true", "default": False}


@frozen
class RunConfig:
    """Settings of a run of ``ihf-harmony``; memory in GB, empty tuples mean no restriction."""

    bids_dir: Path = _dataset(
        "raw BIDS dataset", values.existing_folder, NOTHING, metavar="BIDS_DIR"
    )
    out_dir: Path = _dataset("folder for the results", values.folder, NOTHING, metavar="OUT_DIR")
    analysis_level: str = _dataset(
        "participant: harmonize images; group: tables and report of all participants' results",
        default="participant",
        choices=("participant", "group"),
    )

    participant_label: tuple[str, ...] = _selection(
        "--participant-label --participant-labels",
        "participants, with or without 'sub-', or a text file that lists them (default: all)",
        values.participant_labels,
        (),
        metavar="LABEL",
    )
    session_label: tuple[str, ...] = _selection(
        "--session-label --session-id",
        "sessions, with or without 'ses-', or a text file that lists them (default: all)",
        values.session_labels,
        (),
        metavar="LABEL",
    )
    modalities: tuple[str, ...] = _selection(
        "-m --modalities",
        "image types to harmonize",
        values.modality,
        IMAGE_SUFFIXES,
        choices=IMAGE_SUFFIXES,
    )
    bids_filter_file: Path | None = _selection(
        "--bids-filter-file",
        'JSON file with {entity: value} for each modality, such as {"t1w": {"acquisition": '
        '"mprage"}}; null: the entity is absent, "*": it has any value',
        values.existing_file,
    )
    bids_database_dir: Path | None = _selection(
        "--bids-database-dir",
        "accepted for compatibility; every run lists the dataset anew and needs no index",
        values.folder,
    )
    derivatives: tuple[Path, ...] = _selection(
        "-d --derivatives",
        "derivatives whose brain masks are used (file names of fMRIPrep, QSIPrep, "
        "FreeSurfer, SynthStrip, HD-BET, BET, ANTs)",
        values.derivatives_folder,
        (),
        metavar="[NAME=]DIR",
    )
    brain_mask: BrainMask = _selection(
        "--brain-mask",
        "auto: use the mask in --derivatives if present, otherwise the non-zero voxels if the "
        "image is skull-stripped, otherwise the built-in segmentation; network: as auto, but "
        "ignore --derivatives; derivatives: use only masks in --derivatives and fail without",
        default="auto",
        choices=get_args(BrainMask),
    )
    skip_bids_validation: bool = _selection(
        "--skip-bids-validation", "do not run the BIDS validator", **_FLAG_OPTION
    )

    allow_other_dataset: bool = _selection(
        "--allow-other-dataset",
        "write into OUT_DIR even if it holds the results of another dataset",
        **_FLAG_OPTION,
    )

    target: str | None = _processing(
        "--target",
        "scanner to harmonize to, needed at the participant level: Siemens, GE or Philips, a "
        "target file made by 'ihf target build', or a NIfTI image of that scanner",
        values.target,
        metavar="NAME|FILE",
    )
    model: Path | None = _processing(
        "--model",
        "network trained by 'ihf train' (default: the built-in one); if its folder holds no "
        "encoder, the built-in encoder is used",
        values.existing_file,
    )
    source_vendor: str | None = _processing(
        "--source-vendor",
        "scanner vendor of images whose sidecar does not name one",
        values.vendor,
    )
    source_profile: Path | None = _processing(
        "--source-profile",
        "target file built from scans of other participants on the source scanner; separates "
        "biological from scanner effects",
        values.existing_file,
    )
    longitudinal: bool = _processing(
        "--longitudinal",
        "scans of one participant by one scanner and protocol share one mapping, made of their "
        "pooled statistics, so that harmonization adds no change between sessions",
        **_FLAG_OPTION,
    )
    preprocessed: bool = _processing(
        "--preprocessed",
        "inputs are bias-corrected, skull-stripped and in template orientation: skip bias "
        "correction, brain extraction and registration; non-zero voxels (in the "
        "mask, if there is one in --derivatives) are the brain, and slabs "
        "are accepted",
        **_FLAG_OPTION,
    )
    b0_threshold: float | None = _processing(
        "--b0-threshold",
        "largest b-value (s/mm2), 50 or more, that counts as b=0 (default: 50, or that of the "
        "lowest b-values up to 150 if the next are at least three times as large)",
        values.positive_number,
        metavar="B",
    )
    output_spaces: tuple[str, ...] = _processing(
        "--output-spaces",
        "also write harmonized images in template space; the directions of diffusion series are "
        "rotated with them",
        default=(),
        choices=(TEMPLATE_SPACE,),
        nargs="*",
    )
    normalization: Normalization = _processing(
        "--normalization",
        "registration of images in template space; native images do not depend on it",
        default="rigid",
        choices=get_args(Normalization),
    )
    change_map: ChangeMap = _processing(
        "--change-map",
        "compact: images are stored no finer than their noise, and change maps so that 'ihf "
        "restore' recovers the original; float32: both in single precision, the change map as "
        "the plain difference; none: as compact, without change maps and 'ihf restore'",
        default="compact",
        choices=get_args(ChangeMap),
    )
    tensor_maps: bool = _processing(
        "--tensor-maps",
        "also write fractional anisotropy and mean diffusivity of harmonized diffusion series",
        **_FLAG_OPTION,
    )
    random_seed: int = _processing(
        "--random-seed", "seed of the registration's sampling (default: 0)", values.whole_number, 0
    )

    work_dir: Path = _resource(
        "-w --work-dir", "folder for intermediate files", values.folder, Path("work")
    )
    n_procs: int = _resource(
        "--n-procs --nprocs --n-cpus --nthreads",
        "number of processors in total (default: those granted to this job)",
        values.positive_integer,
        1,
    )
    omp_nthreads: int | None = _resource(
        "--omp-nthreads",
        "number of processors per image (default: --n-procs / images, at most 4)",
        values.positive_integer,
    )
    mem_gb: float | None = _resource(
        "--mem --mem-mb",
        "memory limit such as 8G; a plain number is in MB (default: that of the job, if any)",
        values.memory_gb,
        metavar="AMOUNT",
    )
    device: str = _resource(
        "--device", "auto (a GPU if there is one), cpu, cuda or cuda:N", values.device, "auto"
    )
    batch_size: int = _resource(
        "--batch-size",
        "slices per pass through the network (at most 8, on a CPU at most 4)",
        values.positive_integer,
        8,
    )
    use_plugin: Path | None = _resource(
        "--use-plugin --nipype-plugin-file",
        "YAML file with a nipype plugin and its arguments (plugin_args)",
        values.existing_file,
    )

    dry_run: bool = _execution(
        "--dry-run",
        "only list images, their vendor, the target and the planned action",
        **_FLAG_OPTION,
    )
    reports_only: bool = _execution(
        "--reports-only", "only rebuild the reports from existing results", **_FLAG_OPTION
    )
    stop_on_first_crash: bool = _execution(
        "--stop-on-first-crash", "stop at the first image that fails", **_FLAG_OPTION
    )
    verbose: int = _execution(
        "-v --verbose",
        "more messages; repeat (-vv, -vvv) for still more",
        action="count",
        default=0,
    )
    run_uuid: str = field(factory=new_run_uuid)


SETTING_OPTIONS: dict[str, Option] = {
    setting.name: setting.metadata["option"] for setting in fields(RunConfig) if setting.metadata
}
"""The option of each setting that a user can give."""
