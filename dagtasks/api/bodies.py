"""The body of a request: counted while it arrives, and read as JSON that means the same to everybody."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from math import isfinite
from typing import Any

from starlette.types import Message, Receive

from dagtasks.api.problems import Refusal

MAX_BYTES = 1024 * 1024
MAX_DEPTH = 32
SECONDS = 20.0
"""How long the whole of a body may take."""
TYPES = ("application/json", "application/merge-patch+json")


class ClientGone(Exception):
    """The client has gone before its request was whole."""


def check_length(header: str) -> None:
    """Raise `Refusal` when the client says itself that the body is too large. What it says else proves nothing."""
    if header.isdecimal() and int(header) > MAX_BYTES:
        raise _too_large()


async def read_body(receive: Receive, *, seconds: float = SECONDS) -> bytes:
    """The whole body. Raises `Refusal` when it gets too large or takes too long, `ClientGone`."""
    try:
        async with asyncio.timeout(seconds):
            return await _read(receive)
    except TimeoutError:
        raise Refusal(408, f"the body did not arrive in {seconds:g} seconds", headers={"Connection": "close"}) from None


async def _read(receive: Receive) -> bytes:
    content = bytearray()
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise ClientGone
        content += message.get("body", b"")
        if len(content) > MAX_BYTES:
            raise _too_large()
        if not message.get("more_body"):
            return bytes(content)


def _too_large() -> Refusal:
    return Refusal(413, f"a body has {MAX_BYTES} bytes at the most", headers={"Connection": "close"})


def replay(content: bytes, receive: Receive) -> Receive:
    """What gives the body once more, and then whatever comes."""
    left: list[Message] = [{"type": "http.request", "body": content, "more_body": False}]

    async def again() -> Message:
        return left.pop() if left else await receive()

    return again


def check_type(header: str, encoding: str) -> None:
    """Raise `Refusal` when the headers say that the body is anything but JSON in UTF-8, as it is."""
    kind, _, parameters = header.partition(";")
    charset = parameters.strip().lower().removeprefix("charset=").strip('"')
    if kind.strip().lower() not in TYPES or charset not in ("", "utf-8") or encoding not in ("", "identity"):
        hint = "send Content-Type: application/json, in UTF-8 and not compressed"
        raise Refusal(415, "a body has to be JSON", hint=hint)


def check_json(content: bytes) -> None:
    """Raise `Refusal` unless the content is JSON in which nothing can be read in two ways."""
    try:
        value = json.loads(content.decode(), object_pairs_hook=_make_object, parse_constant=_refuse_constant)
    except RecursionError:
        raise _too_deep() from None
    except ValueError as error:
        raise Refusal(400, f"the body is no JSON: {error}") from None
    _check(value, MAX_DEPTH)


def _make_object(pairs: Sequence[tuple[str, Any]]) -> dict[str, Any]:
    made = dict(pairs)
    if len(made) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise ValueError(f"the key {twice!r} is there twice")
    return made


def _refuse_constant(text: str) -> None:
    raise ValueError(f"{text} is no value of JSON")


def _check(value: object, left: int) -> None:
    """Raise `Refusal` when the value is deeper than that, or holds what is no text in UTF-8."""
    if isinstance(value, str):
        _check_text(value)
    elif isinstance(value, float) and not isfinite(value):
        raise Refusal(400, "the body holds a number that is too large")
    elif isinstance(value, dict | list):
        if left == 0:
            raise _too_deep()
        for name in value if isinstance(value, dict) else ():
            _check_text(name)
        for item in value.values() if isinstance(value, dict) else value:
            _check(item, left - 1)


def _check_text(text: str) -> None:
    if not text.isascii():
        try:
            text.encode()
        except UnicodeEncodeError:
            raise Refusal(400, "the body holds half of a surrogate pair, which is no text") from None


def _too_deep() -> Refusal:
    return Refusal(400, f"the body is nested deeper than {MAX_DEPTH} levels")
