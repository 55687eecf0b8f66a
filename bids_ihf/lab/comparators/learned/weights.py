"""Weights of comparators that are trained: built, packed and loaded."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import attrs
from attrs import frozen

from bids_ihf.errors import BadData
from bids_ihf.io.tensors import REINSTALL_ADVICE, read_safetensors, to_safetensors
from bids_ihf.lab.comparators.learned.conditional_gan import ConditionalGAN, SiMix
from bids_ihf.lab.comparators.learned.cycle_gan import CycleGAN
from bids_ihf.lab.comparators.learned.hierarchy_flow import HierarchyFlowComparator
from bids_ihf.lab.comparators.learned.interface import ComparatorSettings
from bids_ihf.lab.comparators.learned.murd import MURD
from bids_ihf.lab.comparators.learned.printed_ihf import PrintedIHF

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from bids_ihf.lab.comparators.learned.interface import LearnedComparator
    from bids_ihf.network.encoder import Encoder

COMPARATOR_FORMAT = "ihf-harmony comparator 1"


@frozen
class LoadedComparator:
    """A comparator ready to be applied; ``hash`` is the sha256 of its tensors, ``record`` says how
    it was trained."""

    model: LearnedComparator
    hash: str
    record: Mapping[str, Any]


def build_comparator(settings: ComparatorSettings, encoder: Encoder) -> LearnedComparator:
    """A comparator of random weights; some use the encoder in their losses."""
    match settings.kind:
        case "murd":
            return MURD(settings)
        case "cgan":
            return ConditionalGAN(settings)
        case "simix":
            return SiMix(settings, encoder)
        case "hierarchy-flow":
            return HierarchyFlowComparator(settings, encoder)
        case "ihf-printed":
            return PrintedIHF(settings, encoder)
        case "cyclegan":
            return CycleGAN(settings)


def pack_comparator(
    model: LearnedComparator, encoder_hash: str, record: Mapping[str, Any]
) -> bytes:
    """Serialize a comparator without its critic, which only training needs."""
    header = {
        "format": COMPARATOR_FORMAT,
        "settings": attrs.asdict(model.settings),
        "encoder": encoder_hash,
        "training": record,
    }
    tensors = {
        key: value.half()
        for key, value in model.state_dict().items()
        if not key.startswith("critic.")
    }
    return to_safetensors(tensors, header)


def load_comparator(path: Path, encoder: Encoder, encoder_hash: str) -> LoadedComparator:
    """Load a comparator that was trained with an encoder.

    Raises
    ------
    BadData
        The file is unreadable or altered, or belongs to another encoder.
    """
    tensors, header = read_safetensors(path, COMPARATOR_FORMAT)
    if header.get("encoder") != encoder_hash:
        raise BadData(f"{path}: was trained with another encoder; name it with --model.")
    try:
        fields = dict(header["settings"])
        settings = ComparatorSettings(**fields | {"sites": tuple(fields["sites"])})
        model = build_comparator(settings, encoder)
        if model.judge is not None:
            del model.critic
        model.load_state_dict({key: value.float() for key, value in tensors.items()})
    except (KeyError, TypeError, RuntimeError) as error:
        reason = str(error).splitlines()[-1].strip()
        raise BadData(
            f"{path}: its tensors do not match its header ({reason}); {REINSTALL_ADVICE}."
        ) from error
    model.eval().requires_grad_(requires_grad=False)
    return LoadedComparator(model, str(header["sha256"]), dict(header.get("training", {})))
