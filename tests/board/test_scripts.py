"""What browsers get of the scripts and the style: what the files say, without what is there for authors."""

from __future__ import annotations

import re

import pytest

from dagtasks.board.overview import Overview
from dagtasks.board.pages.press import Press
from dagtasks.board.scripts import FOLDER, MORE_STYLE, ON_BOARD, SCRIPT, STYLE, asset_uri, read_asset
from dagtasks.board.site import board_site
from tests.board.sample import sample_data


@pytest.mark.parametrize("name", [STYLE, MORE_STYLE, SCRIPT, *ON_BOARD])
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


def test_the_board_page_loads_no_more_than_60_kb_of_ours():
    assert sum(len(read_asset(name).encode()) for name in (STYLE, SCRIPT, *ON_BOARD)) <= 60_000


def test_the_board_does_without_the_style_of_other_pages():
    press = Press(Overview(sample_data()))
    pages = {page.uri: press.render(page, page.facts()).text for page in board_site(press.overview)}
    assert [uri for uri, text in pages.items() if asset_uri(MORE_STYLE) not in text] == ["board.html"]
    used = {*_WORD.findall("".join([pages["board.html"], *map(read_asset, (SCRIPT, *ON_BOARD))]))}
    of_others = {*_CLASS.findall(read_asset(MORE_STYLE))} - {*_CLASS.findall(read_asset(STYLE))}
    assert len(of_others) > 30
    assert used & of_others == set()


_WORD, _CLASS = re.compile(r"[\w-]+"), re.compile(r"\.(dt-[\w-]+)")
