"""Diffusion profiles: merged, stored, found."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest
from attrs import evolve

from bids_ihf.dwi import profile_file as diffusion_file
from bids_ihf.dwi.profile import DiffusionProfile, ShellProfile, merge_profiles
from bids_ihf.errors import BadData, UsageError
from bids_ihf.targets.build import reference_target
from bids_ihf.targets.target import BUILTIN_VENDORS, Target, builtin_path, read_target

PROFILE = DiffusionProfile(
    (400.0, math.nan),
    12.0,
    (
        ShellProfile(1000.0, 0.7e-3, 0.8e-3, 1.2e-4),
        ShellProfile(2000.0, 0.6e-3, 0.7e-3, math.nan),
    ),
)


def test_stored_profile_reads_back() -> None:
    found = diffusion_file.unpack_profile(diffusion_file.pack_profile(PROFILE))
    assert found.shells[0] == PROFILE.shells[0]
    assert math.isnan(found.shells[1].anisotropy)
    assert found.levels[0] == 400
    assert math.isnan(found.levels[1])


def test_between_shells_and_beyond() -> None:
    assert PROFILE.at(1500).fibrous == pytest.approx(0.65e-3)
    assert PROFILE.at(3000).other == pytest.approx(0.7e-3)
    assert PROFILE.at(2000).anisotropy == pytest.approx(1.2e-4)
    assert PROFILE.nearest(1400).b == 1000
    assert PROFILE.nearest(2600).b == 2000


def test_merge_takes_medians_of_what_is_known() -> None:
    others = [evolve(PROFILE, floor=value, levels=(400.0, value)) for value in (10, 20, 90)]
    merged = merge_profiles([PROFILE, *others])
    assert merged.floor == 16
    assert merged.levels[1] == 20
    assert merged.shells[0] == PROFILE.shells[0]
    with pytest.raises(ValueError, match=r"1000 2000 s/mm2, another at 1000$"):
        merge_profiles([PROFILE, evolve(PROFILE, shells=PROFILE.shells[:1])])


@pytest.mark.parametrize("vendor", BUILTIN_VENDORS)
def test_vendors_know_three_shells(vendor: str) -> None:
    target = read_target(builtin_path(vendor))
    profile = diffusion_file.profile_of_target(target)
    assert [shell.b for shell in profile.shells] == pytest.approx([1000, 2000, 3000], abs=5)
    assert all(0.3e-3 < shell.fibrous < 1.0e-3 for shell in profile.shells)
    assert profile.levels[0] < profile.levels[1]
    assert len(diffusion_file.diffusion_hash_of(target)) == 64


def test_other_targets_know_what_their_record_says() -> None:
    target = Target("GE", "e", {}, {})
    assert diffusion_file.diffusion_hash_of(target) == ""
    with pytest.raises(BadData, match="GE: this target knows no diffusion"):
        diffusion_file.profile_of_target(target)
    own = Target("Mine", "e", {}, {"diffusion": diffusion_file.pack_profile(PROFILE)})
    assert diffusion_file.profile_of_target(own).floor == 12


def test_series_of_two_protocols_make_no_target() -> None:
    assert diffusion_file.record_of([]) == {}
    assert diffusion_file.record_of([PROFILE, PROFILE])["dwi_scans"] == 2
    shells = tuple(evolve(shell, b=1.5 * shell.b) for shell in PROFILE.shells)
    with pytest.raises(BadData, match="of different protocols"):
        diffusion_file.record_of([PROFILE, evolve(PROFILE, shells=shells)])


def test_a_series_is_no_target_by_itself() -> None:
    nothing: Any = None  # it is refused before a network is needed
    with pytest.raises(UsageError, match=r"sub-1_dwi\.nii\.gz: .*'ihf target build'"):
        reference_target(Path("sub-1_dwi.nii.gz"), nothing)


def test_scanner_that_a_series_comes_from() -> None:
    """The more people behind a profile, the less a single series says of its scanner."""
    for vendor in BUILTIN_VENDORS:
        known = diffusion_file.scanner_of_vendor(vendor)
        assert known is not None
        assert known.anisotropy < known.attenuation <= 0.5
    assert diffusion_file.scanner_of_vendor("Toshiba") is None
    record = diffusion_file.record_of([PROFILE] * 4)
    assert diffusion_file.scanner_of_target(Target("Mine", "e", {}, record)).attenuation == 0.2
    builtin = read_target(builtin_path("GE"))
    assert diffusion_file.scanner_of_target(builtin).attenuation > 0.3


def test_damaged_profile() -> None:
    content = diffusion_file.pack_profile(PROFILE)
    for damaged in ({}, {**content, "shells": []}, {**content, "levels": [1]}):
        with pytest.raises(BadData, match=r"damaged|no shell"):
            diffusion_file.unpack_profile(damaged)
