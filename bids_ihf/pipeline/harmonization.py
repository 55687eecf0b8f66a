"""How an image is harmonized once it is prepared, in the BIDS App and for a single image alike."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from typing import TypeVar

from attrs import frozen

from bids_ihf.anat.harmonize import Harmonized, harmonize
from bids_ihf.dwi.place_change import MapNetwork
from bids_ihf.dwi.series import HarmonizedSeries, MatchedPair, SeriesSink, harmonize_series
from bids_ihf.dwi.series_fit import FittedSeries, OnVolume
from bids_ihf.errors import TemporaryFailure
from bids_ihf.network.checkpoint import ModelBundle
from bids_ihf.preprocessing.prepare import Prepared
from bids_ihf.targets.map_profiles import has_maps, serves_series
from bids_ihf.targets.source_profile import diffusion_source_of, source_profile_of
from bids_ihf.targets.target import Target
from bids_ihf.targets.target_file import vendor_target
from bids_ihf.targets.tissue_priors import modality_by_contrast

LOGGER = logging.getLogger(__name__)

AnyHarmonized = TypeVar("AnyHarmonized", Harmonized, HarmonizedSeries)

NO_MAPS_TEXT = (
    "%s: the target %s has no statistics of the maps of diffusion series, so the shell model "
    "alone is applied; build the target again to use the network."
)


@frozen(eq=False)
class Harmonization:
    """What images are harmonized to, and with what.

    Attributes
    ----------
    target
        The target.
    source
        Target built from other participants' images of the source scanner; None: the profile of
        its vendor is used.
    load_model
        Loads the network on a device.
    device
        ``auto``, ``cpu``, ``cuda`` or ``cuda:N``.
    batch_size
        Slices in the network at once.
    threads
        Batches of them at a time, on the CPU.
    """

    target: Target
    source: Target | None
    load_model: Callable[[str], ModelBundle]
    device: str = "auto"
    batch_size: int = 8
    threads: int = 1

    def harmonize_anat(
        self, prepared: Prepared, modality: str, vendor: str,
        before: Sequence[Prepared] = (), after: Sequence[Prepared] = (),
    ) -> tuple[Harmonized, str]:  # fmt: skip
        """A harmonized anatomical image, and the device: the CPU where ``auto`` finds a full GPU.

        ``before`` and ``after`` are further scans that share the mapping.

        Raises
        ------
        BadData
            The image cannot be used, or the target has no profile of its modality.
        TemporaryFailure
            The device that was named is full.
        """
        modality = modality_by_contrast(modality, prepared)

        def harmonize_on(device: str) -> Harmonized:
            model = self.load_model(device)
            typical = vendor_target(vendor, model.encoder_hash)
            return harmonize(
                prepared,
                self.target.profile(modality),
                model,
                modality=modality,
                source=source_profile_of(self.source, modality)
                or source_profile_of(typical, modality),
                batch_size=self.batch_size,
                threads=self.threads,
                before=before,
                after=after,
            )

        return self._on_device(harmonize_on, prepared.volume.path.name)

    def harmonize_series(
        self,
        fitted: FittedSeries,
        prepared: Prepared,
        vendor: str,
        sink: SeriesSink,
        on_volume: OnVolume | None = None,
    ) -> HarmonizedSeries:
        """Harmonize a fitted diffusion series into a sink of volumes.

        Raises
        ------
        BadData
            A volume has changed since it was first read.
        TemporaryFailure
            The device that was named is full.
        """
        scanner = diffusion_source_of(self.source) or diffusion_source_of(vendor_target(vendor))
        matched = matched_pair(self.source, self.target)

        def harmonize_on(device: str) -> HarmonizedSeries:
            network = self._map_network(device, fitted.series.path.name)
            target = self.target.diffusion_profile()
            return harmonize_series(
                fitted, prepared, target, scanner, sink, on_volume, network, matched
            )

        return self._on_device(harmonize_on, fitted.series.path.name)[0]

    def _on_device(
        self, harmonize_on: Callable[[str], AnyHarmonized], name: str
    ) -> tuple[AnyHarmonized, str]:
        """What a function of the device returns, and the device: the CPU where ``auto`` finds a
        full GPU."""
        device = choose_device(self.device)
        try:
            return harmonize_on(device), device
        except TemporaryFailure as error:
            if self.device != "auto" or device == "cpu":
                raise
            LOGGER.warning("%s: %s Continuing on the CPU.", name, error)
            return harmonize_on("cpu"), "cpu"

    def _map_network(self, device: str, name: str) -> MapNetwork | None:
        """The network for the maps of series; None where it, or the target, knows none."""
        model = self.load_model("cpu")
        if not serves_series(model):
            return None
        if not has_maps(self.target.profiles):
            LOGGER.warning(NO_MAPS_TEXT, name, self.target.name)
            return None
        return MapNetwork(
            self.load_model(device), self.target.profiles, self.batch_size, self.threads
        )


def matched_pair(source: Target | None, target: Target) -> MatchedPair | None:
    """Harmonics of matched people of a source profile and a target; None unless both have them."""
    if source is None or source.matched is None or target.matched is None:
        return None
    return source.matched, target.matched


def choose_device(device: str) -> str:
    """The device to use: ``auto`` is a CUDA device where there is one."""
    if device != "auto":
        return device
    import torch

    return "cuda" if torch.cuda.is_available() else "cpu"
