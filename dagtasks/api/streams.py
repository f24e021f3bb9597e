"""Answers that go on: server-sent events, for as long as the client is there, its key holds and the server serves."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Iterable
from dataclasses import dataclass
from typing import NamedTuple

from anyio import CapacityLimiter, to_thread
from starlette.responses import Response, StreamingResponse

from dagtasks.api.answers import to_bytes
from dagtasks.api.desk import Desk
from dagtasks.api.problems import Refusal
from dagtasks.service import keys

POLL_SECONDS = 0.3
BEAT_SECONDS = 10.0
"""How often a stream says that it is there although nothing happens, and looks whether its key still holds."""
STREAMS = 32
"""Streams at a time; each looks at files in one of a few threads that nothing else waits for."""


class Told(NamedTuple):
    """An event of a stream: its name, what it says, and the id from which on a client can ask again."""

    name: str
    data: object
    id: str | None = None


@dataclass(slots=True)
class Streams:
    """The streams of a server. `threads` are those in which they look for what is new."""

    threads: CapacityLimiter
    running: int = 0

    def open(self, desk: Desk, look: Callable[[], Iterable[Told]], is_over: Callable[[], bool]) -> Response:
        """A stream of what `look` finds again and again, until it is over. Raises `Refusal` when there are too many."""
        if self.running >= STREAMS:
            raise Refusal(503, f"{STREAMS} streams are open already", headers={"Retry-After": "5"})
        headers = {"X-Accel-Buffering": "no"}  # proxies are to pass on each event at once
        return StreamingResponse(self._tell(desk, look, is_over), headers=headers, media_type="text/event-stream")

    async def _tell(
        self, desk: Desk, look: Callable[[], Iterable[Told]], is_over: Callable[[], bool]
    ) -> AsyncIterator[bytes]:
        self.running += 1
        try:
            beat = time.monotonic()
            yield b": here\n\n"
            while not desk.server.is_ending():
                found = [*await to_thread.run_sync(look, limiter=self.threads)]
                for told in found:
                    yield to_event(told)
                if is_over():
                    return
                if time.monotonic() - beat >= BEAT_SECONDS:
                    beat = time.monotonic()
                    if not await to_thread.run_sync(_holds, desk, limiter=self.threads):
                        return
                    yield b": here\n\n"
                await asyncio.sleep(POLL_SECONDS)
        finally:
            self.running -= 1


def _holds(desk: Desk) -> bool:
    return keys.holds(desk.server.project(), desk.grant, desk.server.now())


def to_event(told: Told) -> bytes:
    """The event as it goes over the wire. JSON has no line breaks, so one line holds all of it."""
    name = f"id: {told.id}\n" if told.id else ""
    return f"{name}event: {told.name}\ndata: ".encode() + to_bytes(told.data) + b"\n\n"
