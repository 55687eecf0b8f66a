"""A small simulated dataset, harmonized once by the installed command."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import nibabel
import numpy as np
import pytest
from attrs import frozen

if TYPE_CHECKING:
    from collections.abc import Sequence

BIN = Path(sys.executable).parent
ZOOM = 4.0
PLAIN = ("--n-procs", "1", "--device", "cpu", "--skip-bids-validation")
QUICK = (*PLAIN, "--preprocessed")
"""Without mask, bias field and alignment, which one run with all of them is enough for."""


SLAB_HALF_MM = (40, 56, 20)
"""Half the lengths of what is left of a head along its axes, mm."""


@frozen
class Done:
    """What a command left: exit code and what it said."""

    code: int
    out: str
    err: str

    @property
    def last(self) -> str:
        """The last line of standard error."""
        return self.err.strip().splitlines()[-1] if self.err.strip() else ""


def command(name: str, *words: str | Path, folder: Path | None = None) -> Done:
    """Run an installed command of the package."""
    done = subprocess.run(
        [str(BIN / name), *map(str, words)],
        capture_output=True,
        text=True,
        check=False,
        cwd=folder,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        timeout=900,
    )
    return Done(done.returncode, done.stdout, done.stderr)


@frozen
class App:
    """``ihf-harmony`` with a work folder of its own."""

    work: Path

    def __call__(
        self, bids: Path, out: Path, *words: str | Path, options: Sequence[str] = QUICK
    ) -> Done:
        """Run the participant level."""
        return command("ihf-harmony", bids, out, "participant", "-w", self.work, *words, *options)


@pytest.fixture(scope="session")
def app(tmp_path_factory: pytest.TempPathFactory) -> App:
    """The installed BIDS App."""
    return App(tmp_path_factory.mktemp("work"))


@pytest.fixture(scope="session")
def bids(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One person on three scanners, T1w and T2w, with coarse voxels."""
    folder = tmp_path_factory.mktemp("demo") / "bids"
    kinds = ("--modalities", "T1w", "T2w", "dwi")
    done = command("ihf", "demo-data", folder, "--subjects", "1", "--zoom", str(ZOOM), *kinds)
    assert done.code == 0, done.err
    return folder


@pytest.fixture(scope="session")
def stripped(bids: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same, T1w and T2w as if stripped before: a slab of 40 mm, of which less has to be read,
    encoded and harmonized than of a head."""
    folder = tmp_path_factory.mktemp("stripped") / "bids"
    shutil.copytree(bids, folder)
    for path in folder.glob("sub-*/ses-*/anat/*.nii.gz"):
        image = nibabel.load(path)
        data = np.zeros(image.shape, dtype=np.float32)
        inside = tuple(
            slice(size // 2 - round(half / ZOOM), size // 2 + round(half / ZOOM))
            for size, half in zip(image.shape, SLAB_HALF_MM, strict=True)
        )
        data[inside] = np.asarray(image.dataobj)[inside]
        nibabel.save(nibabel.Nifti1Image(data, image.affine), path)
    return folder


@frozen
class Run:
    """A finished run and its output folder."""

    done: Done
    out: Path


@pytest.fixture(scope="session")
def run(app: App, bids: Path, tmp_path_factory: pytest.TempPathFactory) -> Run:
    """T1w and T2w of one session harmonized by worker processes, input validated."""
    out = tmp_path_factory.mktemp("result") / "out"
    options = ("--n-procs", "2", "--output-spaces", "MNI152NLin2009aSym")
    words = ("--target", "siemens", "--session-label", "ge")
    return Run(app(bids, out, *words, options=options), out)


@pytest.fixture
def series(bids: Path, tmp_path: Path) -> Path:
    """The diffusion series of two sessions, without the anatomical images."""
    root = tmp_path / "series"
    for session in ("ge", "siemens"):
        shutil.copytree(bids / f"sub-01/ses-{session}/dwi", root / f"sub-01/ses-{session}/dwi")
    for path in bids.iterdir():
        if path.is_file():
            shutil.copy(path, root / path.name)
    for path in root.glob("**/*_dwi.nii.gz"):  # as if stripped and corrected before
        image = nibabel.load(path)
        data = np.asarray(image.dataobj)
        b0 = data[..., 0]
        nibabel.save(
            nibabel.Nifti1Image(
                data * (b0 > 0.3 * np.percentile(b0, 99))[..., None], image.affine
            ),
            path,
        )
    return root
