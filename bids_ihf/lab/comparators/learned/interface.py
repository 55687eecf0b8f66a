"""What comparators that are trained have in common: sites, slices, settings and losses."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, ClassVar

import torch
from attrs import frozen
from torch import Tensor, nn

from bids_ihf.targets.target import BUILTIN_VENDORS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from bids_ihf.bids.names import Modality
    from bids_ihf.lab.comparators.learned.kinds import ComparatorKind

UNKNOWN_SITE = -1
"""Site of a scan by a scanner that is none of the sites."""


def site_names(modalities: Sequence[Modality]) -> tuple[str, ...]:
    """The sites of a comparator: every vendor for every modality.

    >>> site_names(["T2w"])
    ('Siemens T2w', 'GE T2w', 'Philips T2w')
    """
    return tuple(f"{vendor} {modality}" for modality in modalities for vendor in BUILTIN_VENDORS)


@frozen
class ComparatorSettings:
    """What is needed to build a comparator; stored in the header of its weights.

    Attributes
    ----------
    sites
        Names by `site_names`; images are never translated between modalities.
    channels
        Channels of the first layer; deeper layers have multiples of it.
    blocks
        Residual blocks of an encoder or generator.
    """

    kind: ComparatorKind
    sites: tuple[str, ...]
    channels: int = 32
    blocks: int = 3

    @property
    def modalities(self) -> tuple[str, ...]:
        """Modalities of the sites."""
        return tuple(dict.fromkeys(site.split(" ")[1] for site in self.sites))

    def site(self, vendor: str | None, modality: str) -> int:
        """Index of a vendor's site, UNKNOWN_SITE of other scanners."""
        name = f"{vendor} {modality}"
        return self.sites.index(name) if name in self.sites else UNKNOWN_SITE


@frozen(eq=False)
class SiteSlices:
    """Slices to translate, skull-stripped (-1 outside the brain), in network units.

    source: (B, 3, X, Y) slices with their neighbours, each scan in its own range.
    mask: (B, 1, X, Y) their brain masks, 0 to 1.
    source_site, target_site: (B,) indices of sites.
    reference: (B, 3, X, Y) scans of other subjects by the target's scanner, at the same height, in
        the target's range; reference_mask: (B, 1, X, Y) their masks.
    modality: (B, modalities) weights by `encoder.modality_weights`.
    """

    source: Tensor
    mask: Tensor
    source_site: Tensor
    target_site: Tensor
    reference: Tensor
    reference_mask: Tensor
    modality: Tensor

    @property
    def centre(self) -> Tensor:
        """The source slices without their neighbours, (B, 1, X, Y)."""
        return self.source[:, 1:2]


@frozen(eq=False)
class SiteBatch(SiteSlices):
    """One training step.

    truth: (B, 1, X, Y) the same slices by the target's scanner, in the target's range; comparators
        that train on unpaired scans leave it alone.
    companion: (B, 3, X, Y) the same slices by a scanner of a third site, in its own range.
    """

    truth: Tensor
    companion: Tensor


@frozen(eq=False)
class Losses:
    """Losses of one step by name, with their weights, and the images for the critic to judge."""

    terms: dict[str, tuple[float, Tensor]]
    translated: Tensor

    @property
    def total(self) -> Tensor:
        """Weighted sum."""
        return torch.stack([weight * value for weight, value in self.terms.values()]).sum()


class LearnedComparator(nn.Module, ABC):
    """A network that translates slices to a target site, with the losses of its paper.

    Attributes
    ----------
    copies_reference
        Whether any scanner can be the target, by a reference scan alone; else only the sites.
    needs_source_site
        Whether only scans of the sites can be translated.
    """

    copies_reference: ClassVar[bool] = False
    needs_source_site: ClassVar[bool] = False

    def __init__(self, settings: ComparatorSettings) -> None:
        super().__init__()
        self.settings = settings

    @property
    def judge(self) -> nn.Module | None:
        """The discriminator, named ``critic`` where a paper has one; only training needs it."""
        critic = getattr(self, "critic", None)
        return critic if isinstance(critic, nn.Module) else None

    @abstractmethod
    def translate(self, slices: SiteSlices) -> Tensor:
        """The centre slices (B, 1, X, Y) as the target's scanner would show them."""

    @abstractmethod
    def losses(self, batch: SiteBatch) -> Losses:
        """Losses of everything but the critic."""

    def critic_loss(self, batch: SiteBatch, translated: Tensor) -> Tensor | None:
        """Loss of the critic on images that were translated; None without a critic."""
        del batch, translated
        return None
