"""Workflows and runs in a browser, on a board that `dagtasks serve` shows."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.browser.serving import Cookies, Served, fill, go, opened, says, wrong
from tests.browser.test_accessibility import violations_by_day_and_night
from tests.browser.watching import Watcher

if TYPE_CHECKING:
    from playwright.sync_api import Page

pytestmark = pytest.mark.slow


@pytest.fixture
def page(watcher: Watcher, signed_in: Cookies) -> Page:
    return opened(watcher, signed_in)


def run(page: Page, served: Served, name: str) -> None:
    """Run a workflow of the task with the form that comes, as it is."""
    go(page, served, "t/web-r00002.html")
    page.click(f"[data-live-run={name}]")
    page.wait_for_selector("dialog form")
    page.click("dialog button:text-is('Run')")


def bind(page: Page, served: Served) -> None:
    """Bind a template to the task without a workflow."""
    go(page, served, "t/web-r00001.html")
    page.click("text=Add workflow")
    page.click(".dt-live-choices button:text-is('ask')")
    page.wait_for_selector("dialog form")
    fill(page, "name", "short")
    fill(page, "parameters.times", "1")
    page.click("button:text-is('Create')")
    says(page, "Created the workflow short.")


def newest(served: Served) -> dict[str, object]:
    return dict(served.run("runs", "list")[0])


def test_a_template_is_chosen_and_its_parameters_make_the_form(page: Page, served: Served):
    go(page, served, "t/web-r00001.html")
    page.click("text=Add workflow")
    page.click(".dt-live-choices button:text-is('ask')")
    page.wait_for_selector("dialog form")
    fill(page, "name", "greet")
    fill(page, "parameters.times", "9")
    page.select_option("[data-field='parameters.how'] select", "loud")
    page.select_option("[data-field='parameters.fast'] select", "true")
    fill(page, "parameters.hosts", "one\ntwo")
    fill(page, "parameters.more", "{nothing")
    page.click("button:text-is('Create')")
    assert wrong(page, "parameters.more") == "This is no JSON."
    fill(page, "parameters.more", '{"a": [1]}')
    page.click("button:text-is('Create')")
    page.wait_for_selector("[data-field='parameters.times'] .dt-live-wrong >> text=must be at most 5")
    assert page.evaluate("document.activeElement.type") == "number"
    fill(page, "parameters.times", "3")
    page.click("button:text-is('Create')")
    says(page, "Created the workflow greet.")
    assert page.evaluate("document.activeElement.dataset.liveRun") == "greet"
    expected = {"times": 3, "how": "loud", "fast": True, "hosts": ["one", "two"], "more": {"a": [1]}}
    assert served.task("Bind")["workflows"]["greet"]["parameters"] == expected


def test_a_workflow_is_changed_and_removed(page: Page, served: Served):
    bind(page, served)
    page.click("[aria-label='Edit the workflow short']")
    page.wait_for_selector("dialog form")
    assert page.input_value("[data-field='parameters.times'] input") == "1"
    fill(page, "parameters.times", "2")
    fill(page, "parameters.word", "two\nlines")
    page.click("button:text-is('Save')")
    says(page, "Saved the workflow short.")
    assert served.task("Bind")["workflows"]["short"]["parameters"] == {"times": 2, "word": "two\nlines"}
    page.click("[aria-label='Remove the workflow short']")
    page.click("dialog button:text-is('Remove')")
    says(page, "Removed the workflow short.")
    assert "short" not in served.task("Bind")["workflows"]


def test_a_run_is_followed_and_what_it_asks_is_answered(page: Page, served: Served):
    go(page, served, "t/web-r00002.html")
    page.click("[data-live-run=ask]")
    page.wait_for_selector("dialog form")
    assert "as bound: 2" in page.inner_text("[data-field='parameters.times']")
    fill(page, "parameters.word", "hey")
    page.click("dialog button:text-is('Run')")
    page.wait_for_selector("dialog .dt-live-log >> text=hey 2")
    page.click("dialog button:text('Answer sure')")
    page.wait_for_selector("dialog >> text=Are you sure?")
    fill(page, "parameters.where", "here")
    page.click("button:text-is('Send')")
    page.wait_for_selector("dialog .dt-run-succeeded")
    page.wait_for_selector("dialog .dt-live-log >> text=done")
    page.click("dialog .dt-close")
    page.click(".dt-live-said a")
    page.wait_for_selector("button:text('Run again')")
    assert newest(served)["status"] == "succeeded"


def test_a_run_is_ended(page: Page, served: Served):
    run(page, served, "long")
    page.wait_for_selector("dialog .dt-live-log >> text=waiting")
    page.click("dialog button:text-is('End it')")
    page.click("dialog:last-of-type .dt-live-do:text-is('End it')")
    page.wait_for_selector("dialog .dt-run-cancelled")
    assert newest(served)["status"] == "cancelled"


def test_a_run_that_failed_is_run_again(page: Page, served: Served):
    run(page, served, "fail")
    page.wait_for_selector("dialog .dt-run-failed")
    first = newest(served)["id"]
    page.click("dialog button:text-is('Run again')")
    page.click(".dt-live-do:text-is('Run again')")
    page.wait_for_selector(f"dialog:not(:has-text('{first}')) .dt-run-failed")
    again = served.run("runs", "show", str(newest(served)["id"]))
    assert again["retry_of"] == first


def test_the_page_of_a_run_that_goes_on_follows_it(page: Page, served: Served):
    run(page, served, "long")
    page.wait_for_selector("dialog .dt-live-log >> text=waiting")
    go(page, served, f"r/{newest(served)['id']}.html")
    page.wait_for_selector("section .dt-live-log >> text=waiting")
    page.click("button:text-is('End it')")
    page.click("dialog .dt-live-do:text-is('End it')")
    page.wait_for_selector("button:text('Run again')")
    assert "Cancelled" in page.inner_text(".dt-lead")


def test_its_forms_are_open_to_everybody(watcher: Watcher, signed_in: Cookies, served: Served):
    page = opened(watcher, signed_in, bypass_csp=True, viewport={"width": 390, "height": 800})
    go(page, served, "t/web-r00002.html")
    page.click("text=Add workflow")
    page.wait_for_selector("dialog li")
    assert violations_by_day_and_night(page) == []
    page.click(".dt-live-choices button:text-is('ask')")
    page.wait_for_selector("dialog form")
    assert violations_by_day_and_night(page) == []
    assert page.evaluate("(box => box.scrollWidth <= box.clientWidth)(document.querySelector('dialog[open]'))")
    run(page, served, "fail")
    page.wait_for_selector("dialog .dt-run-failed")
    assert violations_by_day_and_night(page) == []
