"""What becomes of memory that arrays have freed, where the C library is glibc."""

from __future__ import annotations

import ctypes

M_MMAP_MAX, M_TRIM_THRESHOLD = -4, -1
"""Parameters of glibc's mallopt, from <malloc.h>."""
MAX_FREE_HEAP_BYTES = 512 * 2**20
"""Free memory that a process keeps; more would stay idle beside the next image's."""


def reuse_freed_memory(max_free_bytes: int = MAX_FREE_HEAP_BYTES) -> None:
    """Let arrays use the memory of earlier ones again, where the C library is glibc.

    By default glibc returns every large block to the kernel, which clears each page anew when the
    next array asks for it: for a T1w image of 1 mm 2.2 million pages (8 GB), with this 0.3
    million.  ``max_free_bytes`` is the most free memory at the end of the heap that is kept.
    """
    if glibc := _load_glibc():
        glibc.mallopt(M_MMAP_MAX, 0)
        glibc.mallopt(M_TRIM_THRESHOLD, max_free_bytes)


def return_freed_memory() -> None:
    """Give freed memory back to the kernel: after a step that needed much of it, before another
    that needs it elsewhere."""
    if glibc := _load_glibc():
        glibc.malloc_trim(0)


def _load_glibc() -> ctypes.CDLL | None:
    """The C library, where it is glibc."""
    try:
        library = ctypes.CDLL("libc.so.6")
    except OSError:
        return None
    return library if hasattr(library, "malloc_trim") else None
