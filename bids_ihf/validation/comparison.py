"""Images of a scan against the person's scan by the target scanner."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from bids_ihf.preprocessing.prepare import Prepared
from bids_ihf.qc.similarity import intensity_range, similarity_metrics
from bids_ihf.targets.network_input import NetworkInput
from bids_ihf.validation.alignment import aligned

Metrics = dict[str, float]

METRICS = {"rmse": "rmse_mask", "psnr": "psnr_mask", "ms_ssim": "ms_ssim"}
"""Columns, and the metrics that they hold."""

SLICE_STEP = 3
"""Every how many axial slices of 1 mm one is compared: neighbours tell nothing more."""

DEFORMABLE_SUFFIX = "_deformable"
"""Ends the columns of the same metrics after deformable alignment."""


def compare_images(
    images: Mapping[str, NDArray[np.float32]],
    prepared: Prepared,
    source: NetworkInput,
    truth: NetworkInput,
    *,
    own_range: str,
    deformable: bool,
) -> dict[str, Metrics]:
    """RMSE, PSNR and MS-SSIM of each image, inside the brain that both scans show, in one axial
    slice of SLICE_STEP.

    Parameters
    ----------
    images
        Bias-corrected images (X, Y, Z) by method, with the geometry of ``prepared``.
    prepared, source
        The scan, and the same on the network's grid.
    truth
        The person's scan by the target scanner.
    own_range
        Method whose image is compared in its own 0.1-99.9 percentile range: in units of its own.
    deformable
        Whether to measure after deformable alignment too.

    Returns
    -------
    dict
        By method the values of METRICS, and with DEFORMABLE_SUFFIX.

    Raises
    ------
    ValueError
        The brains do not overlap, or a slice is too small.
    RuntimeError
        ANTs fails.
    """
    affine = prepared.to_template @ prepared.volume.affine
    results: dict[str, Metrics] = {method: {} for method in images}
    with aligned(source, truth, deformable=deformable) as alignment:
        for suffix, transforms in (
            ("", alignment.rigid),
            (DEFORMABLE_SUFFIX, alignment.deformable),
        ):
            if not transforms:
                continue
            brain = alignment.move(prepared.mask, affine, transforms) > 0.5
            mask = (brain & truth.brain)[:, :, ::SLICE_STEP]
            reference = _inside(truth.data[:, :, ::SLICE_STEP], mask)
            for method, data in images.items():
                moved = alignment.move(data, affine, transforms)[:, :, ::SLICE_STEP]
                image = _inside(moved, mask)
                if method == own_range:
                    image = _in_range_of(reference, image, mask)
                similarity = similarity_metrics(image, reference, mask)
                results[method] |= {k + suffix: similarity[name] for k, name in METRICS.items()}
    return results


def _inside(data: NDArray[np.float32], mask: NDArray[np.bool_]) -> NDArray[np.float32]:
    """An image with the darkest intensity of its brain outside the mask."""
    if not mask.any():
        raise ValueError("the brains of the two scans do not overlap")
    return np.where(mask, data, data[mask].min())


def _in_range_of(
    reference: NDArray[np.float32], image: NDArray[np.float32], mask: NDArray[np.bool_]
) -> NDArray[np.float32]:
    """An image scaled so that its percentiles inside the mask become those of the reference."""
    low, high = intensity_range(image, mask)
    reference_low, reference_high = intensity_range(reference, mask)
    gain = (reference_high - reference_low) / (high - low)
    return ((image - low) * gain + reference_low).astype(np.float32)
