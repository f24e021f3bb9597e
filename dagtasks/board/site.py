"""All pages of the board. Pure: the same data gives the same pages."""

from __future__ import annotations

from collections.abc import Iterator

from dagtasks.board.overview import Overview
from dagtasks.board.pages.difference import difference_pages
from dagtasks.board.pages.graphs import graph_pages
from dagtasks.board.pages.home import board_pages
from dagtasks.board.pages.past import past_pages
from dagtasks.board.pages.press import BoardPage
from dagtasks.board.pages.projects import project_pages
from dagtasks.board.pages.runs import run_pages
from dagtasks.board.pages.tasks import list_pages, task_pages
from dagtasks.board.pages.templates import template_pages
from dagtasks.board.pages.timeline import timeline_pages


def board_site(view: Overview) -> Iterator[BoardPage]:
    """Every generated page but the first one, whose text is the user's (`home_page` is the rest of it)."""
    yield from board_pages(view)
    yield from project_pages(view)
    yield from list_pages(view)
    yield from task_pages(view)
    yield from run_pages(view)
    yield from template_pages(view)
    yield from graph_pages(view)
    yield from timeline_pages(view)
    yield from past_pages(view)
    yield from difference_pages(view)
