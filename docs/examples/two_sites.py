"""Simulate two sites to try training on: ``python two_sites.py FOLDER``.

``FOLDER/bids`` holds six subjects, three scanned at one site and three at the other, as in most
studies.  ``FOLDER/travelling`` holds a seventh, scanned at both and kept out of training: the
difference between the two scans is what harmonization should remove.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import nibabel as nib
import numpy as np
from attrs import evolve

from bids_ihf.lab.simulation.acquisition import scan
from bids_ihf.lab.simulation.anatomy import Anatomy
from bids_ihf.lab.simulation.demo_anatomy import demo_anatomy
from bids_ihf.lab.simulation.label_anatomy import from_labels
from bids_ihf.lab.simulation.metadata import anatomical_sidecar
from bids_ihf.lab.simulation.protocol import Protocol
from bids_ihf.lab.simulation.scanner import Scanner
from bids_ihf.lab.simulation.template_head import TemplateHead, draw_template_head

# Neither is like a scanner of Siemens, GE or Philips.  The names only label them.
SITES = {
    "Hitachi": Scanner(
        Protocol("Hitachi", 1.5, "SPGR", echo_time=0.004, repetition_time=0.020, flip_angle=25),
        psf=(1.5, 1.5, 1.5),
        pixel=(1.1, 1.25, 1.1),
        noise=0.025,
        fat=0.35,
        units=2600.0,
    ),
    "Canon": Scanner(
        Protocol(
            "Canon", 3.0, "MPRAGE",
            echo_time=0.0025, repetition_time=2.2, flip_angle=10, inversion_time=0.85,
            echo_spacing=0.0065, echoes=160, centre=0.3,
        ),
        psf=(0.7, 0.7, 0.7),
        noise=0.035,
        fat=0.7,
        gamma=0.9,
        units=420.0,
    ),
}  # fmt: skip
SUBJECT_SITES = {
    "a": "Hitachi",
    "b": "Hitachi",
    "c": "Hitachi",
    "d": "Canon",
    "e": "Canon",
    "f": "Canon",
}
TRAVELING_SUBJECT = "t"


def subject_anatomy(label: str, zoom: float, source: list[Path] | TemplateHead) -> Anatomy:
    """The anatomy of a subject: from its label map, or the template head deformed."""
    number = "abcdeft".index(label)
    if not isinstance(source, TemplateHead):
        return from_labels(source[number], seed=number)
    shape = tuple(round(mm / zoom / 8) * 8 for mm in (192, 240, 224))
    affine = np.diag([zoom, zoom, zoom, 1.0])
    affine[:3, 3] = -zoom * (np.array(shape) - 1) / 2 + [0, -18, -8]
    return demo_anatomy(source, 100 + number, shape=(shape[0], shape[1], shape[2]), affine=affine)


def write_scan(folder: Path, stem: str, anatomy: Anatomy, site: str, seed: int) -> None:
    """One scan and its sidecar; coil fields differ from visit to visit, units do not."""
    scanner = evolve(SITES[site], field_seed=seed, receive_bias=0.05, receive_edge=0.05)
    folder.mkdir(parents=True)
    data = scan(anatomy, scanner, seed)
    white = anatomy.fraction("white") > 0.95
    data *= scanner.units / np.median(data[white & anatomy.brain.numpy()])
    image = nib.Nifti1Image(data.clip(0, 32767).astype(np.int16), anatomy.affine)
    image.header.set_xyzt_units("mm", "sec")
    nib.save(image, folder / f"{stem}_T1w.nii.gz")
    (folder / f"{stem}_T1w.json").write_text(
        json.dumps(anatomical_sidecar(scanner.protocol), indent=2)
    )


def write_root(folder: Path, subjects: list[str]) -> None:
    """The dataset files that BIDS requires."""
    folder.mkdir(parents=True)
    description = {"Name": "Simulated sites", "BIDSVersion": "1.10.0", "DatasetType": "raw"}
    (folder / "dataset_description.json").write_text(json.dumps(description, indent=2))
    (folder / "README.md").write_text("Simulated scans of simulated subjects.\n")
    rows = "".join(f"sub-{label}\n" for label in subjects)
    (folder / "participants.tsv").write_text("participant_id\n" + rows)


def main() -> None:
    """Write both datasets."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("folder", type=Path, metavar="FOLDER", help="new folder")
    parser.add_argument("--zoom", type=float, default=1.0, metavar="MM", help="voxel size")
    parser.add_argument("--labels", type=Path, nargs=7, default=[], metavar="DSEG", help="heads")
    arguments = parser.parse_args()
    bids, travelling = arguments.folder / "bids", arguments.folder / "travelling"
    source = arguments.labels or draw_template_head()
    write_root(bids, list(SUBJECT_SITES))
    for seed, (label, site) in enumerate(SUBJECT_SITES.items()):
        anatomy = subject_anatomy(label, arguments.zoom, source)
        write_scan(bids / f"sub-{label}/anat", f"sub-{label}", anatomy, site, seed)
    write_root(travelling, [TRAVELING_SUBJECT])
    anatomy = subject_anatomy(TRAVELING_SUBJECT, arguments.zoom, source)
    for seed, site in enumerate(SITES, start=len(SUBJECT_SITES)):
        session = f"ses-{site.lower()}"
        folder = travelling / f"sub-{TRAVELING_SUBJECT}/{session}/anat"
        write_scan(folder, f"sub-{TRAVELING_SUBJECT}_{session}", anatomy, site, seed)


if __name__ == "__main__":
    main()
