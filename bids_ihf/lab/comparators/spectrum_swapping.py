"""Spectrum swapping (SSIMH), an untrained method.

After Guan et al. (2022, MLMI, "Fast image-level MRI harmonization via spectrum analysis"), as we
read it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from bids_ihf.lab.comparators.interface import MaskedImage

BLOCK_FRACTION = 0.01
"""Half the side of the swapped block as a fraction of the slice's shorter side.

As in Yang & Soatto (2020, FDA, arXiv 2004.05498).  With a reference scan of another subject larger
blocks bring in that subject's anatomy: 0.013, 0.02 and 0.05 were each worse than the one before.
"""

RANGE_PERCENTILE = 99.9
"""Percentile (%) of the brain that both scans are divided by."""


def harmonize(
    source: MaskedImage,
    references: Sequence[MaskedImage],
    *,
    reference_range: float | None = None,
) -> NDArray[np.float32]:
    """Give slices the low frequencies of the first reference.

    Parameters
    ----------
    source, references
        Slices (X, Y, S); the first reference at the same positions as the source.
    reference_range
        Intensity the references are divided by; by default the median of their percentiles.
    """
    high = np.float32(
        np.median([np.percentile(scan.data[scan.mask], RANGE_PERCENTILE) for scan in references])
        if reference_range is None
        else reference_range
    )
    source_range = np.float32(np.percentile(source.data[source.mask], RANGE_PERCENTILE))
    block = low_frequencies(source.data.shape[0], source.data.shape[1], BLOCK_FRACTION)
    return high * swap_spectrum(source.data / source_range, references[0].data / high, block)


def swap_spectrum(
    source: NDArray[np.floating], reference: NDArray[np.floating], block: NDArray[np.bool_]
) -> NDArray[np.float32]:
    """Replace the amplitudes of some frequencies of slices by those of a reference.

    Of the 2D Fourier transform of each axial slice, the amplitudes in the block become those of
    the reference's slice; all phases and the other frequencies are unchanged.  Negative
    intensities are set to zero.

    Parameters
    ----------
    source, reference
        Slices (X, Y, S) at the same positions and of the same scale, since the frequencies that
        are swapped and those that are not must be in the same units.
    block
        The frequencies that are swapped, (X, Y), as of :func:`low_frequencies`.

    Returns
    -------
    array
        (X, Y, S), not negative.

    Raises
    ------
    ValueError
        The shapes differ.
    """
    if source.shape != reference.shape:
        raise ValueError(f"shapes differ: {source.shape}, {reference.shape}")
    spectrum, reference_spectrum = (np.fft.fft2(data, axes=(0, 1)) for data in (source, reference))
    amplitude = np.where(block[:, :, None], np.abs(reference_spectrum), np.abs(spectrum))
    swapped = np.fft.ifft2(amplitude * np.exp(1j * np.angle(spectrum)), axes=(0, 1)).real
    return np.maximum(swapped, 0).astype(np.float32)


def low_frequencies(width: int, height: int, block_fraction: float) -> NDArray[np.bool_]:
    """A square block around zero of a 2D Fourier transform, (width, height).

    It holds frequencies up to ``floor(block_fraction * shorter side)`` periods per side; 0 leaves
    the mean alone.
    """
    limit = int(block_fraction * min(width, height))
    columns, rows = (np.abs(np.fft.fftfreq(n) * n) <= limit + 0.5 for n in (width, height))
    return np.asarray(columns[:, None] & rows[None, :])
