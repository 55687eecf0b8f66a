"""Diffusion profiles: merged, stored, and as the source of a series."""

from __future__ import annotations

import math
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from attrs import evolve

from bids_ihf.dwi.shell_plan import VENDOR_ANISOTROPY_WEIGHT, VENDOR_ATTENUATION_WEIGHT
from bids_ihf.errors import BadData, UsageError
from bids_ihf.targets.build import build_target, reference_target
from bids_ihf.targets.diffusion_profile import (
    DiffusionProfile,
    ShellProfile,
    diffusion_hash,
    from_content,
    merge_diffusion_profiles,
    to_content,
    vendor_diffusion_hash,
    vendor_diffusion_profiles,
)
from bids_ihf.targets.source_profile import diffusion_source_of
from bids_ihf.targets.target import BUILTIN_VENDORS, Target
from bids_ihf.targets.target_file import builtin_path, pack_target, read_target, vendor_target

PROFILE = DiffusionProfile(
    (400.0, math.nan),
    12.0,
    (
        ShellProfile(1000.0, 0.7e-3, 0.8e-3, 1.2e-4),
        ShellProfile(2000.0, 0.6e-3, 0.7e-3, math.nan),
    ),
)


def built(series: list[DiffusionProfile]) -> Target:
    """A target built from diffusion series alone."""
    model: Any = SimpleNamespace(encoder_hash="e")
    return build_target([], "Mine", model, series)


def test_stored_profile_reads_back() -> None:
    profile = from_content(to_content(PROFILE))
    assert profile.shells[0] == PROFILE.shells[0]
    assert math.isnan(profile.shells[1].anisotropy)
    assert profile.levels[0] == 400
    assert math.isnan(profile.levels[1])


def test_between_shells_and_beyond() -> None:
    assert PROFILE.at(1500).fibrous == pytest.approx(0.65e-3)
    assert PROFILE.at(3000).other == pytest.approx(0.7e-3)
    assert PROFILE.at(2000).anisotropy == pytest.approx(1.2e-4)
    assert PROFILE.nearest(1400).b == 1000
    assert PROFILE.nearest(2600).b == 2000


def test_a_profile_without_anisotropy_has_none_between_shells() -> None:
    shells = tuple(evolve(shell, anisotropy=math.nan) for shell in PROFILE.shells)
    assert math.isnan(evolve(PROFILE, shells=shells).at(1500).anisotropy)


def test_merging_takes_medians_of_finite_values() -> None:
    others = [evolve(PROFILE, floor=value, levels=(400.0, value)) for value in (10, 20, 90)]
    merged = merge_diffusion_profiles([PROFILE, *others])
    assert merged.floor == 16
    assert merged.levels[1] == 20
    assert merged.shells[0] == PROFILE.shells[0]
    assert merged.scan_count == 4
    with pytest.raises(ValueError, match=r"1000 2000 s/mm2, another at 1000$"):
        merge_diffusion_profiles([PROFILE, evolve(PROFILE, shells=PROFILE.shells[:1])])


@pytest.mark.parametrize("vendor", BUILTIN_VENDORS)
def test_vendors_have_three_shells(vendor: str) -> None:
    target = read_target(builtin_path(vendor))
    profile = target.diffusion_profile()
    assert [shell.b for shell in profile.shells] == pytest.approx([1000, 2000, 3000], abs=5)
    assert all(0.3e-3 < shell.fibrous < 1.0e-3 for shell in profile.shells)
    assert profile.levels[0] < profile.levels[1]
    assert len(diffusion_hash(profile)) == 64


def test_hashes_are_those_that_sidecars_hold() -> None:
    ge = vendor_diffusion_profiles()["GE"]
    assert diffusion_hash(ge).startswith("11f1e26916aed9ed")
    assert vendor_diffusion_hash().startswith("d1934b37dab68988")
    assert diffusion_hash(None) == ""


def test_other_targets_have_the_diffusion_profile_of_their_file(tmp_path: Path) -> None:
    target = Target("GE", "e", {})
    with pytest.raises(BadData, match="GE: this target has no diffusion profile"):
        target.diffusion_profile()
    path = tmp_path / "mine.safetensors"
    path.write_bytes(pack_target(Target("GE", "e", {}, PROFILE)))
    read = read_target(path)
    assert read.diffusion_profile().floor == 12
    assert not read.is_builtin
    assert read.provenance == {}


def test_a_copy_of_a_vendors_file_is_the_vendors(tmp_path: Path) -> None:
    path = tmp_path / "copy.safetensors"
    path.write_bytes(builtin_path("GE").read_bytes())
    copy = read_target(path)
    assert copy.is_builtin
    assert copy.diffusion is vendor_diffusion_profiles()["GE"]
    assert "diffusion" not in copy.record


def test_series_of_two_protocols_make_no_target() -> None:
    target = built([PROFILE, PROFILE])
    assert target.record == {"diffusion": to_content(PROFILE), "dwi_scans": 2}
    assert target.diffusion is not None
    shells = tuple(evolve(shell, b=1.5 * shell.b) for shell in PROFILE.shells)
    with pytest.raises(BadData, match="of different protocols"):
        built([PROFILE, evolve(PROFILE, shells=shells)])
    with pytest.raises(UsageError, match="at least one reference"):
        built([])


def test_a_built_target_is_as_its_file_reads(tmp_path: Path) -> None:
    rough = evolve(PROFILE, floor=12.3456789)
    target = built([rough])
    path = tmp_path / "mine.safetensors"
    path.write_bytes(pack_target(target))
    read = read_target(path)
    assert read.hash == target.hash
    assert read.diffusion_profile().floor == target.diffusion_profile().floor == 12.3457


def test_a_series_is_no_target_by_itself() -> None:
    nothing: Any = None  # it is refused before a network is needed
    with pytest.raises(UsageError, match=r"sub-1_dwi\.nii\.gz: .*'ihf target build'"):
        reference_target(Path("sub-1_dwi.nii.gz"), nothing)


def test_the_more_subjects_behind_a_profile_the_less_is_attributed_to_the_scanner() -> None:
    assert VENDOR_ANISOTROPY_WEIGHT < VENDOR_ATTENUATION_WEIGHT <= 0.5
    for vendor in BUILTIN_VENDORS:
        source = diffusion_source_of(vendor_target(vendor))
        assert source is not None
        assert source.scanner_weight(VENDOR_ATTENUATION_WEIGHT) == VENDOR_ATTENUATION_WEIGHT
    assert diffusion_source_of(vendor_target("Toshiba")) is None
    site = diffusion_source_of(built([PROFILE] * 4))
    assert site is not None
    assert (site.name, site.scanner_weight(VENDOR_ATTENUATION_WEIGHT)) == ("Mine", 0.2)
    builtin = diffusion_source_of(read_target(builtin_path("GE")))
    assert builtin is not None
    assert builtin.scanner_weight(VENDOR_ATTENUATION_WEIGHT) > 0.3
    assert diffusion_source_of(Target("Mine", "e", {})) is None


def test_damaged_profile(tmp_path: Path) -> None:
    content = to_content(PROFILE)
    path = tmp_path / "mine.safetensors"
    for damaged in ({}, {**content, "shells": []}, {**content, "levels": [1]}):
        with pytest.raises(ValueError, match=r"damaged|no shell"):
            from_content(damaged)
        provenance = {"diffusion": damaged}
        path.write_bytes(pack_target(Target("Mine", "e", {}, provenance=provenance)))
        with pytest.raises(BadData, match=r"mine\.safetensors: .*(damaged|no shell)"):
            read_target(path)
