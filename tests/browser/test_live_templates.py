"""Templates in a browser, on a board that `dagtasks serve` shows."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.browser.serving import FAIL, Cookies, Served, go, opened, says, wrong
from tests.browser.test_accessibility import violations_by_day_and_night
from tests.browser.watching import Watcher
from tests.conftest import git, write_files

if TYPE_CHECKING:
    from playwright.sync_api import Page

pytestmark = pytest.mark.slow

TEXT = "dialog textarea"


def edit(page: Page, served: Served, name: str) -> str:
    """The form with the template's text, open; what stands in it."""
    go(page, served, f"templates/{name}.html")
    page.click("button:text-is('Edit text')")
    page.wait_for_selector("dialog form")
    return page.input_value(TEXT)


def test_a_template_is_made_edited_and_deleted(page: Page, served: Served):
    go(page, served, "templates.html")
    page.click("text=New template")
    page.wait_for_selector("dialog form")
    page.keyboard.type("fresh")
    page.select_option("[data-field=type] select", "script_workflow")
    page.click("button:text-is('Create')")
    says(page, "Created the template fresh.")
    assert page.url.endswith("/templates/fresh.html")
    path = served.root / "templates/fresh.yaml"
    before = path.read_text()
    text = edit(page, served, "fresh")
    assert text == before
    page.fill(TEXT, text.replace("description: ", "description: Ours. ", 1))
    page.click("button:text-is('Save')")
    says(page, "Saved the template fresh.")
    assert "Ours. " in page.inner_text(".dt-prose")
    assert path.read_text() == before.replace("description: ", "description: Ours. ", 1)
    assert git(served.root, "log", "-1", "--format=%an %s") == "Ann templates/fresh.yaml: edited"
    page.click("button:text-is('Delete')")
    page.click("dialog button:text-is('Delete')")
    says(page, "Deleted the template fresh.")
    assert page.url.endswith("/templates.html")
    assert not path.exists()


def test_what_would_be_wrong_is_not_saved_and_its_line_is_found(watcher: Watcher, signed_in: Cookies, served: Served):
    page = opened(watcher, signed_in)
    text = edit(page, served, "edited")
    before = (served.root / "templates/edited.yaml").read_text()
    page.fill(TEXT, f"{text}nonsense: 1\n\nmore: 2\n")
    page.click("button:text-is('Save')")
    page.wait_for_selector("[data-field=text] .dt-live-wrong p >> nth=1")
    assert "unknown key 'nonsense'" in wrong(page, "text")
    page.click("text=Line 6")
    chosen = f"(area => area.value.slice(area.selectionStart, area.selectionEnd))(document.querySelector('{TEXT}'))"
    assert page.evaluate(chosen) == "more: 2"
    assert (served.root / "templates/edited.yaml").read_text() == before
    page.fill(TEXT, text.replace("edited", "renamed"))
    page.click("button:text-is('Save')")
    page.wait_for_selector("dialog [role=alert] >> text=names the template 'renamed'")
    assert {what[:3] for what in watcher.wrong} == {"422", "400", "say"}


def test_where_somebody_else_was_faster_both_texts_are_there(watcher: Watcher, signed_in: Cookies, served: Served):
    page = opened(watcher, signed_in)
    text = edit(page, served, "edited")
    page.fill(TEXT, text.replace("# kept", "# mine"))
    write_files(served.root, {"templates/edited.yaml": text.replace("# kept", "# theirs")})
    git(served.root, "commit", "--quiet", "--message", "others", "templates/edited.yaml")
    page.click("button:text-is('Save')")
    page.wait_for_selector("[data-field=text] fieldset")
    page.check("[data-field=text] label:has-text('As it is now') input")
    assert page.input_value(TEXT).startswith("# theirs")
    page.check("[data-field=text] label:has-text('Yours') input")
    page.click("button:text-is('Save')")
    says(page, "Saved the template edited.")
    assert (served.root / "templates/edited.yaml").read_text().startswith("# mine")
    assert {what[:3] for what in watcher.wrong} == {"412", "say"}


def test_one_that_is_used_is_not_deleted_and_a_broken_one_is_mended(
    watcher: Watcher, signed_in: Cookies, served: Served
):
    page = go(opened(watcher, signed_in), served, "templates/used.html")
    page.click("button:text-is('Delete')")
    page.click("dialog button:text-is('Delete')")
    page.wait_for_selector("dialog [role=alert] >> text=web-t00001/used")
    write_files(served.root, {"templates/wrong.yaml": "metadata: {name: wrong\n" + FAIL.partition("\n")[2]})
    git(served.root, "add", "templates/wrong.yaml")
    git(served.root, "commit", "--quiet", "--message", "others", "templates/wrong.yaml")
    go(page, served, "templates.html")
    page.click("[aria-label='Edit the text of wrong']")
    page.wait_for_selector("dialog form")
    page.fill(TEXT, page.input_value(TEXT).replace("wrong", "wrong}"))
    page.click("button:text-is('Save')")
    says(page, "Saved the template wrong.")
    page.wait_for_selector("a:text-is('wrong')")
    assert {what[:3] for what in watcher.wrong} == {"409", "say"}


def test_its_forms_are_open_to_everybody(watcher: Watcher, signed_in: Cookies, served: Served):
    page = opened(watcher, signed_in, bypass_csp=True, viewport={"width": 390, "height": 800})
    go(page, served, "templates.html")
    page.click("text=New template")
    page.wait_for_selector("dialog form")
    assert violations_by_day_and_night(page) == []
    text = edit(page, served, "long")
    page.fill(TEXT, f"{text}{'wide ' * 100}: [\n")
    page.click("button:text-is('Save')")
    page.wait_for_selector("[data-field=text] .dt-live-wrong p")
    assert violations_by_day_and_night(page) == []
    assert page.evaluate("(box => box.scrollWidth <= box.clientWidth)(document.querySelector('dialog[open]'))")
