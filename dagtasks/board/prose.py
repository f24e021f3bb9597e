"""Markdown of strangers -> HTML that holds nothing but text, links and structure.

Raw HTML is shown as text, so `List<int>` survives and a script does not run. Headings start at h3, leave no level
out, and get no ids (an id of their choice could stand in for one that the theme's scripts look up).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence

from markdown_it import MarkdownIt
from markdown_it.renderer import RendererHTML
from markdown_it.rules_core import StateCore
from markdown_it.token import Token
from markupsafe import Markup

from dagtasks.board.printable import clean
from dagtasks.model.names import TASK_ID_PATTERN

LIMIT = 64 * 1024
SCHEMES = ("http", "https", "mailto")
_SCHEME = re.compile(r"([a-z][a-z0-9+.-]*):", re.IGNORECASE)
_TASK_ID = re.compile(rf"(?<![\w/.-]){TASK_ID_PATTERN}(?![\w-])")
_CHECKBOX = {"[ ] ": "☐ ", "[x] ": "☑ ", "[X] ": "☑ "}

Prose = Callable[[str], Markup]
FindUri = Callable[[str], str | None]
"""The address of the page of a task, seen from the page that is being made; None when there is no such task."""


def make_prose(find_uri: FindUri) -> Prose:
    """A renderer of Markdown that also links the ids of tasks."""
    markdown = MarkdownIt("commonmark", {"html": False, "maxNesting": 20}, renderer_cls=_Renderer)
    markdown.enable(["table", "strikethrough"])
    markdown.validateLink = is_allowed  # type: ignore[method-assign]
    markdown.core.ruler.push("links", lambda state: _walk(state, find_uri))
    return lambda text: Markup(markdown.render(clean(text[:LIMIT])))  # noqa: S704 - made of escaped parts


def is_allowed(url: str) -> bool:
    """Whether a link may lead there: http, https, mailto, or a place without a scheme."""
    scheme = _SCHEME.match(_visible(url))
    return scheme is None or scheme[1].lower() in SCHEMES


def is_external(url: str) -> bool:
    """Whether the address leads away from this site."""
    return bool(_SCHEME.match(_visible(url))) or _visible(url).startswith(("//", "\\\\", "/\\", "\\/"))


def _visible(url: str) -> str:
    # Browsers drop tabs and line breaks inside an address, so `java\tscript:` is a scheme for them.
    return re.sub(r"[\x00-\x20\x7f-\x9f]+", "", url)


class _Renderer(RendererHTML):
    """Tables can be scrolled. Images of other hosts become links: a page asks nobody but its own site for anything."""

    def table_open(self, *_: object) -> str:
        return '<div class="dt-wide" tabindex="0" role="group" aria-label="Table"><table>\n'

    def table_close(self, *_: object) -> str:
        return "</table></div>\n"

    def image(self, tokens: Sequence[Token], idx: int, *_: object) -> str:
        token = tokens[idx]
        source = str(token.attrs.get("src", ""))
        label = Markup.escape(token.content or source)
        if not is_external(source):
            return Markup('<img src="{}" alt="{}" loading="lazy">').format(source, token.content)
        return Markup('<a href="{}" rel="nofollow noopener noreferrer">{}</a>').format(source, label)


def _walk(state: StateCore, find_uri: FindUri) -> None:
    above: list[str] = []
    for token in state.tokens:
        if token.type == "heading_open":
            above = [*(tag for tag in above if tag < token.tag), token.tag]
        if token.type in ("heading_open", "heading_close"):
            token.tag = f"h{min(len(above) + 2, 6)}"
        elif token.type == "inline" and token.children:
            token.children = _link_ids(_mark_links(_check_box(token.children)), find_uri)


def _check_box(children: list[Token]) -> list[Token]:
    first = children[0]
    if first.type == "text" and first.content[:4] in _CHECKBOX:
        first.content = _CHECKBOX[first.content[:4]] + first.content[4:]
    return children


def _mark_links(children: list[Token]) -> list[Token]:
    for token in children:
        if token.type == "link_open" and is_external(str(token.attrs.get("href", ""))):
            token.attrSet("rel", "nofollow noopener noreferrer")
    return children


def _link_ids(children: list[Token], find_uri: FindUri) -> list[Token]:
    result: list[Token] = []
    depth = 0
    for token in children:
        depth += (token.type == "link_open") - (token.type == "link_close")
        result += _split_at_ids(token, find_uri) if token.type == "text" and not depth else [token]
    return result


def _split_at_ids(token: Token, find_uri: FindUri) -> list[Token]:
    parts: list[Token] = []
    done = 0
    for match in _TASK_ID.finditer(token.content):
        if uri := find_uri(match[0]):
            parts += [_text(token.content[done : match.start()]), *_link(uri, match[0])]
            done = match.end()
    return [*parts, _text(token.content[done:])] if parts else [token]


def _text(content: str) -> Token:
    return Token("text", "", 0, content=content)


def _link(uri: str, label: str) -> list[Token]:
    return [Token("link_open", "a", 1, attrs={"href": uri}), _text(label), Token("link_close", "a", -1)]
