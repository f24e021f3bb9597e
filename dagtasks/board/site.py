"""All pages of the board. Pure: the same data gives the same pages."""

from __future__ import annotations

from collections.abc import Iterator

from dagtasks.board.pages.graphs import graph_pages
from dagtasks.board.pages.home import board_pages
from dagtasks.board.pages.past import past_pages
from dagtasks.board.pages.press import BoardPage, Press
from dagtasks.board.pages.projects import project_pages
from dagtasks.board.pages.runs import run_pages
from dagtasks.board.pages.tasks import list_pages, task_pages
from dagtasks.board.pages.templates import template_pages


def board_site(press: Press) -> Iterator[BoardPage]:
    """Every generated page but the first one, whose text is the user's (`home_body` makes the rest of it)."""
    yield from board_pages(press)
    yield from project_pages(press)
    yield from list_pages(press)
    yield from task_pages(press)
    yield from run_pages(press)
    yield from template_pages(press)
    yield from graph_pages(press)
    yield from past_pages(press)
