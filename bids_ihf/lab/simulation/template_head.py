"""A whole head in template space: the template tissue maps with skull, scalp, face and eyes added.

The brain is the MNI152 average (Fonov et al. 2011, NeuroImage 54:313); what is around it is drawn
by distance, only so that it looks like a head to a bias correction, a mask or a registration.
"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np

from bids_ihf.geometry.template import read_template_files
from bids_ihf.lab.simulation import smooth_fields
from bids_ihf.lab.simulation.tissues import SIMULATED_TISSUES, TISSUE_INDEX

if TYPE_CHECKING:
    from numpy.typing import NDArray

HEAD_SHAPE = (192, 240, 224)
HEAD_ORIGIN_MM = (-96.0, -134.0, -118.0)
"""World position in mm of the first voxel; 1 mm, RAS."""

SHARPENING_EXPONENT = 2.5
"""Exponent that undoes some of the blur of an average of 152 people."""

DEEP_CENTRE, DEEP_RADII = (0.0, -5.0, 5.0), (33.0, 36.0, 19.0)
"""Where grey matter is deep grey."""

SKULL_MM = (2.0, 3.5, 6.5, 8.0)
"""CSF, inner table, marrow, outer table: distances from the brain."""

SCALP_MM, SKIN_MM, SCALP_FAT_MM = 14.5, 2.0, 6.5
FLOOR_MM = -70.0
"""The tissue maps end here: a cord goes on below."""

MIN_BRAIN_T1W = 0.2
"""Intensity of the T1w template above which a voxel is brain."""

EYES, EYE_MM = ((-31.0, 58.0, -43.0), (31.0, 58.0, -43.0)), 12.0


def head_affine() -> NDArray[np.float64]:
    """Voxel to world of the template template_head."""
    matrix = np.eye(4)
    matrix[:3, 3] = HEAD_ORIGIN_MM
    return matrix


@lru_cache(maxsize=1)
def template_head() -> NDArray[np.float32]:
    """Maps (K, X, Y, Z): the brain mask in the place of air, then each tissue's fraction.

    Air is what the tissues leave, and is not kept.
    """
    grey, white, mask = _brain_maps()
    inner = _signed_distance(_closed(mask))  # negative inside
    outer = _signed_distance(_solid(inner))
    maps = np.zeros((len(SIMULATED_TISSUES), *HEAD_SHAPE), dtype=np.float32)
    _paint_scalp(maps, outer)
    _paint_face(maps, outer)
    _paint_skull(maps, inner)
    _paint_brain(maps, grey, white, mask)
    _paint_cord(maps)
    maps[0] = mask
    return maps


def _coordinate(axis: int, step: int = 1) -> NDArray[np.float32]:
    """World coordinate along one axis, shaped to broadcast over the grid."""
    values = HEAD_ORIGIN_MM[axis] + np.arange(0, HEAD_SHAPE[axis], step, dtype=np.float32)
    return values.reshape([-1 if k == axis else 1 for k in range(3)])


def _ellipsoid(
    centre: tuple[float, float, float], radii: tuple[float, float, float], step: int = 1
) -> NDArray[np.float32]:
    """Distance from the centre in units of the radii: 1 on the surface."""
    squares = [
        ((_coordinate(k, step) - c) / r) ** 2
        for k, (c, r) in enumerate(zip(centre, radii, strict=True))
    ]
    return np.sqrt(squares[0] + squares[1] + squares[2])


def _brain_maps() -> tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.float32]]:
    """Grey matter, white matter and brain mask on the grid of the head."""
    image, *tissues, grid = read_template_files()
    brain = (image > MIN_BRAIN_T1W).astype(np.float32)
    grey, white, mask = (_place(data, grid.affine) for data in (*tissues, brain))
    return grey, white, np.maximum(mask > 0, grey + white > 0.5).astype(np.float32)


def _place(data: NDArray[np.float32], source: NDArray[np.float64]) -> NDArray[np.float32]:
    """Put a 1 mm RAS volume into the larger grid of the head, without interpolation."""
    first = np.rint(source[:3, 3] - HEAD_ORIGIN_MM).astype(int)
    placed = np.zeros(HEAD_SHAPE, dtype=np.float32)
    into = tuple(
        slice(max(f, 0), min(f + n, size))
        for f, n, size in zip(first, data.shape, HEAD_SHAPE, strict=True)
    )
    out_of = tuple(slice(i.start - f, i.stop - f) for i, f in zip(into, first, strict=True))
    placed[into] = data[out_of]
    return placed


def _closed(mask: NDArray[np.float32]) -> NDArray[np.bool_]:
    """Brain with its deep folds filled, at 2 mm."""
    from scipy.ndimage import distance_transform_edt

    grown = distance_transform_edt(mask[::2, ::2, ::2] == 0) < 5
    return np.asarray(distance_transform_edt(grown) > 5)


def _signed_distance(solid: NDArray[np.bool_]) -> NDArray[np.float32]:
    """Distance in mm to the surface of a 2 mm solid, negative inside, on the 1 mm grid."""
    from scipy.ndimage import distance_transform_edt, gaussian_filter, zoom

    distance = 2 * (distance_transform_edt(~solid) - distance_transform_edt(solid))
    smooth = gaussian_filter(distance.astype(np.float32), 1.2)
    return np.asarray(zoom(smooth, 2, order=1, mode="nearest", grid_mode=True))


def _solid(inner: NDArray[np.float32]) -> NDArray[np.bool_]:
    """Everything that is not air, at 2 mm: shell around the brain, face, jaw and neck."""
    from scipy.ndimage import gaussian_filter

    scalp = SCALP_MM - 0.02 * _coordinate(1, 2)  # thicker at the back of the head
    solid = inner[::2, ::2, ::2] < scalp
    solid |= _ellipsoid((0, 28, -62), (63, 62, 62), 2) < 1  # face
    solid |= _ellipsoid((0, 86, -62), (14, 22, 24), 2) < 1  # nose
    solid |= _ellipsoid((0, 42, -104), (48, 48, 40), 2) < 1  # jaw
    solid |= _ellipsoid((0, -28, -105), (58, 58, 80), 2) < 1  # neck
    return np.asarray(gaussian_filter(solid.astype(np.float32), 2.0) > 0.5)


def _below(field: NDArray[np.float32], edge: float) -> NDArray[np.float32]:
    """One where the field is below the edge, with a voxel of partial volume."""
    return np.clip(edge - field + 0.5, 0, 1)


def _paint(maps: NDArray[np.float32], weight: NDArray[np.float32], **mixture: float) -> None:
    """Replace what is there by a mixture of tissues, by `weight`."""
    touched = weight > 0
    box = []
    for axis in range(3):  # most strokes are small: leave the rest of half a gigabyte alone
        others = tuple(k for k in range(3) if k != axis)
        rows = np.flatnonzero(touched.any(axis=others))
        box.append(slice(rows[0], rows[-1] + 1))
    small = weight[tuple(box)]
    region = maps[:, box[0], box[1], box[2]]  # a view
    region *= 1 - small
    for name, part in mixture.items():
        region[TISSUE_INDEX[name]] += part * small


def _paint_scalp(maps: NDArray[np.float32], outer: NDArray[np.float32]) -> None:
    maps[TISSUE_INDEX["air"]] = 1
    _paint(maps, _below(outer, 0.0), skin=1.0)
    _paint(maps, _below(outer, -SKIN_MM), fat=0.9, muscle=0.1)
    _paint(maps, _below(outer, -SCALP_FAT_MM), muscle=1.0)
    # Planes of fat between the muscles of face and neck.
    planes = smooth_fields.random_texture(HEAD_SHAPE, np.ones(3), 1, scales=(7.0,)).numpy()
    _paint(maps, _below(outer, -SCALP_FAT_MM) * (np.abs(planes) < 0.12), fat=0.7, muscle=0.3)


def _paint_face(maps: NDArray[np.float32], outer: NDArray[np.float32]) -> None:
    """Eyes in their fat, the air of nose and throat."""
    inside = _below(outer, -4.0)
    for eye in EYES:
        distance = _ellipsoid(eye, (1, 1, 1))
        _paint(maps, _below(distance, EYE_MM + 6) * inside, fat=0.9, muscle=0.1)
        _paint(maps, _below(distance, EYE_MM), vitreous=1.0)
    nose = _ellipsoid((0, 60, -62), (15, 22, 22))
    _paint(maps, _below(6 * nose, 6.0) * inside, muscle=0.6, csf=0.4)
    _paint(maps, _below(6 * nose, 4.2), air=1.0)
    _paint(maps, _below(6 * _ellipsoid((0, 12, -98), (11, 9, 40)), 6.0), air=1.0)


def _paint_skull(maps: NDArray[np.float32], inner: NDArray[np.float32]) -> None:
    csf, table, marrow, outside = SKULL_MM
    _paint(maps, _below(inner, outside), bone=1.0)
    _paint(maps, _below(inner, marrow), fat=0.5, bone=0.35, muscle=0.15)
    _paint(maps, _below(inner, table), bone=1.0)
    _paint(maps, _below(inner, csf), csf=1.0)


def _paint_brain(
    maps: NDArray[np.float32],
    grey: NDArray[np.float32],
    white: NDArray[np.float32],
    mask: NDArray[np.float32],
) -> None:
    """Sharpened tissue probabilities inside the mask; the rest of it is CSF."""
    parts = np.stack([grey, white, np.clip(1 - grey - white, 0, 1)]) ** np.float32(
        SHARPENING_EXPONENT
    )
    parts *= mask / np.maximum(parts.sum(axis=0), 1e-6)
    deep = _below(8 * _ellipsoid(DEEP_CENTRE, DEEP_RADII), 8.0)
    maps *= 1 - mask
    maps[TISSUE_INDEX["grey"]] += parts[0] * (1 - deep)
    maps[TISSUE_INDEX["deep_grey"]] += parts[0] * deep
    maps[TISSUE_INDEX["white"]] += parts[1]
    maps[TISSUE_INDEX["csf"]] += parts[2]


def _paint_cord(maps: NDArray[np.float32]) -> None:
    """Spinal cord in its canal below the end of the tissue maps."""
    low = (_coordinate(2) < FLOOR_MM).astype(np.float32)
    x, y = _coordinate(0), _coordinate(1) + 46 - 0.25 * (FLOOR_MM - _coordinate(2))
    distance = np.sqrt(x**2 + y**2)
    _paint(maps, _below(distance, 18.0) * low, fat=0.5, bone=0.35, muscle=0.15)
    _paint(maps, _below(distance, 13.0) * low, bone=1.0)
    _paint(maps, _below(distance, 11.0) * low, csf=1.0)
    _paint(maps, _below(distance, 6.5) * low, white=0.7, grey=0.3)
