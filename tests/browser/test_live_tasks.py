"""Tasks in a browser: made and changed by a person, on a board that `dagtasks serve` shows."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.browser.serving import FILES, Cookies, Served, fill, go, opened, says, wrong
from tests.browser.test_accessibility import violations_by_day_and_night
from tests.browser.watching import Watcher
from tests.conftest import git, write_files

if TYPE_CHECKING:
    from playwright.sync_api import Page

pytestmark = pytest.mark.slow

PHONE = {"viewport": {"width": 390, "height": 800}}


def edit(page: Page, served: Served, task: str) -> None:
    """The form of a task, open."""
    go(page, served, f"t/{task}.html")
    page.click("button:text-is('Edit')")
    page.wait_for_selector("dialog form")


def head(served: Served) -> list[str]:
    return git(served.root, "log", "-1", "--format=%an%n%s").splitlines()


def test_a_task_is_made_with_all_its_fields_and_is_there_at_once(page: Page, served: Served):
    go(page, served, "board.html")
    page.click("button:text('New task')")
    page.wait_for_selector("dialog form")
    assert page.evaluate("document.activeElement.closest('.dt-live-field').dataset.field") == "name"
    page.keyboard.type("Read <b>it</b> all")
    page.select_option("[data-field=project] select", "web")
    page.wait_for_selector("[data-field=phase] option[value=launch]", state="attached")
    page.select_option("[data-field=phase] select", "launch")
    page.select_option("[data-field=priority] select", "critical")
    fill(page, "description", "Some *words*.\n\n- and a list")
    fill(page, "assignee", "ann")
    page.fill("[data-field=due] input", "2031-02-03")
    fill(page, "labels", "zeta")
    page.keyboard.press("Enter")
    fill(page, "labels", "alpha")
    fill(page, "depends_on", "draw the")
    page.wait_for_selector("[role=option][aria-selected=true]:has-text('web-000001')")
    page.keyboard.press("Enter")
    page.click("text=Add a row")
    page.keyboard.type("team")
    page.keyboard.press("Tab")
    page.keyboard.type("[1, 2]")
    page.click("button:text('Create')")
    says(page, "Created web-")
    made = served.task("Read <b>it</b> all")
    assert page.evaluate("document.activeElement.dataset.liveTask") == made["id"]
    assert page.locator(f".dt-card:has-text('{made['id']}') .dt-p-critical").count() == 1
    assert (made["phase"], made["priority"], made["assignee"], made["due"]) == (
        "launch",
        "critical",
        "ann",
        "2031-02-03",
    )
    assert (made["labels"], made["depends_on"]) == (["alpha", "zeta"], ["web-000001"])
    assert made["metadata"] == {"team": [1, 2]}
    assert made["description"].strip() == "Some *words*.\n\n- and a list"
    assert head(served) == ["Ann", f"{made['id']}: created: Read <b>it</b> all"]


def test_what_is_changed_is_saved_and_nothing_else_is_touched(page: Page, served: Served):
    edit(page, served, "web-000001")
    fill(page, "name", "Draw the whole page")
    page.click("button:text-is('Save')")
    says(page, "Saved web-000001.")
    assert page.inner_text("h1") == "Draw the whole page"
    assert page.evaluate("document.activeElement.dataset.live") == "edit"
    text = (served.root / "tasks/web/web-000001.yaml").read_text()
    assert text == FILES["tasks/web/web-000001.yaml"].replace("Draw the", "Draw the whole")


def test_a_form_that_is_saved_as_it_is_changes_nothing(page: Page, served: Served):
    before = head(served)
    edit(page, served, "web-000002")
    page.click("button:text-is('Save')")
    says(page, "Nothing of web-000002 was changed.")
    assert head(served) == before


def test_a_dependency_is_taken_out_and_metadata_keep_their_types(page: Page, served: Served):
    edit(page, served, "web-000002")
    page.click("text=Add a row")
    page.keyboard.type("yes")
    page.keyboard.press("Tab")
    page.keyboard.type("true")
    page.click("[aria-label='Remove web-000001 from Depends on']")
    page.click("button:text-is('Save')")
    says(page, "Saved web-000002.")
    task = served.task("Build the page")
    assert (task["depends_on"], task["metadata"]) == ([], {"yes": True})


def test_status_and_priority_are_changed_from_the_card_with_the_keyboard_alone(page: Page, served: Served):
    go(page, served, "board.html")
    page.focus("[data-live-task=web-000004]")
    page.keyboard.press("Enter")
    page.wait_for_selector("dialog .dt-live-quick")
    assert page.evaluate("document.activeElement.textContent") == "Planned"
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    says(page, "web-000004 is in progress now.")
    assert page.locator("[data-status=in_progress] .dt-card:has-text('web-000004')").count() == 1
    assert page.evaluate("document.activeElement.dataset.liveTask") == "web-000004"
    assert served.task("Quick one")["status"] == "in_progress"


def test_a_comment_stands_below_the_task_at_once(page: Page, served: Served):
    go(page, served, "t/web-000008.html")
    page.click("button:text-is('Comment')")
    page.wait_for_selector("dialog form")
    page.keyboard.type("Some *words* <b>and</b> web-000001")
    page.click("dialog button:text-is('Comment')")
    says(page, "Your comment is there.")
    assert page.inner_text("section[aria-labelledby=dt-comments] .dt-prose") == "Some words <b>and</b> web-000001"
    assert page.inner_text("section[aria-labelledby=dt-comments] h3").startswith("Ann")
    assert page.evaluate("document.activeElement.dataset.live") == "comment"
    assert [each["text"].strip() for each in served.run("task", "show", "web-000008")["comments"]] == [
        "Some *words* <b>and</b> web-000001"
    ]


def test_a_comment_that_says_nothing_is_refused_beside_its_field(watcher: Watcher, signed_in: Cookies, served: Served):
    page = go(opened(watcher, signed_in), served, "t/web-000008.html")
    page.click("button:text-is('Comment')")
    page.wait_for_selector("dialog form")
    page.keyboard.type("  ")
    page.click("dialog button:text-is('Comment')")
    page.wait_for_selector("[data-field=text] .dt-live-wrong p")
    assert {what[:3] for what in watcher.wrong} == {"400", "say"}


def test_what_an_open_dependency_forbids_is_said_and_can_be_done_all_the_same(
    watcher: Watcher, signed_in: Cookies, served: Served
):
    page = go(opened(watcher, signed_in), served, "t/web-000007.html")
    page.click("button:text('Status and priority')")
    page.click("dialog button:has-text('Completed')")
    assert "it depends on open tasks: web-000003" in page.inner_text("dialog [role=alert]:not(:empty)")
    page.click("text=Do it all the same")
    says(page, "web-000007 is completed now.")
    assert served.task("Too early")["status"] == "completed"
    assert {what[:3] for what in watcher.wrong} == {"409", "say"}


def test_what_is_wrong_stands_beside_its_field_and_nothing_that_was_typed_is_lost(
    watcher: Watcher, signed_in: Cookies, served: Served
):
    page = opened(watcher, signed_in)
    edit(page, served, "web-000005")
    fill(page, "name", "")
    fill(page, "description", "long text")
    fill(page, "depends_on", "web-zzzzzz")
    page.click("button:text-is('Save')")
    page.wait_for_selector("[data-field=depends_on] .dt-live-wrong:has-text('there is no task')")
    assert page.evaluate("document.activeElement.closest('[data-field]').dataset.field") == "depends_on"
    assert page.get_attribute("[data-field=depends_on] input", "aria-invalid") == "true"
    fill(page, "depends_on", "")
    page.click("button:text-is('Save')")
    page.wait_for_selector("[data-field=name] .dt-live-wrong:has-text('is required')")
    assert wrong(page, "depends_on") == ""
    assert page.input_value("[data-field=description] textarea") == "long text"
    page.click("text=Add a row")
    page.keyboard.press("Tab")
    page.keyboard.type("lonely")
    page.click("button:text-is('Save')")
    assert "without a key" in wrong(page, "metadata")
    assert all(what.startswith(("400", "404", "says Failed to load resource")) for what in watcher.wrong), watcher.wrong


def test_what_was_typed_is_there_again_after_the_form_was_closed_and_the_page_left(page: Page, served: Served):
    edit(page, served, "web-000006")
    fill(page, "name", "Half of a")
    fill(page, "labels", "pending")
    page.keyboard.press("Escape")
    says(page, "What you typed is kept")
    go(page, served, "board.html")
    edit(page, served, "web-000006")
    assert page.input_value("[data-field=name] input") == "Half of a"
    assert page.input_value("[data-field=labels] input") == "pending"
    page.click("text=Begin anew")
    assert page.input_value("[data-field=name] input") == "Kept text"
    page.keyboard.press("Escape")
    page.wait_for_selector("dialog form", state="detached")
    edit(page, served, "web-000006")
    assert page.input_value("[data-field=name] input") == "Kept text"


def test_where_somebody_else_was_faster_both_values_are_shown_and_one_is_chosen(
    watcher: Watcher, signed_in: Cookies, served: Served
):
    page = opened(watcher, signed_in)
    edit(page, served, "web-000003")
    fill(page, "name", "My name")
    fill(page, "labels", "mine")
    page.fill("[data-field=metadata] div > div:nth-child(1) textarea", "ours")
    other = "name: Their name\n\nassignee: ben\n\nlabels:\n  - theirs\n\nmetadata:\n  team: core\n  size: 4\n  version: '1'\n"
    write_files(served.root, {"tasks/web/web-000003.yaml": other})
    git(served.root, "commit", "--quiet", "--all", "--message", "others")
    page.click("button:text-is('Save')")
    page.wait_for_selector("[data-field=name] fieldset")
    asked = page.inner_text("[data-field=name] .dt-live-wrong")
    assert "My name" in asked
    assert "Their name" in asked
    assert page.evaluate("document.activeElement.type") == "radio"
    assert page.input_value("[data-field=assignee] input") == "ben"
    page.check("[data-field=name] label:has-text('Their name') input")
    page.click("button:text-is('Save')")
    says(page, "Saved web-000003.")
    task = served.task("Their name")
    assert (task["assignee"], task["labels"]) == ("ben", ["mine", "theirs"])
    assert task["metadata"] == {"team": "ours", "size": 4, "version": "1"}
    assert {what[:3] for what in watcher.wrong} == {"412", "say"}


def test_when_the_server_is_gone_or_the_session_has_ended_it_says_so_and_the_text_stays(
    watcher: Watcher, signed_in: Cookies, served: Served
):
    page = opened(watcher, signed_in)
    edit(page, served, "web-000006")
    fill(page, "name", "Survives")
    page.context.clear_cookies()
    page.click("button:text-is('Save')")
    page.wait_for_selector("dialog [role=alert] >> text=You are not signed in any more.")
    page.context.set_offline(True)
    page.click("button:text-is('Save')")
    page.wait_for_selector("dialog [role=alert] >> text=The server cannot be reached.")
    assert page.input_value("[data-field=name] input") == "Survives"
    page.context.set_offline(False)
    page.context.add_cookies(signed_in)
    page.click("button:text-is('Save')")
    says(page, "Saved web-000006.")
    assert served.task("Survives")["id"] == "web-000006"


def test_forms_are_open_to_everybody_also_on_a_phone(watcher: Watcher, signed_in: Cookies, served: Served):
    page = opened(watcher, signed_in, bypass_csp=True, **PHONE)
    go(page, served, "board.html")
    assert violations_by_day_and_night(page) == []
    page.click("[data-live-task=web-000001]")
    page.wait_for_selector(".dt-live-quick")
    assert violations_by_day_and_night(page) == []
    page.click("text=Edit all fields")
    page.wait_for_selector("dialog form")
    page.click("text=Add a row")
    fill(page, "depends_on", "page")
    page.wait_for_selector("[role=option]")
    assert violations_by_day_and_night(page) == []
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    assert page.evaluate("(box => box.scrollWidth <= box.clientWidth)(document.querySelector('dialog[open]'))")
    assert watcher.wrong == []
