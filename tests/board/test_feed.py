"""The feed, as a reader of feeds sees it."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime
from functools import cache
from pathlib import Path
from xml.etree import ElementTree

import pytest
from jinja2 import Environment

from dagtasks.board.data import BoardData, Change
from dagtasks.board.overview import Overview
from dagtasks.board.pages.feed import feed_page
from dagtasks.board.pages.press import Press, make_templates
from tests.board.hostile import HOSTILE, Page
from tests.board.sample import sample_data, sample_files
from tests.conftest import MakeProject, Result, git

ATOM = "{http://www.w3.org/2005/Atom}"


@cache
def templates() -> Environment:
    return make_templates()


def feed(data: BoardData) -> ElementTree.Element:
    view = Overview(data)
    page = feed_page(view)
    return ElementTree.fromstring(Press(view, templates()).render(page, page.facts()).text)


def text(element: ElementTree.Element, name: str) -> str:
    return element.findtext(f"{ATOM}{name}") or ""


def change(number: int, **more: object) -> Change:
    at = f"2026-11-{number % 28 + 1:02}T12:00:00Z"
    made = Change(at, "Ann", f"{number:040x}", f"Subject {number}", {"status": ("planned", "completed")})
    return made._replace(**more)


def changes(count: int) -> dict[str, list[Change]]:
    return {"web-7k2m9q": [change(number) for number in range(count)]}


def assert_is_valid(root: ElementTree.Element) -> None:
    """What RFC 4287, 4.1, asks of a feed and its entries."""
    assert root.tag == f"{ATOM}feed"
    for element in [root, *root.findall(f"{ATOM}entry")]:
        for name in ("id", "title", "updated"):
            assert len(element.findall(f"{ATOM}{name}")) == 1, name
        assert re.match("urn:uuid:[0-9a-f-]{36}$|https://", text(element, "id"))
        assert datetime.fromisoformat(text(element, "updated")).tzinfo
        places = [(link.get("rel"), link.get("type")) for link in element.findall(f"{ATOM}link")]
        assert len(places) == len(set(places))
        assert all(link.get("href", "").startswith("https://") for link in element.findall(f"{ATOM}link"))
    for entry in root.findall(f"{ATOM}entry"):
        assert (entry.findtext(f"{ATOM}author/{ATOM}name") or "").strip()
        assert entry.find(f"{ATOM}content").get("type") == "html"
    ids = [text(entry, "id") for entry in root.findall(f"{ATOM}entry")]
    assert len(ids) == len(set(ids))


def test_it_tells_the_latest_fifty_commits() -> None:
    root = feed(sample_data(changes=changes(60)))
    assert_is_valid(root)
    entries = root.findall(f"{ATOM}entry")
    assert len(entries) == 50
    told = [text(entry, "updated") for entry in entries]
    assert told == sorted(told, reverse=True)
    assert text(root, "updated") == told[0]
    content = text(entries[0], "content")
    assert "Build the login page" in content
    assert "planned -&gt; completed" in content
    assert "href" not in content


def test_links_are_whole_addresses_where_that_of_the_site_is_known() -> None:
    root = feed(sample_data(changes=changes(2), address="https://tasks.example/board/"))
    assert_is_valid(root)
    assert text(root, "id") == "https://tasks.example/board/feed.xml"
    [entry, _] = root.findall(f"{ATOM}entry")
    assert 'href="https://tasks.example/board/t/web-7k2m9q.html"' in text(entry, "content")
    link = entry.find(f"{ATOM}link")
    assert link is not None
    assert link.get("href") == "https://tasks.example/board/changes.html#dt-c-0000000000"


def test_ids_stay_when_more_is_committed_and_when_the_board_moves() -> None:
    first = feed(sample_data(changes=changes(3)))
    later = feed(sample_data(changes=changes(4)))
    moved = feed(sample_data(changes=changes(3), address="https://elsewhere.example/"))
    ids = [{text(entry, "id") for entry in root.findall(f"{ATOM}entry")} for root in (first, later, moved)]
    assert ids[0] == ids[2]
    assert ids[0] < ids[1]
    assert text(first, "id") == text(later, "id")


def test_without_a_past_it_is_still_a_feed() -> None:
    for data in (sample_data(changes={}), sample_data(changes={}, as_of=None, commit=None)):
        assert_is_valid(feed(data))


@pytest.mark.parametrize("hostile", [*HOSTILE, "", "\x0b\ufffe\uffff ]]> & <?xml?> <!DOCTYPE x>"])
def test_hostile_text_is_inert(hostile: str) -> None:
    data = sample_data()
    task = data.index.tasks["web-7k2m9q"]._replace(name=hostile)
    index = data.index._replace(tasks={task.id: task})
    made = change(1, author=hostile, subject=hostile, changed={"metadata.x": (hostile, None), hostile: (None, hostile)})
    root = feed(replace(data, index=index, changes={task.id: [made], hostile: [made]}, address="https://a.example/"))
    assert_is_valid(root)
    [entry] = root.findall(f"{ATOM}entry")
    assert {element.tag.removeprefix(ATOM) for element in root.iter()} <= {
        *("feed", "id", "title", "updated", "generator", "link", "entry", "author", "name", "content"),
    }
    assert Page(text(entry, "content")).wrong == []


def test_commits_of_one_second_come_in_the_order_in_which_they_were_made(
    project: MakeProject, cli: Callable[..., Result], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("GIT_AUTHOR_DATE", "GIT_COMMITTER_DATE"):
        monkeypatch.setenv(name, "2026-11-26T10:00:00Z")
    root = project(sample_files()).root
    cli(root, "board", "init")
    wanted = [
        f"web-{task}: priority = {word}" for word in ("low", "critical", "medium") for task in ("7k2m9q", "8m3q7t")
    ]
    for line in wanted:
        name, _, word = line.replace(": priority", "").partition(" = ")
        assert cli(root, "task", "set", name, f"priority={word}", "--commit").code == 0
    assert cli(root, "board", "build").code == 0
    entries = ElementTree.parse(root / "site/feed.xml").getroot().findall(f"{ATOM}entry")
    assert [text(entry, "title") for entry in entries][: len(wanted)] == wanted[::-1]


def test_the_site_has_it_and_its_pages_lead_there(project: MakeProject, cli: Callable[..., Result]) -> None:
    root = project(sample_files()).root
    cli(root, "board", "init")
    assert cli(root, "board", "build", "--strict").code == 0
    path = root / "site/feed.xml"
    assert_is_valid(ElementTree.fromstring(path.read_bytes()))
    assert git(root, "rev-parse", "HEAD")[:10] in (root / "site/changes.html").read_text()
    assert 'href="feed.xml"' in (root / "site/changes.html").read_text()
    for uri, way in {
        "index.html": "",
        "board.html": "",
        "t/web-7k2m9q.html": "../",
        "list/all/1.html": "../../",
    }.items():
        head = (root / "site" / uri).read_text().partition("</head>")[0]
        link = f'<link rel="feed alternate" type="application/atom+xml" title="Changes" href="{way}feed.xml">'
        assert (uri, link in head) == (uri, True)


def test_a_file_of_that_name_is_not_overwritten(project: MakeProject, cli: Callable[..., Result]) -> None:
    root = project({**sample_files(), "site_src/feed.xml": "<mine/>", "site_src/index.md": "# Mine\n"}).root
    cli(root, "board", "init")
    done = cli(root, "board", "build")
    assert done.code == 7
    assert "feed.xml would become feed.xml, a page of the board" in done.err
    assert not Path(root, "site").exists()
