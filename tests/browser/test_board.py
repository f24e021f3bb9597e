"""The board as its readers use it: filters, rows, order, keys, addresses; and without JavaScript."""

from __future__ import annotations

import gzip
import json
from typing import TYPE_CHECKING

import pytest

from tests.board.hostile import HOSTILE
from tests.browser.conftest import Visit
from tests.browser.sites import Site
from tests.browser.test_accessibility import violations

if TYPE_CHECKING:
    from playwright.sync_api import Page

HTML = r"""() => [...document.querySelectorAll("#dt-board li:has(.dt-card__title a)")].map(
  item => [item.querySelector(".dt-id")?.textContent, item.outerHTML.replace(/\s*(<[^>]*>)\s*/g, "$1")])"""
CARDS = """() => Object.fromEntries([...document.querySelectorAll("#dt-board > .dt-columns > [data-status]:not([hidden])")].map(
  column => [column.dataset.status, [...column.querySelectorAll(".dt-card > .dt-card__top .dt-id")].map(id => id.textContent)]))"""
SPOIL = """Object.defineProperty(window, "dagtasksTasks", {
  get() { return this.kept; },
  set(index) {
    const spoil = (list, place) => list.forEach((each, n) => { place(n, texts[n % texts.length]); });
    spoil(index.names, (n, text) => { index.names[n] = text; });
    spoil(index.labels, (n, text) => { index.labels[n] = text; });
    spoil(index.people, (n, text) => { index.people[n][0] = index.people[n][1] = text; });
    spoil(index.phases, (n, text) => { index.phases[n][2] = text; });
    spoil(index.metadata, (n, text) => { index.metadata[n][0] = text; index.metadata[n][2].fill(text); });
    this.kept = index;
  },
});
addEventListener("DOMContentLoaded", () => document.querySelectorAll("#dt-board li").forEach(item => item.remove()));"""
REFUSES = """for (const name of ["getItem", "setItem"]) {
  const method = Storage.prototype[name];
  Storage.prototype[name] = function (key, ...rest) {
    if (key.startsWith("dagtasks")) throw new DOMException("no");
    return method.call(this, key, ...rest);
  };
}"""


def cards(page: Page) -> dict[str, list[str]]:
    """The ids in each column."""
    return page.evaluate(CARDS)


def shown(page: Page) -> list[str]:
    return sorted(each for column in cards(page).values() for each in column)


def ready(page: Page) -> Page:
    """The page when its script has begun."""
    page.wait_for_selector("#dt-query:enabled")
    return page


def type_query(page: Page, text: str) -> None:
    page.fill("#dt-query", text)
    page.press("#dt-query", "Enter")


def says(page: Page, text: str) -> None:
    page.wait_for_selector(f"#dt-found:text-is('{text}')")


def focused(page: Page) -> str:
    """The id of the card that has the focus."""
    return page.evaluate("() => document.activeElement.closest('.dt-card')?.querySelector('.dt-id')?.textContent || ''")


@pytest.mark.parametrize("name", ["demo", "large"])
def test_cards_that_the_script_makes_are_those_of_the_page(visit: Visit, name: str, request: pytest.FixtureRequest):
    page = visit(request.getfixturevalue(name), "board.html", java_script_enabled=False)
    expected = dict(page.evaluate(HTML))
    page = visit(request.getfixturevalue(name), "board.html")
    page.clock.set_fixed_time("2026-11-16T12:00:00Z")
    page.add_init_script(
        "addEventListener('DOMContentLoaded', () => document.querySelectorAll('#dt-board li').forEach(item => item.remove()))"
    )
    page.goto(f"{page.url}#density=compact")
    page.reload()
    ready(page)
    made = dict(page.evaluate(HTML))
    both = set(made) & set(expected) - {None}
    assert {each: made[each] for each in both} == {each: expected[each] for each in both}
    assert len(both) >= 10


def test_what_is_typed_is_shown_counted_and_kept_in_the_address(visit: Visit, demo: Site):
    page = ready(visit(demo, "board.html"))
    assert "broken" in cards(page)
    type_query(page, "label:ui,api -priority:high")
    says(page, "1 of 15 tasks")
    assert shown(page) == ["web-8m3q7t"]
    assert page.url.endswith("board.html#q=label:ui,api+-priority:high")
    assert page.locator("[data-status=planned] .dt-empty").is_visible()
    type_query(page, "")
    says(page, "15 tasks, 2 ready to start")
    assert page.locator("[data-status=broken]").is_visible()
    assert page.url.endswith("board.html")


def test_a_wrong_query_says_what_is_wrong_and_leaves_the_cards(visit: Visit, demo: Site):
    page = ready(visit(demo, "board.html"))
    before = cards(page)
    type_query(page, "label:uii")
    page.wait_for_selector("#dt-wrong:has-text(\"no task has label 'uii'\")")
    assert "there is: a11y, api" in page.inner_text("#dt-wrong")
    assert cards(page) == before
    assert page.get_attribute("#dt-query", "aria-invalid") is not None
    type_query(page, "label:ui")
    page.wait_for_selector("#dt-wrong:empty", state="attached")


def test_menus_and_the_box_say_the_same(visit: Visit, demo: Site):
    page = ready(visit(demo, "board.html"))
    page.select_option("[data-key=assignee]", label="Chen Li")
    assert page.input_value("#dt-query") == 'assignee:"Chen Li"'
    says(page, "2 of 15 tasks")
    page.select_option("[data-key=status]", label="Blocked")
    says(page, "1 of 15 tasks")
    page.select_option("[data-key=assignee]", "")
    assert page.input_value("#dt-query") == "status:blocked"
    type_query(page, "status:blocked,planned @ann")
    assert page.eval_on_selector("[data-key=status]", "menu => menu.selectedOptions[0].text") == "blocked, planned"
    assert page.input_value("[data-key=assignee]") == "ann"
    page.select_option("[data-key=status]", "completed")
    assert page.input_value("#dt-query") == "@ann status:completed"
    assert page.eval_on_selector_all("[data-key=phase] option", "all => all.map(one => one.text)") == [
        "Phase",
        "Design (Web site)",
        "Build (Web site)",
        "Launch (Web site)",
    ]


def test_an_address_opens_the_same_view_and_back_leads_back(visit: Visit, demo: Site):
    page = ready(visit(demo, "board.html#q=is:open&group=priority&sort=-due&density=compact"))
    assert page.input_value("#dt-query") == "is:open"
    heads = "heads => heads.map(head => head.textContent)"
    assert page.eval_on_selector_all(".dt-row__head", heads) == ["Critical 2", "High 2", "Medium 5", "Low 2"]
    assert [page.input_value(f"[data-view={name}]") for name in ("group", "sort", "density")] == [
        "priority",
        "due",
        "compact",
    ]
    assert page.get_attribute("#dt-turn", "aria-pressed") == "true"
    page.select_option("[data-view=group]", "")
    assert page.url.endswith("#q=is:open&sort=-due&density=compact")
    assert cards(page)["planned"][:2] == ["web-3s8w2z", "web-1q6t0x"]
    page.click("#dt-turn")
    assert page.url.endswith("sort=due&density=compact")
    assert cards(page)["planned"][:2] == ["web-1q6t0x", "web-3s8w2z"]
    page.go_back()
    page.go_back()
    page.wait_for_selector(".dt-row__head")
    page.go_forward()
    page.wait_for_selector("#dt-board > .dt-columns")
    assert page.input_value("[data-view=group]") == ""


def test_views_are_links_and_the_one_that_is_shown_is_marked(visit: Visit, demo: Site):
    page = ready(visit(demo, "board.html"))
    page.click(".dt-chip:text-is('Ready')")
    says(page, "2 of 15 tasks")
    assert page.eval_on_selector_all(".dt-chip[aria-current]", "all => all.map(one => one.text)") == ["Ready"]
    page.click(".dt-chip:text-is('By phase')")
    page.wait_for_selector(".dt-row__head")
    assert [row.split(" ")[0] for row in page.locator(".dt-row__head").all_inner_texts()] == [
        "Design",
        "Build",
        "Launch",
        "No",
    ]
    page.click(".dt-chip:text-is('All')")
    says(page, "15 tasks, 2 ready to start")


def test_every_list_leads_to_the_board_with_its_tasks(visit: Visit, demo: Site):
    page = visit(demo, "list/planned/1.html")
    page.click("text=filter them on the board")
    ready(page)
    says(page, "8 of 15 tasks")


def test_long_columns_show_more_and_lead_to_their_list(visit: Visit, large: Site):
    page = ready(visit(large, "board.html#q=is:open"))
    planned = page.locator("[data-status=planned]")
    assert len(cards(page)["planned"]) == 40
    assert planned.locator(".dt-more a").count() == 0
    planned.locator("text=Show 40 more").click()
    assert len(cards(page)["planned"]) == 80
    assert focused(page) == cards(page)["planned"][40]
    type_query(page, "")
    assert planned.locator(".dt-more a").text_content() == "Show all 200"


def test_the_page_stays_small_however_many_tasks_there_are(visit: Visit, large: Site):
    text = (large.folder / "board.html").read_bytes()
    assert (len(text) < 250_000, len(gzip.compress(text)) < 25_000) == (True, True)
    page = ready(visit(large, "board.html"))
    assert page.evaluate("document.querySelectorAll('*').length") < 6000


def test_of_many_rows_the_later_ones_begin_closed_and_open(visit: Visit, large: Site):
    page = ready(visit(large, "board.html#group=phase"))
    last = page.locator(".dt-row__head button").last
    assert last.get_attribute("aria-expanded") == "false"
    before = page.locator("#dt-board article").count()
    assert 200 < before <= 300
    last.click()
    assert page.locator("#dt-board article").count() == before + 50
    last.click()
    assert page.locator("#dt-board article").count() == before


def test_a_folded_column_stays_folded(visit: Visit, demo: Site):
    page = ready(visit(demo, "board.html"))
    page.click("[data-status=planned] .dt-fold")
    assert not page.is_visible("[data-status=planned] .dt-card")
    page.reload()
    ready(page)
    assert not page.is_visible("[data-status=planned] .dt-card")
    assert page.get_attribute("[data-status=planned] .dt-fold", "aria-expanded") == "false"
    page.click("[data-status=planned] .dt-fold")
    assert page.is_visible("[data-status=planned] .dt-card")


def test_without_a_place_to_keep_things_it_works(visit: Visit, demo: Site):
    page = visit(demo, "board.html")
    page.add_init_script(REFUSES)
    page.reload()
    ready(page)
    page.click("[data-status=planned] .dt-fold")
    assert not page.is_visible("[data-status=planned] .dt-card")


def test_keys_lead_from_card_to_card(visit: Visit, demo: Site):
    page = ready(visit(demo, "board.html#q=is:open"))
    for key, expected in (
        ("j", "web-9n4r8v"),
        ("j", "web-1q6t0x"),
        ("k", "web-9n4r8v"),
        ("k", "web-9n4r8v"),
        ("ArrowDown", "web-1q6t0x"),
        ("l", "web-7k2m9q"),
        ("ArrowRight", "web-0p5s9w"),
        ("l", "web-0p5s9w"),
        ("h", "web-8m3q7t"),
        ("ArrowUp", "web-8m3q7t"),
    ):
        page.keyboard.press(key)
        assert (key, focused(page)) == (key, expected)
    page.keyboard.press("Enter")
    page.wait_for_url("**/t/web-8m3q7t.html")


def test_space_shows_what_is_known_of_a_card(visit: Visit, demo: Site):
    page = ready(visit(demo, "board.html#q=label:a11y"))
    page.keyboard.press("j")
    page.keyboard.press("Space")
    said = " ".join(page.inner_text("#dt-peek").split())
    for words in (
        "web-7k2m9q",
        "Build the login page",
        "In progress",
        "High",
        "ann",
        "2026-11-28",
        "ui auth a11y q4",
        "estimate 3",
        "ben.okafor, Chen Li",
    ):
        assert words in said
    page.select_option("#dt-peek select", "completed")
    assert page.inner_text("#dt-peek code") == "dagtasks task set web-7k2m9q status=completed"
    page.keyboard.press("Escape")
    assert not page.is_visible("#dt-peek")
    assert focused(page) == "web-7k2m9q"
    type_query(page, "")
    page.locator("[data-status=planned] .dt-card__title a").first.focus()
    page.keyboard.press("Space")
    page.keyboard.press("j")
    assert page.inner_text("#dt-peek .dt-id") == cards(page)["planned"][1]
    page.keyboard.press("Space")
    assert focused(page) == cards(page)["planned"][1]


def test_other_keys_and_how_to_switch_them_off(visit: Visit, demo: Site):
    page = ready(visit(demo, "board.html#q=is:open"))
    page.keyboard.press("b")
    says(page, "11 of 15 tasks")
    page.keyboard.press("g")
    page.keyboard.press("b")
    says(page, "15 tasks, 2 ready to start")
    page.keyboard.press("/")
    assert page.evaluate("document.activeElement.id") == "dt-query"
    page.keyboard.press("j")
    assert page.input_value("#dt-query") == "j"
    page.keyboard.press("Escape")
    page.keyboard.press("Escape")
    says(page, "15 tasks, 2 ready to start")
    page.keyboard.press("?")
    page.wait_for_selector("#dt-help[open]")
    page.uncheck("#dt-keys")
    page.keyboard.press("Escape")
    page.reload()
    ready(page)
    page.keyboard.press("j")
    assert focused(page) == ""
    page.click("#dt-help-open")
    page.check("#dt-keys")
    page.keyboard.press("Escape")
    page.keyboard.press("j")
    assert page.locator(".dt-card a:focus").count() == 1


def test_an_empty_board_takes_queries_too(visit: Visit, empty: Site):
    page = ready(visit(empty, "board.html#group=assignee"))
    says(page, "0 tasks, 0 ready to start")
    type_query(page, "label:ui")
    page.wait_for_selector("#dt-wrong:has-text('there is none yet')")
    assert not page.is_visible("[data-key=label]")


def test_texts_stay_texts(visit: Visit, demo: Site):
    page = visit(demo, "board.html")
    hostile = [text.replace("\n", " ") for text in HOSTILE if text.isprintable()]
    page.add_init_script(f"const texts = {json.dumps(hostile)};" + SPOIL)
    page.goto(f"{page.url}#group=assignee")
    page.reload()
    ready(page)
    assert page.locator("#dt-board .dt-card").count() == 15
    assert page.locator("#dt-board :is(script, img, iframe, form, input, object, svg svg)").count() == 0
    page.keyboard.press("j")
    page.keyboard.press("Space")
    assert page.inner_text("#dt-peek h2") in [" ".join(text.split()) for text in hostile]
    assert page.locator("#dt-peek :is(script, img, iframe, form, input)").count() == 0


def test_it_works_from_disk(visit: Visit, demo: Site, watcher):
    page = watcher.open((demo.folder / "board.html").as_uri() + "#q=label:ux")
    ready(page)
    says(page, "2 of 15 tasks")


def test_without_scripts_there_is_nothing_that_needs_one(visit: Visit, demo: Site):
    page = visit(demo, "board.html", java_script_enabled=False)
    for part in (".dt-tools", ".dt-head .dt-chips", ".dt-fold"):
        assert not page.locator(part).first.is_visible()
    assert page.locator(".dt-card").first.is_visible()


def test_the_bar_takes_little_of_a_phone_and_nothing_moves_when_the_script_begins(visit: Visit, demo: Site):
    page = visit(demo, "board.html", viewport={"width": 390, "height": 800})
    before = page.locator(".dt-columns").bounding_box()
    ready(page)
    assert page.locator(".dt-columns").bounding_box() == before
    assert before["y"] < 300
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    page.click("#dt-unfold")
    assert page.is_visible("[data-key=status]")


def test_a_theme_with_keys_of_its_own_does_not_hear_ours(visit: Visit, demo: Site):
    page = ready(visit(demo, "board.html"))
    page.evaluate("window.heard = []; addEventListener('keydown', event => heard.push(event.key))")
    for key in ("j", "/"):
        page.keyboard.press(key)
    page.keyboard.press("Escape")
    assert page.evaluate("heard") == ["Escape"]


def faults(page: Page) -> list[str]:
    """What axe finds when colours have stopped changing."""
    page.wait_for_function("document.getAnimations().every(each => each.playState !== 'running')")
    return violations(page)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_nothing_in_what_the_script_makes(visit: Visit, demo: Site, scheme: str):
    page = ready(visit(demo, "board.html", bypass_csp=True, color_scheme=scheme))
    page.click("[data-status=cancelled] .dt-fold")
    type_query(page, "no task is like that")
    assert faults(page) == []
    type_query(page, "label:uii")
    page.wait_for_selector("#dt-wrong b")
    page.select_option("[data-view=density]", "compact")
    assert faults(page) == []
    type_query(page, "is:open")
    page.select_option("[data-view=group]", "phase")
    assert faults(page) == []
    page.keyboard.press("Escape")
    page.evaluate("document.activeElement.blur()")
    page.keyboard.press("j")
    page.keyboard.press("Space")
    assert faults(page) == []
    page.keyboard.press("Escape")
    page.keyboard.press("?")
    assert faults(page) == []
