"""Every page as a browser sees it: no request leaves, the policy holds, nothing is lost on disk, on phones, in print."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING
from urllib.parse import urldefrag

import pytest

from tests.browser.conftest import Visit
from tests.browser.sites import KINDS, Site
from tests.browser.watching import Watcher

if TYPE_CHECKING:
    from playwright.sync_api import Page

LINKS = """() => [...document.querySelectorAll('a[href]')]
  .map(link => new URL(link.getAttribute('href'), document.baseURI).href)"""
IDS = """() => [...document.querySelectorAll('[id]')].map(each => each.id)"""
SEEN = """() => [...document.querySelectorAll('a[href]')]
  .filter(link => link.closest('details:not([open])') || link.getClientRects().length)
  .map(link => new URL(link.getAttribute('href'), document.baseURI).href)"""
WORDS = """() => { document.querySelectorAll('.dt details').forEach(each => each.open = true);
  document.querySelectorAll('.dt :is(time, button, [role=status], [role=search], [aria-label=Views])').forEach(each => each.remove());
  return document.querySelector('.dt').innerText.split(/\\s+/).join(' ') }"""
WIDE = """() => [...document.querySelectorAll('body *')].filter(each => each.getBoundingClientRect().right > innerWidth + 1)
  .map(each => each.outerHTML.slice(0, 120)).slice(0, 3)"""
NEW_ID = re.compile(r"(?<=-)\w{6}(?=\.yaml with)")
"""Of the file that could be made: a script chooses another one for each reader."""
CHROME = ".md-header, .md-tabs, .md-sidebar, .md-footer, .md-search, .md-top, .md-dialog, .dt-nav"


def test_no_page_asks_another_host_or_breaks_its_policy(visit: Visit, demo: Site):
    page = visit(demo)
    for uri in demo.pages:
        page.goto(f"{demo.url}/{uri}")
        assert page.locator("meta[http-equiv=Content-Security-Policy]").count() == 1, uri


def test_a_board_of_nothing_and_one_of_a_thousand_tasks_are_as_quiet(visit: Visit, empty: Site, large: Site):
    for site in (empty, large):
        page = visit(site)
        for uri in {uri.rpartition("/")[0] or uri: uri for uri in site.pages}.values():
            page.goto(f"{site.url}/{uri}")


def test_on_disk_every_link_leads_somewhere(watcher: Watcher, demo: Site):
    base = demo.folder.as_uri()
    page = watcher.open(f"{base}/index.html")
    links: dict[str, list[str]] = {}
    marks: set[str] = set()
    for uri in set(demo.pages) - {"404.html"}:  # a server shows that one at any address
        page.goto(f"{base}/{uri}")
        links[uri] = page.evaluate(LINKS)
        marks |= {f"{base}/{uri}", *(f"{base}/{uri}#{each}" for each in page.evaluate(IDS))}
    wanted = {(uri, _place(link)) for uri, found in links.items() for link in found if link.startswith("file:")}
    files = {path.as_uri() for path in demo.folder.rglob("*") if path.is_file()}
    assert {(uri, link) for uri, link in wanted if link not in marks and urldefrag(link)[0] not in files} == set()
    assert {(uri, link) for uri, link in wanted if urldefrag(link)[1] and link not in marks} == set()
    assert [word for word in watcher.wrong if not word.startswith("asks for")] == []
    assert {url.partition(":")[0] for url in watcher.requests} <= {"file", "data"}


def _place(link: str) -> str:
    """The link without the view of the board that it asks for: that is no place on the page."""
    url, mark = urldefrag(link)
    return url if "=" in mark else link


@pytest.mark.parametrize("uri", KINDS)
def test_without_scripts_the_same_can_be_read(visit: Visit, demo: Site, uri: str):
    said = [visit(demo, uri, java_script_enabled=on).evaluate(WORDS) for on in (False, True)]
    assert NEW_ID.sub("", said[0]) == NEW_ID.sub("", said[1])


def test_without_scripts_every_page_can_be_reached(visit: Visit, demo: Site):
    page = visit(demo, java_script_enabled=False)
    found, left = {"index.html"}, ["index.html"]
    while left:
        page.goto(f"{demo.url}/{left.pop()}")
        links = {urldefrag(link)[0] for link in page.evaluate(SEEN)}
        new = {link.removeprefix(f"{demo.url}/") for link in links if link.startswith(demo.url)} - found
        found |= new
        left += [uri for uri in new if uri.endswith(".html")]
    assert sorted(set(demo.pages) - found) == ["404.html"]


@pytest.mark.parametrize("width", [390, 320])
def test_on_a_phone_no_page_scrolls_sideways(visit: Visit, demo: Site, width: int):
    page = visit(demo, viewport={"width": width, "height": 844}, is_mobile=True, has_touch=True)
    wide = {uri: _too_wide(page, f"{demo.url}/{uri}") for uri in KINDS}
    assert {uri: found for uri, found in wide.items() if found} == {}


def _too_wide(page: Page, url: str) -> list[str]:
    page.goto(url)
    if page.evaluate("document.documentElement.scrollWidth <= innerWidth && innerWidth <= screen.width"):
        return []
    return [str(page.evaluate("document.documentElement.scrollWidth")), *page.evaluate(WIDE)]


@pytest.mark.parametrize("uri", KINDS)
def test_in_print_there_is_the_page_without_what_surrounds_it(visit: Visit, demo: Site, uri: str):
    page = visit(demo, uri)
    page.emulate_media(media="print")
    shown = page.locator(CHROME).evaluate_all(
        "all => all.filter(each => each.checkVisibility()).map(each => each.className)"
    )
    assert shown == []
    assert page.locator(".dt").first.is_visible()
    assert page.pdf(format="A4").startswith(b"%PDF")
