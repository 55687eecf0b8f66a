"""ihf-harmony: brain MRI from different scanners with the contrast of one.

>>> import bids_ihf
>>> result = bids_ihf.harmonize("sub-01_T1w.nii.gz", target="Siemens")  # doctest: +SKIP
>>> result.image, result.change, result.mask, result.measures  # doctest: +SKIP

The names below are the public interface; everything else may change between versions.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from bids_ihf.version import __version__

__all__ = [
    "Harmonized",
    "Target",
    "__version__",
    "build_target",
    "harmonize",
    "load_target",
    "restore",
]

if TYPE_CHECKING:
    from bids_ihf.api import (
        Harmonized,
        Target,
        build_target,
        harmonize,
        load_target,
        restore,
    )


def __getattr__(name: str) -> Any:
    # Loaded when used: the command line must not wait for what it does not need.
    if name in __all__:
        from bids_ihf import api

        return getattr(api, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
