"""ComBat: closed cases, people left out, and what is kept."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import optimize

from bids_ihf.validation.combat import fit_combat


def simulated(rng: np.random.Generator, count: int = 60) -> tuple[np.ndarray, ...]:
    """Volumes (N, 4) without and with effects of two scanners, scanners and ages."""
    age = rng.uniform(20, 80, count)
    scanners = np.where(np.arange(count) % 2, "B", "A")
    truth = np.array([600.0, 450, 250, 8]) * (1 + 0.05 * rng.normal(size=(count, 4)))
    truth -= np.outer(age - 50, [2.0, 0.5, -1.0, 0.05])
    shift, scale = np.array([30.0, -20, 15, 1]), np.array([1.4, 1.2, 1.3, 1.5])
    mean = truth.mean(axis=0)
    other = mean + scale * (truth - mean) + shift
    return truth, np.where((scanners == "B")[:, None], other, truth), scanners, age[:, None]


def test_one_structure_gets_equal_means_and_variances() -> None:
    """Without structures to shrink over, ComBat is location and scale of each scanner."""
    rng = np.random.default_rng(0)
    values = np.concatenate([rng.normal(10, 1, 20), rng.normal(14, 3, 30)])[:, None]
    scanners = np.repeat(["A", "B"], (20, 30))
    nothing = np.empty((50, 0))
    adjusted = fit_combat(values, scanners, nothing).apply(values, scanners, nothing)
    first, second = adjusted[:20], adjusted[20:]
    assert first.mean() == pytest.approx(second.mean())
    assert first.std(ddof=1) == pytest.approx(second.std(ddof=1))
    assert adjusted.mean() == pytest.approx(values.mean())


def test_estimates_solve_the_equations_of_the_paper() -> None:
    """Johnson et al. 2007, Eq. 3.1, solved by another algorithm."""
    rng = np.random.default_rng(1)
    _, values, scanners, age = simulated(rng, 24)
    fitted = fit_combat(values, scanners, age)
    standardized = (values - fitted.intercepts - age @ fitted.slopes) / fitted.deviation
    rows = standardized[scanners == "B"]
    mean, variance, n = rows.mean(axis=0), rows.var(axis=0, ddof=1), len(rows)
    tau = mean.var(ddof=1)
    theta = 2 + variance.mean() ** 2 / variance.var(ddof=1)
    rate = variance.mean() * (theta - 1)

    def equations(unknown: np.ndarray) -> np.ndarray:
        shift, scale = np.split(unknown, 2)
        first = (n * tau * mean + scale * mean.mean()) / (n * tau + scale) - shift
        squares = 0.5 * np.square(rows - shift).sum(axis=0)
        return np.concatenate([first, (rate + squares) / (n / 2 + theta - 1) - scale])

    solved = optimize.fsolve(equations, np.concatenate([mean, variance]))
    assert fitted.shifts[1] == pytest.approx(solved[:4], rel=1e-4)
    assert fitted.scales[1] == pytest.approx(solved[4:], rel=1e-4)


def test_people_left_out_come_nearer_to_the_truth_and_age_stays() -> None:
    rng = np.random.default_rng(2)
    truth, values, scanners, age = simulated(rng, 200)
    train, test = slice(0, 120), slice(120, 200)
    fitted = fit_combat(values[train], scanners[train], age[train])
    adjusted = fitted.apply(values[test], scanners[test], age[test])
    gap = [
        rows[scanners[test] == "B"].mean(axis=0) - rows[scanners[test] == "A"].mean(axis=0)
        for rows in (truth[test], values[test], adjusted)
    ]
    assert (np.abs(gap[2] - gap[0]) < 0.5 * np.abs(gap[1] - gap[0])).all()
    slope = np.polyfit(age[test, 0], adjusted[:, 0], 1)[0]
    assert slope == pytest.approx(-2, abs=0.6)


def test_too_little_to_fit() -> None:
    rng = np.random.default_rng(4)
    values = rng.normal(size=(8, 2))
    nothing = np.empty((8, 0))
    with pytest.raises(ValueError, match="3 images"):
        fit_combat(values, np.repeat(["A", "B"], (6, 2)), nothing)
    scanners = np.repeat(["A", "B"], 4)
    with pytest.raises(ValueError, match="told apart"):
        fit_combat(values, scanners, (scanners == "A").astype(float)[:, None])
    fitted = fit_combat(values, scanners, nothing)
    with pytest.raises(ValueError, match="scanner C"):
        fitted.apply(values[:1], np.array(["C"]), nothing[:1])
