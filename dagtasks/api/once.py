"""Doing a request once, although it comes twice: `Idempotency-Key`, for whoever did not hear the answer."""

from __future__ import annotations

from hashlib import sha256

from anyio import to_thread
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from dagtasks.api.desk import Server
from dagtasks.api.problems import Refusal
from dagtasks.store.replies import Replies, Reply, Request

LONGEST = 200
KEPT_HEADERS = ("content-type", "etag", "location", "dagtasks-commit")
REPLAYED = (b"idempotency-replayed", b"true")


class Once:
    """Stands before an application, behind the gate: the body of a request is there, and who asks is known."""

    def __init__(self, app: ASGIApp, server: Server) -> None:
        self._app = app
        self._server = server

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Have the request done, or answer what was answered before. Raises `Refusal`, `Conflict`, `WriteError`."""
        names = [value.decode("latin-1") for name, value in scope.get("headers", ()) if name == b"idempotency-key"]
        if scope["type"] != "http" or scope["method"] != "POST" or not names:
            return await self._app(scope, receive, send)
        _check_names(names)
        message = await receive()
        fingerprint = _fingerprint(scope, message.get("body", b""))
        with await to_thread.run_sync(self._open, (scope["state"]["grant"].key, names[0]), fingerprint) as request:
            await to_thread.run_sync(request.begin)
            if request.known:
                return await _send_again(request.known, send)
            return await self._do(request, scope, _after(message, receive), send)

    def _open(self, name: tuple[str, ...], fingerprint: str) -> Request:
        return Replies(self._server.project().get_git()).open(name, fingerprint, self._server.now())

    async def _do(self, request: Request, scope: Scope, receive: Receive, send: Send) -> None:
        """What is answered is kept before it is sent."""
        said: list[Message] = []

        async def keep(message: Message) -> None:
            said.append(message)

        try:
            await self._app(scope, receive, keep)
        finally:
            if said:
                reply = _reply_of(said)
                is_done = reply.status < 400 or reply.status == 500
                await to_thread.run_sync(*((request.finish, reply) if is_done else (request.forget,)))
            for message in said:
                await send(message)


def _check_names(names: list[str]) -> None:
    if len(names) > 1 or not 0 < len(names[0]) <= LONGEST or not names[0].isascii() or not names[0].isprintable():
        raise Refusal(400, f"Idempotency-Key is one name of 1 to {LONGEST} printable ASCII characters")


def _fingerprint(scope: Scope, body: bytes) -> str:
    parts = (scope["method"].encode(), scope["path"].encode("utf-8", "surrogateescape"), scope["query_string"], body)
    return sha256(b"\0".join(sha256(part).digest() for part in parts)).hexdigest()


def _after(first: Message, receive: Receive) -> Receive:
    """What gives that message, and then what comes."""
    left = [first]

    async def again() -> Message:
        return left.pop() if left else await receive()

    return again


def _reply_of(said: list[Message]) -> Reply:
    pairs = [(name.decode("latin-1").lower(), value.decode("latin-1")) for name, value in said[0].get("headers", ())]
    body = b"".join(message.get("body", b"") for message in said[1:])
    return Reply(said[0]["status"], tuple(pair for pair in pairs if pair[0] in KEPT_HEADERS), body)


async def _send_again(reply: Reply, send: Send) -> None:
    headers = [(name.encode("latin-1"), value.encode("latin-1")) for name, value in reply.headers]
    length = (b"content-length", str(len(reply.body)).encode())
    await send({"type": "http.response.start", "status": reply.status, "headers": [*headers, length, REPLAYED]})
    await send({"type": "http.response.body", "body": reply.body})
