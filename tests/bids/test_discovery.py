from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from bids_ihf.bids.discovery import find_images, list_subjects, require_sessions, select_subjects
from bids_ihf.bids.images import SourceImage
from bids_ihf.errors import BadData, InvalidBIDS, NothingSelected, UsageError

Maker = Callable[..., Path]


def names(images: list[SourceImage]) -> list[str]:
    return [image.path.name for image in images]


def test_subjects_are_listed_and_odd_folders_named(
    dataset: Maker, caplog: pytest.LogCaptureFixture
) -> None:
    odd = ("sub-01_old", "Sub-03", "SUB-04", "sub_05", "sub-06 copy")
    root = dataset(
        *(f"{name}/a" for name in ("sub-02", "sub-01", "subjects", "derivatives/sub-09", *odd)),
        "sub-7.html",
    )
    assert list_subjects(root) == ["01", "02"]
    for name in odd:
        assert f"{name} is left out" in caplog.text
    assert select_subjects(root) == ["01", "02"]
    assert select_subjects(root, ["sub-02", "02"]) == ["02"]


def test_missing_subjects_are_named_with_what_there_is(dataset: Maker, tmp_path: Path) -> None:
    root = dataset("sub-02/a")
    with pytest.raises(NothingSelected, match="no participant 03: choose from 02"):
        select_subjects(root, ["sub-02", "sub-03"])
    with pytest.raises(NothingSelected, match="no folder sub-"):
        select_subjects(dataset(root="empty"))
    with pytest.raises(UsageError, match="none is not a folder"):
        list_subjects(tmp_path / "none")


def test_a_session_that_nobody_has_is_named(dataset: Maker) -> None:
    root = dataset("sub-01/ses-a/x", "sub-02/ses-b/x")
    require_sessions(root, ["a", "ses-b"])  # each is one participant's
    with pytest.raises(NothingSelected, match="no participant has ses-z"):
        require_sessions(root, ["a", "z"])


def test_every_entity_is_kept_and_metadata_inherited(dataset: Maker) -> None:
    t2w = "sub-01/ses-A/anat/sub-01_ses-A_acq-x_ce-gd_rec-n_run-01_echo-2_part-mag_chunk-1_T2w"
    root = dataset(
        f"{t2w}.nii.gz",
        "sub-01/ses-A/anat/sub-01_ses-A_T1w.nii.gz",
        **{
            "T1w.json": {"Manufacturer": "SIEMENS", "EchoTime": 0.002, "FlipAngle": 9},
            "sub-01/ses-A/sub-01_ses-A_T1w.json": {"EchoTime": 0.003},
            "sub-01/ses-A/anat/sub-01_ses-A_T1w.json": {"FlipAngle": 8},
            "sub-01/sub-01_T2w.json": {"Manufacturer": "GE MEDICAL SYSTEMS"},
        },
    )
    t1w_image, t2w_image = sorted(find_images(root, "sub-01"), key=lambda image: image.suffix)
    assert t1w_image.metadata == {"Manufacturer": "SIEMENS", "EchoTime": 0.003, "FlipAngle": 8}
    assert (t1w_image.vendor, t2w_image.vendor) == ("Siemens", "GE")
    assert type(t1w_image.metadata) is dict
    keys = [key for key, _ in t2w_image.name.entities]
    assert keys == ["sub", "ses", "acq", "ce", "rec", "run", "echo", "part", "chunk"]
    assert dict(t2w_image.name.entities)["run"] == "01"
    assert (t2w_image.subject, t2w_image.session) == ("01", "A")
    assert t2w_image.uri == f"bids:raw:{t2w}.nii.gz"


def test_flair_is_found_by_name_and_known_by_its_sidecar(dataset: Maker) -> None:
    root = dataset(
        *(f"sub-1/anat/sub-1_{name}.nii.gz" for name in ("FLAIR", "T2w", "acq-t1_FLAIR")),
        **{
            "sub-1/anat/sub-1_T2w.json": {"InversionTime": 1.8},
            "sub-1/anat/sub-1_acq-t1_FLAIR.json": {"InversionTime": 0.9},
        },
    )
    images = find_images(root, "1", filters={"T2w": {"suffix": "T2w"}})
    assert [(image.suffix, image.modality) for image in images] == [
        ("FLAIR", "FLAIR"),
        ("T2w", "FLAIR"),
        ("FLAIR", "T1w"),
    ]
    assert names(find_images(root, "1", modalities=["T2w"])) == ["sub-1_T2w.nii.gz"]


def test_only_this_subject_is_indexed(dataset: Maker) -> None:
    root = dataset(
        *(f"sub-{label}/anat/sub-{label}_T1w.nii" for label in ("1", "11", "1a", "01")),
        "derivatives/x/sub-1/anat/sub-1_desc-a_T1w.nii",
        "sourcedata/sub-1/anat/sub-1_acq-b_T1w.nii",
        "sub-1/func/sub-1_task-a_bold.nii",
        ".git/sub-1/anat/sub-1_acq-c_T1w.nii",
    )
    # A broken sidecar of somebody else, or of a kind not used here, does no harm.
    (root / "sub-11/anat/sub-11_T1w.json").write_text("{")
    (root / "sub-1/func/sub-1_task-a_bold.json").write_text("{")
    (root / "task-a_bold.json").write_text("{")
    assert names(find_images(root, "1")) == ["sub-1_T1w.nii"]


def test_a_root_whose_path_looks_like_entities(dataset: Maker) -> None:
    root = dataset(
        "sub-02/ses-B/anat/sub-02_ses-B_T1w.nii.gz",
        root="sub-01_study/ses-9/anat/run-3",
        **{"T1w.json": {"Manufacturer": "Philips"}},
    )
    (image,) = find_images(root, "02", sessions=["ses-B"])
    assert (image.subject, image.session, image.vendor) == ("02", "B", "Philips")


def test_missing_sidecar_is_an_unknown_vendor(dataset: Maker) -> None:
    (image,) = find_images(dataset("sub-1/anat/sub-1_T1w.nii.gz"), "1")
    assert (image.vendor, image.metadata) == ("unknown", {})


@pytest.mark.parametrize(
    ("part", "word"), [("phase", "phase"), ("real", "real"), ("imag", "imag")]
)
def test_unusual_parts_are_left_out_by_name(
    dataset: Maker, caplog: pytest.LogCaptureFixture, part: str, word: str
) -> None:
    odd = f"sub-1_part-{part}_T1w.nii.gz"
    root = dataset(f"sub-1/anat/{odd}", "sub-1/anat/sub-1_part-mag_T1w.nii.gz")
    assert names(find_images(root, "1")) == ["sub-1_part-mag_T1w.nii.gz"]
    assert f"{odd} is left out: a {word}" in caplog.text


def test_images_that_would_share_an_output_fail_together_and_alone(dataset: Maker) -> None:
    folder = "sub-1/anat/sub-1"
    root = dataset(
        f"{folder}_T1w.nii",
        f"{folder}_T1w.nii.gz",
        f"{folder}_desc-a_T2w.nii",
        f"{folder}_T2w.nii",
        f"{folder}_acq-b_T2w.nii",
    )
    t1w, t2w, good = find_images(root, "1")
    assert (good.path.name, good.problem) == ("sub-1_acq-b_T2w.nii", None)
    assert t1w.problem is not None
    assert t2w.problem is not None
    assert "sub-1_T1w.nii, sub-1_T1w.nii.gz would have one output" in t1w.problem.message
    assert t2w.problem.error is BadData
    assert "sub-1_desc-a_T2w.nii would have one output" in t2w.problem.message
    filters = {"T1w": {"extension": ".nii.gz"}}
    (chosen,) = find_images(root, "1", modalities=["T1w"], filters=filters)
    assert (chosen.path.name, chosen.problem) == ("sub-1_T1w.nii.gz", None)


def test_only_raw_folders_are_searched(dataset: Maker, caplog: pytest.LogCaptureFixture) -> None:
    scan = "sub-1/ses-A/anat/sub-1_ses-A_T1w.nii.gz"
    root = dataset(
        scan,
        *(
            f"{copy}/{scan}"
            for copy in ("backup", "derivatives_old/fmriprep", "0", "zz_old", "ihf-harmony", "sub")
        ),
        "sub-1/ses-A/anat/old/sub-1_ses-A_acq-b_T1w.nii.gz",
        "sub-1/old/anat/sub-1_acq-c_T1w.nii.gz",
        "sub-1/ses-A_old/anat/sub-1_ses-A_acq-d_T1w.nii.gz",
        "sub-1/Ses-B/anat/sub-1_ses-B_acq-k_T1w.nii.gz",
        "sub-1/sub-1_acq-e_T1w.nii.gz",
        "sub-1/ses-A/anat/sub-1_ses-B_acq-f_T1w.nii.gz",
        "sub-1/ses-A/anat/sub-1_acq-g_T1w.nii.gz",
        "sub-1/ses-A/dwi/sub-1_ses-A_acq-h_T1w.nii.gz",
        "sub-1/ses-A/anat/sub-1_ses-A_acq-i_T1w.NII.GZ",
        "sub-1_acq-j_T1w.nii.gz",
    )
    (image,) = find_images(root, "1")
    assert image.path == root / scan
    for name in (
        "ses-A_old",
        "Ses-B",
        "acq-e_T1w",
        "acq-f_T1w",
        "acq-g_T1w",
        "acq-h_T1w",
        "acq-i_T1w",
    ):
        assert name in caplog.text
    assert "lower case" in caplog.text


def test_bidsignore_is_honoured_and_counted(
    dataset: Maker, caplog: pytest.LogCaptureFixture
) -> None:
    anat = "sub-1/ses-A/anat/sub-1_ses-A"
    used = ("T1w", "acq-keep_T1w", "T2w")
    left_out = ("acq-scout_T1w", "__dup-01_T1w", "acq-old_T2w", "heudiconv123_T1w")
    root = dataset(*(f"{anat}_{name}.nii.gz" for name in (*used, *left_out)))
    (root / ".bidsignore").write_text(
        "# comment\nsub-1/ses-A/anat/*_acq-scout_T1w.*\n*__dup*\n*_heudiconv*\n"
        "*acq-*_T2w.nii.gz\n*_acq-*_T1w.nii.gz\n!*acq-keep*\n"
    )
    assert sorted(names(find_images(root, "1"))) == sorted(
        f"sub-1_ses-A_{name}.nii.gz" for name in used
    )
    assert "sub-1: 4 of its images left out by .bidsignore: sub-1_ses-A_" in caplog.text
    (root / ".bidsignore").write_text("\ufeff/sub-1/\n")
    assert find_images(root, "1") == []


def test_misnamed_and_misplaced_files_are_left_out_by_name(
    dataset: Maker, caplog: pytest.LogCaptureFixture
) -> None:
    root = dataset("sub-1/anat/sub-1-b_T1w.nii.gz", "sub-1/anat/sub-2_T1w.nii.gz")
    assert find_images(root, "1") == []
    assert "sub-1-b_T1w.nii.gz does not follow BIDS naming" in caplog.text
    assert "sub-2_T1w.nii.gz is left out: it lies in the folder of sub-1" in caplog.text


def test_selection_by_session_modality_and_filter(dataset: Maker) -> None:
    root = dataset(
        *(
            f"sub-1/ses-{session}/anat/sub-1_ses-{session}_{rest}.nii.gz"
            for session in ("A", "B")
            for rest in ("T1w", "rec-n_T1w", "T2w")
        )
    )
    assert len(find_images(root, "1")) == 6
    assert len(find_images(root, "1", sessions=["ses-A"])) == 3
    assert len(find_images(root, "1", sessions=["A", "B"], modalities=["T2w"])) == 2
    filters = {"T1w": {"reconstruction": None, "session": "B"}}
    images = find_images(root, "1", modalities=["T1w"], filters=filters)
    assert names(images) == ["sub-1_ses-B_T1w.nii.gz"]


def test_nothing_found_says_what_was_asked_and_what_there_is(
    dataset: Maker, caplog: pytest.LogCaptureFixture
) -> None:
    root = dataset("sub-1/anat/sub-1_T1w.nii.gz")
    assert find_images(root, "1", modalities=["T2w"], sessions=["A"]) == []
    assert "sub-1: no image for modalities T2w, sessions A" in caplog.text
    assert "sub-1_T1w.nii.gz" in caplog.text


def test_dwi_with_inherited_tables(dataset: Maker) -> None:
    root = dataset(
        "dwi.bval",
        "sub-1/dwi/sub-1_dwi.nii.gz",
        "sub-1/dwi/sub-1_dwi.bvec",
        "sub-1/dwi/sub-1_acq-b_dwi.nii.gz",
        "sub-1/dwi/sub-1_acq-b_dwi.bval",
        "sub-1/dwi/sub-1_acq-b_dwi.bvec",
        "sub-1/dwi/sub-1_dir-AP_sbref.nii.gz",
    )
    acq_b, plain = find_images(root, "1")
    folder = root / "sub-1/dwi"
    assert (plain.bval, plain.bvec) == (root / "dwi.bval", folder / "sub-1_dwi.bvec")
    assert (acq_b.bval, acq_b.bvec) == (folder / "sub-1_acq-b_dwi.bval", acq_b.bvec)
    assert (plain.suffix, plain.datatype) == ("dwi", "dwi")


@pytest.mark.timeout(20)
def test_a_pipe_or_device_in_place_of_a_table_or_sidecar_is_never_opened(
    dataset: Maker, caplog: pytest.LogCaptureFixture
) -> None:
    series = "sub-01/dwi/sub-01_dwi"
    root = dataset(f"{series}.nii.gz", f"{series}.bvec")
    os.mkfifo(root / f"{series}.bval")
    (root / f"{series}.json").symlink_to("/dev/zero")
    (image,) = find_images(root, "01")
    assert (image.bval, image.sidecars) == (None, ())
    assert caplog.text.count("a pipe or a device") == 2


def test_dwi_without_tables(dataset: Maker) -> None:
    root = dataset("sub-1/dwi/sub-1_dwi.nii.gz", "sub-1/dwi/sub-1_acq-b_dwi.bval")
    (image,) = find_images(root, "1")
    assert (image.bval, image.bvec) == (None, None)


def test_links_are_not_resolved_and_dangling_ones_named(
    dataset: Maker, caplog: pytest.LogCaptureFixture
) -> None:
    root = dataset(**{"T1w.json": {"Manufacturer": "SIEMENS"}})
    annexed = root / ".git/annex/objects/KEY.nii.gz"
    annexed.parent.mkdir(parents=True)
    annexed.write_bytes(b"x")
    anat = root / "sub-1/anat"
    anat.mkdir(parents=True)
    (anat / "sub-1_T1w.nii.gz").symlink_to("../../.git/annex/objects/KEY.nii.gz")
    (anat / "sub-1_run-2_T1w.nii.gz").symlink_to("../../.git/annex/objects/GONE.nii.gz")
    fetched, dangling = find_images(root, "1")
    assert fetched.path == anat / "sub-1_T1w.nii.gz"
    assert fetched.fetched
    assert not dangling.fetched
    assert dangling.vendor == "Siemens"
    assert "sub-1_run-2_T1w.nii.gz is a link without content (not fetched)" in caplog.text
    assert "datalad get" in caplog.text


def test_a_linked_dataset_keeps_its_own_name(dataset: Maker, tmp_path: Path) -> None:
    root = dataset("sub-1/anat/sub-1_T1w.nii.gz", root="real")
    link = tmp_path / "linked"
    link.symlink_to(root)
    (image,) = find_images(link, "1")
    assert image.path == link / "sub-1/anat/sub-1_T1w.nii.gz"


def test_relative_dataset_gives_absolute_paths(
    dataset: Maker, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = dataset("sub-1/anat/sub-1_T1w.nii.gz")
    monkeypatch.chdir(root / "sub-1")
    (image,) = find_images(Path(".."), "1")
    assert image.path.is_absolute()
    assert image.relative == "sub-1/anat/sub-1_T1w.nii.gz"


@pytest.mark.parametrize(
    ("content", "line", "reason"),
    [
        (b"{", 1, "Expecting property name"),
        (b'{\n"EchoTime": 1,\n}', 3, "double quotes"),
        (b'{\n"InstitutionName": "Universit\xe4t"}', 2, "not UTF-8 text (byte 0xe4)"),
        (b"\xef\xbb\xbf{}", 1, "byte order mark"),
        (b'{"EchoTime": 1,\n"SAR": NaN}', 2, "NaN is no number in JSON"),
        (b"[1]", 1, "holds list"),
        (b'"text"', 1, "holds str"),
        (b"[" * 100_000, 1, "nested"),
    ],
)
def test_a_broken_sidecar_fails_its_images_alone(
    dataset: Maker, content: bytes, line: int, reason: str
) -> None:
    root = dataset("sub-1/anat/sub-1_T1w.nii.gz", "sub-1/anat/sub-1_T2w.nii.gz")
    sidecar = root / "sub-1/anat/sub-1_T1w.json"
    sidecar.write_bytes(content)
    t1w, t2w = find_images(root, "1")
    assert t1w.problem is not None
    assert t1w.problem.error is InvalidBIDS
    assert t1w.problem.message.startswith(f"{sidecar}, line {line}: ")
    assert reason in t1w.problem.message
    assert t2w.problem is None


def test_a_dataset_that_changes_is_listed_anew(dataset: Maker) -> None:
    root = dataset("sub-1/ses-A/anat/sub-1_ses-A_T1w.nii.gz")
    (image,) = find_images(root, "1")
    assert image.vendor == "unknown"
    (root / "T1w.json").write_text('{"Manufacturer": "GE"}')
    dataset("sub-1/ses-B/anat/sub-1_ses-B_T1w.nii.gz")
    assert [image.vendor for image in find_images(root, "1")] == ["GE", "GE"]
    image.path.unlink()
    assert names(find_images(root, "1")) == ["sub-1_ses-B_T1w.nii.gz"]


def test_indexing_a_large_dataset_reads_one_subject(
    dataset: Maker, monkeypatch: pytest.MonkeyPatch
) -> None:
    labels = [f"{number:03d}" for number in range(60)]
    root = dataset(*(f"sub-{label}/anat/sub-{label}_T1w.nii" for label in labels))
    for label in labels:
        (root / f"sub-{label}/anat/sub-{label}_T1w.json").write_text(json.dumps({"EchoTime": 1}))
    listed: list[str] = []
    listdir = os.listdir

    def spy(path: str) -> object:
        listed.append(str(path))
        return listdir(path)

    monkeypatch.setattr(os, "listdir", spy)
    (image,) = find_images(root, "007")
    assert image.metadata == {"EchoTime": 1}
    assert listed
    assert not [path for path in listed if "sub-" in path and "sub-007" not in path]
