"""Whatever the bytes, a file is read or refused in one sentence."""

from __future__ import annotations

import json
import warnings

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.reliability import fuzzing

MANY = settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3)
    | st.dictionaries(
        st.sampled_from(["t1w", "T2w", "dwi", "bold", "session", "run", "EchoTime", "x"]),
        inner, max_size=3,
    ),
    max_leaves=12,
)  # fmt: skip


@pytest.fixture(autouse=True)
def _quiet() -> None:
    """Numbers that overflow are refused later; numpy warns of them first."""
    warnings.simplefilter("ignore", RuntimeWarning)


@MANY
@given(st.binary(min_size=3, max_size=30))
def test_headers(data: bytes) -> None:
    fuzzing.header(data)


@MANY
@given(st.binary(max_size=600))
def test_files(data: bytes) -> None:
    fuzzing.file(data)


@MANY
@given(
    st.text(max_size=40)
    | st.from_regex(
        r"(sub|ses|acq|run|desc|from)-[0-9A-Za-z+./]{0,6}(_[a-z]{0,4}-?\w?){0,3}_T1w\.nii"
    )
)
def test_names(text: str) -> None:
    fuzzing.name(text.encode("utf-8", errors="replace"))


@MANY
@given(JSON)
def test_filters(content: object) -> None:
    fuzzing.filters(json.dumps(content).encode())


@MANY
@given(st.binary(max_size=60))
def test_filters_that_are_no_json(data: bytes) -> None:
    fuzzing.filters(data)


@MANY
@given(st.binary(max_size=24))
def test_targets(data: bytes) -> None:
    fuzzing.target(data)
