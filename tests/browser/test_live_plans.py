"""Projects and phases in a browser, and deleting, on a board that `dagtasks serve` shows."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.browser.serving import Cookies, Served, fill, go, opened, says, wrong
from tests.browser.test_accessibility import violations_by_day_and_night
from tests.browser.watching import Watcher
from tests.conftest import git

if TYPE_CHECKING:
    from playwright.sync_api import Page

pytestmark = pytest.mark.slow


def test_a_project_gets_a_phase_and_the_phase_a_task(page: Page, served: Served):
    go(page, served, "index.html")
    page.click("text=New project")
    page.wait_for_selector("dialog form")
    fill(page, "key", "docs")
    fill(page, "name", "Manuals")
    page.click("button:text-is('Create')")
    says(page, "Created the project docs.")
    assert page.url.endswith("/p/docs.html")
    page.click("text=New phase")
    page.wait_for_selector("dialog form")
    fill(page, "key", "draft")
    fill(page, "name", "Draft")
    fill(page, "order", "1")
    page.click("button:text-is('Create')")
    says(page, "Created the phase draft.")
    assert page.inner_text("h1") == "Draft"
    page.click("text=New task")
    page.wait_for_selector("dialog form")
    fill(page, "name", "Write it")
    page.click("button:text-is('Create')")
    says(page, "Created docs-")
    assert page.locator(".dt-row >> text=Write it").count() == 1
    task = served.task("Write it")
    assert (task["project"], task["phase"]) == ("docs", "draft")


def test_a_key_that_cannot_be_is_told_beside_its_field(watcher: Watcher, signed_in: Cookies, served: Served):
    page = go(opened(watcher, signed_in), served, "index.html")
    page.click("text=New project")
    page.wait_for_selector("dialog form")
    fill(page, "key", "No")
    fill(page, "name", "Manuals")
    page.click("button:text-is('Create')")
    page.wait_for_selector("[data-field=key] .dt-live-wrong >> text=is no key for a project")
    fill(page, "key", "web")
    page.click("button:text-is('Create')")
    page.wait_for_selector("[data-field=key] .dt-live-wrong >> text=is there already")
    assert page.evaluate("document.activeElement.closest('[data-field]').dataset.field") == "key"
    assert wrong(page, "name") == ""


def test_a_phase_is_changed(page: Page, served: Served):
    go(page, served, "p/web/launch.html")
    page.click("button:text-is('Edit')")
    page.wait_for_selector("dialog form")
    fill(page, "name", "Lift off")
    page.click("button:text-is('Save')")
    says(page, "Saved the phase launch.")
    assert page.inner_text("h1") == "Lift off"
    assert (served.root / "tasks/web/phases/launch.yaml").read_text() == "name: Lift off\n\norder: 2\n"


def test_what_a_delete_means_is_said_first_and_how_it_is_undone_after(
    watcher: Watcher, signed_in: Cookies, served: Served
):
    page = go(opened(watcher, signed_in), served, "t/web-p00001.html")
    page.click("button:text-is('Delete')")
    page.wait_for_selector("dialog >> text=tasks/web/web-p00001.yaml")
    assert page.evaluate("document.activeElement.textContent") == "Close"
    page.click("dialog button:text-is('Delete')")
    page.wait_for_selector("dialog [role=alert] >> text=web-p00002 depends on web-p00001")
    page.check("dialog input[type=checkbox]")
    page.click("dialog button:text-is('Delete')")
    says(page, "Deleted web-p00001.")
    assert page.url.endswith("/p/web.html")
    assert "git" in page.inner_text(".dt-live-said")
    assert served.task("Two")["depends_on"] == []
    assert git(served.root, "status", "--porcelain") == ""
    assert {what[:3] for what in watcher.wrong} == {"409", "say"}


def test_a_phase_and_a_project_without_tasks_are_deleted(page: Page, served: Served):
    go(page, served, "p/api/first.html")
    for place in ("/p/api.html", "/index.html"):
        page.click("button:text-is('Delete')")
        page.click("dialog button:text-is('Delete')")
        page.wait_for_url(f"**{place}")
        says(page, "Deleted the")
    assert not (served.root / "tasks/api").exists()


def test_its_dialogs_are_open_to_everybody(watcher: Watcher, signed_in: Cookies, served: Served):
    page = opened(watcher, signed_in, bypass_csp=True, viewport={"width": 390, "height": 800})
    for name in ("New phase", "Edit", "Delete"):
        go(page, served, "p/web.html")
        page.click(f"button:text-is('{name}')")
        page.wait_for_selector("dialog[open]")
        assert violations_by_day_and_night(page) == []
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
