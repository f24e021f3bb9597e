"""What the script adds to commands and to proposals of new tasks."""

from __future__ import annotations

import re
from urllib.parse import parse_qs, urlsplit

from tests.browser.conftest import Visit
from tests.browser.sites import Site
from tests.browser.watching import Watcher


def test_a_command_is_copied_as_it_stands(visit: Visit, demo: Site) -> None:
    page = visit(demo, "t/web-7k2m9q.html", permissions=["clipboard-read", "clipboard-write"])
    button = page.get_by_role("button", name="Copy dagtasks task set web-7k2m9q")
    button.click()
    page.get_by_role("button", name="Copied").wait_for()
    assert page.evaluate("navigator.clipboard.readText()") == "dagtasks task set web-7k2m9q status=completed"
    button.wait_for()


def test_the_text_of_a_new_task_is_copied(visit: Visit, demo: Site) -> None:
    page = visit(demo, "p/web/build.html", permissions=["clipboard-read", "clipboard-write"])
    page.get_by_text("New task", exact=True).click()
    page.get_by_role("button", name="Copy name: New task").click()
    page.get_by_role("button", name="Copied").wait_for()
    assert "\n\nphase: build\n\n" in page.evaluate("navigator.clipboard.readText()")


def test_two_readers_are_offered_two_ids(visit: Visit, demo: Site, watcher: Watcher) -> None:
    offered = []
    for options in ({}, {}, {"java_script_enabled": False}, {"java_script_enabled": False}):
        page = visit(demo, "p/web.html", **options)
        link = page.locator("a[data-new]").get_attribute("href") or ""
        path = page.locator("code[data-new]").text_content()
        assert parse_qs(urlsplit(link).query)["filename"] == [path]
        assert re.fullmatch("tasks/web/web-[0-9a-hjkmnp-tv-z]{6}[.]yaml", path or "")
        offered.append(path)
    assert len(set(offered)) == 3
    assert offered[2] == offered[3]
