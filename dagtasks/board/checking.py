"""What is wrong with a built site: dead links, requests to other hosts, heavy pages, and what keeps readers out.

Pure: it sees names, sizes and texts of files. It judges what stands in the files; what only shows in a browser, like
contrast, is not seen here.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from html.parser import HTMLParser
from posixpath import dirname, join, normpath
from typing import NamedTuple
from urllib.parse import unquote, urlsplit

PAGE_LIMIT = 400_000
BOARD_LIMIT = 250_000
"""Bytes of any page, and of the board."""
_LOADING = {
    "script": ("src",),
    "img": ("src",),
    "iframe": ("src",),
    "source": ("src",),
    "video": ("src", "poster"),
    "audio": ("src",),
    "embed": ("src",),
    "object": ("data",),
    "use": ("href",),
    "image": ("href",),
}
_FETCHED = {"stylesheet", "icon", "preload", "modulepreload", "preconnect", "dns-prefetch", "prefetch", "manifest"}
_OTHER_HOST = re.compile(r"""(?:url\(\s*['"]?|@import\s+['"])((?:https?:)?//[^'")\s]+)""", re.IGNORECASE)
_NAMED = {"a", "button", "summary", "h1", "h2", "h3", "h4", "h5", "h6", "title"}
_FIELDS = {"input", "select", "textarea"}
_VOID = {"area", "base", "br", "col", "embed", "hr", "img", "input", "link", "meta", "source", "track", "wbr"}


class Fault(NamedTuple):
    """What is wrong on a page. `rule` is one of link, host, weight, language, title, heading, name, id, table."""

    page: str
    rule: str
    what: str


class Checked(NamedTuple):
    """A site that was looked at: how many pages and bytes it has, how many of the pages are of tasks, its faults."""

    pages: int
    bytes: int
    tasks: int
    faults: list[Fault]


def check_site(sizes: Mapping[str, int], read: Callable[[str], str]) -> Checked:
    """Look at all files of a site: their names with their sizes, and a way to read one."""
    pages = {name: Page(read(name)) for name in sorted(sizes) if name.endswith(".html")}
    base = _find_base(pages)
    faults = [fault for name, page in pages.items() for fault in _check_page(name, page, pages, sizes, base)]
    faults += [fault for name in sorted(sizes) if name.endswith(".css") for fault in _check_styles(name, read(name))]
    tasks = sum(1 for name in pages if name.startswith("t/"))
    return Checked(len(pages), sum(sizes.values()), tasks, faults)


class _Element(NamedTuple):
    tag: str
    given: Mapping[str, str]
    words: list[str]


class Page(HTMLParser):
    """What of a page is looked at."""

    def __init__(self, text: str) -> None:
        super().__init__(convert_charrefs=True)
        self.language = self.address = ""
        self.ids: Counter[str] = Counter()
        self.anchors: set[str] = set()
        self.links: list[str] = []
        self.loads: list[str] = []
        self.references: list[str] = []
        self.named: list[_Element] = []
        self.fields: list[_Element] = []
        self.labelled: set[str] = set()
        self.pictures: list[Mapping[str, str]] = []
        self.headless = 0
        self._open: list[_Element] = []
        self._tables: list[bool] = []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Take an element in."""
        given = {name: value or "" for name, value in attrs}
        element = _Element(tag, given, [])
        self._note_names(tag, given)
        self._note_addresses(tag, given)
        self._note_kind(element)
        if tag not in _VOID:
            self._open.append(element)

    def _note_names(self, tag: str, given: Mapping[str, str]) -> None:
        if "id" in given:
            self.ids[given["id"]] += 1
        if tag == "a" and "name" in given:
            self.anchors.add(given["name"])
        for key in ("aria-labelledby", "aria-describedby"):
            self.references += given.get(key, "").split()
        if tag == "label" and "for" in given:
            self.labelled.add(given["for"])

    def _note_addresses(self, tag: str, given: Mapping[str, str]) -> None:
        kinds = set(given.get("rel", "").lower().split())
        if tag == "link" and "canonical" in kinds:
            self.address = given.get("href", "")
        elif tag == "link" and kinds & _FETCHED:
            self.loads.append(given.get("href", ""))
        elif tag in ("a", "area", "link") and "href" in given:
            self.links.append(given["href"])
        self.loads += [given[key] for key in _LOADING.get(tag, ()) if key in given]

    def _note_kind(self, element: _Element) -> None:
        tag, given, _ = element
        if tag == "html":
            self.language = given.get("lang", "")
        elif tag == "img":
            self.pictures.append(given)
            self._say(given.get("alt", ""))
        elif tag == "table":
            self._tables.append(False)
        elif tag == "th" and self._tables:
            self._tables[-1] = True
        if tag in _NAMED and not (tag == "title" and any(each.tag == "svg" for each in self._open)):
            self.named.append(element)
        if tag in _FIELDS and given.get("type") != "hidden" and not given.get("id", "").startswith("__"):
            self.fields.append(element)
            if any(each.tag == "label" for each in self._open):
                self.labelled.add(given.get("id", ""))

    def handle_endtag(self, tag: str) -> None:
        """End an element, and those inside it that were left open."""
        if tag == "table" and self._tables:
            self.headless += not self._tables.pop()
        for number in range(len(self._open) - 1, -1, -1):
            if self._open[number].tag == tag:
                del self._open[number:]
                return

    def handle_data(self, data: str) -> None:
        """Take words in."""
        if not data.isspace():
            self._say(data)

    def _say(self, words: str) -> None:
        for element in self._open:
            if element.tag in _NAMED:
                element.words.append(words)

    def has_place(self, name: str) -> bool:
        """Whether a link can lead to that place of the page."""
        return name in self.ids or name in self.anchors


def _check_page(
    name: str, page: Page, pages: Mapping[str, Page], sizes: Mapping[str, int], base: str
) -> Iterator[Fault]:
    limit = BOARD_LIMIT if name == "board.html" else PAGE_LIMIT
    if sizes[name] > limit:
        yield Fault(name, "weight", f"{sizes[name]:,} bytes, more than {limit:,}")
    for rule, words in (
        *(("link", what) for what in _dead_links(name, page, pages, sizes, base)),
        *(("host", f"asks another host for {url}") for url in dict.fromkeys(page.loads) if _is_elsewhere(url)),
        *_barriers(page),
    ):
        yield Fault(name, rule, words)


def _dead_links(name: str, page: Page, pages: Mapping[str, Page], sizes: Mapping[str, int], base: str) -> Iterator[str]:
    for link in dict.fromkeys([*page.links, *page.loads]):
        parts = urlsplit(link)
        if parts.scheme or parts.netloc:
            continue
        target = _resolve(name, unquote(parts.path), base)
        if target not in sizes and f"{target}/index.html" in sizes:
            target += "/index.html"
        if target not in sizes:
            yield _say_dead(target, sizes)
        elif _is_place(parts.fragment) and target in pages and not pages[target].has_place(unquote(parts.fragment)):
            yield f"leads to #{parts.fragment} of {target}, which is not there"


def _resolve(name: str, path: str, base: str) -> str:
    if not path:
        return name
    target = path.removeprefix(base) if path.startswith("/") else normpath(join(dirname(name), path))
    return "index.html" if target in ("", ".", "/") else target.strip("/")


def _say_dead(target: str, sizes: Mapping[str, int]) -> str:
    same = next((name for name in sizes if name.lower() == target.lower()), None)
    return f"leads to {target}, which is not there" + (f"; {same} is" if same else "")


def _is_place(fragment: str) -> bool:
    """Whether the part behind `#` names a place: a view of the board has `=`, and names with `__` are the theme's."""
    return bool(fragment) and "=" not in fragment and not fragment.startswith("__")


def _is_elsewhere(url: str) -> bool:
    return urlsplit(url).scheme in ("http", "https", "ws", "wss") or url.startswith(("//", "\\\\"))


def _barriers(page: Page) -> Iterator[tuple[str, str]]:
    if not page.language:
        yield "language", "says no language: <html lang>"
    if not any(element.tag == "title" and element.words for element in page.named):
        yield "title", "has no title"
    yield from (("heading", what) for what in _check_headings(page.named))
    yield from (("name", what) for what in _nameless(page))
    yield from (("id", f"id {each} stands there {times} times") for each, times in page.ids.items() if times > 1)
    yield from (
        ("id", f"is labelled by #{each}, which is not there") for each in page.references if each not in page.ids
    )
    if page.headless:
        yield "table", f"{page.headless} tables without header cells"


def _check_headings(named: Iterable[_Element]) -> Iterator[str]:
    before = 0
    for element in named:
        if re.fullmatch("h[1-6]", element.tag):
            level = int(element.tag[1])
            if level > before + 1:
                yield f"<{element.tag}> {_words(element)} follows a heading of level {before or 'none'}"
            before = level
    if not before:
        yield "has no heading"


def _nameless(page: Page) -> Iterator[str]:
    yield from (f"picture {each.get('src', '')} has no alt" for each in page.pictures if "alt" not in each)
    for element in page.named:
        is_link = element.tag != "a" or "href" in element.given
        if is_link and element.tag != "title" and not _words(element) and not _has_label(element):
            yield f"<{element.tag}> {element.given.get('href', '')} has no name"
    for element in page.fields:
        if not _has_label(element) and element.given.get("id", "") not in page.labelled:
            yield f"<{element.tag}> {element.given.get('id', '')} has no label"


def _words(element: _Element) -> str:
    return " ".join("".join(element.words).split())[:60]


def _has_label(element: _Element) -> bool:
    return any(element.given.get(key) for key in ("aria-label", "aria-labelledby", "title", "aria-hidden"))


def _check_styles(name: str, text: str) -> Iterator[Fault]:
    return (Fault(name, "host", f"asks another host for {url}") for url in dict.fromkeys(_OTHER_HOST.findall(text)))


def _find_base(pages: Mapping[str, Page]) -> str:
    """The path below which the site is published, as its first page says it: `/`, or `/board/`."""
    first = pages.get("index.html")
    return urlsplit(first.address).path.removesuffix("index.html") or "/" if first else "/"
