"""Finding people scanned on several scanners."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from bids_ihf.errors import NothingSelected, UsageError
from bids_ihf.validation.scans import find_studies
from tests.datasets import write_image


def write_scan(root: Path, name: str, **sidecar: object) -> None:
    """A T1w image of noise with a sidecar, by its name without suffix."""
    entities = dict(pair.split("-") for pair in name.split("_"))
    folder = root / f"sub-{entities['sub']}"
    folder = folder / f"ses-{entities['ses']}" if "ses" in entities else folder
    write_image(folder / "anat" / f"{name}_T1w.nii.gz")
    if sidecar:
        (folder / "anat" / f"{name}_T1w.json").write_text(json.dumps(sidecar))


def test_scanners_are_named_by_the_sidecars_and_repeats_numbered(tmp_path: Path) -> None:
    for person in ("01", "02"):
        write_scan(tmp_path, f"sub-{person}_ses-a", Manufacturer="SIEMENS")
        write_scan(tmp_path, f"sub-{person}_ses-b", Manufacturer="GE", MagneticFieldStrength=3)
    write_scan(tmp_path, "sub-02_ses-c", Manufacturer="Siemens Healthineers")
    write_scan(tmp_path, "sub-03_ses-a", Manufacturer="SIEMENS")
    write_scan(tmp_path, "sub-03_ses-b")
    (study,) = find_studies(tmp_path)
    assert study.modality == "T1w"
    assert study.scanners == ["GE 3T", "Siemens"]
    assert study.people == ["01", "02", "03"]
    assert study.travelers == ["01", "02"]
    assert study.usual_scanner() == "Siemens"
    keys = [(scan.person, scan.scanner, scan.number) for scan in study.scans]
    assert ("02", "Siemens", 1) in keys
    assert len(keys) == 6  # that without a scanner is left out
    (first,) = (s for s in study.scans if (s.person, s.scanner, s.number) == ("02", "Siemens", 0))
    assert first.image.session == "a"


def test_entities_name_the_scanner_where_no_sidecar_does(tmp_path: Path) -> None:
    for person in ("01", "02"):
        for scanner in ("prisma", "ingenia"):
            write_scan(tmp_path, f"sub-{person}_acq-{scanner}")
    (study,) = find_studies(tmp_path)
    assert study.scanners == ["ingenia", "prisma"]
    assert study.scanner_source == "entity acq of the file names"


def test_sessions_on_one_known_scanner_are_no_scanners(tmp_path: Path) -> None:
    for person in ("01", "02"):
        for session in ("1", "2"):
            write_scan(tmp_path, f"sub-{person}_ses-{session}", Manufacturer="Philips")
    with pytest.raises(NothingSelected, match=r"0 of 2 people .* scanners: Philips"):
        find_studies(tmp_path)


def test_one_traveler_is_not_enough(tmp_path: Path) -> None:
    write_scan(tmp_path, "sub-01_ses-a", Manufacturer="SIEMENS")
    write_scan(tmp_path, "sub-01_ses-b", Manufacturer="GE")
    write_scan(tmp_path, "sub-02_ses-a", Manufacturer="SIEMENS")
    with pytest.raises(NothingSelected, match="at least 2 are needed"):
        find_studies(tmp_path)


def test_a_column_names_the_scanner(tmp_path: Path) -> None:
    for person in ("01", "02"):
        for session in ("a", "b"):
            write_scan(tmp_path, f"sub-{person}_ses-{session}", Manufacturer="SIEMENS")
        table = tmp_path / f"sub-{person}" / f"sub-{person}_sessions.tsv"
        table.write_text("session_id\tsite\nses-a\tBonn\nses-b\tOslo\n")
    (study,) = find_studies(tmp_path, scanner_column="site")
    assert study.scanners == ["Bonn", "Oslo"]
    scans = tmp_path / "sub-01/ses-a/sub-01_ses-a_scans.tsv"
    scans.write_text("filename\tsite\nanat/sub-01_ses-a_T1w.nii.gz\tKyoto\n")
    (study,) = find_studies(tmp_path, scanner_column="site")
    assert study.scanners == ["Bonn", "Kyoto", "Oslo"]
    with pytest.raises(UsageError, match="--scanner-column"):
        find_studies(tmp_path, scanner_column="sight")


def test_flair_named_t2w_is_compared_with_flair(tmp_path: Path) -> None:
    for person in ("01", "02"):
        for maker, session in (("GE", "a"), ("Philips", "b")):
            folder = tmp_path / f"sub-{person}/ses-{session}/anat"
            name = f"sub-{person}_ses-{session}"
            for suffix, seconds in (("FLAIR", 2.5), ("T2w", 1.8)):
                run = "run-2_" if suffix == "T2w" else ""
                write_image(folder / f"{name}_{run}{suffix}.nii.gz")
                sidecar = {"Manufacturer": maker, "InversionTime": seconds, "RepetitionTime": 9}
                (folder / f"{name}_{run}{suffix}.json").write_text(json.dumps(sidecar))
    (study,) = find_studies(tmp_path, modalities=("T2w", "FLAIR"))
    assert study.modality == "FLAIR"
    assert len(study.scans) == 8
