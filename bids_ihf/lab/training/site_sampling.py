"""Batches for comparators: slabs of people on scanners of the vendors, which are the sites."""

from __future__ import annotations

from itertools import islice
from typing import TYPE_CHECKING, cast

import attrs
import numpy as np
import torch
from attrs import frozen

from bids_ihf.lab.comparators.learned.interface import SiteBatch
from bids_ihf.lab.comparators.learned.scan import NO_SIGNAL
from bids_ihf.lab.simulation.vendor_scanners import typical_scanner, vendor_scanner
from bids_ihf.lab.training.slab_rows import slab_at, stacked
from bids_ihf.lab.training.slab_scans import SLAB_SLICES, random_slab, scan_slab
from bids_ihf.lab.training.subject_sampling import SubjectSampler
from bids_ihf.network.encoder import modality_weights
from bids_ihf.targets.target import BUILTIN_VENDORS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from bids_ihf.bids.names import Modality
    from bids_ihf.lab.comparators.learned.interface import ComparatorSettings
    from bids_ihf.lab.simulation.scanner import Scanner
    from bids_ihf.lab.training.slab_scans import Slab
    from bids_ihf.lab.training.template_subjects import TemplateSubject
    from bids_ihf.lab.training.vendor_profiles import TypicalProfiles
    from bids_ihf.targets.intensity import IntensityScale

    Array = NDArray[np.float32]

TYPICAL_SOURCE_PROBABILITY = 0.5
"""Probability that a source is the typical scanner of its vendor, and not one of its others."""


IMAGE_NAMES = ("source", "mask", "reference", "reference_mask", "truth", "companion")
"""Fields of a batch that are images."""


@frozen(eq=False)
class SiteRows:
    """Rows of training of one slab; see `SiteBatch` for the arrays."""

    source: Array
    mask: Array
    reference: Array
    reference_mask: Array
    truth: Array
    companion: Array
    source_site: NDArray[np.int64]
    target_site: NDArray[np.int64]
    modality: Array


class SiteSampler(SubjectSampler[SiteRows]):
    """Draws batches of people scanned by two sites, and others by the second.

    The typical profiles give the ranges of the targets; ``settings`` name the sites.
    """

    def __init__(
        self,
        subjects: Sequence[TemplateSubject],
        typical: TypicalProfiles,
        settings: ComparatorSettings,
        *,
        modalities: Sequence[Modality],
        batch: int,
        seed: int,
    ) -> None:
        super().__init__(subjects, typical, modalities=modalities, batch=batch, seed=seed)
        self.settings = settings

    def chunk(self, number: int) -> list[SiteBatch]:
        """The batches of a chunk: the slices of its slabs in random order."""
        rows, order = self.draw_slabs(self.seed, 9, number)
        starts = range(0, len(order), self.batch)
        portions = (batch_of(rows, order[start : start + self.batch]) for start in starts)
        return list(islice(portions, self.steps_per_chunk))

    def rows_of(self, modality: str, rng: np.random.Generator) -> SiteRows:
        """The rows of a slab of a modality."""
        return self._draw_rows(cast("Modality", modality), rng)

    def _draw_rows(self, modality: Modality, rng: np.random.Generator) -> SiteRows:
        subject = self.subjects[int(rng.integers(len(self.subjects)))]
        source, target, third = rng.permutation(BUILTIN_VENDORS).tolist()
        slab = random_slab(subject, rng)
        scale = self.typical_profile(target, modality, subject).scale
        scanner = typical_scanner(target, modality, int(rng.integers(2**31)))
        z = subject.z[slab.first : slab.stop]
        index = np.sort(rng.choice(len(z), SLAB_SLICES, replace=len(z) < SLAB_SLICES))
        truth, mask = self._scan(subject, slab, scanner, rng, scale)
        source_slices, _ = self._scan(subject, slab, source_scanner(source, modality, rng), rng)
        companion, _ = self._scan(subject, slab, source_scanner(third, modality, rng), rng)
        others = self.others_than(subject)
        stranger = others[int(rng.integers(len(others)))]
        same = slab_at(stranger, slab, subject.z[slab.first])
        reference, stranger_mask = self._scan(stranger, same, scanner, rng, scale)
        sites = [self.settings.site(vendor, modality) for vendor in (source, target)]
        return SiteRows(
            source=stacked(source_slices, index),
            mask=mask[index + 1],
            reference=stacked(reference, index),
            reference_mask=stranger_mask[index + 1],
            truth=truth[index + 1],
            companion=stacked(companion, index),
            source_site=np.full(SLAB_SLICES, sites[0]),
            target_site=np.full(SLAB_SLICES, sites[1]),
            modality=modality_weights(modality, SLAB_SLICES).numpy(),
        )

    @staticmethod
    def _scan(
        subject: TemplateSubject,
        slab: Slab,
        scanner: Scanner,
        rng: np.random.Generator,
        scale: IntensityScale | None = None,
    ) -> tuple[Array, Array]:
        """Stripped slices (Z + 2, X, Y) in their own range or that of a scale, and their mask."""
        data, statistics = scan_slab(subject, slab, scanner, int(rng.integers(2**31)))
        if scale is not None:
            data = scale.normalize(statistics.scale.restore(data))
        mask = subject.brain_mask(slab.first - 1, slab.stop + 1)
        return np.where(mask > 0.5, data, np.float32(NO_SIGNAL)).astype(np.float32), mask


def source_scanner(vendor: str, modality: Modality, rng: np.random.Generator) -> Scanner:
    """The typical scanner of a vendor, or another one of its population."""
    seed = int(rng.integers(2**31))
    if rng.random() < TYPICAL_SOURCE_PROBABILITY:
        return typical_scanner(vendor, modality, seed)
    return vendor_scanner(vendor, modality, seed)


def random_windows(batch: SiteBatch, window: tuple[int, ...]) -> SiteBatch:
    """A batch cut to windows around brain pixels that torch's generator draws, one for all images
    of a row."""
    if not window:
        return batch
    rows = []
    for number, mask in enumerate(batch.mask[:, 0]):
        inside = (mask > 0.5).nonzero()
        centre = inside[int(torch.randint(len(inside), ()))]
        low = [
            int(torch.clamp(c - size // 2, 0, length - size))
            for c, size, length in zip(centre, window, mask.shape, strict=True)
        ]
        rows.append((number, *(slice(n, n + size) for n, size in zip(low, window, strict=True))))
    cut = {
        name: torch.stack([getattr(batch, name)[n][..., x, y] for n, x, y in rows])
        for name in IMAGE_NAMES
    }
    return attrs.evolve(batch, **cut)


def batch_of(rows: Sequence[SiteRows], order: NDArray[np.intp]) -> SiteBatch:
    """A batch of chosen rows of slabs."""

    def column(name: str) -> torch.Tensor:
        arrays = [getattr(slab, name)[order_of] for slab, order_of in portions]
        return torch.from_numpy(np.concatenate(arrays))

    owner, row = np.divmod(order, SLAB_SLICES)
    portions = [(rows[int(slab)], row[k : k + 1]) for k, slab in enumerate(owner)]
    names = ("source", "reference", "companion", "source_site", "target_site", "modality")
    columns = {name: column(name) for name in names}
    columns |= {name: column(name)[:, None] for name in ("mask", "reference_mask", "truth")}
    return SiteBatch(**columns)
