"""The chrome around a page, rendered once by the theme and then filled for each page: title, address, body.

The values are put between the cut pieces and never looked at again, so no text can stand in for a mark.
"""

from __future__ import annotations

import base64
import hashlib
import html
import re
from dataclasses import dataclass
from functools import cached_property

from dagtasks.board.printable import clean
from dagtasks.board.reuse import digest

BODY = "dagtasks:body:goes:here"
TITLE = "dagtasks:title:goes:here"
ADDRESS = "dagtasks:address:goes:here"
_MARK = re.compile(f"({BODY}|{TITLE}|{ADDRESS})")
_INLINE_SCRIPT = re.compile(r"<script(?P<attributes>[^>]*)>(?P<code>.*?)</script>", re.DOTALL | re.IGNORECASE)
_IDLE = re.compile(
    r"(<(script|style|pre|textarea)\b.*?</\2>)"
    r"|<div class=\"md-sidebar[^>]* hidden>\s*<div[^>]*>\s*<div[^>]*>\s*<nav[^>]*>\s*</nav>(?:\s*</div>){3}"
    r"|(\n)\s+|(<svg) xmlns=\"[^\"]*\"",
    re.DOTALL | re.IGNORECASE,
)
"""What says nothing: hidden bars without a link, indentation, the name space of drawings; and what must stay."""
_CHARSET = re.compile(r"<meta charset=[^>]*>", re.IGNORECASE)


@dataclass(frozen=True)
class Shell:
    """The chrome of the pages at one depth of the site and under one entry of the navigation."""

    pieces: tuple[str, ...]

    @cached_property
    def digest(self) -> str:
        """What is another when the chrome is."""
        return digest(*self.pieces).hex()

    def fill(self, body: str, title: str, address: str = "") -> str:
        """The whole page. `body` is HTML; `title` is plain text and `address` a URL: both are escaped here."""
        values = {BODY: body, TITLE: html.escape(clean(title)), ADDRESS: html.escape(address)}
        return "".join(values.get(piece, piece) for piece in self.pieces)


def cut_shell(page: str) -> Shell:
    """The chrome of a page that the theme rendered with the marks in it.

    Raises `ValueError` when the theme leaves the body out.
    """
    if BODY not in page:
        raise ValueError("the theme has no place for a page's body: it must have the block `container`")
    return Shell(tuple(_MARK.split(page)))


def tidy(page: str) -> str:
    """The page without what says nothing."""
    return _IDLE.sub(r"\1\3\4", page)


def inert(text: str) -> str:
    """Text for the theme's templates, which do not escape: no tag and no end of an attribute is left in it.

    `&` stays, since titles taken from headings come escaped already.
    """
    return clean(text).replace("<", "&lt;").replace(">", "&gt;").replace('"', "&quot;")


def with_policy(page: str) -> str:
    """The page with a Content-Security-Policy that lets nothing run but the site's files and this chrome's scripts."""
    found = (match for match in _INLINE_SCRIPT.finditer(page) if _runs_inline(match["attributes"]))
    hashes = sorted({_digest(match["code"]) for match in found})
    policy = "; ".join(
        [
            "default-src 'none'",
            " ".join(["script-src 'self'", *hashes]),
            "style-src 'self' 'unsafe-inline'",
            "img-src 'self' data:",
            "font-src 'self'",
            "connect-src 'self'",
            "worker-src 'self' blob:",
            "base-uri 'none'",
            "form-action 'none'",
        ]
    )
    meta = f'<meta http-equiv="Content-Security-Policy" content="{policy}">'
    return _CHARSET.sub(lambda match: match[0] + meta, page, count=1)


def _runs_inline(attributes: str) -> bool:
    return "src=" not in attributes and "application/" not in attributes


def _digest(code: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(code.encode()).digest()).decode()}'"
