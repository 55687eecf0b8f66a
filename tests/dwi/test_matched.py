"""Harmonics scaled by matched people of both scanners."""

from __future__ import annotations

from pathlib import Path

import nibabel
import numpy as np
import pytest
from attrs import evolve

from bids_ihf.dwi.harmonize import ShellHarmonizer, harmonize_volumes
from bids_ihf.dwi.matched import (
    common_coordinates,
    matched_ratios,
    measure_matched,
    without_change,
)
from bids_ihf.dwi.profile import measure_profile
from bids_ihf.dwi.shared_maps import shared_maps
from bids_ihf.dwi.shell_plan import make_plan
from bids_ihf.io.nifti import Volume
from bids_ihf.preprocessing.prepare import Prepared
from bids_ihf.targets.matched_maps import (
    COMMON_SPACE_SHAPE,
    MatchedMaps,
    from_stored,
    merge_matched,
)
from tests.dwi.test_harmonize import ONES, SCHEME, SIDE, WHERE, fitted, profile, series

B_VALUES = (1000.0, 2000.0)


def prepared(voxel: float = 8.0) -> Prepared:
    data = np.ones((SIDE,) * 3, dtype=np.float32)
    affine = np.diag([voxel, voxel, voxel, 1.0])
    volume = Volume(data, affine, nibabel.Nifti1Image(data, affine).header, Path("dwi.nii"))
    return Prepared(volume, data, WHERE, None, stripped=True, to_template=np.eye(4), similarity=1)


def features(volumes: list[np.ndarray]) -> MatchedMaps:
    return measure_matched(shared_maps(fitted(volumes), ONES), B_VALUES, prepared(), WHERE)


def test_the_common_space_does_not_depend_on_the_size_of_the_brain() -> None:
    one, other = (common_coordinates(prepared(voxel), WHERE) for voxel in (8.0, 9.0))
    assert one == pytest.approx(other)
    assert one.max(axis=1) == pytest.approx(np.array(COMMON_SPACE_SHAPE) - 1, rel=0.05)


def test_a_scanner_of_weaker_gradients_is_made_up_for_place_by_place() -> None:
    """Its b-values are 8 % too small; the people of both scanners are others than the one."""
    people = [features(series(seed=seed)) for seed in (1, 2)]
    weak = [features(series(seed=seed, b_scale=0.92)) for seed in (1, 2)]
    target, source = merge_matched(people), merge_matched(weak)
    assert target.people == 2
    volumes, truth = series(b_scale=0.92), fitted(series())
    ratios = matched_ratios(source, target, B_VALUES, prepared(), WHERE)
    assert ratios is not None
    fits = fitted(volumes)
    plan = without_change(make_plan(measure_profile(fits, WHERE.ravel(), ONES), profile(series())))
    weight = np.ones(WHERE.shape, dtype=np.float32)
    pairs = harmonize_volumes(
        iter(volumes), SCHEME, ShellHarmonizer(fits, plan, ONES, ratios), WHERE, weight, 1.0
    )
    after = fitted([image for _, image in pairs])
    for shell in (1, 2):
        true_ratio = truth[shell].mean / truth[0].mean
        errors = [
            float(np.median(np.abs(np.log(fit[shell].mean / fit[0].mean / true_ratio))))
            for fit in (fits, after)
        ]
        assert errors[1] < 0.4 * errors[0]
    assert np.median(after[0].mean / truth[0].mean) == pytest.approx(1, abs=0.02)


def test_the_same_scanner_changes_nothing() -> None:
    same = features(series(seed=1))
    ratios = matched_ratios(same, same, B_VALUES, prepared(), WHERE)
    assert ratios is not None
    assert all(np.allclose(ratio, 1) for ratio in (*ratios.means, *ratios.deviations))


def test_shells_must_be_those_of_both_scanners() -> None:
    same = features(series(seed=1))
    assert matched_ratios(same, same, (1000.0, 2600.0), prepared(), WHERE) is None


def test_files_hold_them() -> None:
    one = features(series(seed=1))
    again = from_stored(one.stored())
    assert np.array_equal(again.features, one.features, equal_nan=True)
    with pytest.raises(ValueError, match="do not fit"):
        from_stored(evolve(one, b_values=np.array([1000.0])).stored())
