"""What is fuzzed: each function takes bytes, makes a file of them, and must end as documented.

``python -m tests.reliability.fuzzing header -runs=100000`` lets atheris look for the bytes, where
it is installed; the tests let hypothesis do it.
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch

from bids_ihf.bids.filters import matches, read_filters
from bids_ihf.bids.names import derivative_name, parse_name
from bids_ihf.errors import BadData, HarmonyError, InvalidBIDS, UsageError
from bids_ihf.io.nifti import read_volume
from bids_ihf.io.tensors import to_safetensors
from bids_ihf.targets.intensity import HISTOGRAM_BINS
from bids_ihf.targets.target_file import TARGET_FORMAT, read_target
from tests.reliability import bad_images

if TYPE_CHECKING:
    from collections.abc import Callable

NAME = parse_name("sub-01_ses-A_run-1_T1w.nii.gz")


def sentence(error: HarmonyError) -> None:
    """An error that a user can mend is one line."""
    assert len(str(error).splitlines()) == 1


def _file(name: str, data: bytes) -> Path:
    path = Path(tempfile.gettempdir()) / f"ihf-fuzz-{os.getpid()}-{name}"
    path.write_bytes(data)
    return path


def header(data: bytes) -> None:
    """A good image with bytes of its header replaced: pairs of a place and a value."""
    whole = bytearray(bad_images.content())
    for place, value in zip(data[::3], data[1::3], strict=False):
        whole[(place * 2 + value) % 352] = value
    for name, content in (("a.nii", bytes(whole)), ("b.nii.gz", bad_images.packed(bytes(whole)))):
        image(name, content)


def image(name: str, content: bytes) -> None:
    """Any file that is said to be an image."""
    try:
        volume = read_volume(_file(name, content))
    except BadData as error:
        sentence(error)
    else:
        assert volume.data.ndim == 3
        assert np.isfinite(volume.data).all()
        assert np.isfinite(volume.affine).all()


def file(data: bytes) -> None:
    """Bytes that are said to be an image."""
    image("c.nii", data)
    image("d.nii.gz", data)


def name(data: bytes) -> None:
    """A file name; what is derived from it stays in its folder."""
    text = data.decode("utf-8", errors="replace")
    try:
        found = parse_name(text)
    except InvalidBIDS:
        return
    derived = derivative_name(found, add={"desc": "harmonized"}, extension=".nii.gz")
    assert "/" not in derived
    assert ".." not in derived.split("_")[0]
    assert parse_name(derived).get("desc") == "harmonized"


def filters(data: bytes) -> None:
    """A filter file."""
    try:
        found = read_filters(_file("filter.json", data))
    except UsageError as error:
        sentence(error)
        return
    for query in found.values():
        assert matches(NAME, {"EchoTime": 0.003}, query) in (True, False)


@cache
def good_target() -> bytes:
    """A small target file."""
    tensors = {
        "T1w.positions": torch.arange(3),
        "T1w.histograms": torch.ones(3, HISTOGRAM_BINS),
        "T1w.embeddings": torch.ones(3, 4).half(),
        "T1w.landmarks": torch.ones(3),
        "T1w.tissues": torch.ones(3, HISTOGRAM_BINS),
        "T1w.scale": torch.tensor([0.0, 9.0]),
    }
    shell = {"b": 1000.0, "fibrous": 7e-4, "other": 8e-4, "anisotropy": None}
    record = {"diffusion": {"levels": [1.0, 2.0], "floor": 0.5, "shells": [shell]}}
    return to_safetensors(
        tensors, {"format": TARGET_FORMAT, "name": "x", "encoder": "e", "record": record}
    )


def target(data: bytes) -> None:
    """A good target file with bytes replaced, and cut where the last byte says so."""
    content = bytearray(good_target())
    for number in range(0, len(data) - 3, 4):
        place = int.from_bytes(data[number : number + 3], "little") % len(content)
        content[place] = data[number + 3]
    cut = data[-1] if data else 0
    changed = bytes(content[: len(content) - cut] if cut < 128 else content)
    try:
        found = read_target(_file("target.safetensors", changed))
    except BadData as error:
        sentence(error)
    else:
        whole = read_target(_file("whole.safetensors", good_target()))
        assert (found.name, found.encoder_hash, found.hash) == (
            whole.name,
            whole.encoder_hash,
            whole.hash,
        )
        assert json.dumps(found.record) == json.dumps(whole.record)


TARGETS: dict[str, Callable[[bytes], None]] = {
    "header": header,
    "file": file,
    "name": name,
    "filters": filters,
    "target": target,
}


def main() -> None:
    """Fuzz one of the targets until something falls, or as long as atheris is told."""
    import atheris  # type: ignore[import-not-found]

    chosen = TARGETS[sys.argv.pop(1)]
    atheris.instrument_all()
    atheris.Setup(sys.argv, chosen)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
