"""What the group level knows of each image: its row and sidecar, and what was kept of it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from attrs import frozen

from bids_ihf.io.tsv import MISSING_VALUE
from bids_ihf.reports.evidence import read_evidence

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from bids_ihf.bids.harmonized_images import HarmonizedImage
    from bids_ihf.reports.evidence import Kept

AXES = 30
"""Principal axes that the statistics of many images are brought down to."""


@frozen(eq=False)
class Member:
    """An image of the group, its scanner, and its densities and statistics where they were
    kept."""

    image: HarmonizedImage
    scanner: str
    kept: Kept | None


def scanner_of(image: HarmonizedImage) -> str:
    """Maker, model and what tells one such scanner from another, as far as the sidecar says."""
    maker = image.text("source_vendor", "SourceVendor")
    more = [image.sidecar.get(key) for key in ("ManufacturersModelName", "DeviceSerialNumber")]
    known = [str(each) for each in more if isinstance(each, str | int) and str(each).strip()]
    words = " ".join([maker, *known])
    return " ".join(words.split()) or MISSING_VALUE


def members(out_dir: Path, images: Sequence[HarmonizedImage]) -> list[Member]:
    """Read what was kept of each image; no image is loaded."""
    return [Member(image, scanner_of(image), read_evidence(out_dir, image)) for image in images]


def statistics(group: Sequence[Member]) -> tuple[list[Member], NDArray[np.float64]]:
    """Return the members whose statistics are known, and these: (2, N, E), before and after.

    Statistics of another encoder, told by their number, are left out: the most usual number is
    kept.
    """
    known = [member for member in group if member.kept is not None]
    sizes = [len(member.kept.statistics["before"]) for member in known if member.kept]
    if not sizes:
        return [], np.zeros((2, 0, 0))
    size = max(set(sizes), key=lambda each: (sizes.count(each), each))
    same = [
        member
        for member in known
        if member.kept and {len(row) for row in member.kept.statistics.values()} == {size}
    ]
    rows = [
        [member.kept.statistics[side] for member in same if member.kept]
        for side in ("before", "after")
    ]
    return same, np.asarray(rows, dtype=np.float64)


def on_axes(data: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Bring (S, N, E) to the principal axes of all rows together: (S, N, A), with the share of the
    variance of each axis.

    Features are standardized over all rows, and the sign of an axis is that of its largest part,
    so that the same images always give the same picture.
    """
    rows = data.reshape(-1, data.shape[-1])
    spread = rows.std(axis=0)
    used = spread > 1e-9
    if not used.any():
        return np.zeros((*data.shape[:2], 1)), np.ones(1)
    varied = (rows[:, used] - rows[:, used].mean(axis=0)) / spread[used]
    values, vectors = np.linalg.eigh(varied.T @ varied)
    order = np.argsort(values)[::-1][:AXES]
    axes = vectors[:, order]
    axes *= np.sign(axes[np.abs(axes).argmax(axis=0), np.arange(axes.shape[1])])
    share = np.maximum(values[order], 0) / max(float(values.sum()), 1e-12)
    return (varied @ axes).reshape(*data.shape[:2], -1), share
