from __future__ import annotations

from pathlib import PurePosixPath

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dagtasks.board import uris


@pytest.mark.parametrize("name", ["web-7k2m9q", "20261123t091500-k3f9ab", "basic_task", "1.2"])
def test_safe_names_stay(name):
    assert uris.file_name(name) == name


@pytest.mark.parametrize("name", ["../../etc/passwd", "..", "", "A", "a b", 'x"><script>', ".hidden", "é", "a" * 101])
def test_other_names_become_safe(name):
    made = uris.file_name(name)
    assert PurePosixPath(f"t/{made}.html").parts == ("t", f"{made}.html")
    assert made.isascii()
    assert made == made.lower()
    assert not set(made) & set("\"'<>/\\ %?#")


@given(st.text(), st.text())
def test_two_names_never_share_a_page(one, other):
    assert (uris.file_name(one).casefold() == uris.file_name(other).casefold()) == (one == other)


def test_root_is_found_from_each_depth():
    assert [uris.root_of(uri) for uri in (uris.BOARD, uris.task_uri("a"), uris.phase_uri("a", "b"))] == [
        "",
        "../",
        "../../",
    ]
