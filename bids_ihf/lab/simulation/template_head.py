"""A whole head in template space: the template tissue maps with skull, scalp, face and eyes added.

The brain is the MNI152 average (Fonov et al. 2011, NeuroImage 54:313).  The rest is drawn by
distance from it, only so that bias correction, masking and registration meet a head.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from attrs import frozen
from scipy.ndimage import distance_transform_edt, gaussian_filter, zoom

from bids_ihf.geometry.template import read_template_files
from bids_ihf.lab.simulation import smooth_fields
from bids_ihf.lab.simulation.tissues import SIMULATED_TISSUES, TISSUE_INDEX

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Map = NDArray[np.float32]
    Point = tuple[float, float, float]

HEAD_SHAPE = (192, 240, 224)
"""Voxels of 1 mm along each axis, RAS."""

HEAD_ORIGIN_MM = (-96.0, -134.0, -118.0)
"""World position of the first voxel, mm."""

SHARPENING_EXPONENT = 2.5
"""Exponent that reverses some of the blur of an average of 152 subjects."""

DEEP_GREY_CENTRE_MM, DEEP_GREY_RADII_MM = (0.0, -5.0, 5.0), (33.0, 36.0, 19.0)
"""Ellipsoid in which grey matter is deep grey matter."""

CSF_MM, INNER_TABLE_MM, MARROW_MM, OUTER_TABLE_MM = 2.0, 3.5, 6.5, 8.0
"""Outer limits of CSF and the layers of the skull: distances from the brain, mm."""

SCALP_MM, SKIN_MM, SCALP_FAT_MM = 14.5, 2.0, 6.5
"""Distance of the scalp from the brain; depth of skin and of fat beneath its surface, mm."""

LOWEST_TISSUE_MM = -70.0
"""World z at which the tissue maps end; a drawn spinal cord continues below."""

MIN_BRAIN_T1W = 0.2
"""Intensity of the T1w template above which a voxel is brain."""

EYE_CENTRES_MM, EYE_RADIUS_MM = ((-31.0, 58.0, -43.0), (31.0, 58.0, -43.0)), 12.0


@frozen(eq=False)
class TemplateHead:
    """A head in template space, 1 mm, RAS.

    maps: (K, X, Y, Z) float32, the fraction of each tissue; the place of air, which is what the
        others leave, holds the brain mask.
    affine: (4, 4) voxel to world.
    """

    maps: Map
    affine: NDArray[np.float64]


def head_affine() -> NDArray[np.float64]:
    """Voxel to world (4, 4) of the template head."""
    affine = np.eye(4)
    affine[:3, 3] = HEAD_ORIGIN_MM
    return affine


def draw_template_head() -> TemplateHead:
    """Draw the head; takes some seconds and half a gigabyte."""
    grey, white, mask = _brain_maps()
    from_brain = _signed_distance(_closed_brain(mask))
    from_skin = _signed_distance(_solid_head(from_brain))
    maps = np.zeros((len(SIMULATED_TISSUES), *HEAD_SHAPE), dtype=np.float32)
    _draw_scalp(maps, from_skin)
    _draw_face(maps, from_skin)
    _draw_skull(maps, from_brain)
    _draw_brain(maps, grey, white, mask)
    _draw_cord(maps)
    maps[TISSUE_INDEX["air"]] = mask
    return TemplateHead(maps, head_affine())


def _world_coordinate(axis: int, step: int = 1) -> Map:
    """World coordinate along one axis, ready to broadcast."""
    values = HEAD_ORIGIN_MM[axis] + np.arange(0, HEAD_SHAPE[axis], step, dtype=np.float32)
    return values.reshape(smooth_fields.axis_shape(axis))


def _ellipsoid(centre: Point, radii: Point, step: int = 1) -> Map:
    """Distance from the centre in units of the radii: 1 on the surface."""
    squares = [
        ((_world_coordinate(k, step) - c) / r) ** 2
        for k, (c, r) in enumerate(zip(centre, radii, strict=True))
    ]
    return np.sqrt(squares[0] + squares[1] + squares[2])


def _brain_maps() -> tuple[Map, Map, Map]:
    """Grey matter, white matter and brain mask on the grid of the head."""
    image, *tissues, grid = read_template_files()
    brain = (image > MIN_BRAIN_T1W).astype(np.float32)
    grey, white, mask = (_on_head_grid(data, grid.affine) for data in (*tissues, brain))
    return grey, white, np.maximum(mask > 0, grey + white > 0.5).astype(np.float32)


def _on_head_grid(data: Map, affine: NDArray[np.float64]) -> Map:
    """Put a 1 mm RAS volume into the larger grid of the head, without interpolation."""
    first = np.rint(affine[:3, 3] - HEAD_ORIGIN_MM).astype(int)
    padded = np.zeros(HEAD_SHAPE, dtype=np.float32)
    target = tuple(
        slice(max(f, 0), min(f + n, size))
        for f, n, size in zip(first, data.shape, HEAD_SHAPE, strict=True)
    )
    source = tuple(slice(t.start - f, t.stop - f) for t, f in zip(target, first, strict=True))
    padded[target] = data[source]
    return padded


def _closed_brain(mask: Map) -> NDArray[np.bool_]:
    """Brain with its deep sulci filled, at 2 mm."""
    grown = distance_transform_edt(mask[::2, ::2, ::2] == 0) < 5
    return np.asarray(distance_transform_edt(grown) > 5)


def _signed_distance(solid: NDArray[np.bool_]) -> Map:
    """Distance in mm to the surface of a 2 mm solid, negative inside, on the 1 mm grid."""
    distance = 2 * (distance_transform_edt(~solid) - distance_transform_edt(solid))
    smooth = gaussian_filter(distance.astype(np.float32), 1.2)
    return np.asarray(zoom(smooth, 2, order=1, mode="nearest", grid_mode=True))


def _solid_head(from_brain: Map) -> NDArray[np.bool_]:
    """Everything that is not air, at 2 mm: shell around the brain, face, jaw and neck."""
    scalp = SCALP_MM - 0.02 * _world_coordinate(1, 2)  # thicker at the back of the head
    solid = from_brain[::2, ::2, ::2] < scalp
    for centre, radii in (
        ((0, 28, -62), (63, 62, 62)),  # face
        ((0, 86, -62), (14, 22, 24)),  # nose
        ((0, 42, -104), (48, 48, 40)),  # jaw
        ((0, -28, -105), (58, 58, 80)),  # neck
    ):
        solid |= _ellipsoid(centre, radii, 2) < 1
    return np.asarray(gaussian_filter(solid.astype(np.float32), 2.0) > 0.5)


def _below(field: Map, edge: float) -> Map:
    """One where the field is below the edge, with a voxel of partial volume."""
    return np.clip(edge - field + 0.5, 0, 1)


def _draw(maps: Map, weight: Map, **mixture: float) -> None:
    """Blend a mixture of tissues into the maps, with the given weight of each voxel."""
    positive = weight > 0
    box = []
    for axis in range(3):  # most shapes are small: the rest of half a gigabyte stays untouched
        rows = np.flatnonzero(positive.any(axis=tuple(k for k in range(3) if k != axis)))
        box.append(slice(rows[0], rows[-1] + 1))
    small = weight[tuple(box)]
    region = maps[:, box[0], box[1], box[2]]  # a view
    region *= 1 - small
    for name, fraction in mixture.items():
        region[TISSUE_INDEX[name]] += fraction * small


def _draw_scalp(maps: Map, from_skin: Map) -> None:
    """Skin, fat and muscle in air."""
    maps[TISSUE_INDEX["air"]] = 1
    _draw(maps, _below(from_skin, 0.0), skin=1.0)
    _draw(maps, _below(from_skin, -SKIN_MM), fat=0.9, muscle=0.1)
    _draw(maps, _below(from_skin, -SCALP_FAT_MM), muscle=1.0)
    # Planes of fat between the muscles of face and neck.
    planes = smooth_fields.random_texture(HEAD_SHAPE, np.ones(3), 1, scales_mm=(7.0,)).numpy()
    _draw(maps, _below(from_skin, -SCALP_FAT_MM) * (np.abs(planes) < 0.12), fat=0.7, muscle=0.3)


def _draw_face(maps: Map, from_skin: Map) -> None:
    """Eyes in their fat, the air of nose and throat."""
    inside = _below(from_skin, -4.0)
    for centre in EYE_CENTRES_MM:
        distance = _ellipsoid(centre, (1, 1, 1))
        _draw(maps, _below(distance, EYE_RADIUS_MM + 6) * inside, fat=0.9, muscle=0.1)
        _draw(maps, _below(distance, EYE_RADIUS_MM), vitreous=1.0)
    nose = _ellipsoid((0, 60, -62), (15, 22, 22))
    _draw(maps, _below(6 * nose, 6.0) * inside, muscle=0.6, csf=0.4)
    _draw(maps, _below(6 * nose, 4.2), air=1.0)
    _draw(maps, _below(6 * _ellipsoid((0, 12, -98), (11, 9, 40)), 6.0), air=1.0)


def _draw_skull(maps: Map, from_brain: Map) -> None:
    """Outer table, marrow, inner table, and CSF beneath them."""
    _draw(maps, _below(from_brain, OUTER_TABLE_MM), bone=1.0)
    _draw(maps, _below(from_brain, MARROW_MM), fat=0.5, bone=0.35, muscle=0.15)
    _draw(maps, _below(from_brain, INNER_TABLE_MM), bone=1.0)
    _draw(maps, _below(from_brain, CSF_MM), csf=1.0)


def _draw_brain(maps: Map, grey: Map, white: Map, mask: Map) -> None:
    """Sharpened tissue probabilities inside the mask; the rest of it is CSF."""
    tissues = np.stack([grey, white, np.clip(1 - grey - white, 0, 1)])
    tissues = tissues ** np.float32(SHARPENING_EXPONENT)
    tissues *= mask / np.maximum(tissues.sum(axis=0), 1e-6)
    deep = _below(8 * _ellipsoid(DEEP_GREY_CENTRE_MM, DEEP_GREY_RADII_MM), 8.0)
    maps *= 1 - mask
    maps[TISSUE_INDEX["grey"]] += tissues[0] * (1 - deep)
    maps[TISSUE_INDEX["deep_grey"]] += tissues[0] * deep
    maps[TISSUE_INDEX["white"]] += tissues[1]
    maps[TISSUE_INDEX["csf"]] += tissues[2]


def _draw_cord(maps: Map) -> None:
    """Spinal cord in its canal below the end of the tissue maps."""
    x, y, z = (_world_coordinate(axis) for axis in range(3))
    below = (z < LOWEST_TISSUE_MM).astype(np.float32)
    distance = np.sqrt(x**2 + (y + 46 - 0.25 * (LOWEST_TISSUE_MM - z)) ** 2)
    _draw(maps, _below(distance, 18.0) * below, fat=0.5, bone=0.35, muscle=0.15)
    _draw(maps, _below(distance, 13.0) * below, bone=1.0)
    _draw(maps, _below(distance, 11.0) * below, csf=1.0)
    _draw(maps, _below(distance, 6.5) * below, white=0.7, grey=0.3)
