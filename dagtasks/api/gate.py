"""The gate: every request passes it before anything is looked up, also for what is not there (08, R23).

It lets in who comes under a name of this server, from no other site, with a key that allows it, and with a body that is
small, timely and JSON.
"""

from __future__ import annotations

import re
import time
from collections import deque
from collections.abc import Callable, Collection, Iterable
from typing import NamedTuple
from urllib.parse import parse_qs, urlsplit

import anyio
from anyio import to_thread
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from dagtasks.api import sessions
from dagtasks.api.bodies import ClientGone, check_json, check_length, check_type, read_body, replay
from dagtasks.api.problems import Refusal, bug_response, error_response, refusal_response
from dagtasks.api.sessions import Sessions
from dagtasks.errors import DagtasksError
from dagtasks.service import keys
from dagtasks.service.keys import Grant

LOCAL = ("127.0.0.1", "localhost", "::1")
READING = ("GET", "HEAD")
NEEDS = (
    (re.compile(r"/api/v1/(.*/runs|runs/[^/]*/(cancel|retry|approve))"), keys.Scope.RUN),
    (re.compile(r"/api/v1/webhooks(/.*)?"), keys.Scope.ADMIN),
)
"""What is needed to change anything at these paths; elsewhere `write`."""
GUESSES = 10
GUESS_SECONDS = 60.0
"""After so many wrong keys from one address in that time, further ones get 429. Right ones are always let in."""
ADDRESSES = 1024
"""Addresses whose wrong keys are remembered."""
REQUESTS = 200
"""Requests that are answered at a time, long streams too."""
_SECRET = re.compile(rb"dgt_[0-9A-Za-z]{36}")
_HOST = re.compile(r"(\[[0-9A-Fa-f:.]+\]|[^\[\]:@/\s]+)(:\d{1,5})?")

FindGrant = Callable[[str], Grant | None]


def needed_scope(method: str, path: str) -> keys.Scope:
    """What a key has to allow for a request."""
    if method in READING:
        return keys.Scope.READ
    return next((scope for pattern, scope in NEEDS if pattern.fullmatch(path)), keys.Scope.WRITE)


class Guesses:
    """Counts wrong keys by address."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._seen: dict[str, deque[float]] = {}

    def count(self, address: str) -> float:
        """One more wrong key from there: how many seconds it has to wait, 0 while there are few."""
        now = self._clock()
        times = self._seen.pop(address, deque())
        while times and times[0] <= now - GUESS_SECONDS:
            times.popleft()
        while len(self._seen) >= ADDRESSES:
            del self._seen[next(iter(self._seen))]
        self._seen[address] = times
        if len(times) >= GUESSES:
            return times[0] + GUESS_SECONDS - now
        times.append(now)
        return 0.0


class Head(NamedTuple):
    """What the gate looks at: method, path, query, the client's address, and the headers with small names."""

    method: str
    path: str
    query: bytes
    address: str
    headers: list[tuple[str, str]]

    def every(self, name: str) -> list[str]:
        """The values of that header."""
        return [value for key, value in self.headers if key == name]

    def get(self, name: str) -> str:
        """The value of that header; "" without. Raises `Refusal` when there are several."""
        found = self.every(name)
        if len(found) > 1:
            raise Refusal(400, f"there is more than one header {name}")
        return found[0] if found else ""


def _head(scope: Scope) -> Head:
    client = scope.get("client")
    headers = [(name.decode("latin-1").lower(), value.decode("latin-1")) for name, value in scope["headers"]]
    address = client[0] if client else ""
    return Head(scope["method"], scope["path"], scope.get("query_string", b""), address, headers)


class Gate:
    """Stands before an application. `hosts` are the names of this server; `find_grant` knows the keys.

    With `signed_in` browsers are let in, too, that were signed in with.
    """

    def __init__(
        self,
        app: ASGIApp,
        find_grant: FindGrant,
        hosts: Iterable[str] = (),
        guesses: Guesses | None = None,
        signed_in: Sessions | None = None,
    ) -> None:
        self._app = app
        self._find_grant = find_grant
        self._hosts = frozenset(host.lower().strip("[]").rstrip(".") for host in (*LOCAL, *hosts))
        self._guesses = guesses or Guesses()
        self._sessions = signed_in
        # Its own: whoever waits for a slow request keeps nobody from being let in.
        self._threads = anyio.CapacityLimiter(4)
        self._running = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Let the request in, or answer why not."""
        if scope["type"] == "lifespan":
            return await self._app(scope, receive, send)
        if scope["type"] != "http":
            return await send({"type": "websocket.close", "code": 1008})
        started: list[int] = []
        guarded = _guard(send, started)
        self._running += 1
        try:
            if self._running > REQUESTS:
                raise Refusal(503, f"{REQUESTS} requests are being answered already", headers={"Retry-After": "1"})
            await self._admit(scope, receive, guarded)
        except ClientGone:
            return None
        except Exception as error:
            if started == [500]:
                return None  # the framework passes on what it has answered and logged
            if started:
                raise  # cut off: nobody may take the half of it for the whole
            await self._respond(error, scope)(scope, receive, guarded)
        finally:
            self._running -= 1
        return None

    def _respond(self, error: Exception, scope: Scope) -> Response:
        """The answer to what was refused, or went wrong; for a person who looks for a page, a page."""
        accepted = _head(scope).every("accept")
        wants_page = self._sessions and scope["method"] in READING and any("text/html" in one for one in accepted)
        if isinstance(error, Refusal) and error.status == 401 and wants_page:
            return sessions.ask_to_sign_in("This browser is not signed in.")
        return _respond(error)

    async def _admit(self, scope: Scope, receive: Receive, send: Send) -> None:
        head = _head(scope)
        self._check_host(head)
        _check_origin(head)
        if self._sessions and head.path == sessions.PATH and head.method == "GET":
            return await self._sign_in(head, self._sessions)(scope, receive, send)
        grant = self._find_session(head) or await self._check_key(head)
        if not grant.allows(needed := needed_scope(head.method, head.path)):
            names = ", ".join(sorted(grant.scopes))
            raise Refusal(403, f"this needs a key with the scope {needed}, and yours has: {names}")
        if head.method not in READING:
            body = await self._read_body(head, receive)
            receive = replay(body, receive)
        scope = {**_as_get(scope), "state": {**scope.get("state", {}), "grant": grant}}
        return await self._app(scope, receive, send)

    def _sign_in(self, head: Head, known: Sessions) -> Response:
        """Exchange the link that works once for a session."""
        code = parse_qs(head.query.decode("latin-1")).get("code", [""])[0]
        secret = known.redeem(code)
        if secret is None:
            self._count_guess(head)
            return sessions.ask_to_sign_in("The link is not the last one, or it has been used.")
        cookie = sessions.write_cookie(_cookie_of(head), secret)
        return Response(status_code=303, headers={"Location": "./", "Set-Cookie": cookie})

    def _find_session(self, head: Head) -> Grant | None:
        """What a browser may do that was signed in with. A request that a page of another site made brings nothing."""
        if not self._sessions or _secret_of(head):
            return None
        grant = self._sessions.find_grant(sessions.read_cookie(head.get("cookie"), _cookie_of(head)))
        if grant and head.method not in READING and not head.every("origin"):
            raise Refusal(403, "a browser says which page a request comes from, and this one did not")
        if grant and head.get("sec-fetch-site") not in ("", "same-origin", "none"):
            raise Refusal(403, "requests from pages of other sites are refused")
        return grant

    def _check_host(self, head: Head) -> None:
        """A page of another site whose name was bound to our address comes under that name."""
        match = _HOST.fullmatch(head.get("host"))
        name = match[1].lower().strip("[]").rstrip(".") if match else ""
        if name not in self._hosts:
            hint = "the operator can add a name with the setting api.hosts (DAGTASKS_API_HOSTS)"
            raise Refusal(421, "this server is not reached under that name", hint=hint)

    async def _check_key(self, head: Head) -> Grant:
        if not head.path.isprintable():
            raise Refusal(400, "the address holds what cannot be printed")
        if _SECRET.search(head.query) or _SECRET.search(head.path.encode("utf-8", "surrogateescape")):
            hint = "take it back (dagtasks keys revoke): addresses are kept in logs"
            raise Refusal(400, "a key stands in the address, where it does not belong", hint=hint)
        secret = _secret_of(head)
        grant = await to_thread.run_sync(self._find_grant, secret, limiter=self._threads) if secret else None
        if grant:
            return grant
        if secret:
            self._count_guess(head)
        detail = "there is no such key, or it has expired" if secret else "this needs a key"
        hint = "send Authorization: Bearer dgt_...; keys are made by dagtasks keys create"
        raise Refusal(401, detail, hint=hint, headers={"WWW-Authenticate": "Bearer"})

    def _count_guess(self, head: Head) -> None:
        if seconds := self._guesses.count(head.address):
            wait = str(int(seconds) + 1)
            raise Refusal(429, "too many wrong keys came from your address", headers={"Retry-After": wait})

    async def _read_body(self, head: Head, receive: Receive) -> bytes:
        length = head.get("content-length")
        if length and length != "0":
            check_length(length)
            check_type(head.get("content-type"), head.get("content-encoding").lower())
        content = await read_body(receive)
        if content:
            check_type(head.get("content-type"), head.get("content-encoding").lower())
            await to_thread.run_sync(check_json, content, limiter=self._threads)
        return content


def _check_origin(head: Head) -> None:
    """Browsers say which page a request comes from: only one of this server may send any."""
    for origin in head.every("origin"):
        parts = urlsplit(origin) if origin != "null" else None
        if parts is None or parts.scheme not in ("http", "https") or parts.netloc.lower() != head.get("host").lower():
            raise Refusal(403, "requests from pages of other sites are refused")


def _as_get(scope: Scope) -> Scope:
    """HEAD asks what GET would answer, but for the body, which the server leaves out; nobody waits for a stream so."""
    if scope["method"] != "HEAD":
        return scope
    headers = [(name, value) for name, value in scope["headers"] if name.lower() != b"accept"]
    return {**scope, "method": "GET", "headers": headers}


def _cookie_of(head: Head) -> str:
    match = _HOST.fullmatch(head.get("host"))
    return sessions.cookie_name(((match and match[2]) or "").lstrip(":"))


def _secret_of(head: Head) -> str:
    bearer, plain = head.get("authorization"), head.get("x-api-key").strip()
    kind, _, secret = bearer.partition(" ")
    if bearer and kind.lower() != "bearer":
        raise Refusal(401, "keys are sent as Bearer", headers={"WWW-Authenticate": "Bearer"})
    if bearer and plain and secret.strip() != plain:
        raise Refusal(400, "there are two different keys in the headers")
    return secret.strip() or plain


def _guard(send: Send, started: list[int]) -> Send:
    """Adds to each answer what keeps browsers from guessing and from keeping it."""

    async def guarded(message: Message) -> None:
        if message["type"] == "http.response.start":
            started.append(message["status"])
            given = {name.lower() for name, _ in message.get("headers", ())}
            extra = [(name, value) for name, value in _HEADERS if name not in given]
            message = {**message, "headers": [*message.get("headers", ()), *extra]}
        await send(message)

    return guarded


_HEADERS: Collection[tuple[bytes, bytes]] = (
    (b"cache-control", b"no-store"),
    (b"x-content-type-options", b"nosniff"),
    (b"content-security-policy", b"default-src 'none'; frame-ancestors 'none'"),
    (b"referrer-policy", b"no-referrer"),
)


def _respond(error: Exception) -> Response:
    if isinstance(error, Refusal):
        return refusal_response(error)
    return error_response(error) if isinstance(error, DagtasksError) else bug_response(error)
