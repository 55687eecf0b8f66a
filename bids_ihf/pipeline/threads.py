"""How many threads the numerical libraries of this process use."""

from __future__ import annotations

import os


def limit_threads(threads: int) -> None:
    """Let torch, OpenMP and BLAS use at most so many threads in this process, from now on.

    What is loaded already is told directly; what is loaded later reads the environment.  ITK has
    a setting of its own, see :func:`bids_ihf.preprocessing.itk.configure_itk`.
    """
    os.environ["OMP_NUM_THREADS"] = str(threads)
    import torch
    from threadpoolctl import threadpool_limits

    torch.set_num_threads(threads)
    threadpool_limits(limits=threads)
