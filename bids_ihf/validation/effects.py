"""Effects of age, sex or another column of participants.tsv on volumes."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Any

import numpy as np
from attrs import field, frozen
from numpy.typing import NDArray
from scipy import stats

from bids_ihf.io.tsv import MISSING_VALUE
from bids_ihf.validation.agreement import CONFIDENCE_LEVEL, Estimate

LOGGER = logging.getLogger(__name__)

Array = NDArray[np.float64]

MIN_PEOPLE_FOR_EFFECTS = 10
"""People below whom no effect is estimated."""


@frozen
class Effect:
    """Effect of a column on a volume, in per cent of the mean volume.

    ``slope`` is for one unit of a number (a year), or for the second of two categories against the
    first; ``p_value`` is two-sided; ``people`` were counted.
    """

    slope: Estimate
    p_value: float
    people: int


def estimate_effect(
    volumes: Array, column: Array, covariates: Array, people: NDArray[Any]
) -> Effect | None:
    """Effect of a column on volumes by linear regression.

    Standard errors allow for several images of one person: clusters by person with the correction
    for few clusters (Liang and Zeger 1986, Biometrika 73:13; CR1 of Cameron and Miller 2015,
    J Human Resources 50:317), and Student's t with as many degrees of freedom as people, less one.

    Parameters
    ----------
    volumes, column
        (N,), NaN where missing.
    covariates
        (N, C) further columns of the model, such as age where the effect is that of sex.
    people
        Label of the person of each row, (N,).

    Returns
    -------
    Effect or None
        None with fewer than MIN_PEOPLE_FOR_EFFECTS people, or where the column does not vary.
    """
    design = np.column_stack([np.ones(len(volumes)), column, covariates])
    rows = np.isfinite(volumes) & np.isfinite(design).all(axis=1)
    design, values, labels = design[rows], volumes[rows], people[rows]
    count = len(set(labels.tolist()))
    if count < MIN_PEOPLE_FOR_EFFECTS or np.linalg.matrix_rank(design) < design.shape[1]:
        return None
    inverse = np.linalg.inv(design.T @ design)
    coefficients = inverse @ design.T @ values
    scores = design * (values - design @ coefficients)[:, None]
    clusters = np.array([scores[labels == label].sum(axis=0) for label in np.unique(labels)])
    small = count / (count - 1) * (len(values) - 1) / (len(values) - design.shape[1])
    variance = (inverse @ (small * clusters.T @ clusters) @ inverse)[1, 1]
    percent = 100 / float(values.mean())
    slope, error = float(coefficients[1]), float(np.sqrt(variance))
    reach = float(stats.t.ppf((1 + CONFIDENCE_LEVEL) / 2, count - 1)) * error
    p_value = float(2 * stats.t.sf(abs(slope) / error, count - 1)) if error > 0 else 0.0
    interval = (percent * (slope - reach), percent * (slope + reach))
    return Effect(Estimate(percent * slope, *interval), p_value, count)


def encode_column(cells: list[str]) -> tuple[Array, str] | None:
    """Numbers (N,) of a column of participants.tsv, NaN where missing, and what a unit means.

    None where it is neither numbers nor two categories.

    >>> encode_column(["30", "n/a", "41"])
    (array([30., nan, 41.]), 'per unit')
    >>> encode_column(["M", "F", "M"])
    (array([1., 0., 1.]), 'M against F')
    """
    present = sorted({cell for cell in cells if cell not in ("", "n/a")})
    try:
        numbers = {cell: float(cell) for cell in present}
        meaning = "per unit"
    except ValueError:
        if len(present) != 2:
            return None
        numbers = {present[0]: 0.0, present[1]: 1.0}
        meaning = f"{present[1]} against {present[0]}"
    if len(set(numbers.values())) < 2:
        return None
    return np.array([numbers.get(cell, np.nan) for cell in cells]), meaning


@frozen(eq=False)
class Covariates:
    """Columns of participants.tsv whose effects are measured, and kept by ComBat.

    ``values`` are numbers by person, for each column in the order of ``names``; ``units`` say what
    a unit of each is.
    """

    names: tuple[str, ...] = ()
    units: tuple[str, ...] = ()
    values: dict[str, NDArray[np.float64]] = field(factory=dict)

    @classmethod
    def read(
        cls, rows: dict[str, dict[str, str]], people: Sequence[str], names: Sequence[str]
    ) -> Covariates:
        """The columns that are numbers or two categories; the others are left out with a
        warning."""
        encoded = {}
        for name in names:
            cells = [rows.get(person, {}).get(name, MISSING_VALUE) for person in people]
            encoding = encode_column(cells)
            if encoding is None:
                LOGGER.warning(
                    "participants.tsv: the column %s is missing, constant, or neither numbers nor "
                    "two categories; its effect is not measured.",
                    name,
                )
            else:
                encoded[name] = encoding
        table = np.array([values for values, _ in encoded.values()]).reshape(-1, len(people)).T
        units = tuple(unit for _, unit in encoded.values())
        return cls(tuple(encoded), units, dict(zip(people, table, strict=True)))

    @property
    def complete(self) -> dict[str, NDArray[np.float64]]:
        """Values of all people, of the columns that miss for nobody: what ComBat can keep."""
        if not self.names:
            return {}
        without_gaps = np.isfinite(np.array(list(self.values.values()))).all(axis=0)
        return {person: values[without_gaps] for person, values in self.values.items()}
