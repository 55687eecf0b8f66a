"""How exactly a network gives back what it encoded."""

from __future__ import annotations

import torch

from bids_ihf.network.flow import IHFNetwork


def round_trip_error(network: IHFNetwork, x: torch.Tensor) -> float:
    """Largest absolute difference between ``x`` and its decoded encoding, AAN bypassed."""
    with torch.inference_mode():
        return float((network.decode(network.encode(x)) - x).abs().max())
