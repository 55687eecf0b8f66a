"""How long the brain's mask and its alignment to the template take, and how much memory.

Every image in a fresh process, with all that has to be loaded, as in the app.  The aim for a whole
head of 1 mm is 15 s and 2 GiB on two cores (docs/brain.md).  Prints Markdown.

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

HEAD = (
    "image", "voxels", "mask, s", "alignment, s", "both, s", "processor, s", "memory, GiB",
    "likeness", "brain seen",
)  # fmt: skip


def measure(path: Path) -> tuple[str, ...]:
    """A row of the table; the processor's time is that of mask and alignment together."""
    from bids_ihf.io.nifti import read_volume
    from bids_ihf.preprocessing.alignment import align_to_template
    from bids_ihf.preprocessing.brain_mask import find_brain

    volume = read_volume(path)
    used, start = time.process_time(), time.perf_counter()
    brain = find_brain(volume.data, volume.affine)
    middle = time.perf_counter()
    way = align_to_template(brain.segmentation)
    end = time.perf_counter()
    seconds = (middle - start, end - middle, end - start, time.process_time() - used)
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    return (
        path.name,
        " x ".join(str(n) for n in volume.data.shape),
        *(f"{number:.1f}" for number in seconds),
        *(f"{number:.2f}" for number in (memory, way.similarity, way.coverage)),
    )


def main() -> None:
    """Measure every image in a process of its own."""
    from bids_ihf.pipeline.process import set_up_process

    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("images", nargs="+", type=Path, metavar="IMAGE.nii.gz")
    parser.add_argument("--threads", type=int, default=2)
    found = parser.parse_args()
    set_up_process(found.threads, 0)  # for the processes, which inherit the environment
    sys.stdout.write(f"| {' | '.join(HEAD)} |\n{'|---' * len(HEAD)}|\n")
    with ProcessPoolExecutor(1, get_context("spawn"), max_tasks_per_child=1) as pool:
        for row in pool.map(measure, found.images):
            sys.stdout.write(f"| {' | '.join(row)} |\n")
            sys.stdout.flush()


if __name__ == "__main__":
    main()
