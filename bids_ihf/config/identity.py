"""The hash by which finished outputs of the same settings are recognized."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping

from bids_ihf.config.settings import RunConfig
from bids_ihf.version import __version__


def configuration_hash(
    config: RunConfig,
    *,
    target_hash: str,
    model_hash: str,
    brain_hash: str,
    is_series: bool,
    image: Mapping[str, str | int | None],
) -> str:
    """SHA-256 over all that changes the numbers of one output, and nothing else.

    ``image`` holds what is particular to the scan: vendor, mask, T1w reference, content of the
    source file; ``is_series`` says that it is a diffusion series, whose settings do not concern
    other images. Threads, device and folders are left out, since they do not change an image.
    """
    # A series goes to template space by its rigid transform, whatever is set.
    registers = bool(config.output_spaces) and not is_series
    content = {
        "version": __version__,
        "target": target_hash,
        "model": model_hash,
        "brain": brain_hash,
        "preprocessed": config.preprocessed,
        "output_spaces": sorted(config.output_spaces),
        "normalization": config.normalization if registers else None,
        "seed": config.random_seed,
        "change_map": config.change_map,
        "image": dict(image),
    }
    if is_series and config.b0_threshold is not None:
        content["b0_threshold"] = config.b0_threshold
    if is_series and config.tensor_maps:
        content["tensor_maps"] = True
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()
