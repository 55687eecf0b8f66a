"""Time and memory of the brain mask and its registration to the template.

Each image is measured in a new process, with everything that has to be loaded, as in the app.  The
goal for a whole head of 1 mm is 15 s and 2 GiB on two cores (docs/brain.md).  Prints Markdown.

Usage: python -m bids_ihf.lab.benchmarks.brain_time IMAGE.nii.gz [IMAGE.nii.gz ...] [--threads 2]
"""

from __future__ import annotations

import argparse
import resource
import sys
import time
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

from bids_ihf.lab.benchmarks.tables import markdown_row

TABLE_HEAD = (
    "image", "voxels", "mask, s", "registration, s", "both, s", "processor, s", "memory, GiB",
    "similarity", "coverage",
)  # fmt: skip


def measure(path: Path) -> tuple[str, ...]:
    """A row of the table; processor time is that of mask and registration together."""
    from bids_ihf.io.nifti import read_volume
    from bids_ihf.preprocessing.alignment import align_to_template
    from bids_ihf.preprocessing.brain_mask import find_brain

    volume = read_volume(path)
    cpu_start, start = time.process_time(), time.perf_counter()
    brain = find_brain(volume.data, volume.affine)
    mask_s = time.perf_counter() - start
    alignment = align_to_template(brain.segmentation)
    both_s = time.perf_counter() - start
    cpu_s = time.process_time() - cpu_start
    memory_gib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    return (
        path.name,
        " x ".join(str(n) for n in volume.data.shape),
        *(f"{seconds:.1f}" for seconds in (mask_s, both_s - mask_s, both_s, cpu_s)),
        *(f"{value:.2f}" for value in (memory_gib, alignment.similarity, alignment.coverage)),
    )


def main() -> None:
    """Measure every image in a process of its own."""
    from bids_ihf.pipeline.process import set_up_process

    parser = argparse.ArgumentParser(
        prog="python -m bids_ihf.lab.benchmarks.brain_time",
        description=(__doc__ or "").splitlines()[0],
    )
    parser.add_argument("images", nargs="+", type=Path, metavar="IMAGE.nii.gz")
    parser.add_argument("--threads", type=int, default=2, metavar="N", help="(default: 2)")
    arguments = parser.parse_args()
    sys.stdout.write(markdown_row(TABLE_HEAD) + markdown_row(["---"] * len(TABLE_HEAD)))
    with ProcessPoolExecutor(
        1, get_context("spawn"), set_up_process, (0, arguments.threads), max_tasks_per_child=1
    ) as pool:
        for row in pool.map(measure, arguments.images):
            sys.stdout.write(markdown_row(row))
            sys.stdout.flush()


if __name__ == "__main__":
    main()
