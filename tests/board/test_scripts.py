"""What browsers get of the scripts and the style: what the files say, without what is there for authors."""

from __future__ import annotations

import re

import pytest

from dagtasks.board.scripts import FOLDER, ON_BOARD, SCRIPT, STYLE, read_asset


@pytest.mark.parametrize("name", [STYLE, SCRIPT, *ON_BOARD])
def test_only_indentation_and_comments_are_left_out(name: str):
    kept, lines = read_asset(name).splitlines(), (FOLDER / name).read_text("utf-8").splitlines()
    left_out = [line.strip() for line in lines if line.strip() not in kept]
    assert kept == [line.strip() for line in lines if line.strip() not in left_out]
    assert all(re.fullmatch(r"|//.*|/\*.*\*/", line) for line in left_out)
    assert len(read_asset(name)) < (FOLDER / name).stat().st_size


@pytest.mark.parametrize("name", [SCRIPT, *ON_BOARD])
def test_no_text_of_a_script_goes_over_lines(name: str):
    """Indentation would be part of it."""
    assert all(line.count("`") % 2 == 0 for line in (FOLDER / name).read_text("utf-8").splitlines())
