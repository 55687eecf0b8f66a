from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from attrs import evolve

from bids_ihf.bids.images import SourceImage, gradient_table_paths, output_paths, sidecar_path
from bids_ihf.bids.sidecars import derivative_sidecar, is_finished, mask_sidecar, write_json

METADATA = {
    "Manufacturer": "GE MEDICAL SYSTEMS",
    "EchoTime": 0.003,
    "RepetitionTime": 2.3,
    "PhaseEncodingDirection": "j-",
    "PatientName": "Doe",
    "SkullStripped": True,
    "B0FieldSource": "pepolar",
    "Sources": ["elsewhere"],
}


def scan(name: str = "sub-01/ses-A/anat/sub-01_ses-A_run-1_T1w.nii.gz") -> SourceImage:
    return SourceImage.from_path(Path("/raw") / name, Path("/raw"), METADATA)


def describe(same_grid: bool = True, **extra: object) -> dict[str, object]:
    return derivative_sidecar(
        scan(), description="It.", skull_stripped=False, extra=extra, same_grid=same_grid
    )


def test_what_remains_true_is_copied_and_the_rest_is_not() -> None:
    content = describe(HarmonizationTarget="Siemens")
    assert content == {
        "Description": "It.",
        "SkullStripped": False,
        "Sources": ["bids:raw:sub-01/ses-A/anat/sub-01_ses-A_run-1_T1w.nii.gz"],
        "Manufacturer": "GE MEDICAL SYSTEMS",
        "EchoTime": 0.003,
        "RepetitionTime": 2.3,
        "PhaseEncodingDirection": "j-",
        "HarmonizationTarget": "Siemens",
    }


def test_axes_of_the_source_do_not_hold_on_another_grid() -> None:
    content = describe(same_grid=False, Sources=["bids::x"])
    assert "PhaseEncodingDirection" not in content
    assert content["EchoTime"] == 0.003
    assert content["Sources"] == ["bids::x"]


def test_a_source_that_is_a_derivative_passes_on_space_and_resolution() -> None:
    name = "sub-01/anat/sub-01_space-T1w_res-2_desc-preproc_T1w.nii.gz"
    image = evolve(scan(name), metadata={"Resolution": "2 mm", "Density": "not in the name"})
    texts = {"description": "It.", "extra": {}}
    expected = {"Resolution": "2 mm", "SpatialReference": image.uri}
    for content in (
        derivative_sidecar(image, skull_stripped=False, **texts),
        mask_sidecar(image, **texts),
    ):
        assert expected.items() <= content.items()
        assert "Density" not in content
    other_grid = derivative_sidecar(image, skull_stripped=False, same_grid=False, **texts)
    assert not expected.keys() & other_grid.keys()
    silent = mask_sidecar(evolve(image, metadata={}), **texts)
    assert "source image" in silent["Resolution"]


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("Manufacturer", ["GE"]),
        ("EchoTime", "0.003"),
        ("EchoTime", 0),
        ("EchoTime", None),
        ("FlipAngle", [9, "9"]),
        ("MagneticFieldStrength", True),
        ("NonlinearGradientCorrection", "true"),
        ("Resolution", 1),
    ],
)
def test_fields_of_another_type_are_not_passed_on(field: str, value: object) -> None:
    """The output would be invalid, although nothing of it is wrong."""
    metadata = {field: value, "DeviceSerialNumber": "7"}
    image = evolve(scan("sub-01/anat/sub-01_res-2_T1w.nii.gz"), metadata=metadata)
    content = derivative_sidecar(image, description="It.", skull_stripped=False, extra={})
    assert field not in content or content[field] != value
    assert content["DeviceSerialNumber"] == "7"


def test_mask_sidecar() -> None:
    content = mask_sidecar(scan(), description="Brain.", extra={"Method": "own"})
    assert content["Type"] == "Brain"
    assert content["Sources"] == [scan().uri]
    assert "EchoTime" not in content


def test_json_is_plain(tmp_path: Path) -> None:
    path = tmp_path / "x.json"
    write_json(
        path,
        {
            "a": np.float32(0.5),
            "b": np.arange(2),
            "c": Path("/d e"),
            "e": float("nan"),
            "f": {"g": (1, np.inf, np.bool_(True))},
            "h": "Zürich",
        },
    )
    expected = {"a": 0.5, "b": [0, 1], "c": "/d e", "e": None, "f": {"g": [1, None, True]}}
    assert json.loads(path.read_text()) == {**expected, "h": "Zürich"}
    assert path.read_text().endswith("}\n")


def test_done_needs_sidecar_hash_and_image(tmp_path: Path) -> None:
    image = tmp_path / "sub-1_desc-harmonized_T1w.nii.gz"
    sidecar = sidecar_path(image)
    assert not is_finished(sidecar, "abc")
    write_json(sidecar, {"ConfigurationHash": "abc"})
    assert not is_finished(sidecar, "abc")
    image.write_bytes(b"")
    assert not is_finished(sidecar, "abc")
    image.write_bytes(b"x")
    assert is_finished(sidecar, "abc")
    assert not is_finished(sidecar, "abd")


@pytest.mark.parametrize("content", ["", "{", "[]", "null", "{}"])
def test_a_broken_sidecar_is_not_done(tmp_path: Path, content: str) -> None:
    (tmp_path / "x.nii.gz").write_bytes(b"x")
    (tmp_path / "x.json").write_text(content)
    assert not is_finished(tmp_path / "x.json", "abc")


def test_fixed_names() -> None:
    named = output_paths(Path("/out"), scan())
    stem = "sub-01_ses-A_run-1"
    assert named.folder == Path("/out/sub-01/ses-A/anat")
    assert named.harmonized == named.folder / f"{stem}_desc-harmonized_T1w.nii.gz"
    assert named.change == named.folder / f"{stem}_desc-change_T1w.nii.gz"
    assert named.mask == named.folder / f"{stem}_desc-brain_mask.nii.gz"
    template = f"{stem}_space-MNI152NLin2009aSym_res-1_desc-harmonized_T1w.nii.gz"
    assert named.template_image == named.folder / template
    transform = f"{stem}_from-T1w_to-MNI152NLin2009aSym_mode-image_xfm.mat"
    assert named.transform == named.folder / transform
    assert sidecar_path(named.mask).name == f"{stem}_desc-brain_mask.json"


def test_dwi_names_go_to_their_own_folder() -> None:
    named = output_paths(Path("/out"), scan("sub-01/dwi/sub-01_dir-AP_dwi.nii.gz"))
    stem = "/out/sub-01/dwi/sub-01_dir-AP_desc-harmonized_dwi"
    assert gradient_table_paths(named.harmonized) == (Path(f"{stem}.bval"), Path(f"{stem}.bvec"))
    assert named.mask == Path("/out/sub-01/dwi/sub-01_dir-AP_desc-brain_mask.nii.gz")


def test_masks_of_images_with_the_same_entities_never_share_a_name(tmp_path: Path) -> None:
    (tmp_path / "sub-1/anat").mkdir(parents=True)
    names = ("T1w", "T2w", "FLAIR", "acq-b_T2w", "acq-b_FLAIR", "acq-c_FLAIR")
    paths = [tmp_path / f"sub-1/anat/sub-1_{name}.nii.gz" for name in names]
    for path in paths:
        path.write_bytes(b"")
    masks = [
        output_paths(tmp_path / "out", SourceImage.from_path(path, tmp_path)).mask
        for path in paths
    ]
    assert [mask.name for mask in masks] == [
        "sub-1_desc-brain_mask.nii.gz",
        "sub-1_desc-brainT2w_mask.nii.gz",
        "sub-1_desc-brainFLAIR_mask.nii.gz",
        "sub-1_acq-b_desc-brain_mask.nii.gz",
        "sub-1_acq-b_desc-brainFLAIR_mask.nii.gz",
        "sub-1_acq-c_desc-brain_mask.nii.gz",
    ]
