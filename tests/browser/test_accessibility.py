"""Whom a page keeps out: axe's rules for WCAG 2.0 to 2.2, A and AA, in light and dark, and the keyboard alone."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import pytest

from tests.browser.conftest import Visit, built
from tests.browser.sites import KINDS, Site, demo_repository

if TYPE_CHECKING:
    from playwright.sync_api import Page

WCAG = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22a", "wcag22aa"]
RUN = """async rules => [await axe.run(document, {runOnly: rules}), await axe.run('.dt', {runOnly: ['best-practice']})]
  .flatMap(found => found.violations)"""
COLOURS = "async () => (await axe.run(document, {runOnly: {type: 'rule', values: ['color-contrast']}})).violations"
"""What may be another in the dark."""


def violations(page: Page) -> list[str]:
    """What axe finds on the page: rule, element, and why. The page must be open without its policy.

    What is only good practice is looked for in the board's own part: the theme has an unnamed dialog around its search.
    """
    base: Any = pytest.importorskip("axe_playwright_python.base", reason="axe-playwright-python is not installed")
    if page.evaluate("typeof axe === 'undefined'"):
        page.evaluate(base.AXE_SCRIPT)
    return _list(page.evaluate(RUN, WCAG))


def _list(found: list[dict[str, Any]]) -> list[str]:
    nodes = ((rule["id"], node) for rule in found for node in rule["nodes"])
    return [f"{rule}: {node['html'][:150]} {node['failureSummary'][:200]}" for rule, node in nodes]


def violations_by_day_and_night(page: Page) -> list[str]:
    """What axe finds on the page, in whatever state that is, and then in its colours in the dark."""
    found = violations(page)
    page.emulate_media(color_scheme="dark")
    page.wait_for_selector("body[data-md-color-scheme=slate]")
    found += _list(page.evaluate(COLOURS))
    page.emulate_media(color_scheme="light")
    page.wait_for_selector("body[data-md-color-scheme=default]")
    return found


@pytest.mark.parametrize("uri", KINDS)
def test_axe_finds_nothing(visit: Visit, demo: Site, uri: str):
    assert violations_by_day_and_night(visit(demo, uri, bypass_csp=True)) == []


def test_axe_finds_nothing_on_the_page_of_a_difference(visit: Visit, changed: Site):
    page = visit(changed, "diff.html", bypass_csp=True, viewport={"width": 390, "height": 800})
    assert violations_by_day_and_night(page) == []
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")


@pytest.fixture(scope="module")
def changed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    with built(tmp_path_factory, demo_repository, diff="HEAD~1...HEAD") as site:
        yield site


FOCUSABLE = """() => {
  const all = 'a[href], button, summary, input, select, textarea, [tabindex]';
  window.wanted = [...document.querySelector('.md-content').querySelectorAll(all)].filter(each => each.tabIndex >= 0
    && !each.disabled && !each.closest('[aria-hidden=true]') && each.getClientRects().length
    && each.checkVisibility({visibilityProperty: true, contentVisibilityAuto: false}));
  return wanted.length }"""
FOCUSED = """() => {
  const here = document.activeElement, box = here.getBoundingClientRect();
  const isShown = part => {
    const style = getComputedStyle(here, part);
    return style.outlineStyle !== 'none' && parseFloat(style.outlineWidth) > 0 && (!part || style.content !== 'none') };
  const middle = (start, end, limit) => (Math.max(start, 0) + Math.min(end, limit)) / 2;
  const over = document.elementFromPoint(middle(box.left, box.right, innerWidth), middle(box.top, box.bottom, innerHeight));
  return [wanted.indexOf(here), here.outerHTML.slice(0, 140), [null, '::after'].some(isShown),
    !!over && (here.contains(over) || over.contains(here))] }"""
SCROLLERS = """() => [...document.querySelectorAll('.dt, .dt *')].filter(each => {
    const style = getComputedStyle(each), x = /auto|scroll/.test(style.overflowX), y = /auto|scroll/.test(style.overflowY);
    return (x && each.scrollWidth > each.clientWidth + 1) || (y && each.scrollHeight > each.clientHeight + 1) })
  .filter(each => each.tabIndex < 0 && !each.querySelector('a[href]:not([tabindex="-1"]), button, summary, input, select'))
  .map(each => each.outerHTML.slice(0, 140))"""


@pytest.mark.parametrize("uri", sorted({*KINDS} - {"404.html"}))  # the theme leads past nothing there
def test_past_the_chrome_the_keyboard_reaches_everything_and_is_seen(visit: Visit, demo: Site, uri: str):
    page = visit(demo, uri)
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.matches('.md-skip')")
    page.keyboard.press("Enter")
    total = page.evaluate(FOCUSABLE)
    places = []
    for _ in range(total):
        page.keyboard.press("Tab")
        places.append(page.evaluate(FOCUSED))
    assert [number for number, *_ in places] == list(range(total))
    assert [what for _, what, is_shown, is_free in places if not (is_shown and is_free)] == []


@pytest.mark.parametrize("width", [390, 1280])
def test_whatever_scrolls_can_be_scrolled_with_the_keyboard(visit: Visit, demo: Site, width: int):
    page = visit(demo, viewport={"width": width, "height": 700})
    found = {}
    for uri in KINDS:
        page.goto(f"{demo.url}/{uri}")
        page.evaluate("document.querySelectorAll('details').forEach(each => each.open = true)")
        found[uri] = page.evaluate(SCROLLERS)
    assert {uri: scrollers for uri, scrollers in found.items() if scrollers} == {}
