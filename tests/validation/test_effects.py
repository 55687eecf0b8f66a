"""Effects of a column on volumes, and probes for the scanner."""

from __future__ import annotations

import numpy as np
import pytest

from bids_ihf.validation.effects import encode_column, estimate_effect
from bids_ihf.validation.probes import probe_scanner


def test_a_slope_that_was_put_in() -> None:
    age = np.linspace(20, 80, 30)
    volumes = 600 - 1.5 * (age - 50)
    people = np.arange(30).astype(str)
    effect = estimate_effect(volumes, age, np.empty((30, 0)), people)
    assert effect is not None
    assert effect.slope.value == pytest.approx(-100 * 1.5 / 600)
    assert effect.people == 30


def test_copies_of_images_add_no_certainty() -> None:
    """Errors follow the people, not the images: each image three times over changes nothing but
    the correction for the number of images."""
    rng = np.random.default_rng(0)
    age = rng.uniform(20, 80, 40)
    volumes, people = 600 - age + rng.normal(0, 20, 40), np.arange(40).astype(str)
    single = estimate_effect(volumes, age, np.empty((40, 0)), people)
    triple = estimate_effect(
        np.tile(volumes, 3), np.tile(age, 3), np.empty((120, 0)), np.tile(people, 3)
    )
    assert single is not None
    assert triple is not None
    assert triple.slope.value == pytest.approx(single.slope.value)
    width = [effect.slope.high - effect.slope.low for effect in (single, triple)]
    assert width[1] == pytest.approx(width[0], rel=0.03)


def test_intervals_cover_the_truth() -> None:
    rng, covered = np.random.default_rng(1), 0
    people = np.repeat(np.arange(20), 2).astype(str)
    for _ in range(200):
        age = np.repeat(rng.uniform(20, 80, 20), 2)
        person = np.repeat(rng.normal(0, 20, 20), 2)
        volumes = 600 - (age - 50) + person + rng.normal(0, 5, 40)
        effect = estimate_effect(volumes, age, np.empty((40, 0)), people)
        assert effect is not None
        truth = -100 / volumes.mean()
        covered += effect.slope.low <= truth <= effect.slope.high
    assert 0.88 < covered / 200 < 0.99


def test_too_few_people_or_no_variance() -> None:
    ages, nothing = np.arange(9.0), np.empty((9, 0))
    assert estimate_effect(ages, ages, nothing, np.arange(9)) is None
    constant = np.ones(12)
    assert estimate_effect(np.arange(12.0), constant, np.empty((12, 0)), np.arange(12)) is None


def test_columns_that_are_neither_numbers_nor_two_categories() -> None:
    assert encode_column(["a", "b", "c"]) is None
    assert encode_column(["5", "5"]) is None
    encoded = encode_column(["patient", "control", "n/a"])
    assert encoded is not None
    assert encoded[1] == "patient against control"
    assert np.isnan(encoded[0][2])


def test_a_scanner_that_shows_is_named_and_noise_is_not() -> None:
    rng = np.random.default_rng(0)
    people = np.repeat([f"{number:02d}" for number in range(12)], 2)
    scanners = np.tile(["A", "B"], 12)
    noise = rng.normal(size=(24, 5))
    shown = noise + np.outer(scanners == "B", [3.0, 0, 0, 0, 0])
    probe, blind = (probe_scanner(rows, scanners, people) for rows in (shown, noise))
    assert probe is not None
    assert blind is not None
    assert probe.accuracy.value > probe.permuted
    assert probe.accuracy.value > 0.85
    assert blind.accuracy.value <= blind.permuted
    assert blind.accuracy.low < 0.5
    assert probe_scanner(noise[:2], scanners[:2], people[:2]) is None
