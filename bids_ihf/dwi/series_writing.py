"""A harmonized series and its change map on disk, volume by volume."""

from __future__ import annotations

from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

import numpy as np
from attrs import evolve, frozen

from bids_ihf.io.atomic import open_atomic
from bids_ihf.io.compact import (
    MAX_RESTORE_ERROR,
    MAX_STEP_OF_NOISE,
    Encoding,
    StepOverflowError,
    Steps,
    choose_steps,
    compact_compressor,
)
from bids_ihf.io.series import SeriesWriter

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from numpy.typing import NDArray

    from bids_ihf.config.settings import ChangeMap
    from bids_ihf.dwi.series import HarmonizedSeries, SeriesSink
    from bids_ihf.dwi.series_fit import FittedSeries

    Array = NDArray[np.float32]


@frozen(eq=False)
class WrittenSeries:
    """How a series was harmonized, and sidecar fields on how it was stored."""

    series: HarmonizedSeries
    fields: dict[str, Any]


def write_series(
    paths: tuple[Path, Path | None],
    fitted: FittedSeries,
    change_map: ChangeMap,
    harmonize: Callable[[SeriesSink], HarmonizedSeries],
) -> WrittenSeries:
    """Write the harmonized series and its change map as ``--change-map`` asks.

    ``paths`` are theirs; no change map is written where there is none. ``harmonize`` gives the
    volumes to the sink that it gets, and is called again in the rare case that a later volume
    needs wider integers than the first.

    Raises
    ------
    CannotWrite
        One of them cannot be written.
    """
    names = paths if change_map != "none" else (paths[0], None)
    if change_map == "float32":
        with ExitStack() as stack:
            series = harmonize(PlainSink([_writer(stack, fitted, name) for name in names]))
        return WrittenSeries(series, {"ChangeMap": change_map})
    try:
        series, sink = _write_steps(names, fitted, harmonize, wide=False)
    except StepOverflowError:
        series, sink = _write_steps(names, fitted, harmonize, wide=True)
    error = sink.round_trip_error if names[1] is not None else float("nan")
    fields = sink.steps.sidecar_fields if sink.steps else {}
    return WrittenSeries(
        evolve(series, round_trip_error=error), {"ChangeMap": change_map, **fields}
    )


def _write_steps(
    names: tuple[Path, Path | None],
    fitted: FittedSeries,
    harmonize: Callable[[SeriesSink], HarmonizedSeries],
    *,
    wide: bool,
) -> tuple[HarmonizedSeries, StepSink]:
    with ExitStack() as stack:
        writers = [_writer(stack, fitted, name, compact_compressor()) for name in names]
        sink = StepSink(writers, _source_step(fitted), fitted.noise_sd, wide=wide)
        return harmonize(sink), sink


def _writer(
    stack: ExitStack, fitted: FittedSeries, name: Path | None, compressor: Any = None
) -> SeriesWriter | None:
    """A writer that finishes its file as the stack ends without an error."""
    if name is None:
        return None
    stream = stack.enter_context(open_atomic(name))
    return stack.enter_context(SeriesWriter(stream, fitted.series, compressor))


def _source_step(fitted: FittedSeries) -> float | None:
    """The step of which the volumes are whole multiples, if their file says so."""
    series = fitted.series
    if series.header.get_data_dtype().kind not in "iu" or series.intercept != 0:
        return None
    return abs(series.slope) / fitted.unit_factor or None


class PlainSink:
    """Writes both series in the precision that they come in."""

    def __init__(self, writers: list[SeriesWriter | None]) -> None:
        self._writers = writers

    def add(self, image: Array, change: Array) -> None:
        """The next volume (X, Y, Z) of each."""
        for writer, volume in zip(self._writers, (image, change), strict=True):
            if writer is not None:
                writer.add(volume)


class StepSink:
    """Writes both series in whole steps, which the noise and the first volume decide.

    The noise (standard deviation, units of the source) has to be that of the series: in the first
    volume, mostly one at b=0, anatomy passes for noise that is a multiple of the true one, and the
    weighted volumes are much darker.  Where it is not known, a step is that of the source.

    Attributes
    ----------
    steps
        Sizes of the steps; None before the first volume.
    """

    def __init__(
        self,
        writers: list[SeriesWriter | None],
        source: float | None,
        noise: float | None,
        *,
        wide: bool,
    ) -> None:
        self.steps: Steps | None = None
        self._writers, self._source, self._noise, self._wide = writers, source, noise, wide
        self._encodings: tuple[Encoding, Encoding] | None = None
        self._error, self._maximum = 0.0, 0.0

    @property
    def round_trip_error(self) -> float:
        """Largest error of a restored volume so far, over the largest intensity."""
        return self._error / max(self._maximum, 1e-12)

    def add(self, image: Array, change: Array) -> None:
        """The next volume (X, Y, Z) of each.

        Raises
        ------
        StepOverflowError
            It needs wider integers than the first.
        """
        original = np.asarray(image - change, dtype=np.float32)
        if self.steps is None:
            # Later volumes need not lie on steps that the first one seems to have.
            finest = 2 * MAX_RESTORE_ERROR * float(np.abs(original).max())
            step = self._source or finest or 1.0
            noise = self._noise if self._noise is not None else step / MAX_STEP_OF_NOISE
            self.steps = choose_steps(image, original, step, noise)
        values = self.steps.of_images(image, original)
        if self._encodings is None:
            self._encodings = (
                Encoding.of_image(values[0], self.steps.harmonized, wide=self._wide),
                Encoding.of_change(values[1], self.steps.source, wide=self._wide),
            )
        for writer, encoding, whole, marked in zip(
            self._writers, self._encodings, values, (None, self.steps), strict=True
        ):
            if writer is not None:
                writer.add_encoded(encoding, whole, marked)
        self._error = max(self._error, self.steps.restore_error(original))
        self._maximum = max(self._maximum, float(np.abs(original).max()))
