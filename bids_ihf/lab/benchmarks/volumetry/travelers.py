"""Simulated people on a scanner of each vendor's population, twice each, through ``ihf validate``.

Whole heads, neither stripped nor corrected: brain masks, registration and bias correction are the
product's own.  The second session has another position in the coil and other noise, and tells how
well volumes repeat.
"""

from __future__ import annotations

import csv
import io
import json
import logging
import subprocess
import sys
from typing import TYPE_CHECKING

import nibabel as nib
from attrs import evolve, frozen

from bids_ihf.io.atomic import write_atomic
from bids_ihf.lab.benchmarks.tables import Column, Table
from bids_ihf.lab.benchmarks.virtual_subjects import seed_of
from bids_ihf.lab.benchmarks.volumetry.studies import (
    bids_label,
    volumetric_scanner,
    work_folder,
    write_image,
)
from bids_ihf.lab.simulation.acquisition import scan
from bids_ihf.lab.simulation.label_anatomy import from_labels
from bids_ihf.lab.simulation.metadata import anatomical_sidecar
from bids_ihf.network.checkpoint import load_model
from bids_ihf.pipeline.process import set_up_process
from bids_ihf.targets.target import BUILTIN_VENDORS
from bids_ihf.validation.measuring import Workers
from bids_ihf.validation.outcomes import Settings
from bids_ihf.validation.results import COLUMNS
from bids_ihf.validation.run import (
    IMAGES_FOLDER,
    ValidationPlan,
    measure_dataset,
    write_results,
)

if TYPE_CHECKING:
    from pathlib import Path

    from bids_ihf.lab.simulation.anatomy import Anatomy

LOGGER = logging.getLogger(__name__)

LABELS_SUFFIX = "_dseg.nii.gz"
"""Ends the names of label maps."""

SESSIONS = (1, 2)
"""Sessions on each scanner."""

MM3_PER_ML = 1000.0


@frozen
class TravelersPlan:
    """What is simulated and measured.

    Attributes
    ----------
    labels, people
        Folder of the label maps, and the heads.
    averaged
        Voxels of the label map along each axis that make one of the scan.
    segmenter
        A program ``SEGMENTER OUT.tsv IMAGE...`` that writes a table of volumes (mL) with a column
        ``image``, another judge of volumes; None: none.
    seed
        Of scanners, positions and noise.
    records
        Folder for what is made on the way.
    """

    labels: Path
    people: tuple[str, ...]
    averaged: int
    segmenter: Path | None
    seed: int
    records: Path


def measure_travelers(plan: TravelersPlan) -> dict[str, Table]:
    """The tables of ``ihf validate``, by name."""
    model = load_model(None, device="cpu")
    folder = work_folder(plan.records, model, plan.seed, plan.averaged, *plan.people)
    dataset, out = folder / "dataset", folder / "validation"
    for name in plan.people:
        _write_person(dataset, plan, name)
    validation = ValidationPlan(
        dataset, out, modalities=("T1w",),
        settings=Settings(atropos=True, images_dir=out / IMAGES_FOLDER),
    )  # fmt: skip
    findings = measure_dataset(validation, Workers(1, lambda: set_up_process(0)))
    write_results(findings, validation)  # even if the other program fails
    if plan.segmenter is not None:
        tables = [
            _segmented(plan.segmenter, root, folder / f"segmenter_{stage}.tsv")
            for stage, root in (("before", dataset), ("after", out / IMAGES_FOLDER))
        ]
        write_results(
            findings, evolve(validation, volumes_before=tables[0], volumes_after=tables[1])
        )
    return {f"travelers_{name}": _table(out, name) for name in ("volumes", "pairs", "probes")}


def _write_person(dataset: Path, plan: TravelersPlan, name: str) -> None:
    """Scans of a head on all scanners."""
    label, anatomy = bids_label(name), None
    for vendor in BUILTIN_VENDORS:
        for session in SESSIONS:
            stem = f"sub-{label}_ses-{vendor.lower()}{session}"
            path = dataset / f"sub-{label}/ses-{vendor.lower()}{session}/anat/{stem}_T1w.nii.gz"
            if path.is_file():
                continue
            anatomy = anatomy or _anatomy(plan, name)
            _write_scan(path, anatomy, vendor, plan.seed, f"{name} {session}")
            LOGGER.info("Simulated %s", path.name)


def _anatomy(plan: TravelersPlan, name: str) -> Anatomy:
    path = plan.labels / f"{name}{LABELS_SUFFIX}"
    anatomy = from_labels(path, seed=seed_of(plan.seed, name))
    return anatomy.averaged((plan.averaged,) * 3)


def _write_scan(path: Path, anatomy: Anatomy, vendor: str, seed: int, visit: str) -> None:
    """A scan by the one scanner of a vendor that all people visit, and its sidecar."""
    scanner = volumetric_scanner(vendor, seed=seed)
    scanner = evolve(scanner, field_seed=seed_of(seed, vendor, visit, "position"))
    data = scan(anatomy, scanner, seed_of(seed, vendor, visit, "noise"))
    sidecar = anatomical_sidecar(scanner.protocol, slice_thickness=float(anatomy.zooms[0]))
    text = json.dumps(sidecar | {"DeviceSerialNumber": f"{seed}"}, indent=2)
    write_atomic(path.with_name(path.name.replace(".nii.gz", ".json")), text.encode())
    image = nib.Nifti1Image(data, anatomy.affine)
    image.set_sform(anatomy.affine, code="scanner")
    write_image(path, image)


def _segmented(segmenter: Path, root: Path, table: Path) -> Path:
    """Volumes (mm3) of all T1w images of a dataset by another program, unless the table is newer
    than they are."""
    images = sorted(root.glob("sub-*/ses-*/anat/*_T1w.nii.gz"))
    if table.is_file() and all(table.stat().st_mtime > i.stat().st_mtime for i in images):
        return table
    raw = table.with_suffix(".ml.tsv")
    subprocess.run([sys.executable, segmenter, raw, *images], check=True)  # noqa: S603
    with raw.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file, delimiter="\t"))
    names = [name for name in rows[0] if name != "image"]
    content = io.StringIO(newline="")
    writer = csv.writer(content, delimiter="\t")
    writer.writerow(["filename", *names])
    for row in rows:
        name = row["image"].rsplit("/", 1)[-1]
        writer.writerow([name, *(MM3_PER_ML * float(row[key]) for key in names)])
    write_atomic(table, content.getvalue().encode())
    return table


def _table(folder: Path, name: str) -> Table:
    """A table that ``ihf validate`` has written, and its columns."""
    dictionary = json.loads((folder / f"validation_{name}.json").read_text(encoding="utf-8"))
    with (folder / f"validation_{name}.tsv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file, delimiter="\t"))
    columns = {
        key: Column(
            entry["Description"], entry.get("Units"), entry.get("LongName"), entry.get("Levels")
        )
        for key, entry in dictionary.items()
        if key in COLUMNS[name]
    }
    return Table(rows, columns)
