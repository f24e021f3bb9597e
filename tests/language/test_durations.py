"""Durations: one way to write them, and a hint for every other."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dagtasks.language.durations import DurationError, format_duration, parse_duration


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("500ms", 0.5), ("90s", 90), ("10m", 600), ("24h", 86400), ("1h30m", 5400), ("1h1m1s1ms", 3661.001), ("0s", 0)],
)
def test_read(text, seconds):
    assert parse_duration(text) == seconds


@pytest.mark.parametrize(
    ("value", "hint"),
    [
        (30, "write 30s"),
        ("30", "write 30s"),
        (90, "write 90s"),
        (1.5, "write 1s500ms"),
        ("PT30S", "write 30s"),
        ("PT1H30M", "write 1h30m"),
        ("P1DT1H", "write 25h"),
        ("pt0.5s", "write 500ms"),
        ("2d", "write 48h"),
        ("10 min", "write 10m"),
        ("1h 30m", "write 1h30m"),
        ("30m1h", "write 1h30m"),
        ("1h1h", "write 2h"),
        ("1.5h", "write 1h30m"),
        ("90S", "write 1m30s"),
        ("2 hours 5 seconds", "write 2h5s"),
        ("", "write it as"),
        ("s", "write it as"),
        ("soon", "write it as"),
        ("-5s", "write it as"),
        ("5x", "write it as"),
        ("1h\n", "write 1h"),
        ("٣s", "write it as"),
        ("9" * 5000, "write it as"),
        (True, "write it as"),
        (None, "write it as"),
        ([1], "write it as"),
    ],
)
def test_refused_with_the_right_form(value, hint):
    with pytest.raises(DurationError) as caught:
        parse_duration(value)
    assert caught.value.hint.startswith(hint)
    assert len(caught.value.message) < 100
    if "write it" not in hint:
        assert parse_duration(caught.value.hint.removeprefix("write ")) >= 0


@given(st.integers(min_value=0, max_value=10**12))
def test_what_is_written_is_read_back(milliseconds):
    assert parse_duration(format_duration(milliseconds / 1000)) == milliseconds / 1000
