"""Metrics of anatomy preservation on phantoms whose changes are known."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
from scipy import ndimage
from scipy.special import erf

from bids_ihf.lab.benchmarks.anatomy.preservation import anatomy_preservation, change_over_repeat
from bids_ihf.lab.benchmarks.metrics.edges import edge_shift
from bids_ihf.lab.benchmarks.metrics.lesions import lesion_retention
from bids_ihf.lab.benchmarks.metrics.tissues import Tissue, classify, tissue_dice

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from bids_ihf.bids.names import Modality

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
def fractions() -> NDArray[np.float64]:
    """White matter in grey matter in CSF: three balls (the last two cut by the frame)."""
    white, grey = rising(19 - distance()), rising(25 - distance())
    return np.stack([grey - white, white, 1 - grey])


@pytest.fixture(scope="module")
def mask() -> NDArray[np.bool_]:
    return distance() < 28


def image_of(
    fractions: NDArray[np.float64], modality: str = "T1w", noise: float = 8.0, seed: int = 0
) -> NDArray[np.float64]:
    clean = np.tensordot(LEVELS[modality], fractions, axes=1)
    return clean + noise * np.random.default_rng(seed).standard_normal(SHAPE)


def slab(start: float) -> NDArray[np.float64]:
    """A bright slab across the first axis, 20 voxels thick."""
    x = np.arange(SHAPE[0], dtype=np.float64)
    line = 100 + 300 * (rising(x - start) - rising(x - start - 20))
    return line[:, None, None] + np.random.default_rng(0).standard_normal(SHAPE)


@pytest.mark.parametrize(
    "curve",
    [lambda x: x**0.6, lambda x: 3 * x + 9, lambda x: np.interp(x, [0, 250, 600], [0, 900, 1000])],
)
def test_a_curve_of_intensities_moves_no_edge(
    fractions: NDArray[np.float64],
    mask: NDArray[np.bool_],
    curve: Callable[..., NDArray[np.float64]],
) -> None:
    # Texture, so that intensities between those of the tissues occur far from edges too.
    texture = ndimage.gaussian_filter(np.random.default_rng(0).standard_normal(SHAPE), 5)
    image = np.maximum(image_of(fractions) + 50 * texture / texture.std(), 1)
    found = edge_shift(image, curve(image), mask)
    assert found.median < 0.005
    assert found.p95 < 0.03
    assert abs(found.mean) < 0.005
    assert found.lost < 0.01


@pytest.mark.parametrize("shift", [0.5, -0.5, 0.2])
def test_a_moved_edge_is_found_below_a_voxel(shift: float) -> None:
    mask = np.zeros(SHAPE, dtype=bool)
    mask[8:-8, 8:-8, 4:-4] = True
    found = edge_shift(slab(22.3), slab(22.3 + shift), mask)
    assert found.median == pytest.approx(abs(shift), abs=0.05)
    assert found.p95 == pytest.approx(abs(shift), abs=0.1)
    # The slab gains on one side what it loses on the other.
    assert found.mean == pytest.approx(0, abs=0.03)


def test_a_translated_image_is_found_with_noise(
    fractions: NDArray[np.float64], mask: NDArray[np.bool_]
) -> None:
    image = image_of(fractions)
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
    growth = edge_shift(small, grown, mask & (distance() < 23))
    shrinkage = edge_shift(grown, small, mask & (distance() < 23))
    assert -0.6 < growth.mean < -0.1
    assert 0.1 < shrinkage.mean < 0.6


def test_slices_need_not_be_neighbours(
    fractions: NDArray[np.float64], mask: NDArray[np.bool_]
) -> None:
    before, after = image_of(fractions, seed=1), image_of(fractions, seed=2)
    order = np.random.default_rng(0).permutation(SHAPE[2])
    plain = edge_shift(before, after, mask)
    mixed = edge_shift(*(a[:, :, order] for a in (before, after, mask)))
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
    fractions: NDArray[np.float64], mask: NDArray[np.bool_], modality: Modality
) -> None:
    image = image_of(fractions, modality)
    kept = tissue_dice(image, 7 * image + 100, fractions, mask, modality)
    assert set(kept) == {"grey", "white", "csf"}
    for pair in kept.values():
        assert pair.before > 0.88
        assert pair.after == pytest.approx(pair.before, abs=1e-3)
    worse = tissue_dice(image, image_of(fractions, modality, 60.0), fractions, mask, modality)
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
def with_lesion(fractions: NDArray[np.float64], lesion: NDArray[np.bool_]) -> NDArray[np.float64]:
    return np.where(lesion, 300.0, image_of(fractions, noise=4.0))


def test_lesions_kept_and_lost(
    with_lesion: NDArray[np.float64],
    fractions: NDArray[np.float64],
    lesion: NDArray[np.bool_],
) -> None:
    white, grey = (fractions[tissue] > 0.9 for tissue in (Tissue.WHITE, Tissue.GREY))
    weaker = 500 + 0.4 * with_lesion
    small = lesion & (distance((40, 36, 20)) < 2.6)
    lost = np.where(small, 400.0, with_lesion)
    kept, faded = (
        lesion_retention(with_lesion, after, lesion, white & ~lesion, grey)
        for after in (weaker, lost)
    )
    assert kept.overall == pytest.approx(1)
    assert kept.worst == pytest.approx(1)
    assert 0.5 < faded.overall < 0.95
    assert faded.worst == pytest.approx(0, abs=0.05)


def test_change_of_a_scan_of_the_target_itself(
    fractions: NDArray[np.float64], mask: NDArray[np.bool_]
) -> None:
    first, again = image_of(fractions, seed=1), image_of(fractions, seed=2)
    assert change_over_repeat(first, first, again, mask) == 0
    assert change_over_repeat(again, first, again, mask) == pytest.approx(1)
    assert change_over_repeat(0.5 * first + 0.5 * again, first, again, mask) == pytest.approx(
        0.5, abs=0.02
    )


def test_all_of_it_makes_a_row(
    with_lesion: NDArray[np.float64],
    fractions: NDArray[np.float64],
    mask: NDArray[np.bool_],
    lesion: NDArray[np.bool_],
) -> None:
    again = with_lesion + image_of(fractions, seed=5) - image_of(fractions, noise=0)
    kept = anatomy_preservation(
        with_lesion, with_lesion, fractions, mask, "T1w", lesion=lesion, repeat=again
    )
    row = kept.row()
    assert row["dice_white_before"] == row["dice_white_after"] > 0.9
    assert row["edge_shift_p95"] == row["own_change_over_repeat"] == 0
    assert row["lesion_kept"] == row["lesion_kept_least"] == 1
    without = anatomy_preservation(with_lesion, with_lesion, fractions, mask, "T1w").row()
    assert without.keys() == row.keys()
    assert np.isnan(without["lesion_kept"])
    assert np.isnan(without["own_change_over_repeat"])
