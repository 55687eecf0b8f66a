"""Sharpness: the width of the borders between tissues, from intensity profiles across them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from attrs import frozen
from scipy import ndimage

from bids_ihf.lab.benchmarks.reality.tissue_classes import smooth_in_plane

if TYPE_CHECKING:
    from numpy.typing import NDArray

DIRECTION_SMOOTHING_MM = 1.0
"""Gaussian that finds position and direction of a border in spite of noise, mm."""

PROFILE_MM = np.arange(-4.0, 4.01, 0.25)
"""Positions along a profile, mm; 0 on the border, the brighter tissue at positive ones."""

MAX_PROFILES, MIN_PROFILES = 6000, 60
"""Most profiles that are read across a border, to save time, and fewest of which a width is told.
Both are ours: noise averages out long before the one, and shows in the mean of fewer than the
other."""

FWHM_PER_QUARTILE_WIDTH = 1.7459
"""Full width at half maximum of a Gaussian that blurs a step, per distance between the points at
a quarter and three quarters of its height: 2.3548 / 1.3490."""


@frozen
class Border:
    """Where the two tissues of a border must show for a profile to count.

    Attributes
    ----------
    plateau_mm
        Distances from the border, mm, at which both must be found.
    tolerance
        Deviation from a tissue's level, as a fraction of the difference of the two.
    """

    plateau_mm: tuple[float, float]
    tolerance: float


GREY_WHITE = Border((1.5, 2.5), 0.4)
"""The cortex is 2 to 4 mm thick, so its level is met near the border only."""

VENTRICLE = Border((2.0, 3.5), 0.2)


def edge_width_mm(
    image: NDArray[np.float32],
    levels: tuple[float, float],
    where: NDArray[np.bool_],
    zooms: NDArray[np.float64],
    border: Border,
) -> float:
    """Width of the border between two tissues, mm; NaN where too few profiles show it.

    The full width at half maximum of the Gaussian that blurs a step as much as the mean profile
    is blurred.  It includes the voxel, partial volume of tilted borders and the interpolation.

    Parameters
    ----------
    image
        Slices (X, Y, S).
    levels
        Intensities of the two tissues.
    where
        Voxels in which borders are looked for.
    zooms
        Voxel size (3,), mm.
    """
    low, high = sorted(levels)
    height = high - low
    if not height > 0:
        return np.nan
    smooth = smooth_in_plane(image, DIRECTION_SMOOTHING_MM, zooms)
    slopes = [np.gradient(smooth, float(zooms[axis]), axis=axis) for axis in range(2)]
    steepness = np.hypot(*slopes)
    near = where & (np.abs(smooth - (low + high) / 2) < 0.2 * height)
    points = np.argwhere(near & (steepness > 0.05 * height))
    if len(points) < MIN_PROFILES:
        return np.nan
    points = points[:: max(1, len(points) // MAX_PROFILES)]
    index = tuple(points.T)
    direction = np.stack([slope[index] / steepness[index] for slope in slopes], axis=1)
    offset = ((low + high) / 2 - smooth[index]) / steepness[index]
    profiles = _profiles(image, points, direction / zooms[:2], offset)
    return _quartile_width(_accepted((profiles - low) / height, border))


def _profiles(
    image: NDArray[np.float32],
    points: NDArray[np.intp],
    direction: NDArray[np.float64],
    offset: NDArray[np.float64],
) -> NDArray[np.float64]:
    """Intensities (N, P) along the direction (N, 2), in voxels per mm, through each point."""
    distance = offset[:, None] + PROFILE_MM
    coordinates = np.empty((3, *distance.shape))
    for axis in range(2):
        coordinates[axis] = points[:, axis, None] + direction[:, axis, None] * distance
    coordinates[2] = points[:, 2, None]
    return np.asarray(ndimage.map_coordinates(image, coordinates, order=1, mode="nearest"))


def _accepted(profiles: NDArray[np.float64], border: Border) -> NDArray[np.float64]:
    """Profiles (N, P) from level 0 to level 1 that show both tissues."""
    near, far = border.plateau_mm
    dark = profiles[:, (PROFILE_MM >= -far) & (PROFILE_MM <= -near)].mean(axis=1)
    bright = profiles[:, (PROFILE_MM >= near) & (PROFILE_MM <= far)].mean(axis=1)
    shown = (np.abs(dark) < border.tolerance) & (np.abs(bright - 1) < border.tolerance)
    return profiles[shown]


def _quartile_width(profiles: NDArray[np.float64]) -> float:
    if len(profiles) < MIN_PROFILES:
        return np.nan
    mean = profiles.mean(axis=0)
    centre = len(PROFILE_MM) // 2
    # From the border outwards to the first point beyond a quarter, or three quarters.
    above = np.flatnonzero(mean[centre:] >= 0.75)
    below = np.flatnonzero(mean[: centre + 1] <= 0.25)
    if not (above.size and below.size):
        return np.nan
    right = _crossing(mean, centre + int(above[0]) - 1, 0.75)
    left = _crossing(mean, int(below[-1]), 0.25)
    return float(FWHM_PER_QUARTILE_WIDTH * (right - left))


def _crossing(mean: NDArray[np.float64], index: int, level: float) -> float:
    step = (level - mean[index]) / (mean[index + 1] - mean[index])
    return float(PROFILE_MM[index] + step * (PROFILE_MM[1] - PROFILE_MM[0]))
