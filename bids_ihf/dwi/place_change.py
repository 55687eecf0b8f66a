"""What the network changes of a series, place by place, after the shell model has set its levels.

The maps that the directions share go through the network as slices, each towards the target's
statistics of the same map.  What comes back is a smooth ratio, so that neither noise nor detail of
a map is brought into the series.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from attrs import frozen
from numpy.typing import NDArray
from scipy import ndimage

from bids_ihf.dwi.harmonize import PlaceRatios
from bids_ihf.dwi.shared_maps import SharedMaps
from bids_ihf.geometry.grid import Grid, inverse_affine, resample
from bids_ihf.network.checkpoint import ModelBundle
from bids_ihf.network.encoder import Encoder
from bids_ihf.preprocessing.prepare import Prepared
from bids_ihf.targets.intensity import robust_scale
from bids_ihf.targets.map_profiles import DIFFUSION_MAPS, MapProfiles, nearest_map_key
from bids_ihf.targets.network_input import (
    NETWORK_VOXEL_MM,
    NetworkInput,
    brain_grid,
    clip_to_network_range,
    measure_profile,
)
from bids_ihf.targets.network_pass import BATCH_SLICES, feather, harmonize_slices
from bids_ihf.targets.profile import Profile

Array = NDArray[np.float32]

SLICE_STEP = 2
"""Every how many slices one goes through the network: the ratios are smoother than this."""

SMOOTHING_SD_MM = 4.0
"""Standard deviation of the Gaussian by which a map is smoothed before and after the network, mm,
before the ratio of both is taken: wider than a voxel, narrower than a gyrus."""

MEAN_RATIO_BOUNDS, ENERGY_RATIO_BOUNDS = (0.85, 1.18), (0.7, 1.43)
"""Bounds of the ratios of b0 and of the means, and of the root of the energy.  The field of a coil
that bias correction leaves, and gradients that are 5 % weaker at the edge, change the mean by
less; blur and noise floor change the energy by more."""

MIN_SMOOTHED_WEIGHT = 1e-3
"""Smallest smoothed weight of the brain at which a ratio is taken."""


@frozen(eq=False)
class MapNetwork:
    """The network and a target's profiles of the maps, by `map_profiles.map_key`."""

    model: ModelBundle
    profiles: Mapping[str, Profile]
    batch_size: int = BATCH_SLICES
    threads: int = 1


@frozen(eq=False)
class _Placed:
    """The voxels of the maps in the scan, and the network's grid around the brain."""

    prepared: Prepared
    head: NDArray[np.bool_]
    grid: Grid
    mask: Array

    @classmethod
    def around(cls, prepared: Prepared, head: NDArray[np.bool_]) -> _Placed:
        """The network's grid around the brain of a scan."""
        grid = brain_grid(prepared.mask, prepared.to_template @ prepared.grid.affine)
        mask = np.clip(_to_grid(prepared.mask.astype(np.float32), prepared, grid), 0, 1)
        return cls(prepared, head, grid, mask)

    def network_input(self, name: str, values: Array) -> NetworkInput:
        """A map (V,) of a name on the network's grid.

        Raises
        ------
        ValueError
            It has one intensity in the brain.
        """
        image = np.zeros(self.head.shape, dtype=np.float32)
        image[self.head] = values
        data = _to_grid(image, self.prepared, self.grid)
        scale = robust_scale(data, self.mask > 0.5)
        return NetworkInput(data, self.mask, self.grid, scale, modality=name)

    def in_head(self, image: Array) -> Array:
        """An image on the network's grid at the head's voxels (V,); 0 beyond the grid."""
        native = resample(
            image,
            self.grid,
            self.prepared.grid,
            target_to_source=self.prepared.to_template,
            order=1,
        )
        return np.asarray(native[self.head])


def measure_maps(
    maps: SharedMaps, prepared: Prepared, head: NDArray[np.bool_], encoder: Encoder
) -> MapProfiles:
    """Profiles of the maps (V,) of a series, by name and number of the shell (0 is b = 0).

    ``head`` are the voxels (X, Y, Z) of the maps, which are corrected for bias.
    """
    placed = _Placed.around(prepared, head)
    b0_name, mean_name, energy_name = DIFFUSION_MAPS
    images = {(b0_name, 0): maps.b0}
    for shell, (mean, energy) in enumerate(zip(maps.means, maps.energies, strict=True), start=1):
        images[mean_name, shell] = mean
        if energy is not None:
            images[energy_name, shell] = energy
    profiles = {}
    for (name, shell), image in images.items():
        try:
            network_input = placed.network_input(name, image)
        except ValueError:  # a map that shows nothing
            continue
        profiles[name, shell] = measure_profile(network_input, encoder)
    return profiles


def place_ratios(
    maps: SharedMaps,
    b_values: tuple[float, ...],
    prepared: Prepared,
    head: NDArray[np.bool_],
    interior: NDArray[np.bool_],
    network: MapNetwork,
) -> PlaceRatios | None:
    """Ratios by which the network changes the maps of a series, at the V voxels of the head.

    The levels are the shell model's: all ratios have a median of 1 in the interior of the brain.
    It knows them to a per cent, the network does not.

    Parameters
    ----------
    maps
        The maps after the shell model.
    b_values
        Of the weighted shells, s/mm2.
    head
        Voxels (X, Y, Z) of the maps; ``interior`` (V,) tells which lie well inside the brain.

    Returns
    -------
    PlaceRatios or None
        None where the target has no profile of the maps.

    Raises
    ------
    TemporaryFailure
        The device ran out of memory even with single slices.
    """
    placed = _Placed.around(prepared, head)

    def ratio(name: str, b: float, values: Array | None) -> Array | None:
        key = nearest_map_key(network.profiles, name, b)
        if key is None or values is None:
            return None
        return _ratio(placed, name, values, network, network.profiles[key])

    b0_name, mean_name, energy_name = DIFFUSION_MAPS
    b0 = ratio(b0_name, 0.0, maps.b0)
    means = [ratio(mean_name, b, image) for b, image in zip(b_values, maps.means, strict=True)]
    energies = [
        ratio(energy_name, b, image) for b, image in zip(b_values, maps.energies, strict=True)
    ]
    if b0 is None or any(image is None for image in means):
        return None
    return PlaceRatios(
        tuple(
            _levelled(image, interior, MEAN_RATIO_BOUNDS)
            for image in (b0, *means)
            if image is not None
        ),
        tuple(
            np.ones_like(maps.b0)
            if image is None
            else _levelled(image, interior, ENERGY_RATIO_BOUNDS)
            for image in energies
        ),
    )


def _ratio(
    placed: _Placed, name: str, values: Array, network: MapNetwork, target: Profile
) -> Array | None:
    """Smooth ratio (V,) of a map after and before the network; None where it shows nothing."""
    try:
        network_input = placed.network_input(name, values)
    except ValueError:
        return None
    slices = network_input.brain_slices[::SLICE_STEP]
    before = clip_to_network_range(network_input.scale.normalize(network_input.data))
    after = harmonize_slices(
        network_input,
        before,
        (target, measure_profile(network_input, network.model.encoder)),
        network.model,
        slices=slices,
        batch_size=network.batch_size,
        threads=network.threads,
    )
    weight = np.zeros_like(before)
    weight[:, :, slices] = network_input.brain[:, :, slices]
    # In network units no signal is -1.
    numerator, denominator = (_smooth(weight * (image + 1)) for image in (after, before))
    known = (_smooth(weight) > MIN_SMOOTHED_WEIGHT) & (denominator > 0)
    ratio = np.divide(numerator, denominator, out=np.ones_like(before), where=known)
    return 1 + placed.in_head(feather(placed.mask) * (ratio - 1))


def _smooth(image: Array) -> Array:
    return ndimage.gaussian_filter(image, SMOOTHING_SD_MM / NETWORK_VOXEL_MM, truncate=3.0)


def _levelled(ratio: Array, interior: NDArray[np.bool_], bounds: tuple[float, float]) -> Array:
    levelled = ratio / np.float32(np.median(ratio[interior]))
    return np.asarray(np.clip(levelled, *bounds), dtype=np.float32)


def _to_grid(image: Array, prepared: Prepared, grid: Grid) -> Array:
    to_native = inverse_affine(prepared.to_template)
    return resample(image, prepared.grid, grid, target_to_source=to_native, order=1)
