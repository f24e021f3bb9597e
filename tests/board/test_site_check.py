"""`board check`: what is wrong with a built site."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from dagtasks.board.checking import check_site
from tests.browser.sites import demo_repository
from tests.conftest import MakeProject, Result, write_files


def page(body: str, head: str = "<title>Page</title>") -> str:
    return f'<!doctype html><html lang="en"><head>{head}</head><body><h1 id="top">Page</h1>{body}</body></html>'


def faults(files: Mapping[str, str], **sizes: int) -> list[tuple[str, str, str]]:
    given = {name: len(text) for name, text in files.items()}
    return [tuple(fault) for fault in check_site({**given, **sizes}, files.__getitem__).faults]


def check(body: str, head: str = "<title>Page</title>", **files: str) -> list[tuple[str, str]]:
    """Rule and words of the faults of a page in a folder."""
    site = {"index.html": page(""), "t/a.html": page(body, head), "b/index.html": page(""), **files}
    return [(rule, what) for name, rule, what in faults(site) if name == "t/a.html"]


RIGHT = {
    "a page beside it": '<a href="a.html">x</a>',
    "a place of its own": '<a href="#top">x</a>',
    "a place of another page": '<a href="../index.html#top">x</a>',
    "an old kind of place": '<a name="old"></a><a href="#old">x</a>',
    "the site itself": '<a href="..">x</a><a href="../">x</a><a href="/">x</a>',
    "a folder": '<a href="../b/">x</a><a href="../b">x</a>',
    "from the root": '<a href="/t/a.html">x</a>',
    "a name that is escaped": '<a href="../t/%61.html">x</a>',
    "a view of the board": '<a href="../index.html#q=is:open">x</a>',
    "a place of the theme": '<a href="#__codelineno-0-1">x</a>',
    "another host to go to": '<a href="https://example.org/x">x</a><a href="mailto:a@example.org">x</a>',
    "a picture with words": '<img src="../index.html" alt="x">',
    "a picture for decoration": '<img src="data:image/png;base64,AA" alt="">',
    "a link round a picture": '<a href="a.html"><img src="a.html" alt="x"></a>',
    "names by attributes": '<a href="a.html" aria-label="x"></a><button title="x"></button>',
    "labels": '<label for="q">x</label><input id="q"><label><input id="r"></label><input type="hidden"><select aria-label="x"></select>',
    "headings in order": "<h2>a</h2><h3>b</h3><h2>c</h2>",
    "a control that nobody is told of": '<button aria-hidden="true"></button>',
    "a table": "<table><tr><th>a</th></tr></table>",
    "a label that is there": '<section aria-labelledby="top"></section>',
    "the title of a drawing": "<svg><title></title></svg>",
}
WRONG = {
    "link": '<a href="b.html">x</a>',
    "link to a folder": '<a href="../c/">x</a>',
    "link in capitals": '<a href="A.html">x</a>',
    "link out of the site": '<a href="../../index.html">x</a>',
    "place": '<a href="#gone">x</a>',
    "place elsewhere": '<a href="../index.html#gone">x</a>',
    "icon": '<svg><use href="#gone"/></svg>',
    "script": '<script src="gone.js"></script>',
    "host of a script": '<script src="https://a.example/x.js"></script>',
    "host of a picture": '<img src="//a.example/x.png" alt="">',
    "host of a frame": '<iframe src="http://a.example/"></iframe>',
    "picture": '<img src="a.html">',
    "link without a name": '<a href="a.html"> </a>',
    "button": "<button></button>",
    "input": '<input id="q">',
    "heading left out": "<h3>b</h3>",
    "heading without words": "<h2></h2>",
    "id": '<p id="x"></p><p id="x"></p>',
    "label": '<section aria-labelledby="gone"></section>',
    "table": "<table><tr><td>a</td></tr></table>",
}
SAID = {
    "link": ("link", "leads to t/b.html, which is not there"),
    "link to a folder": ("link", "leads to c, which is not there"),
    "link in capitals": ("link", "leads to t/A.html, which is not there; t/a.html is"),
    "link out of the site": ("link", "leads to ../index.html, which is not there"),
    "place": ("link", "leads to #gone of t/a.html, which is not there"),
    "place elsewhere": ("link", "leads to #gone of index.html, which is not there"),
    "icon": ("link", "leads to #gone of t/a.html, which is not there"),
    "script": ("link", "leads to t/gone.js, which is not there"),
    "host of a script": ("host", "asks another host for https://a.example/x.js"),
    "host of a picture": ("host", "asks another host for //a.example/x.png"),
    "host of a frame": ("host", "asks another host for http://a.example/"),
    "picture": ("name", "picture a.html has no alt"),
    "link without a name": ("name", "<a> a.html has no name"),
    "button": ("name", "<button>  has no name"),
    "input": ("name", "<input> q has no label"),
    "heading left out": ("heading", "<h3> b follows a heading of level 1"),
    "heading without words": ("name", "<h2>  has no name"),
    "id": ("id", "id x stands there 2 times"),
    "label": ("id", "is labelled by #gone, which is not there"),
    "table": ("table", "1 tables without header cells"),
}


@pytest.mark.parametrize("name", RIGHT)
def test_what_is_right_is_passed_over(name: str):
    assert check(RIGHT[name]) == []


@pytest.mark.parametrize("name", WRONG)
def test_what_is_wrong_is_said(name: str):
    assert check(WRONG[name]) == [SAID[name]]


@pytest.mark.parametrize(("head", "expected"), [
    ("", [("title", "has no title")]),
    ("<title> </title>", [("title", "has no title")]),
    ('<title>x</title><link rel="stylesheet" href="//a.example/x.css">', [("host", "asks another host for //a.example/x.css")]),
    ('<title>x</title><link rel="preconnect" href="https://a.example">', [("host", "asks another host for https://a.example")]),
    ('<title>x</title><link rel="icon" href="gone.png">', [("link", "leads to t/gone.png, which is not there")]),
    ('<title>x</title><link rel="canonical" href="https://a.example/t/a.html">', []),
])  # fmt: skip
def test_the_head_is_looked_at(head: str, expected: list[tuple[str, str]]):
    assert check("", head) == expected


def test_a_page_needs_a_language_and_a_heading():
    assert faults({"index.html": "<title>x</title>"}) == [
        ("index.html", "language", "says no language: <html lang>"),
        ("index.html", "heading", "has no heading"),
    ]


def test_below_an_address_links_from_the_root_are_found():
    first = page("", '<title>x</title><link rel="canonical" href="https://a.example/board/">')
    files = {"index.html": first, "404.html": page('<a href="/board/index.html">x</a><a href="/board/gone.html">x</a>')}
    assert faults(files) == [("404.html", "link", "leads to gone.html, which is not there")]


def test_styles_ask_no_other_host():
    files = {
        "index.html": page(""),
        "a.css": "@import '//a.example/y.css'; a { background: url( 'https://a.example/x.png') } b { background: url(c.png) }",
    }
    assert [(rule, what) for _, rule, what in faults(files)] == [
        ("host", "asks another host for //a.example/y.css"),
        ("host", "asks another host for https://a.example/x.png"),
    ]


def test_pages_have_a_weight():
    files = {"index.html": page(""), "board.html": page("")}
    assert faults(files, **{"index.html": 400_000, "board.html": 250_000}) == []
    assert faults(files, **{"index.html": 400_001, "board.html": 250_001}) == [
        ("board.html", "weight", "250,001 bytes, more than 250,000"),
        ("index.html", "weight", "400,001 bytes, more than 400,000"),
    ]


Cli = Callable[..., Result]


def test_the_command_says_what_is_wrong_once_for_all_pages(cli: Cli, tmp_path: Path):
    dead = page('<a href="/gone.html">x</a>')
    write_files(tmp_path, {"index.html": dead, "t/a-1.html": dead, "t/a-2.html": page(""), "x.bin": b"\xff"})
    done = cli(tmp_path, "board", "check", str(tmp_path))
    size = sum(path.stat().st_size for path in tmp_path.rglob("*") if path.is_file())
    assert done.code == 1
    assert done.out.splitlines() == [
        "index.html: link: leads to gone.html, which is not there (and 1 more pages)",
        f"3 pages, {size:,} bytes, {size // 2:,} for each of 2 tasks; faults: 2",
    ]
    told = cli(tmp_path, "board", "check", str(tmp_path), "--json")
    assert told.code == 1
    assert told.json["faults"][1] == {
        "page": "t/a-1.html",
        "rule": "link",
        "what": "leads to gone.html, which is not there",
    }
    assert (told.json["pages"], told.json["tasks"], told.json["bytes"]) == (3, 2, size)


def test_without_a_site_the_command_says_how_to_get_one(cli: Cli, project: MakeProject, tmp_path: Path):
    (tmp_path / "empty").mkdir()
    done = cli(tmp_path, "board", "check", str(tmp_path / "empty"))
    assert (done.code, "dagtasks board build" in done.err) == (5, True)
    assert cli(project().root, "board", "check").code == 5


def test_a_board_with_everything_on_it_has_no_faults(cli: Cli, tmp_path: Path):
    root = demo_repository(tmp_path / "demo")
    assert cli(root, "board", "build").code == 1
    assert cli(root, "board", "stage", str(tmp_path / "plain")).code == 1
    for site in ((), (str(tmp_path / "plain"),)):
        done = cli(root, "board", "check", *site)
        assert (done.code, done.out.count("\n")) == (0, 1), done.out
