"""The board as plain files: the same pages in a small frame of our own, without MkDocs and its theme.

For a board beside a site that something else makes: any server can publish the files, they open from disk, and another
generator can take from each page the one element `<div class="dt ...">`. Pages that people wrote are not among them.
"""

from __future__ import annotations

import html
import re
from collections.abc import Iterator
from typing import NamedTuple
from urllib.parse import urlsplit

from dagtasks.board import shell
from dagtasks.board.overview import Overview
from dagtasks.board.pages.feed import feed_page
from dagtasks.board.pages.home import home_page, missing_page
from dagtasks.board.pages.press import Press
from dagtasks.board.reuse import digest
from dagtasks.board.scripts import MORE_STYLE, ON_BOARD, SCRIPT, STYLE, asset_uri, read_asset
from dagtasks.board.shell import Shell
from dagtasks.board.site import board_site

DEPTH = 4
"""No page lies below more folders than that, less one."""
_FRAME = f"""\
<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width,initial-scale=1">
<title>{shell.TITLE}</title>
<link rel="stylesheet" href="ROOT{{style}}">
<link rel="alternate" type="application/atom+xml" title="Changes" href="ROOTfeed.xml">
<script src="ROOT{asset_uri(SCRIPT)}" defer></script></head>
<body class="dt-frame"><div class="md-grid"><nav class="dt" aria-label="Site"><a href="ROOTindex.html">Home</a></nav>
<main>{shell.BODY}</main></div></body></html>
"""
_DARK = re.compile(r'^\[data-md-color-scheme="slate"\] \{(.*?)^\}', re.DOTALL | re.MULTILINE)
_OWN_STYLE = """
/* What the theme does elsewhere. */
:root { --md-default-bg-color: #fff; color-scheme: light dark; font-size: 125%; }
body { background: var(--md-default-bg-color); font-family: var(--md-text-font-family); margin: 0; }
button, input, select { background: transparent; border: 0; font-family: inherit; margin: 0; }
.md-grid { margin: 0 auto; max-width: 61rem; }
.dt-frame nav.dt { font-size: .66rem; padding: .6rem 0 0; }
"""


class Staged(NamedTuple):
    """A file of the board; `uri` is its address below the root."""

    uri: str
    content: bytes


def stage_board(view: Overview) -> Iterator[Staged]:
    """All files of the board."""
    press, style = Press(view), _make_style()
    frames = {depth: _make_frame("../" * depth, style) for depth in range(DEPTH)}
    home = home_page(view)
    # With MkDocs the text around it is the user's, and has a heading.
    text = f'<h1 class="dt-hidden">{html.escape(home.title)}</h1>{press.render(home, home.facts()).text}'
    yield Staged(home.uri, frames[0].fill(text, home.title).encode())
    for page in board_site(view):
        frame = frames[page.uri.count("/")]
        yield Staged(page.uri, frame.fill(press.render(page, page.facts()).text, page.title).encode())
    # It is shown at any depth, so its links begin at the root of the server.
    missing, root = missing_page(), urlsplit(view.data.address or "/").path
    body = press.render(missing, missing.facts(), root).text
    yield Staged(missing.uri, _make_frame(root, style).fill(body, missing.title).encode())
    feed = feed_page(view)
    yield Staged(feed.uri, press.render(feed, feed.facts()).text.encode())
    yield style
    yield Staged(view.task_index.uri, view.task_index.text.encode())
    yield from (Staged(asset_uri(name), read_asset(name).encode()) for name in (MORE_STYLE, SCRIPT, *ON_BOARD))


def _make_frame(root: str, style: Staged) -> Shell:
    page = shell.with_policy(_FRAME.replace("ROOT", root).format(style=style.uri))
    return shell.cut_shell(shell.tidy(page))


def _make_style() -> Staged:
    """The board's style with what the theme would add; who likes it dark gets the colours of the dark theme."""
    text = read_asset(STYLE)
    dark = "".join(match[1] for match in _DARK.finditer(text))
    whole = f"{text}{_OWN_STYLE}@media (prefers-color-scheme: dark) {{ :root {{{dark}}} }}\n"
    return Staged(f"assets/dagtasks/board.{digest(whole).hex()[:8]}.css", whole.encode())
