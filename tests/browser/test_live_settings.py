"""Settings in a browser, on a board that `dagtasks serve` shows: webhooks, their secrets, and what they were sent."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

import pytest

from tests.browser.serving import Cookies, Served, fill, go, opened, says, wrong
from tests.browser.test_accessibility import violations_by_day_and_night
from tests.browser.watching import Watcher
from tests.conftest import git
from tests.webhooks.receiver import Receiver, receiving

if TYPE_CHECKING:
    from playwright.sync_api import Page

pytestmark = pytest.mark.slow

SETTINGS = "dagtasks/settings.html"
Hook = Callable[..., str]


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with receiving() as found:
        yield found


@pytest.fixture
def hook(served: Served, receiver: Receiver) -> Iterator[Hook]:
    """Makes a webhook with the command line, and gives its secret; all are gone at the end."""
    made: list[str] = []

    def make(name: str, *more: str) -> str:
        made.append(name)
        return str(served.run("webhooks", "create", name, f"{receiver.url}/{name}", *more, "--commit")["secret"])

    yield make
    for name in made:
        if any(row["name"] == name for row in served.run("webhooks", "list")):
            served.run("webhooks", "delete", name, "--yes", "--commit")


def press(page: Page, name: str, text: str) -> None:
    page.click(f"[data-hook={name}] button:text-is('{text}')")


def shows(page: Page, name: str, text: str) -> None:
    page.wait_for_selector(f"[data-hook={name}] >> text={text}")


def test_a_webhook_is_made_with_the_keyboard_tried_and_gets_what_happens(
    page: Page, served: Served, receiver: Receiver, hook: Hook
):
    go(page, served, "board.html")
    page.click(".dt-nav >> text=Settings")
    page.wait_for_selector("[data-key=new]")
    assert page.inner_text(".dt-nav [aria-current]") == "Settings"
    page.focus("[data-key=new]")
    page.keyboard.press("Enter")
    page.wait_for_selector("dialog form")
    page.keyboard.type("chat")
    page.keyboard.press("Tab")
    page.keyboard.type(f"{receiver.url}/chat")
    page.keyboard.press("Tab")
    page.keyboard.press("Space")  # not every event
    page.check("[value='phase.*']")
    assert page.is_disabled("[value='phase.created']")
    page.check("[value='task.created']")
    page.fill("[data-field=events] input[type=text]", "*.failed")
    page.select_option("[data-field=project] select", "web")
    page.click("button:text-is('Create')")
    secret = page.inner_text(".dt-live-secret")
    page.click("dialog .dt-close")
    shows(page, "chat", "Ready")
    assert secret not in page.content()
    made = served.run("webhooks", "show", "chat")
    assert (made["events"], made["project"]) == (["*.failed", "phase.*", "task.created"], "web")
    assert git(served.root, "log", "-1", "--format=%an %s") == "Ann webhook chat: created"
    press(page, "chat", "Test")
    shows(page, "chat", "The test was taken: 200")
    assert receiver.got[-1].is_signed_by(secret)
    id_ = served.run("task", "create", "web", "--name", "Tell <b>of</b> it", "--commit")["id"]
    page.wait_for_selector(f"[data-event]:has-text('task.created {id_} Tell <b>of</b> it') >> text=Delivered")
    assert [got.message["data"]["subject"] for got in receiver.got[1:]] == [id_]
    page.click(f"[aria-label='Send task.created {id_} to chat again']")
    says(page, "One event is sent to chat again.")
    page.wait_for_selector("[data-event]:has-text('Delivered')")
    assert page.evaluate("() => document.querySelector('.dt .dt-live-said') !== null")
    while len(receiver.got) < 3:
        page.wait_for_timeout(20)
    assert receiver.got[2].id == receiver.got[1].id
    press(page, "chat", "Delete")
    page.click("dialog button:text-is('Delete')")
    says(page, "Deleted the webhook chat.")
    page.wait_for_selector("[data-hook=chat]", state="detached")
    assert "chat" not in (served.root / "config/webhooks.yaml").read_text()


def test_what_is_wrong_stands_beside_its_field_and_a_secret_is_not_kept_as_a_draft(
    watcher: Watcher, signed_in: Cookies, served: Served, hook: Hook
):
    hook("taken")
    page = go(opened(watcher, signed_in), served, SETTINGS)
    page.click("[data-key=new]")
    page.wait_for_selector("dialog form")
    fill(page, "name", "taken")
    fill(page, "url", "ftp://x.example/")
    fill(page, "secret", "whsec_short")
    page.click("button:text-is('Create')")
    page.wait_for_selector("[data-field=secret] .dt-live-wrong >> text=that is no secret")
    assert "whsec_short" not in page.evaluate("JSON.stringify(sessionStorage)")
    fill(page, "secret", "")
    page.click("button:text-is('Create')")
    page.wait_for_selector("[data-field=name] .dt-live-wrong >> text=already")
    fill(page, "name", "another")
    page.click("button:text-is('Create')")
    page.wait_for_selector("[data-field=url] .dt-live-wrong >> text=must begin with https://")
    assert page.evaluate("document.activeElement.closest('[data-field]').dataset.field") == "url"
    page.uncheck("[value='*']")
    page.click("button:text-is('Create')")
    assert wrong(page, "events") == "Choose at least one."
    page.fill("[data-field=events] input[type=text]", "task.nothing")
    fill(page, "url", "https://x.example/")
    page.click("button:text-is('Create')")
    page.wait_for_selector("[data-field=events] .dt-live-wrong >> text=there is no event")
    assert all(what.startswith(("400", "409", "says Failed to load resource")) for what in watcher.wrong), watcher.wrong


def test_fields_and_secrets_are_changed_and_it_is_turned_off_and_on(
    page: Page, served: Served, receiver: Receiver, hook: Hook
):
    first = hook("lamp", "--event", "task.*")
    go(page, served, SETTINGS)
    press(page, "lamp", "Edit")
    page.wait_for_selector("dialog form")
    assert page.is_checked("[value='task.*']")
    page.check("[value='run.failed']")
    page.click("button:text-is('Save')")
    says(page, "Saved the webhook lamp.")
    shows(page, "lamp", "run.failed")
    press(page, "lamp", "New secret")
    page.click("dialog button:text-is('Make it')")
    second = page.inner_text(".dt-live-secret")
    page.click("dialog .dt-close")
    shows(page, "lamp", "Two secrets sign")
    press(page, "lamp", "End the older secret")
    page.click("dialog button:text-is('End it')")
    shows(page, "lamp", "One secret signs")
    press(page, "lamp", "Test")
    shows(page, "lamp", "The test was taken")
    assert [receiver.got[-1].is_signed_by(secret) for secret in (first, second)] == [False, True]
    press(page, "lamp", "Disable")
    shows(page, "lamp", "Disabled")
    assert page.evaluate("document.activeElement.textContent") != ""
    assert served.run("webhooks", "show", "lamp")["enabled"] is False
    press(page, "lamp", "Enable")
    shows(page, "lamp", "Ready")
    assert served.run("webhooks", "show", "lamp")["events"] == ["run.failed", "task.*"]


def test_what_a_receiver_does_not_take_is_shown_with_its_answer_and_can_be_looked_for(
    page: Page, served: Served, receiver: Receiver, hook: Hook
):
    receiver.answers = lambda _got: (503, {}, b"no")
    hook("deaf", "--event", "task.created")
    hook("other", "--event", "task.blocked")
    go(page, served, SETTINGS)
    press(page, "deaf", "Test")
    shows(page, "deaf", "The test was not taken: 503")
    served.run("task", "create", "web", "--name", "Unheard", "--commit")
    page.wait_for_selector("[data-event]:has-text('Unheard') >> text=last answer: 503")
    assert "next" in page.inner_text("[data-event]:has-text('Unheard')")
    shows(page, "deaf", "Failing")
    page.select_option("[aria-label=Webhook]", "other")
    page.wait_for_selector("#dt-sent >> text=Nothing here")
    page.select_option("[aria-label=Webhook]", "deaf")
    page.wait_for_selector("[data-event]:has-text('Unheard')")
    page.select_option("[aria-label=State]", "dead")
    page.wait_for_selector("#dt-sent >> text=Nothing here")


def test_who_may_only_read_is_told_why_nothing_is_changed(watcher: Watcher, served: Served, hook: Hook):
    hook("quiet")
    key = served.run("keys", "create", "--scope", "write", "--name", "writer")["key"]
    page = watcher.open("about:blank", extra_http_headers={"Authorization": f"Bearer {key}"})
    go(page, served, SETTINGS)
    press(page, "quiet", "Disable")
    page.wait_for_selector("dialog [role=alert] >> text=this needs a key with the scope admin, and yours has: write")
    assert served.run("webhooks", "show", "quiet")["enabled"] is True


def test_its_page_and_dialogs_are_open_to_everybody_also_on_a_phone(
    watcher: Watcher, signed_in: Cookies, served: Served, hook: Hook
):
    hook("wide", "--event", "task.created")
    page = opened(watcher, signed_in, bypass_csp=True, viewport={"width": 390, "height": 800})
    go(page, served, SETTINGS)
    shows(page, "wide", "Ready")
    served.run("task", "create", "web", "--name", "W" * 100, "--commit")
    page.wait_for_selector("[data-event] >> text=Send again")
    assert violations_by_day_and_night(page) == []
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    page.click("[data-key=new]")
    page.wait_for_selector("dialog form")
    assert violations_by_day_and_night(page) == []
    assert page.evaluate("(box => box.scrollWidth <= box.clientWidth)(document.querySelector('dialog[open]'))")
    page.click("dialog .dt-close")
    press(page, "wide", "New secret")
    page.click("dialog button:text-is('Make it')")
    page.wait_for_selector(".dt-live-secret")
    assert violations_by_day_and_night(page) == []
