"""Workflows and runs in a browser, on a board that `dagtasks serve` shows."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

from tests.browser.serving import Cookies, Served, fill, go, opened, says, served_alone, sign_in, wrong
from tests.browser.test_accessibility import violations
from tests.browser.watching import Watcher

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

pytestmark = pytest.mark.slow

ASK = """\
metadata: {name: ask, description: Says something and asks}
parameters:
  word: {type: string, default: hello, description: What is said}
  times: {type: integer, required: true, minimum: 1, maximum: 5}
  how: {type: string, enum: [loud, low]}
  hosts: {type: array, items: {type: string}}
  more: {type: object}
  fast: {type: boolean, default: false}
steps:
  - {name: say, script: {source: 'echo "$WORD $TIMES"', env: {WORD: "${params.word}", TIMES: "${params.times}"}}}
  - name: sure
    depends_on: [say]
    approval: {message: Are you sure?, approvers: [ann@example.org], parameters: {where: {type: string, required: true}}}
  - {name: done, depends_on: [sure], script: {source: 'echo done'}}
"""
LONG = """\
metadata: {name: long}
steps: [{name: wait, script: {source: 'echo waiting; exec sleep 60'}}]
"""
FAIL = """\
metadata: {name: fail}
steps: [{name: fall, script: {source: 'echo falling; exit 3'}}]
"""
TASKS = {
    "templates/ask.yaml": ASK,
    "templates/long.yaml": LONG,
    "templates/fail.yaml": FAIL,
    "tasks/web/web-000001.yaml": "name: Bind\n",
    "tasks/web/web-000002.yaml": "name: Run\n\nworkflows:\n  ask:\n    template: ask\n    parameters:\n      times: 2\n"
    "  long:\n    template: long\n  fail:\n    template: fail\n",
}


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with served_alone(tmp_path_factory, TASKS) as served:
        yield served


@pytest.fixture(scope="module")
def signed_in(browser: Browser, served: Served) -> Cookies:
    return sign_in(browser, served)


@pytest.fixture
def page(watcher: Watcher, signed_in: Cookies) -> Page:
    return opened(watcher, signed_in)


def run(page: Page, served: Served, name: str) -> None:
    """Run a workflow of the task with the form that comes, as it is."""
    go(page, served, "t/web-000002.html")
    page.click(f"[data-live-run={name}]")
    page.wait_for_selector("dialog form")
    page.click("dialog button:text-is('Run')")


def bind(page: Page, served: Served) -> None:
    """Bind a template to the task without a workflow."""
    go(page, served, "t/web-000001.html")
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
    go(page, served, "t/web-000001.html")
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
    go(page, served, "t/web-000002.html")
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


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_its_forms_are_open_to_everybody(watcher: Watcher, signed_in: Cookies, served: Served, scheme: str):
    page = opened(watcher, signed_in, color_scheme=scheme, bypass_csp=True, viewport={"width": 390, "height": 800})
    go(page, served, "t/web-000002.html")
    page.click("text=Add workflow")
    page.wait_for_selector("dialog li")
    assert violations(page) == []
    page.click(".dt-live-choices button:text-is('ask')")
    page.wait_for_selector("dialog form")
    assert violations(page) == []
    assert page.evaluate("(box => box.scrollWidth <= box.clientWidth)(document.querySelector('dialog[open]'))")
    run(page, served, "fail")
    page.wait_for_selector("dialog .dt-run-failed")
    assert violations(page) == []
