"""Scans of a person that share one mapping."""

from __future__ import annotations

import attrs
import numpy as np

from bids_ihf.anat.harmonize import harmonize
from bids_ihf.anat.intensity_matching import match_together
from bids_ihf.preprocessing.prepare import Prepared
from bids_ihf.targets.network_input import to_network_input
from tests.anat.test_harmonize import head, target_of, tiny_model


def with_atrophy(scan: Prepared, gain: float = 1.0) -> Prepared:
    """The scan with a larger dark core, in other units."""
    data = scan.volume.data.copy()
    core = np.stack(np.meshgrid(*[np.linspace(-1.3, 1.3, n) for n in data.shape], indexing="ij"))
    radius = np.sqrt((core**2).sum(axis=0))
    data[(radius >= 0.35) & (radius < 0.4)] = np.median(data[radius < 0.35])
    volume = attrs.evolve(scan.volume, data=data * np.float32(gain))
    return attrs.evolve(scan, volume=volume)


def test_all_scans_get_one_curve_and_one_condition() -> None:
    model = tiny_model(identity=False)
    target = target_of(head(seed=1, gamma=1.5), model)
    visits = [to_network_input(scan) for scan in (head(), with_atrophy(head()))]
    first, second = (match_together(visits, index, target, model) for index in (0, 1))
    alone = match_together(visits[1:], 0, target, model)
    for name in ("input_knots", "output_knots"):
        assert np.array_equal(getattr(first.curve, name), getattr(second.curve, name))
    assert np.array_equal(first.matched.embeddings, second.matched.embeddings)
    assert first.scanner_weight == second.scanner_weight
    assert first.matched.scan_count == 1  # they are one subject
    assert not np.array_equal(alone.matched.embeddings, second.matched.embeddings)
    assert not np.array_equal(alone.curve.output_knots, second.curve.output_knots)


def test_what_did_not_change_looks_the_same_in_both_visits() -> None:
    model = tiny_model(identity=True)  # the curve alone
    target = target_of(head(seed=1, gamma=1.5), model)
    first, second = head(), with_atrophy(head(), gain=1.7)
    unchanged = first.mask & (first.volume.data * np.float32(1.7) == second.volume.data)
    assert 0.9 < unchanged.sum() / first.mask.sum() < 1

    def difference(one: np.ndarray, other: np.ndarray) -> float:
        return float(np.abs(one - other)[unchanged].mean() / one[unchanged].mean())

    shared = difference(
        harmonize(first, target, model, after=[second]).image,
        harmonize(second, target, model, before=[first]).image,
    )
    separate = difference(
        harmonize(first, target, model).image, harmonize(second, target, model).image
    )
    assert shared < 0.3 * separate
