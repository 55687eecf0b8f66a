"""Measures of anatomy: what they say of phantoms whose changes are known."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
from scipy import ndimage
from scipy.special import erf

from bids_ihf.lab.benchmarks.anatomy.measures import measure, own_change
from bids_ihf.lab.benchmarks.metrics.edges import edge_shift
from bids_ihf.lab.benchmarks.metrics.lesions import lesion_contrast, lesion_kept
from bids_ihf.lab.benchmarks.metrics.tissues import GREY, TISSUES, WHITE, classify, tissue_dice

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from bids_ihf.lab.simulation.protocol import Modality

SHAPE = (64, 68, 40)
LEVELS = {"T1w": (250.0, 400.0, 80.0), "T2w": (300.0, 200.0, 700.0)}
"""Intensities of grey matter, white matter and CSF."""


def distance(centre: tuple[float, float, float] = (32, 34, 20)) -> NDArray[np.float64]:
    axes = np.meshgrid(
        *(np.arange(n) - c for n, c in zip(SHAPE, centre, strict=True)), indexing="ij"
    )
    return np.sqrt(np.square(axes).sum(axis=0))


def rising(away: NDArray[np.float64]) -> NDArray[np.float64]:
    """0 below, 1 above, blurred like a scan."""
    return 0.5 * (1 + erf(away / 1.2))


@pytest.fixture(scope="module")
def shares() -> NDArray[np.float64]:
    """White matter in grey matter in CSF: three balls (the last two cut by the frame)."""
    white, grey = rising(19 - distance()), rising(25 - distance())
    return np.stack([grey - white, white, 1 - grey])


@pytest.fixture(scope="module")
def mask() -> NDArray[np.bool_]:
    return distance() < 28


def image_of(
    shares: NDArray[np.float64], modality: str = "T1w", noise: float = 8.0, seed: int = 0
) -> NDArray[np.float64]:
    clean = np.tensordot(LEVELS[modality], shares, axes=1)
    return clean + noise * np.random.default_rng(seed).standard_normal(SHAPE)


def slab(place: float) -> NDArray[np.float64]:
    """A bright slab across the first axis, 20 voxels thick from a place on."""
    x = np.arange(SHAPE[0], dtype=np.float64)
    line = 100 + 300 * (rising(x - place) - rising(x - place - 20))
    return line[:, None, None] + np.random.default_rng(0).standard_normal(SHAPE)


@pytest.mark.parametrize(
    "curve",
    [lambda x: x**0.6, lambda x: 3 * x + 9, lambda x: np.interp(x, [0, 250, 600], [0, 900, 1000])],
)
def test_a_curve_of_intensities_moves_no_edge(
    shares: NDArray[np.float64], mask: NDArray[np.bool_], curve: Callable[..., NDArray[np.float64]]
) -> None:
    # Texture, so that intensities between those of the tissues occur far from edges too.
    texture = ndimage.gaussian_filter(np.random.default_rng(0).standard_normal(SHAPE), 5)
    image = np.maximum(image_of(shares) + 50 * texture / texture.std(), 1)
    found = edge_shift(image, curve(image), mask)
    assert found.median < 0.005
    assert found.p95 < 0.03
    assert abs(found.mean) < 0.005
    assert found.lost < 0.01


@pytest.mark.parametrize("shift", [0.5, -0.5, 0.2])
@pytest.mark.parametrize("in_plane", [False, True])
def test_a_moved_edge_is_found_below_a_voxel(shift: float, in_plane: bool) -> None:
    mask = np.zeros(SHAPE, dtype=bool)
    mask[8:-8, 8:-8, 4:-4] = True
    found = edge_shift(slab(22.3), slab(22.3 + shift), mask, in_plane=in_plane)
    assert found.median == pytest.approx(abs(shift), abs=0.05)
    assert found.p95 == pytest.approx(abs(shift), abs=0.1)
    # The slab gains on one side what it loses on the other.
    assert found.mean == pytest.approx(0, abs=0.03)


def test_a_translated_image_is_found_with_noise(
    shares: NDArray[np.float64], mask: NDArray[np.bool_]
) -> None:
    image = image_of(shares)
    moved = ndimage.shift(image, (0.5, 0, 0), order=3, mode="nearest")
    found = edge_shift(image, moved, mask)
    # An edge along the move does not move: over a ball the median is that of |cos|, a half.
    assert 0.2 < found.median < 0.36
    assert found.p95 == pytest.approx(0.5, abs=0.08)
    assert abs(found.mean) < 0.03


def test_a_bright_part_that_grew_has_a_sign(mask: NDArray[np.bool_]) -> None:
    small, grown = (
        image_of(np.stack([rising(25 - distance()) - white, white, rising(distance() - 25)]))
        for white in (rising(radius - distance()) for radius in (19.0, 19.6))
    )
    there = edge_shift(small, grown, mask & (distance() < 23))
    back = edge_shift(grown, small, mask & (distance() < 23))
    print(there, back)
    assert -0.6 < there.mean < -0.1
    assert 0.1 < back.mean < 0.6


def test_slices_need_not_be_neighbours(
    shares: NDArray[np.float64], mask: NDArray[np.bool_]
) -> None:
    before, after = image_of(shares, seed=1), image_of(shares, seed=2)
    order = np.random.default_rng(0).permutation(SHAPE[2])
    plain = edge_shift(before, after, mask, in_plane=True)
    mixed = edge_shift(*(a[:, :, order] for a in (before, after, mask)), in_plane=True)
    assert mixed.median == pytest.approx(plain.median, abs=0.003)
    assert mixed.mean == pytest.approx(plain.mean, abs=0.003)


@pytest.mark.parametrize(
    ("after", "inside", "reason"),
    [
        (np.ones((4, 4, 4)), np.ones(SHAPE, dtype=bool), "shapes"),
        (np.ones(SHAPE), np.ones(SHAPE, dtype=bool), "no edge"),
        (np.ones(SHAPE), np.zeros(SHAPE, dtype=bool), "empty"),
    ],
)
def test_edges_that_cannot_be_measured(
    after: NDArray[np.float64], inside: NDArray[np.bool_], reason: str
) -> None:
    with pytest.raises(ValueError, match=reason):
        edge_shift(slab(30), after, inside)


@pytest.mark.parametrize("modality", ["T1w", "T2w"])
def test_tissues_are_found_and_their_loss_is_seen(
    shares: NDArray[np.float64], mask: NDArray[np.bool_], modality: Modality
) -> None:
    image = image_of(shares, modality)
    kept = tissue_dice(image, 7 * image + 100, shares, mask, modality)
    assert set(kept) == set(TISSUES)
    for pair in kept.values():
        assert pair.before > 0.88
        assert pair.after == pytest.approx(pair.before, abs=1e-3)
    worse = tissue_dice(image, image_of(shares, modality, 60.0), shares, mask, modality)
    assert all(worse[part].after < worse[part].before - 0.03 for part in ("grey", "white"))


def test_tissues_are_told_by_their_order() -> None:
    rng = np.random.default_rng(0)
    values = np.concatenate([rng.normal(level, 10, 500) for level in (100, 200, 300)])
    for modality, order in (("T1w", (2, 0, 1)), ("T2w", (1, 0, 2))):
        found = classify(values, modality)  # type: ignore[arg-type]
        assert [np.bincount(found[i : i + 500]).argmax() for i in (0, 500, 1000)] == list(order)


@pytest.fixture(scope="module")
def lesion() -> NDArray[np.bool_]:
    """Two lesions in white matter, one large, one small."""
    return (distance((28, 34, 20)) < 4) | (distance((40, 36, 20)) < 2.5)


@pytest.fixture(scope="module")
def with_lesion(shares: NDArray[np.float64], lesion: NDArray[np.bool_]) -> NDArray[np.float64]:
    return np.where(lesion, 300.0, image_of(shares, noise=4.0))


def test_contrast_of_a_lesion(
    with_lesion: NDArray[np.float64], shares: NDArray[np.float64], lesion: NDArray[np.bool_]
) -> None:
    white = shares[WHITE] > 0.9
    found = lesion_contrast(with_lesion, lesion, white)
    assert found.relative == pytest.approx(-100 / 400, abs=0.01)
    assert found.cnr == pytest.approx(-100 / 4, rel=0.1)
    with pytest.raises(ValueError, match="no lesion"):
        lesion_contrast(with_lesion, np.zeros_like(lesion), white)


@pytest.mark.parametrize("in_plane", [False, True])
def test_lesions_kept_and_lost(
    with_lesion: NDArray[np.float64],
    shares: NDArray[np.float64],
    lesion: NDArray[np.bool_],
    in_plane: bool,
) -> None:
    white, grey = (shares[part] > 0.9 for part in (WHITE, GREY))
    weaker = 500 + 0.4 * with_lesion
    small = lesion & (distance((40, 36, 20)) < 2.6)
    lost = np.where(small, 400.0, with_lesion)
    kept, faded = (
        lesion_kept(with_lesion, after, lesion, white & ~lesion, grey, in_plane=in_plane)
        for after in (weaker, lost)
    )
    assert kept.overall == pytest.approx(1)
    assert kept.least == pytest.approx(1)
    assert 0.5 < faded.overall < 0.95
    assert faded.least == pytest.approx(0, abs=0.05)


def test_change_of_a_scan_of_the_target_itself(
    shares: NDArray[np.float64], mask: NDArray[np.bool_]
) -> None:
    first, again = image_of(shares, seed=1), image_of(shares, seed=2)
    assert own_change(first, first, again, mask) == 0
    assert own_change(again, first, again, mask) == pytest.approx(1)
    assert own_change(0.5 * first + 0.5 * again, first, again, mask) == pytest.approx(
        0.5, abs=0.02
    )


def test_all_of_it_makes_a_row(
    with_lesion: NDArray[np.float64],
    shares: NDArray[np.float64],
    mask: NDArray[np.bool_],
    lesion: NDArray[np.bool_],
) -> None:
    again = with_lesion + image_of(shares, seed=5) - image_of(shares, noise=0)
    kept = measure(with_lesion, with_lesion, shares, mask, "T1w", lesion=lesion, repeat=again)
    row = kept.row()
    assert row["dice_white_before"] == row["dice_white_after"] > 0.9
    assert row["edge_shift_p95"] == row["own_change_over_repeat"] == 0
    assert row["lesion_kept"] == row["lesion_kept_least"] == 1
    without = measure(with_lesion, with_lesion, shares, mask, "T1w").row()
    assert without.keys() == row.keys()
    assert np.isnan(without["lesion_kept"])
    assert np.isnan(without["own_change_over_repeat"])
