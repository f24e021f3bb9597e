"""The way of somebody who has nothing but an empty repository, from the first project to a finished run, in a browser."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.browser.serving import Served, fill, go, opened, says, serving, sign_in
from tests.browser.watching import Watcher
from tests.conftest import git, isolate
from tests.webhooks.receiver import receiving

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

pytestmark = pytest.mark.slow


@pytest.fixture
def empty_handed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Served]:
    """A repository in which nothing was done but `dagtasks init`, served."""
    (tmp_path / "home").mkdir()
    isolate(monkeypatch, tmp_path / "home")
    root = tmp_path / "repository"
    root.mkdir()
    git(root, "init", "--quiet")
    subprocess.run([sys.executable, "-m", "dagtasks", "init"], cwd=root, check=True)
    with serving(root) as served:
        yield served


def form(page: Page, opener: str) -> None:
    """Open a form."""
    page.click(f"button:text-is('{opener}')")
    page.wait_for_selector("dialog form")


def create(page: Page, said: str) -> None:
    page.click("dialog button:text-is('Create')")
    says(page, said)


def test_from_an_empty_repository_to_a_run_that_others_are_told_of(
    browser: Browser, watcher: Watcher, empty_handed: Served
):
    served = empty_handed
    page = opened(watcher, sign_in(browser, served))
    go(page, served, "index.html")
    form(page, "New project")
    fill(page, "key", "shop")
    fill(page, "name", "The shop")
    create(page, "Created the project shop.")
    form(page, "New phase")
    fill(page, "key", "launch")
    fill(page, "name", "Launch")
    create(page, "Created the phase launch.")
    form(page, "New task")
    fill(page, "name", "Paint the sign")
    page.click("text=Add a row")
    page.keyboard.type("team")
    page.keyboard.press("Tab")
    page.keyboard.type("painters")
    create(page, "Created shop-")
    form(page, "New task")
    fill(page, "name", "Hang the sign")
    fill(page, "depends_on", "paint")
    page.wait_for_selector("[role=option][aria-selected=true]:has-text('Paint the sign')")
    page.keyboard.press("Enter")
    create(page, "Created shop-")
    paint, hang = served.task("Paint the sign"), served.task("Hang the sign")
    assert (paint["phase"], paint["metadata"], hang["depends_on"]) == ("launch", {"team": "painters"}, [paint["id"]])

    with receiving() as receiver:
        page.click(".dt-nav >> text=Settings")
        form(page, "New webhook")
        fill(page, "name", "chat")
        fill(page, "url", f"{receiver.url}/chat")
        page.uncheck("[value='*']")
        page.check("[value='workflow.completed']")
        page.click("dialog button:text-is('Create')")
        secret = page.inner_text(".dt-live-secret")
        page.click("dialog .dt-close")

        page.click(".dt-nav >> text=Templates")
        form(page, "New template")
        fill(page, "name", "greet")
        page.select_option("[data-field=type] select", "script_workflow")
        create(page, "Created the template greet.")
        go(page, served, f"t/{paint['id']}.html")
        page.click("text=Add workflow")
        page.click(".dt-live-choices button:text-is('greet')")
        page.wait_for_selector("dialog form")
        fill(page, "parameters.who", "painters")
        create(page, "Created the workflow greet.")
        page.click("[data-live-run=greet]")
        page.wait_for_selector("dialog form")
        assert "as bound: painters" in page.inner_text("[data-field='parameters.who']")
        fill(page, "parameters.who", "all of you")
        page.click("dialog button:text-is('Run')")
        page.wait_for_selector("dialog .dt-live-log >> text=hello all of you")
        page.wait_for_selector("dialog .dt-run-succeeded")

        assert watcher.wait_for(lambda: bool(receiver.got))
        told = receiver.got[0]
        assert told.is_signed_by(secret)
        assert (told.message["type"], told.message["data"]["subject"]) == ("workflow.completed", f"{paint['id']}/greet")
        go(page, served, "dagtasks/settings.html")
        page.wait_for_selector("[data-event]:has-text('workflow.completed') >> text=Delivered")
    assert git(served.root, "status", "--porcelain", "tasks/shop") == ""
    assert all(what.startswith(("404", "says Failed to load resource")) for what in watcher.wrong), watcher.wrong
