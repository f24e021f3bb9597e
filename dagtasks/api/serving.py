"""Serving the application: a socket, deadlines for slow clients, and an end that is soon."""

from __future__ import annotations

import asyncio
import logging
import socket
from collections.abc import Callable, Iterable
from dataclasses import replace

import h11
import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol

from dagtasks.api.app import make_app
from dagtasks.api.desk import Server
from dagtasks.errors import InvalidInput

HEAD_SECONDS = 10.0
"""How long a client may take from connecting, or from the first byte, to the end of a request's headers."""
SEND_SECONDS = 30.0
"""How long a client may take nothing of an answer."""
CONNECTIONS = 256
"""Connections at a time. When there are more, that one goes on which nothing was asked for the longest time."""
ENDING_SECONDS = 2
"""How long answers that are on their way are waited for when the server ends."""


class TimelyProtocol(H11Protocol):
    """HTTP that waits for nobody for ever: uvicorn has a deadline for the next request alone.

    The head of a request has one, and a body after its answer, which nobody reads; and who does not take an answer is
    hung up on.
    """

    _deadline: asyncio.TimerHandle | None = None
    _taking: asyncio.TimerHandle | None = None
    _idle_since = 0.0

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Wait for the first request, for so long."""
        super().connection_made(transport)
        transport.set_write_buffer_limits(high=0)  # we are told of whatever the client has not taken at once
        self._idle_since = self.loop.time()
        self._make_room()
        self._expect()

    def data_received(self, data: bytes) -> None:
        """Take what came; a head that is begun has to end in time."""
        if self.conn.their_state is h11.IDLE:
            self._expect()
        super().data_received(data)
        if not self._is_overdue():
            self._expect_nothing()

    def on_response_complete(self) -> None:
        """Go on to the next request, unless the rest of this one still comes."""
        self._idle_since = self.loop.time()
        super().on_response_complete()
        if self._is_overdue() and self.conn.their_state is h11.SEND_BODY:
            self._expect()

    def pause_writing(self) -> None:
        """Not all of the answer was taken."""
        super().pause_writing()
        self._wait_for_taking(self.transport.get_write_buffer_size())

    def resume_writing(self) -> None:
        """All of it was."""
        _cancel(self._taking)
        super().resume_writing()

    def connection_lost(self, exc: Exception | None) -> None:
        """Wait for nothing any more."""
        self._expect_nothing()
        _cancel(self._taking)
        super().connection_lost(exc)

    def is_idle(self) -> bool:
        """Whether nothing is being answered."""
        return not self.transport.is_closing() and (self.cycle is None or self.cycle.response_complete)

    def _make_room(self) -> None:
        """Who opens connections and asks nothing keeps nobody else out."""
        if len(self.connections) > CONNECTIONS:
            idle = [one for one in self.connections if isinstance(one, TimelyProtocol) and one.is_idle()]
            min(idle, key=lambda one: one._idle_since).transport.abort()

    def _is_overdue(self) -> bool:
        """Whether what comes now is a head, or a body that nobody reads."""
        return self.conn.their_state is h11.IDLE or (self.conn.their_state is h11.SEND_BODY and self.is_idle())

    def _expect(self) -> None:
        if self._deadline is None:
            self._deadline = self.loop.call_later(HEAD_SECONDS, self.timeout_keep_alive_handler)

    def _expect_nothing(self) -> None:
        _cancel(self._deadline)
        self._deadline = None

    def _wait_for_taking(self, left: int) -> None:
        self._taking = self.loop.call_later(SEND_SECONDS, self._look_for_taking, left)

    def _look_for_taking(self, left: int) -> None:
        """Go on waiting while it gets less; slow is not dead."""
        now = self.transport.get_write_buffer_size()
        if now < left:
            self._wait_for_taking(now)
        else:
            self.transport.abort()


def _cancel(timer: asyncio.TimerHandle | None) -> None:
    if timer:
        timer.cancel()


def listen(host: str, port: int) -> socket.socket:
    """A socket at that address. Raises `InvalidInput` when it cannot be had."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        made = socket.create_server((host, port), family=family)
        # Else the second piece of each answer waits until the client confirms the first, 40 ms. It is inherited.
        made.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return made
    except (OSError, OverflowError) as error:
        raise InvalidInput(f"cannot serve at {host}:{port}: {error}", hint="choose another with --port") from None


def address_of(listening: socket.socket) -> str:
    """The address of the socket, as a browser takes it."""
    host, port = listening.getsockname()[:2]
    return f"http://{f'[{host}]' if ':' in host else host}:{port}"


def run(server: Server, listening: socket.socket, hosts: Iterable[str], ready: Callable[[], None]) -> None:
    """Serve until a signal ends it (SIGINT, SIGTERM), which then does what it would have done. Calls `ready` first."""
    _log_plainly()
    running: list[uvicorn.Server] = []
    ending = replace(server, is_ending=lambda: any(one.should_exit for one in running))
    config = uvicorn.Config(
        make_app(ending, hosts),
        http=TimelyProtocol,
        ws="none",
        lifespan="off",
        loop="asyncio",
        log_config=None,
        access_log=False,
        proxy_headers=False,
        server_header=False,
        timeout_graceful_shutdown=ENDING_SECONDS,
    )
    running.append(uvicorn.Server(config))
    ready()
    running[0].run(sockets=[listening])


class _Plainly(logging.Formatter):
    """Text in which nothing can drive a terminal."""

    def format(self, record: logging.LogRecord) -> str:
        text = super().format(record)
        return "".join(c if c.isprintable() or c in "\n\t" else ascii(c)[1:-1] for c in text)


def _log_plainly() -> None:
    handler = logging.StreamHandler()
    handler.setFormatter(_Plainly("%(asctime)s %(levelname)s %(message)s"))
    logging.basicConfig(level=logging.WARNING, handlers=[handler])
    # It warns of each request that is no HTTP, so that anybody could fill a disk with it.
    logging.getLogger("uvicorn").setLevel(logging.ERROR)
    # It would say at every change what is wrong in files, as the watcher does once.
    logging.getLogger("mkdocs").propagate = False
