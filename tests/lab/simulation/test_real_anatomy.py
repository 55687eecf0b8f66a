"""A scan becomes an anatomy that, scanned again, is like the scan."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch
from attrs import evolve
from scipy import ndimage

from bids_ihf.errors import BadData
from bids_ihf.lab.simulation.acquisition import scan
from bids_ihf.lab.simulation.real_anatomy import from_scan
from bids_ihf.lab.simulation.tissues import TISSUE_INDEX
from bids_ihf.lab.simulation.vendor_scanners import typical_scanner
from tests.lab.phantoms import folded_person, prepared, random_texture

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from bids_ihf.lab.simulation.anatomy import Anatomy
    from bids_ihf.lab.simulation.scanner import Scanner


@pytest.fixture(scope="module")
def person() -> Anatomy:
    return folded_person()


@pytest.fixture(scope="module")
def scanner() -> Scanner:
    """A typical scanner without fields, whose noise is a little below the texture."""
    typical = typical_scanner("Siemens", "T1w", 0)
    return evolve(typical, noise=0.01, receive_bias=0.0, receive_edge=0.0, transmit_bias=0.0)


def detail(image: NDArray[np.float32]) -> NDArray[np.float32]:
    """What varies within 4 mm."""
    return np.asarray(image - ndimage.gaussian_filter(image, 4.0))


def correlation(
    first: NDArray[np.float32], second: NDArray[np.float32], where: NDArray[np.bool_]
) -> float:
    return float(np.corrcoef(first[where], second[where])[0, 1])


def deep_white_matter(person: Anatomy) -> NDArray[np.bool_]:
    white = person.fractions[TISSUE_INDEX["white"]].numpy() > 0.99
    return np.asarray(ndimage.binary_erosion(white, iterations=2))


def test_a_second_scan_shows_the_same_person(
    person: Anatomy, scanner: Scanner, tmp_path: Path
) -> None:
    image = scan(person, scanner, 1)
    real = from_scan(prepared(person, image, tmp_path / "a.nii.gz"), scanner.protocol)
    brain = person.brain.numpy()
    other = evolve(real, texture=random_texture(4, brain))
    again, otherwise = (detail(scan(anatomy, scanner, 2)) for anatomy in (real, other))
    white = deep_white_matter(person)
    for where, least, gain in ((brain, 0.9, 0.02), (white, 0.8, 0.08)):
        with_texture = correlation(again, detail(image), where)
        assert with_texture > least
        assert with_texture > correlation(otherwise, detail(image), where) + gain


def test_tissues_and_texture_are_those_of_the_person(
    person: Anatomy, scanner: Scanner, tmp_path: Path
) -> None:
    image = scan(person, scanner, 1)
    real = from_scan(prepared(person, image, tmp_path / "a.nii.gz"), scanner.protocol)
    np.testing.assert_allclose(real.fractions.sum(dim=0).numpy(), 1, atol=1e-5)
    for name in ("grey", "white", "csf"):
        true, estimate = (
            anatomy.fractions[TISSUE_INDEX[name]].numpy() for anatomy in (person, real)
        )
        assert correlation(true, estimate, person.brain.numpy()) > 0.85
    white = deep_white_matter(person)
    assert correlation(real.texture.numpy(), detail(person.texture.numpy()), white) > 0.6


def test_noise_is_no_texture(person: Anatomy, scanner: Scanner, tmp_path: Path) -> None:
    plain = evolve(person, texture=torch.zeros_like(person.texture))
    image = scan(plain, scanner, 1)
    real = from_scan(prepared(plain, image, tmp_path / "a.nii.gz"), scanner.protocol)
    textured = from_scan(
        prepared(person, scan(person, scanner, 1), tmp_path / "a.nii.gz"), scanner.protocol
    )
    white = deep_white_matter(person)
    noise, texture = (float(anatomy.texture.numpy()[white].std()) for anatomy in (real, textured))
    assert noise < 0.5 * texture


def test_a_scan_without_t1w_contrast(person: Anatomy, tmp_path: Path) -> None:
    scanner = typical_scanner("Siemens", "T2w", 0)
    image = scan(person, scanner, 1)
    with pytest.raises(BadData, match="contrast of a T1w"):
        from_scan(prepared(person, image, tmp_path / "a.nii.gz"), scanner.protocol)
