"""Simple ways to bring one scan's intensities to another's, for comparison.

Each is a curve from old to new intensities found inside the brain masks and applied to all voxels;
the result is in the units of the reference.
"""

from __future__ import annotations

from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

import numpy as np

from bids_ihf.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

EXTRA = "intensity_normalization"


def has_extra() -> bool:
    """Whether the package behind :func:`nyul` and :func:`z_score` is installed."""
    return find_spec(EXTRA) is not None


def histogram_matching(
    source: NDArray[np.floating],
    source_mask: NDArray[np.bool_],
    reference: NDArray[np.floating],
    reference_mask: NDArray[np.bool_],
) -> NDArray[np.float32]:
    """Match the histogram of the source's brain to that of the reference's.

    Outside the range of the source's brain the curve goes straight to the darkest and brightest
    voxels of the two volumes.

    Parameters
    ----------
    source, source_mask
        (X, Y, Z).
    reference, reference_mask
        Of any shape.

    Returns
    -------
    array
        (X, Y, Z).
    """
    from skimage.exposure import match_histograms

    inside = source[source_mask].astype(np.float64)
    matched = match_histograms(inside, reference[reference_mask].astype(np.float64))
    known, first = np.unique(inside, return_index=True)
    curve = matched[first]
    if source.min() < known[0]:
        known = np.append(float(source.min()), known)
        curve = np.append(min(float(reference.min()), curve[0]), curve)
    if source.max() > known[-1]:
        known = np.append(known, float(source.max()))
        curve = np.append(curve, max(float(reference.max()), curve[-1]))
    return np.interp(source, known, curve).astype(np.float32)


def nyul(
    source: NDArray[np.floating],
    source_mask: NDArray[np.bool_],
    references: Sequence[NDArray[np.floating]],
    reference_masks: Sequence[NDArray[np.bool_]],
) -> NDArray[np.float32]:
    """Bring the deciles of the source's brain to the mean deciles of the references (Nyul 2000).

    Raises
    ------
    UsageError
        The package ``intensity-normalization`` is missing.
    """
    package = _package()
    ends = [
        np.percentile(reference[mask], (1, 99))
        for reference, mask in zip(references, reference_masks, strict=True)
    ]
    low, high = np.mean(ends, axis=0)
    normalizer = package.NyulNormalizer(output_min_value=low, output_max_value=high)
    normalizer.fit_population(
        [_image(reference) for reference in references],
        [_image(mask) for mask in reference_masks],
    )
    result = normalizer.transform(_image(source), _image(source_mask))
    return np.asarray(result.get_data(), dtype=np.float32)


def z_score(
    source: NDArray[np.floating],
    source_mask: NDArray[np.bool_],
    reference: NDArray[np.floating],
    reference_mask: NDArray[np.bool_],
) -> NDArray[np.float32]:
    """Give the source's brain the mean and standard deviation of the reference's.

    Raises
    ------
    UsageError
        The package ``intensity-normalization`` is missing.
    """
    normalizer = _package().ZScoreNormalizer()
    scores = normalizer.fit_transform(_image(source), _image(source_mask)).get_data()
    inside = reference[reference_mask].astype(np.float64)
    return np.asarray(scores * inside.std() + inside.mean(), dtype=np.float32)


def _package() -> Any:
    if not has_extra():
        raise UsageError(
            "The package intensity-normalization is not installed, which this baseline needs: "
            "install it with 'pip install intensity-normalization'."
        )
    import intensity_normalization

    return intensity_normalization


def _image(data: NDArray[Any]) -> Any:
    plain = data.astype(np.uint8) if data.dtype == bool else np.asarray(data, dtype=np.float64)
    return _package().create_image(plain)
