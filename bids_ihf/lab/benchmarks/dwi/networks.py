"""The network as a method of the diffusion benchmark."""

from __future__ import annotations

from typing import TYPE_CHECKING

import nibabel as nib
import numpy as np

from bids_ihf.dwi.place_change import MapNetwork, place_ratios
from bids_ihf.dwi.shared_maps import harmonized_maps
from bids_ihf.errors import BadData
from bids_ihf.io.nifti import Volume
from bids_ihf.network.checkpoint import load_model
from bids_ihf.preprocessing.prepare import Prepared
from bids_ihf.targets.map_profiles import has_maps, knows_maps
from bids_ihf.targets.target import BUILTIN_VENDORS
from bids_ihf.targets.target_file import read_target

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from bids_ihf.dwi.harmonize import PlaceRatios
    from bids_ihf.dwi.shell_fit import ShellFit
    from bids_ihf.dwi.shell_plan import ShellPlan
    from bids_ihf.lab.benchmarks.dwi.traveling_subjects import DiffusionScan, DiffusionSubject


def vendor_networks(folder: Path) -> dict[str, MapNetwork]:
    """The network of a folder of 'ihf train', with each vendor's target.

    Raises
    ------
    BadData
        A file is missing or altered, or network and targets know no diffusion.
    """
    model = load_model(folder / "network.safetensors")
    targets = {
        vendor: read_target(folder / f"target-{vendor.lower()}.safetensors")
        for vendor in BUILTIN_VENDORS
    }
    if not knows_maps(model) or not all(has_maps(target.profiles) for target in targets.values()):
        raise BadData(f"{folder}: was not trained on diffusion; name modalities in its [data].")
    return {vendor: MapNetwork(model, target.profiles) for vendor, target in targets.items()}


def ratios_by_network(
    fits: Sequence[ShellFit],
    plan: ShellPlan,
    scan: DiffusionScan,
    subject: DiffusionSubject,
    network: MapNetwork,
) -> PlaceRatios | None:
    """What the network changes after a plan, in the voxels of the brain."""
    brain = subject.brain
    no_bias = np.ones(int(brain.sum()), dtype=np.float32)
    return place_ratios(
        harmonized_maps(fits, plan, no_bias),
        tuple(fit.shell.b for fit in fits[1:]),
        prepared_series(scan, subject),
        brain,
        subject.inside[brain],
        network,
    )


def prepared_series(scan: DiffusionScan, subject: DiffusionSubject) -> Prepared:
    """The mean b0 as if preprocessing had made no error.

    The anatomies lie upright, so their place in the template is taken from the centre of the
    brain: the network needs the axial coordinate, to some millimetres.
    """
    affine = subject.anatomy.affine
    data: NDArray[np.float32] = scan.volumes[scan.shells[0].volumes].mean(axis=0)
    volume = Volume(data, affine, nib.Nifti1Image(data, affine).header, subject.path)
    return Prepared(
        volume, np.ones_like(data), subject.brain, None, stripped=False,
        to_template=subject.to_template, similarity=None,
    )  # fmt: skip
