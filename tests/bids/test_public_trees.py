"""Trees like those of the public BIDS examples: every T1w, T2w and dwi is found, validated or not.

As in the examples, images and recordings are empty files, and some files break the rules.  The
names follow https://github.com/bids-standard/bids-examples; the trees are made anew.
"""

from __future__ import annotations

import json
from itertools import product
from pathlib import Path

import pytest

from bids_ihf.bids.discovery import find_images, list_subjects
from bids_ihf.bids.images import SourceImage
from bids_ihf.bids.validation import find_validator, validate_input

FOUND = ("T1w", "T2w", "dwi")
SIEMENS = {"Manufacturer": "Siemens", "MagneticFieldStrength": 3}
BOLD = {"TaskName": "rest", "RepetitionTime": 2.0}
EVENTS = "onset\tduration\tstim_file\n1\t1\tgone.wav\n"
TABLES = {"dwi.bval": "0 1000 1000\n", "dwi.bvec": "0 1 0\n0 0 1\n0 0 0\n"}


def in_sessions(*names: str) -> tuple[str, ...]:
    """Names with ``{s}`` for two participants with two sessions each."""
    levels = product(("01", "02"), ("pre", "post"))
    folders = [(f"sub-{sub}/ses-{ses}", f"sub-{sub}_ses-{ses}") for sub, ses in levels]
    return tuple(f"{folder}/{name.format(s=stem)}" for folder, stem in folders for name in names)


TREES: dict[str, tuple[tuple[str, ...], dict[str, object]]] = {
    "several sessions, all described at the root": (
        in_sessions("anat/{s}_T1w.nii.gz", "dwi/{s}_dwi.nii.gz", "func/{s}_task-rest_bold.nii.gz"),
        {"T1w.json": SIEMENS, "dwi.json": SIEMENS, "task-rest_bold.json": BOLD, **TABLES},
    ),
    "EEG first, one anatomical image, coordinates and stimuli that are not there": (
        (
            "sub-01/anat/sub-01_T1w.nii.gz",
            "sub-01/eeg/sub-01_task-oddball_eeg.edf",
            "sub-01/eeg/sub-01_task-oddball_channels.tsv",
            "sub-01/eeg/sub-01_electrodes.tsv",
            "sub-02/eeg/sub-02_task-oddball_eeg.edf",
            "stimuli/tone.wav",
        ),
        {
            "sub-01/eeg/sub-01_task-oddball_events.tsv": EVENTS,
            "sub-01/eeg/sub-01_task-oddball_eeg.json": {"TaskName": "oddball"},
        },
    ),
    "functional runs and field maps without sidecars": (
        (
            "sub-01/anat/sub-01_run-01_T1w.nii.gz",
            "sub-01/anat/sub-01_run-02_T1w.nii.gz",
            "sub-01/anat/sub-01_inplaneT2.nii.gz",
            "sub-01/fmap/sub-01_phasediff.nii.gz",
            "sub-01/fmap/sub-01_magnitude1.nii.gz",
            *(f"sub-01/func/sub-01_task-a_run-0{run}_bold.nii.gz" for run in range(1, 6)),
            *(f"sub-01/func/sub-01_task-a_run-0{run}_events.tsv" for run in range(1, 6)),
        ),
        {"sub-01/anat/sub-01_run-02_T1w.json": SIEMENS},
    ),
    "acquisitions, reconstructions and contrast agent": (
        (
            "sub-01/anat/sub-01_acq-highres_T1w.nii.gz",
            "sub-01/anat/sub-01_acq-highres_rec-norm_T1w.nii.gz",
            "sub-01/anat/sub-01_acq-tse_ce-gadolinium_run-1_T1w.nii",
            "sub-01/anat/sub-01_acq-tse_T2w.nii.gz",
            "sub-01/dwi/sub-01_acq-b1000_dir-AP_run-1_dwi.nii.gz",
            "sub-01/dwi/sub-01_acq-b1000_dir-PA_run-1_dwi.nii.gz",
            "sub-01/dwi/sub-01_acq-b1000_dir-AP_run-1_sbref.nii.gz",
        ),
        {"acq-highres_T1w.json": SIEMENS, **TABLES},
    ),
    "parts of complex images": (
        (
            "sub-01/anat/sub-01_part-mag_T1w.nii.gz",
            "sub-01/anat/sub-01_part-phase_T1w.nii.gz",
            "sub-01/anat/sub-01_part-real_T2w.nii.gz",
            "sub-01/anat/sub-01_part-imag_T2w.nii.gz",
            "sub-01/dwi/sub-01_part-mag_dwi.nii.gz",
            "sub-01/dwi/sub-01_part-phase_dwi.nii.gz",
        ),
        {"part-phase_T1w.json": {"Units": "rad"}, **TABLES},
    ),
    "other contrasts and masks beside, one of them defaced": (
        (
            *(
                f"sub-{sub}/anat/sub-{sub}_{rest}.nii.gz"
                for sub in ("a", "B1")
                for rest in ("T1w", "T2w", "PDw", "T2starw", "angio", "mod-T1w_defacemask")
            ),
            "sub-a/anat/sub-a_inv-1_MP2RAGE.nii.gz",
            "sub-a/anat/sub-a_UNIT1.nii.gz",
            "sub-a/anat/sub-a_T1map.nii.gz",
            "sub-a/perf/sub-a_asl.nii.gz",
            "sub-a/pet/sub-a_pet.nii.gz",
        ),
        {"sub-a/sub-a_scans.tsv": "filename\nanat/sub-a_T1w.nii.gz\n"},
    ),
    "derivatives, source data, code and hidden folders inside": (
        (
            "sub-01/anat/sub-01_T1w.nii.gz",
            "derivatives/fmriprep/sub-01/anat/sub-01_desc-preproc_T1w.nii.gz",
            "derivatives/freesurfer/sub-01/mri/T1.mgz",
            "derivatives/sub-01/anat/sub-01_T1w.nii.gz",
            "sourcedata/sub-01/anat/sub-01_T1w.nii.gz",
            "code/sub-01/anat/sub-01_acq-test_T1w.nii.gz",
            ".heudiconv/sub-01/anat/sub-01_acq-raw_T1w.nii.gz",
            "phenotype/age.tsv",
        ),
        {"derivatives/fmriprep/dataset_description.json": {"Name": "x", "BIDSVersion": "1.4.0"}},
    ),
    "a participant with sessions beside one without": (
        (
            "sub-01/ses-01/anat/sub-01_ses-01_T1w.nii.gz",
            "sub-01/ses-02/anat/sub-01_ses-02_echo-1_T2w.nii.gz",
            "sub-01/ses-02/anat/sub-01_ses-02_echo-2_T2w.nii.gz",
            "sub-02/anat/sub-02_T1w.nii.gz",
            "sub-03/func/sub-03_task-rest_bold.nii.gz",
            "sub-emptyroom/ses-20010101/meg/sub-emptyroom_ses-20010101_task-noise_meg.fif",
        ),
        {
            "echo-1_T2w.json": {"EchoTime": 0.01},
            "echo-2_T2w.json": {"EchoTime": 0.1},
            "participants.tsv": "participant_id\tage\nsub-01\t21\nsub-02\tn/a\nsub-03\t89+\n",
        },
    ),
}


def write_tree(root: Path, files: tuple[str, ...], described: dict[str, object]) -> None:
    description = {"Name": "tree", "BIDSVersion": "1.8.0"}
    for name in files:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).touch()
    for name, content in {"dataset_description.json": description, **described}.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(content if isinstance(content, str) else json.dumps(content))


def expected_names(files: tuple[str, ...]) -> set[str]:
    """Magnitude images of the raw folders."""
    return {
        name
        for name in files
        if name.startswith("sub-")
        and name.split(".")[0].rsplit("_", 1)[-1] in FOUND
        and not any(part in name for part in ("part-phase", "part-real", "part-imag"))
    }


def found_images(root: Path) -> list[SourceImage]:
    return [
        image
        for subject in list_subjects(root)
        for image in find_images(root, subject, modalities=FOUND)
    ]


@pytest.mark.parametrize("validated", [False, True])
@pytest.mark.parametrize("tree", TREES)
def test_every_image_is_found(tmp_path: Path, tree: str, validated: bool) -> None:
    files, described = TREES[tree]
    write_tree(tmp_path, files, described)
    images = found_images(tmp_path)
    if validated:
        if find_validator() is None:
            pytest.skip("needs bids-validator-deno")
        images = validate_input(tmp_path, images)
    assert {image.relative for image in images} == expected_names(files)
    assert [image.problem for image in images if image.problem] == []
    for image in images:
        if image.suffix == "dwi":
            assert (image.bval, image.bvec) == (tmp_path / "dwi.bval", tmp_path / "dwi.bvec")
    if "T1w.json" in described:
        vendors = {image.vendor for image in images if image.suffix == "T1w"}
        assert vendors == {"Siemens"}
