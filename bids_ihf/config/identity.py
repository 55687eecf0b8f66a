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
    image: Mapping[str, str | int | None],
) -> str:
    """SHA-256 over all that changes the numbers of one output, and nothing else.

    ``image`` holds what is particular to the scan: vendor, mask, T1w reference, content of the
    source file. Threads, device and folders are left out, since they do not change an image.
    """
    content = {
        "version": __version__,
        "target": target_hash,
        "model": model_hash,
        "brain": brain_hash,
        "preprocessed": config.preprocessed,
        "output_spaces": sorted(config.output_spaces),
        "normalization": config.normalization if config.output_spaces else None,
        "seed": config.random_seed,
        "change_map": config.change_map,
        "image": dict(image),
    }
    if config.b0_threshold is not None:
        content["b0_threshold"] = config.b0_threshold
    if config.tensor_maps:
        content["tensor_maps"] = True
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()
