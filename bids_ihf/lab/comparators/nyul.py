"""Piecewise linear histogram matching of Nyul & Udupa (2000, IEEE TMI 19:143).

By the package ``intensity-normalization``, an extra.
"""

from __future__ import annotations

from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

import numpy as np

from bids_ihf.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from bids_ihf.lab.comparators.interface import MaskedImage

RANGE_PERCENTILES = (1, 99)
"""Percentiles (%) of the references' brains whose means are the ends of the standard scale."""


def is_available() -> bool:
    """Whether ``intensity-normalization`` is installed."""
    return find_spec("intensity_normalization") is not None


def harmonize(source: MaskedImage, references: Sequence[MaskedImage]) -> NDArray[np.float32]:
    """Map the deciles of the source's brain to the mean deciles of the references' brains.

    Raises
    ------
    UsageError
        ``intensity-normalization`` is not installed.
    """
    if not is_available():
        raise UsageError(
            "Nyul's method needs the package intensity-normalization, which is not installed: "
            "run 'pip install intensity-normalization'."
        )
    from intensity_normalization import NyulNormalizer, create_image

    def image(data: NDArray[Any]) -> Any:
        return create_image(data.astype(np.uint8 if data.dtype == bool else np.float64))

    ranges = [np.percentile(scan.data[scan.mask], RANGE_PERCENTILES) for scan in references]
    low, high = np.mean(ranges, axis=0)
    normalizer = NyulNormalizer(output_min_value=low, output_max_value=high)
    normalizer.fit_population(
        [image(scan.data) for scan in references], [image(scan.mask) for scan in references]
    )
    with np.errstate(divide="ignore", invalid="ignore"):
        result = normalizer.transform(image(source.data), image(source.mask)).get_data()
    finite = np.isfinite(result)
    if not finite.all():  # deciles that coincide, as in a scan that was clipped
        order = np.argsort(source.data[finite], kind="stable")
        mapping = (source.data[finite][order], result[finite][order])
        result[~finite] = np.interp(source.data[~finite], *mapping)
    return np.asarray(result, dtype=np.float32)
