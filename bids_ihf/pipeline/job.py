"""The values of a plan: the job of one image, and what a run harmonizes to."""

from __future__ import annotations

from pathlib import Path

from attrs import frozen

from bids_ihf.bids.images import OutputPaths, SourceImage, sidecar_path
from bids_ihf.bids.sidecars import is_finished
from bids_ihf.dwi.outputs import DIFFUSION_MODEL, MATCHED_MODEL
from bids_ihf.io.paths import file_stem
from bids_ihf.targets.target import ANY_MODALITY

HARMONIZE_ACTION = "harmonize"
DONE_ACTION = "skip: done"


@frozen
class ResolvedTarget:
    """What ``--target``, ``--model`` and ``--source-profile`` stand for in a run.

    Attributes
    ----------
    spec
        Vendor or file from which a worker process loads the target.
    name, target_hash, model_name, model_hash
        For the provenance of an image.
    brain_hash, encoder_hash, source_hash
        Hashes of the segmentation network, of the encoder, and of the source profiles.
    modalities
        Modalities that the target has a profile for; ``any`` serves all but diffusion.
    diffusion_hash
        Hash of the target's diffusion profile; empty where it has none.
    map_network
        Whether the network harmonizes the maps of diffusion series.
    matched
        Whether source profile and target hold harmonics of matched people.
    """

    spec: str
    name: str
    target_hash: str
    model_name: str
    model_hash: str
    brain_hash: str
    modalities: tuple[str, ...]
    diffusion_hash: str = ""
    source_hash: str = ""
    encoder_hash: str = ""
    map_network: bool = False
    matched: bool = False

    @property
    def diffusion_model(self) -> str:
        """What harmonizes diffusion series: the shell model, and the network or the harmonics of
        matched people where they can."""
        names = [DIFFUSION_MODEL]
        if self.map_network:
            names.append(self.model_hash)
        if self.matched:
            names.append(MATCHED_MODEL)
        if len(names) > 1:
            names.append(self.target_hash)
        return ", ".join(names)

    def covers(self, modality: str) -> bool:
        """Whether images of this modality can be harmonized."""
        if modality == "dwi":
            return bool(self.diffusion_hash)
        return modality in self.modalities or ANY_MODALITY in self.modalities


@frozen
class SharedScan:
    """One of the scans that share a mapping.

    Attributes
    ----------
    image
        The scan.
    t1w
        T1w image of its session by which it is registered, if any.
    hash
        Configuration hash of the scan alone.
    """

    image: SourceImage
    t1w: SourceImage | None
    hash: str


@frozen
class Job:
    """One image, what is to be done with it, and where the results go.

    Attributes
    ----------
    image
        The image.
    action
        ``harmonize``, or why it is skipped.
    outputs
        Paths of all that is derived from it.
    hash
        Configuration hash: of all that the numbers of the outputs depend on.
    t1w
        T1w image of the same session by which the image is registered, if any.
    source_hash
        Hash of the content of the image.
    scans
        All scans that share a mapping with it, itself included, in an order that is the same for
        each of them; empty where it has its own.
    companions
        Of a diffusion series, the images without weighting that get its intensities.
    """

    image: SourceImage
    action: str
    outputs: OutputPaths
    hash: str = ""
    t1w: SourceImage | None = None
    source_hash: str | None = None
    scans: tuple[SharedScan, ...] = ()
    companions: tuple[Job, ...] = ()

    @property
    def name(self) -> str:
        """File name without extension, as used in messages."""
        return file_stem(self.image.path)

    @property
    def sidecar(self) -> Path:
        """The file that is written last."""
        return sidecar_path(self.outputs.harmonized)

    @property
    def finished(self) -> bool:
        """Whether the outputs of just this configuration exist."""
        return is_finished(self.sidecar, self.hash)
