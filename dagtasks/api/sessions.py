"""Signing in with a browser: a link that works once, and a cookie that this server forgets at its end."""

from __future__ import annotations

import html
import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from hashlib import sha256
from http.cookies import CookieError, SimpleCookie

from starlette.responses import Response

from dagtasks.service.keys import Grant

PATH = "/sign-in"
SECONDS = 12 * 3600.0
"""How long a session lasts."""
_COOKIE = "dagtasks"


@dataclass
class Sessions:
    """The sessions of a server. Who has the link is let in as `grant` says; `tell` is given each new link's code."""

    grant: Grant
    tell: Callable[[str], None]
    clock: Callable[[], float] = time.monotonic
    _code: str = ""
    _ends: dict[str, float] = field(default_factory=dict)

    def offer(self) -> None:
        """Make a link that works once, and tell it; the one before works no more."""
        self._code = secrets.token_urlsafe(32)
        self.tell(self._code)

    def redeem(self, code: str) -> str | None:
        """The secret of a new session for the code of the link, then a new one is told; None for another code."""
        if not self._code or not secrets.compare_digest(code.encode(), self._code.encode()):
            return None
        secret = secrets.token_urlsafe(32)
        now = self.clock()
        self._ends = {digest: end for digest, end in self._ends.items() if end > now} | {_digest(secret): now + SECONDS}
        self.offer()
        return secret

    def find_grant(self, secret: str) -> Grant | None:
        """What the session allows; None when there is none, or it has ended."""
        end = self._ends.get(_digest(secret), 0.0)
        return self.grant if end > self.clock() else None


def _digest(secret: str) -> str:
    return sha256(secret.encode("utf-8", "surrogateescape")).hexdigest()


def cookie_name(port: str) -> str:
    """What the cookie of the server at that port is called: browsers give all servers of a machine the same cookies."""
    return f"{_COOKIE}-{port or '80'}"


def write_cookie(name: str, secret: str) -> str:
    """The value of `Set-Cookie`: for this site alone, and for no script."""
    return f"{name}={secret}; Path=/; Max-Age={int(SECONDS)}; HttpOnly; SameSite=Strict"


def read_cookie(header: str, name: str) -> str:
    """The cookie of that name; "" when there is none."""
    try:
        found = SimpleCookie(header).get(name)
    except CookieError:
        return ""
    return found.value if found else ""


def ask_to_sign_in(detail: str) -> Response:
    """The page for a browser that nobody has signed in with."""
    text = (
        '<!doctype html><html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width">'
        f"<title>Sign in</title><h1>Sign in</h1><p>{html.escape(detail)}</p>"
        "<p>Open the last link that <code>dagtasks serve</code> has printed. Each works once.</p>"
    )
    return Response(text, 401, {"WWW-Authenticate": "Bearer"}, "text/html")
