from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dagtasks.board.printable import clean, clean_log, clip, tail


@pytest.mark.parametrize(
    ("text", "seen"),
    [
        ("\x1b[1;32mok\x1b[0m", "ok"),
        ("\x9b31mred", "red"),
        ("\x1b]0;title\x07after", "after"),
        ("\x1b]8;;https://a.example\x1b\\link\x1b]8;;\x1b\\", "link"),
        ("\x1bPsecret\x1b\\after", "after"),
        ("10%\r50%\r100%\ndone", "100%\ndone"),
        ("windows\r\nlines\r\n", "windows\nlines\n"),
        ("half \x1b[", "half "),
        ("tab\tstays\x08", "tab\tstays"),
        ("a\u202eb\u2066c", "abc"),
    ],
)
def test_logs_show_what_a_terminal_would_leave(text, seen):
    assert clean_log(text) == seen


@given(st.text())
def test_cleaned_text_holds_nothing_unseen(text):
    for cleaned in (clean(text), clean_log(text)):
        assert not set(cleaned) & set("\x00\x07\x08\x1b\x7f\x9b\u202e\u2066\ufeff")
        cleaned.encode()


@given(st.text(), st.integers(1, 50))
def test_clipped_text_fits_and_is_one_line(text, limit):
    clipped = clip(text, limit)
    assert len(clipped) <= limit
    assert len(clipped.splitlines()) <= 1


@pytest.mark.parametrize(
    ("text", "limit", "expected"),
    [("a\nb\nc", 10, "a\nb\nc"), ("first\nsecond\nthird", 8, "third"), ("x" * 20, 5, "xxxxx"), ("abc\n", 2, "c\n")],
)
def test_tail_keeps_the_end(text, limit, expected):
    assert tail(text, limit) == expected


@given(st.text(), st.integers(1, 50))
def test_tail_fits(text, limit):
    assert len(tail(text, limit)) <= limit
    assert text.endswith(tail(text, limit))
