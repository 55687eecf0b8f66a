"""Harmonization by spectrum swapping (SSIMH), a method that is not trained."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

REACH = 0.01
"""Half the side of the swapped block, as a share of the slice's shorter side.

As in Yang & Soatto 2020 (FDA, arXiv 2004.05498).  With a reference scan of another person larger
blocks bring in that person's anatomy: 0.013, 0.02 and 0.05 were each worse than the one before.
"""


def swap_spectrum(
    source: NDArray[np.floating], reference: NDArray[np.floating], reach: float = REACH
) -> NDArray[np.float32]:
    """Give slices the low frequencies of another scan, with their own phase.

    After Guan et al. 2022, "Fast image-level MRI harmonization via spectrum analysis" (MLMI).  Our
    reading: each axial slice by itself; in its 2D Fourier transform the amplitudes of the lowest
    frequencies, a square block about zero, become those of the reference's slice; all phases and
    the higher frequencies stay the source's.  Fourier terms below zero signal are cut off.

    Parameters
    ----------
    source
        Slices (X, Y, S); scaled as ``reference`` is, or the untouched high frequencies would be in
        other units than the swapped ones.
    reference
        Slices (X, Y, S) of the target at the same places, of whomever.
    reach
        The block holds frequencies up to ``max(0, floor(reach * shorter side))`` periods a side:
        0 swaps the mean alone.

    Returns
    -------
    array
        (X, Y, S), never negative.

    Raises
    ------
    ValueError
        The shapes differ.
    """
    if source.shape != reference.shape:
        raise ValueError(f"shapes differ: {source.shape}, {reference.shape}")
    ours, theirs = (np.fft.fft2(data, axes=(0, 1)) for data in (source, reference))
    low = low_frequencies(source.shape[0], source.shape[1], reach)
    amplitude = np.where(low[:, :, None], np.abs(theirs), np.abs(ours))
    swapped = np.fft.ifft2(amplitude * np.exp(1j * np.angle(ours)), axes=(0, 1)).real
    return np.maximum(swapped, 0).astype(np.float32)


def low_frequencies(width: int, height: int, reach: float) -> NDArray[np.bool_]:
    """The block (width, height) of a transform whose amplitudes are swapped."""
    limit = int(reach * min(width, height))
    columns, rows = (np.abs(np.fft.fftfreq(n) * n) <= limit + 0.5 for n in (width, height))
    return np.asarray(columns[:, None] & rows[None, :])
