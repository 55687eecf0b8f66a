"""Shells brought to a target: what is undone, what is kept."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from attrs import evolve

from bids_ihf.bids.gradient_tables import GradientTable
from bids_ihf.dwi.harmonize import PlaceRatios, ShellHarmonizer, gain_curve, harmonize_volumes
from bids_ihf.dwi.profile import MIN_REGION_VOXELS, find_tissues, measure_profile
from bids_ihf.dwi.shell_fit import ShellFit, fit_shells
from bids_ihf.dwi.shell_plan import (
    SCANNER_LOG_ATTENUATION_SD,
    SUBJECT_LOG_ATTENUATION_SD,
    VENDOR_ATTENUATION_WEIGHT,
    make_plan,
)
from bids_ihf.dwi.shells import find_shells
from bids_ihf.lab.simulation.gradient_scheme import gradient_table
from bids_ihf.targets.diffusion_profile import DiffusionProfile
from bids_ihf.targets.source_profile import SourceProfile

SIDE = 18
WHERE = np.ones((SIDE, SIDE, SIDE), dtype=bool)
ONES = np.ones(SIDE**3, dtype=np.float32)
SCHEME = gradient_table({0: 4, 1000: 24, 2000: 24}, 1)
MANY = 10**9
"""So many subjects that nothing is attributed to the scanner."""


def head(seed: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Signal at b 0, diffusivity across and along one axis a voxel: white, grey and fluid."""
    rng = np.random.default_rng(seed)
    kind = rng.choice(3, size=(SIDE,) * 3, p=(0.45, 0.35, 0.2))
    level = np.array([500.0, 620.0, 1300.0])[kind] * rng.normal(1, 0.03, kind.shape)
    across = np.array([0.4e-3, 0.75e-3, 3e-3])[kind] * rng.normal(1, 0.02, kind.shape)
    along = np.array([1.3e-3, 0.85e-3, 3e-3])[kind] * rng.normal(1, 0.02, kind.shape)
    return level, across, along


def series(
    scheme: GradientTable = SCHEME,
    *,
    b_scale: float = 1.0,
    gain: float = 1.0,
    floor: float = 0.0,
    noise: float = 0.0,
    seed: int = 0,
) -> list[np.ndarray]:
    """Volumes of the head; its fibres point along the first axis."""
    level, across, along = head(seed)
    rng = np.random.default_rng(99)
    out = []
    for b, direction in zip(scheme.bvals, scheme.bvecs, strict=True):
        diffusivity = across + (along - across) * direction[0] ** 2
        signal = np.hypot(gain * level * np.exp(-b * b_scale * diffusivity), floor)
        out.append(np.abs(signal + noise * rng.standard_normal(signal.shape)).astype(np.float32))
    return out


def fitted(volumes: list[np.ndarray], scheme: GradientTable = SCHEME) -> tuple[ShellFit, ...]:
    return fit_shells(volumes, scheme, find_shells(scheme.bvals), WHERE)


def profile(volumes: list[np.ndarray], scheme: GradientTable = SCHEME) -> DiffusionProfile:
    return measure_profile(fitted(volumes, scheme), WHERE.ravel(), ONES)


def harmonized(
    volumes: list[np.ndarray], target: DiffusionProfile, scheme: GradientTable = SCHEME, **how: Any
) -> np.ndarray:
    fits = fitted(volumes, scheme)
    plan = make_plan(measure_profile(fits, WHERE.ravel(), ONES), target, **how)
    changer = ShellHarmonizer(fits, plan, ONES)
    weight = np.ones(WHERE.shape, dtype=np.float32)
    pairs = harmonize_volumes(iter(volumes), scheme, changer, WHERE, weight, 1.0)
    return np.stack([image for _, image in pairs])


def tensor_maps(volumes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Diffusivity along the fibres and mean diffusivity by the shell of b 1000."""
    shell = find_shells(SCHEME.bvals)[1]
    b0 = volumes[find_shells(SCHEME.bvals)[0].volumes].mean(axis=0)
    decay = -np.log(np.maximum(volumes[shell.volumes], 1e-3) / b0) / 1000
    g = SCHEME.bvecs[shell.volumes]
    design = np.stack([np.ones(len(g)), g[:, 0] ** 2], axis=1)
    base, extra = np.linalg.lstsq(design, decay.reshape(len(g), -1), rcond=None)[0]
    return (base + extra).reshape(b0.shape), (base + extra / 3).reshape(b0.shape)


def test_own_target_changes_nothing() -> None:
    volumes = series(noise=5)
    assert np.allclose(harmonized(volumes, profile(volumes)), volumes, rtol=2e-5, atol=1e-3)


def test_gain_alone_keeps_every_ratio() -> None:
    volumes = series(noise=5)
    result = harmonized(volumes, profile(series(gain=3.0, noise=15)))
    ratio = result / np.stack(volumes)
    assert np.allclose(ratio, 3.0, rtol=0.02)
    spread = ratio.max(axis=0) / ratio.min(axis=0)
    assert np.percentile(spread, 99) < 1.02


@pytest.mark.parametrize("b_scale", [0.92, 1.06])
def test_another_b_value_is_undone(b_scale: float) -> None:
    truth, volumes = series(seed=1), series(seed=1, b_scale=b_scale, gain=0.4)
    result = harmonized(volumes, profile(series(seed=2)))
    wanted = tensor_maps(np.stack(truth))
    before = tensor_maps(np.stack(volumes))
    after = tensor_maps(result)
    tissue = wanted[1] < 1.5e-3
    for k in range(2):
        error = [np.abs(m[k] - wanted[k])[tissue].mean() for m in (before, after)]
        assert error[1] < 0.25 * error[0]


def test_noise_floors_are_exchanged() -> None:
    target = series(seed=1, floor=90)
    volumes = series(seed=1, floor=20)
    result = harmonized(volumes, profile(series(seed=2, floor=90)))
    high = find_shells(SCHEME.bvals)[2].volumes
    before, after = (
        np.abs(np.stack(v)[high] - np.stack(target)[high]).mean() for v in (volumes, result)
    )
    assert after < 0.3 * before


def test_not_negative_and_not_above_b0() -> None:
    volumes = series(noise=30)
    volumes = [np.maximum(v, 0) for v in volumes]
    result = harmonized(volumes, profile(series(b_scale=0.8, floor=120)))
    assert result.min() >= 0
    shells = find_shells(SCHEME.bvals)
    b0 = result[shells[0].volumes].mean()
    for shell in shells[1:]:
        assert result[shell.volumes].mean() < b0


def test_where_a_shell_has_no_signal_the_ratio_is_bounded() -> None:
    volumes = series(noise=5)
    for volume in volumes[4:]:
        volume[0] = 0
    with np.errstate(all="raise"):
        out = harmonized(volumes, profile(series(gain=2.0, floor=40)))
    assert np.isfinite(out).all()
    assert not out[4:, 0].any()


def test_nearest_shell_is_named_and_carried_along() -> None:
    scheme = gradient_table({0: 4, 1450: 24}, 2)
    target = profile(series())
    plan = make_plan(profile(series(scheme), scheme), target)
    (shell,) = plan.shells
    assert shell.target_b == 1000
    assert shell.exponent == pytest.approx(1.0, abs=0.02)
    assert make_plan(profile(series()), target).shells[1].target_b == 2000


def test_anisotropy_leaves_the_mean_alone() -> None:
    volumes = series()
    target = profile(volumes)
    weaker = evolve(
        target, shells=tuple(evolve(s, anisotropy=0.9 * s.anisotropy) for s in target.shells)
    )
    result = harmonized(volumes, weaker, source=SourceProfile(target, MANY))
    (along, mean), (old_along, old_mean) = tensor_maps(result), tensor_maps(np.stack(volumes))
    white = head()[2] > 1.1e-3
    fibres = old_along[white] - old_mean[white] > 0.3e-3
    assert np.allclose(mean[white][fibres], old_mean[white][fibres], rtol=0.03)
    shrunk = (along - mean)[white][fibres] / (old_along - old_mean)[white][fibres]
    assert np.median(shrunk) == pytest.approx(0.9, abs=0.03)


@pytest.mark.parametrize("count", [8, 12, 16])
def test_directions_for_order_two_do(count: int) -> None:
    scheme = gradient_table({0: 1, 1000: count}, 3)
    volumes = series(scheme, b_scale=0.9)
    result = harmonized(volumes, profile(series()), scheme)
    shell = find_shells(scheme.bvals)[1].volumes
    wanted = np.stack(series(scheme))[shell]
    error = [np.abs(np.stack(v)[shell] - wanted).mean() for v in (volumes, result)]
    assert error[1] < 0.5 * error[0]


def test_three_directions_share_one_ratio() -> None:
    scheme = gradient_table({0: 1, 1000: 3}, 3)
    volumes = series(scheme, b_scale=0.9)
    result = harmonized(volumes, profile(series()), scheme)
    ratio = (result / np.stack(volumes))[find_shells(scheme.bvals)[1].volumes]
    assert np.allclose(ratio, ratio[0], rtol=1e-4)
    assert not np.allclose(ratio, 1, rtol=0.01)


def test_what_is_a_persons_own_stays_where_the_scanner_is_known() -> None:
    target, volumes = profile(series()), series(b_scale=1.05)
    plan = make_plan(profile(volumes), target, SourceProfile(target, MANY))
    assert [shell.exponent for shell in plan.shells] == pytest.approx([1, 1])
    alone = make_plan(profile(volumes), target)
    assert all(shell.exponent < 0.97 for shell in alone.shells)
    assert all(shell.anisotropy == 1 for shell in alone.shells)
    assert [s.measured for s in plan.shells] == [s.measured for s in alone.shells]


def test_a_vendors_typical_scanner_and_the_series_share_the_exponent() -> None:
    """The posterior mean of a scanner's level, from its vendor's and one person's series."""
    target, own = profile(series()), profile(series(b_scale=1.05))
    scanner = SourceProfile(target)
    shell = make_plan(own, target, scanner).shells[0]
    (alone,) = make_plan(own, target).shells[:1]
    share = SCANNER_LOG_ATTENUATION_SD**2 / (
        SCANNER_LOG_ATTENUATION_SD**2 + SUBJECT_LOG_ATTENUATION_SD**2
    )
    assert np.log(shell.exponent) == pytest.approx(share * np.log(alone.exponent))
    assert share == VENDOR_ATTENUATION_WEIGHT
    single = make_plan(own, target, SourceProfile(target, 1)).shells[0]
    assert np.log(single.exponent) == pytest.approx(0.5 * np.log(alone.exponent))
    assert SourceProfile(target, 9).scanner_weight(0.0) == pytest.approx(0.1)


def test_a_fast_person_keeps_anisotropy() -> None:
    """What the scanner's share of the attenuation changes leaves the ratio to it alone."""
    target, own = profile(series()), profile(series(b_scale=1.05))
    for shell in make_plan(own, target, SourceProfile(target)).shells:
        assert shell.exponent < 0.99
        assert shell.anisotropy == pytest.approx(1, abs=0.005)


def test_a_shell_of_few_directions_has_no_factor() -> None:
    scheme = gradient_table({0: 1, 1000: 3}, 3)
    plan = make_plan(
        profile(series(scheme), scheme), profile(series()), SourceProfile(profile(series()), MANY)
    )
    assert plan.shells[0].anisotropy == 1


def test_gain_follows_the_levels() -> None:
    plan = make_plan(profile(series()), profile(series(gain=2.0)))
    assert np.allclose(gain_curve(np.array([1.0, 600, 5000], np.float32), plan), 2.0, rtol=0.02)
    assert len(plan.source_levels) == 2
    swapped = evolve(plan, target_levels=plan.target_levels[::-1])
    assert np.ptp(gain_curve(np.array([1.0, 600, 5000], np.float32), swapped)) == 0


def test_too_little_brain() -> None:
    fits = fitted(series())
    with pytest.raises(ValueError, match="too little"):
        measure_profile(fits, np.zeros(WHERE.size, dtype=bool), ONES)


def test_too_little_tissue_for_two_halves_is_one_region() -> None:
    fits = fitted(series())
    few = np.zeros(WHERE.size, dtype=bool)
    few[np.flatnonzero(find_tissues(fits, ~few).fibrous)[:80]] = True
    found = find_tissues(fits, few)
    assert found.fibrous.sum() >= MIN_REGION_VOXELS
    assert not found.other.any()
    measured = measure_profile(fits, few, ONES)
    assert np.isfinite([shell.fibrous for shell in measured.shells]).all()
    plan = make_plan(measured, profile(series(b_scale=0.9)))
    assert np.isfinite([shell.exponent for shell in plan.shells]).all()


def test_noise_at_the_floor_does_not_become_anisotropy() -> None:
    volumes = series(floor=60, noise=12)
    result = harmonized(volumes, profile(series(b_scale=0.85, floor=10)))
    fluid = head()[1] > 2e-3
    high = find_shells(SCHEME.bvals)[2].volumes
    spread = [np.log(np.stack(v)[high][:, fluid]).std(axis=0).mean() for v in (volumes, result)]
    assert spread[1] < 1.35 * spread[0]


def test_tissue_that_drowns_in_noise() -> None:
    volumes = series(gain=0.01, floor=30, noise=3)
    with pytest.raises(ValueError, match=r"noise|too little"):
        profile(volumes)


def test_memory_does_not_grow_with_directions() -> None:
    sizes = []
    for count in (20, 60):
        scheme = gradient_table({0: 1, 1000: count}, 1)
        fits = fitted(series(scheme), scheme)
        sizes.append(sum(fit.coefficients.nbytes + fit.residual.nbytes for fit in fits))
    assert sizes[0] == sizes[1]


def placed(
    volumes: list[np.ndarray], means: tuple[float, ...], deviation: float
) -> tuple[np.ndarray, np.ndarray]:
    """The volumes after the shell model alone, and after a change of place."""
    fits = fitted(volumes)
    plan = make_plan(measure_profile(fits, WHERE.ravel(), ONES), profile(series(gain=2)))
    place = PlaceRatios(
        tuple(np.float32(ratio) * ONES for ratio in means),
        tuple(np.float32(deviation) * ONES for _ in means[1:]),
    )
    weight = np.ones(WHERE.shape, dtype=np.float32)
    both = []
    for changer in (
        ShellHarmonizer(fits, plan, ONES),
        ShellHarmonizer(fits, plan, ONES, place),
    ):
        pairs = harmonize_volumes(iter(volumes), SCHEME, changer, WHERE, weight, 1.0)
        both.append(np.stack([image for _, image in pairs]))
    return both[0], both[1]


def test_place_scales_means_and_deviations_of_a_shell() -> None:
    alone, changed = placed(series(), (1.05, 0.95, 0.9), 0.8)
    before, after = (fitted(list(volumes)) for volumes in (alone, changed))
    for shell, ratio in enumerate((1.05, 0.95, 0.9)):
        assert after[shell].mean / before[shell].mean == pytest.approx(ratio, rel=0.01)
    strong = before[1].variance > 0.04 * before[1].mean ** 2
    scaled = np.sqrt(after[1].variance / before[1].variance)[strong]
    assert np.median(scaled) == pytest.approx(0.8, abs=0.03)


def test_place_keeps_directions_signs_and_order_of_shells() -> None:
    volumes = series(noise=15.0)
    alone, changed = placed(volumes, (0.85, 1.18, 1.18), 1.43)
    assert (changed >= 0).all()
    before, after = (fitted(list(v)) for v in (alone, changed))
    assert (after[1].mean <= after[0].mean * 1.01).all()
    _, across, along = head()
    fibres = (along - across) > 0.6e-3
    # Least signal along the fibres, of all axes.
    axes = np.eye(3)
    for fit in (before[1], after[1]):
        signals = np.stack([fit.along(axis) for axis in axes])
        assert (signals.argmin(axis=0) == 0)[fibres.ravel()].mean() > 0.99


def test_no_change_of_place_changes_nothing() -> None:
    alone, changed = placed(series(noise=5.0), (1.0, 1.0, 1.0), 1.0)
    assert np.allclose(alone, changed, rtol=1e-3)
