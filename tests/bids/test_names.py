from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bids_ihf.bids.names import (
    BIDSName,
    derivative_name,
    entity_keys,
    in_schema_order,
    parse_name,
    scan_fields,
)
from bids_ihf.errors import InvalidBIDS

LABELS = st.text("abcXYZ0129+", min_size=1, max_size=6)
KEYS = st.sampled_from(sorted(set(entity_keys().values()) - {"desc"}))
NAMES = st.builds(
    lambda entities, suffix, extension: BIDSName(tuple(entities.items()), suffix, extension),
    st.dictionaries(KEYS, LABELS, min_size=1, max_size=8),
    st.sampled_from(["T1w", "T2w", "FLAIR", "dwi"]),
    st.sampled_from([".nii.gz", ".nii", ".json", ".bval"]),
)


@given(NAMES)
def test_parse_gives_back_every_name(name: BIDSName) -> None:
    assert parse_name(str(name)) == name


@given(NAMES, LABELS)
def test_derivative_keeps_all_entities_in_schema_order_with_desc_last(
    name: BIDSName, label: str
) -> None:
    derived = parse_name(derivative_name(name, add={"desc": label}, extension=".nii.gz"))
    keys = [key for key, _ in derived.entities]
    order = list(entity_keys().values())
    assert set(derived.entities) == {*name.entities, ("desc", label)}
    assert keys == sorted(keys, key=order.index)
    assert keys[-1] == "desc"
    assert derived.suffix == name.suffix


@given(NAMES, NAMES)
def test_different_sources_never_share_a_derivative_name(one: BIDSName, two: BIDSName) -> None:
    names = {derivative_name(name, add={"desc": "x"}, extension=".nii.gz") for name in (one, two)}
    same = set(one.entities) == set(two.entities) and one.suffix == two.suffix
    assert len(names) == (1 if same else 2)


def test_full_name_in_order() -> None:
    source = parse_name("sub-01_ses-A_acq-x_rec-norm_run-02_echo-1_part-mag_chunk-3_T2w.nii.gz")
    name = derivative_name(
        source, add={"desc": "harmonized", "space": "MNI", "res": "1"}, extension=".json"
    )
    assert name == (
        "sub-01_ses-A_acq-x_rec-norm_run-02_echo-1_part-mag_space-MNI_chunk-3_res-1"
        "_desc-harmonized_T2w.json"
    )


def test_transform_name_keeps_the_order_of_keys_unknown_to_the_schema() -> None:
    add = {"from": "T1w", "to": "MNI", "mode": "image"}
    name = derivative_name(parse_name("sub-1_T1w.nii"), add=add, suffix="xfm", extension=".mat")
    assert name == "sub-1_from-T1w_to-MNI_mode-image_xfm.mat"
    assert in_schema_order({"desc": "a", "zzz": "b", "sub": "1"})[1] == ("zzz", "b")


def test_datatype_comes_from_the_folder() -> None:
    assert parse_name(Path("/x/sub-1/anat/sub-1_T1w.nii.gz")).datatype == "anat"
    assert parse_name(Path("/x/elsewhere/sub-1_T1w.nii.gz")).datatype is None


@pytest.mark.parametrize(
    "name",
    [
        "T1w.nii.gz",
        "sub-01_T1w",
        "sub-01-a_T1w.nii",
        "sub-01_sub-02_T1w.nii",
        "sub-01__T1w.nii",
        "sub-_T1w.nii",
        "sub-01_T1w copy.nii",
        "brain.nii.gz",
        "",
    ],
)
def test_other_names_are_refused_by_name(name: str) -> None:
    with pytest.raises(InvalidBIDS, match="does not follow BIDS naming"):
        parse_name(name)


def test_a_derivative_must_differ_from_a_raw_name() -> None:
    with pytest.raises(ValueError, match="at least one"):
        derivative_name(parse_name("sub-1_T1w.nii"), add={}, extension=".nii")
    with pytest.raises(ValueError, match="my-label"):
        derivative_name(parse_name("sub-1_T1w.nii"), add={"desc": "my-label"}, extension=".nii")


def test_scan_fields_hold_acquisition_and_nothing_private() -> None:
    assert {"EchoTime", "Manufacturer", "FlipAngle", "PhaseEncodingDirection"} <= scan_fields()
    assert not {"PatientName", "PatientBirthDate", "PatientID"} & scan_fields()
