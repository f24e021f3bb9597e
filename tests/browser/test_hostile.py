"""What strangers write stays text in a browser, also without a policy, as `board serve` shows it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.browser.conftest import Visit, built
from tests.browser.hostility import TEXTS, hostile_repository
from tests.browser.sites import Site
from tests.browser.watching import Watcher

PARTS = 4
# The style of pages stands just before them.
ACTIVE = """() => {
  const all = [...document.querySelectorAll('*')], name = each => each.outerHTML.slice(0, 160);
  const content = document.querySelector('.md-content');
  const isCode = url => { try { return !/^(https?|mailto):/.test(new URL(url, location.href).href) } catch { return false } };
  return [
    ...document.querySelectorAll('iframe, object, embed, base, meta[http-equiv=refresh i], video, audio, frame'),
    ...document.querySelectorAll('form:not(.md-search__form, .md-header__option)'),
    ...content.querySelectorAll('script, style, link:not(:has(+ #dt-main)), meta, [style], [srcdoc], [formaction]'),
    ...all.filter(each => [...each.attributes].some(one => /^on/i.test(one.name))),
    ...all.filter(each => ['href', 'src', 'action', 'xlink:href', 'poster', 'data'].some(key =>
      each.hasAttribute(key) && !each.getAttribute(key).startsWith('data:image/') && isCode(each.getAttribute(key)))),
  ].map(name) }"""


@pytest.fixture(scope="module")
def hostile(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    with built(tmp_path_factory, hostile_repository) as site:
        yield site


@pytest.mark.parametrize("part", range(PARTS))
def test_nothing_that_strangers_wrote_does_anything(watcher: Watcher, hostile: Site, part: int):
    page = watcher.open(hostile.url, bypass_csp=True)
    for uri in hostile.pages[part::PARTS]:
        page.goto(f"{hostile.url}/{uri}")
        assert (uri, page.evaluate(ACTIVE)) == (uri, [])
    watcher.close()
    # A picture that the site does not have is no more than a gap.
    gaps = ("404: ", "says Failed to load resource: the server responded with a status of 404")
    assert [word for word in watcher.wrong if not word.startswith(gaps)] == []


def test_with_their_policy_the_same_pages_are_quiet(visit: Visit, hostile: Site):
    page = visit(hostile)
    for uri in ("board.html", "board.html#q=alert&group=assignee", "runs.html", "changes.html", "problems.html"):
        page.goto(f"{hostile.url}/{uri}")
        page.evaluate("document.querySelectorAll('details').forEach(each => each.open = true)")


def test_all_of_it_was_there_to_be_shown(hostile: Site):
    tasks = [uri for uri in hostile.pages if uri.startswith("t/h")]
    assert len([uri for uri in hostile.pages if uri.startswith("r/")]) >= 60
    assert len([uri for uri in hostile.pages if uri.startswith("templates/t")]) >= 60
    assert len(tasks) >= len(TEXTS) >= 60
    readable = [uri for uri in tasks if "cannot be read" not in (hostile.folder / uri).read_text()]
    assert len(readable) >= 50, len(readable)
