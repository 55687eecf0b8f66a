"""The same input twice, and with other numbers of threads and slices at once."""

from __future__ import annotations

from typing import TYPE_CHECKING

import nibabel
import numpy as np
from attrs import frozen

from tests.reliability import outputs, phantom, runs

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

BOUND = 1e-4
"""Most that a voxel may differ between numbers of slices at once, as a share of the image's
largest intensity."""
TIME = slice(4, 8)
"""Where a gzip file has its time stamp."""


@frozen
class Repeat:
    """How a run differed from the first: largest difference of a voxel as a share of the largest
    intensity."""

    case: str
    difference: float
    complaints: tuple[str, ...]


VARIANTS: dict[str, tuple[str, ...]] = {
    "again": (),
    "1 slice at once": ("--batch-size", "1"),
    "3 slices at once": ("--batch-size", "3"),
    "64 slices at once": ("--batch-size", "64"),
    "2 workers": ("--n-procs", "2", "--omp-nthreads", "1"),
    "2 threads": ("--n-procs", "2", "--omp-nthreads", "2"),
}
SAME_BYTES = ("again", "2 workers", "2 threads")


def repeats(folder: Path, cases: Sequence[str] = tuple(VARIANTS)) -> list[Repeat]:
    """Run the phantom once, and then again in each of the ways."""
    bids = phantom.write_dataset(folder / "bids", suffixes=("T1w", "T2w", "dwi"))
    first = _run(bids, folder / "first", folder, ())
    found = []
    for number, case in enumerate(cases):
        files = _run(bids, folder / str(number), folder, VARIANTS[case])
        difference = max(
            _difference(files[name], first[name])
            for name in first
            if "_desc-harm" in name and name.endswith(".nii.gz")
        )
        complaints = []
        if case in SAME_BYTES and files != first:
            names = [name for name in first if files.get(name) != first[name]]
            complaints.append(f"other bytes: {', '.join(names)}")
        if difference > BOUND:
            complaints.append(f"differs by {difference:.1e}")
        stamps = {content[TIME] for name, content in files.items() if name.endswith(".gz")}
        if stamps != {bytes(4)}:
            complaints.append("gzip has a time stamp")
        found.append(Repeat(case, difference, tuple(complaints)))
    return found


def _run(bids: Path, out: Path, folder: Path, more: Sequence[str]) -> dict[str, bytes]:
    words = runs.participant(bids, out, folder / "work", "--target", "Siemens", *more)
    done = runs.run(words, folder / "said")
    assert done.code == 0, done.err
    return outputs.derivatives(out)


def _difference(one: bytes, other: bytes) -> float:
    first, second = (
        nibabel.Nifti1Image.from_bytes(_unzip(content)).get_fdata() for content in (one, other)
    )
    return float(np.abs(first - second).max() / np.abs(second).max())


def _unzip(content: bytes) -> bytes:
    import gzip

    return gzip.decompress(content)
