"""Moving cards from column to column in a browser, on a board that `dagtasks serve` shows."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.browser.serving import Cookies, Served, go, opened, says
from tests.browser.watching import Watcher
from tests.conftest import git, write_files

if TYPE_CHECKING:
    from playwright.sync_api import Page

pytestmark = pytest.mark.slow


def board(page: Page, served: Served, task: str) -> Page:
    """The board with the cards of that task alone."""
    go(page, served, f"board.html#q={task}")
    page.wait_for_selector("#dt-found >> text=1 of")
    return page


def link(task: str) -> str:
    return f".dt-card:has-text('{task}') .dt-card__title a"


def column(page: Page, task: str) -> str:
    return str(page.evaluate(f"{HERE}.closest('.dt-column').dataset.status", task))


HERE = "id => [...document.querySelectorAll('.dt-columns .dt-card')].find(each => each.textContent.includes(id))"


def test_a_card_is_dragged_to_another_column(page: Page, served: Served):
    board(page, served, "web-m00001")
    page.drag_and_drop(link("web-m00001"), "[data-status=blocked]")
    says(page, "web-m00001 is blocked now.")
    assert column(page, "web-m00001") == "blocked"
    assert served.task("Move 1")["status"] == "blocked"
    assert git(served.root, "log", "-1", "--format=%an %s").startswith("Ann web-m00001: ")


def test_a_card_is_moved_with_the_keyboard_and_keeps_the_focus(page: Page, served: Served):
    board(page, served, "web-m00002")
    page.focus(link("web-m00002"))
    page.keyboard.press("Shift+ArrowLeft")  # there is none on that side
    page.keyboard.press("Shift+ArrowRight")
    says(page, "web-m00002 is in progress now.")
    page.wait_for_function("document.activeElement.textContent == 'Move 2'")
    page.keyboard.press("Shift+ArrowRight")
    says(page, "web-m00002 is blocked now.")
    assert served.task("Move 2")["status"] == "blocked"


def test_a_card_is_moved_from_its_panel(page: Page, served: Served):
    board(page, served, "web-m00003")
    page.focus(link("web-m00003"))
    page.keyboard.press("Space")
    page.select_option("#dt-peek select", "cancelled")
    page.click("#dt-peek button:text-is('Move')")
    says(page, "web-m00003 is cancelled now.")
    assert served.task("Move 3")["status"] == "cancelled"


def test_a_card_that_waits_goes_back_and_may_be_moved_all_the_same(
    watcher: Watcher, signed_in: Cookies, served: Served
):
    page = board(opened(watcher, signed_in), served, "web-m00005")
    page.drag_and_drop(link("web-m00005"), "[data-status=completed]")
    page.wait_for_selector("dialog [role=alert] >> text=it depends on open tasks: web-m00004")
    assert column(page, "web-m00005") == "planned"
    page.keyboard.press("Escape")
    page.wait_for_selector("dialog.dt-live", state="detached")
    assert page.evaluate("document.activeElement.textContent") == "Move 5"
    assert served.task("Move 5")["status"] == "planned"
    page.drag_and_drop(link("web-m00005"), "[data-status=completed]")
    page.click("text=Do it all the same")
    says(page, "web-m00005 is completed now.")
    assert {what[:3] for what in watcher.wrong} == {"409", "say"}


def test_a_card_that_somebody_else_has_moved_goes_back_and_says_so(page: Page, served: Served):
    board(page, served, "web-m00004")
    write_files(served.root, {"tasks/web/web-m00004.yaml": "name: Move 4\n\nstatus: blocked\n"})
    git(served.root, "commit", "--quiet", "--message", "others", "tasks/web/web-m00004.yaml")
    page.drag_and_drop(link("web-m00004"), "[data-status=completed]")
    page.wait_for_selector("dialog [role=alert] >> text=it is blocked now")
    assert column(page, "web-m00004") == "planned"
    page.click("text=Show the board as it is now")
    page.wait_for_selector("[data-status=blocked] >> text=Move 4")
    assert served.task("Move 4")["status"] == "blocked"
