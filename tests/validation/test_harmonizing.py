"""What is known of a scanner from several scans by it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from bids_ihf.validation.harmonizing import site_target
from bids_ihf.validation.outcomes import Reading
from bids_ihf.validation.scans import Scan
from tests.anat.test_harmonize import head, target_of, tiny_model
from tests.validation.test_volume_files import scan


def test_scans_in_other_units_have_their_share_of_the_histogram() -> None:
    values = np.linspace(200, 600, 101)
    profile = target_of(head(), tiny_model(identity=True))
    readings = [
        Reading(
            Scan(scan(f"sub-{number}_T1w").image, "Philips"), Path("-"), profile,
            unit * values, (0.0, unit * 900),
        )
        for number, unit in enumerate((1.0, 1.0, 3.0))
    ]  # fmt: skip
    target = site_target("Philips", readings)
    assert len(target.brain_values) == 3 * 101
    assert np.unique(target.brain_values.round(6)) == pytest.approx(values)
    assert target.limits == pytest.approx((0, 900))
