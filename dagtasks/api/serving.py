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
CONNECTIONS = 256
ENDING_SECONDS = 2
"""How long answers that are on their way are waited for when the server ends."""


class TimelyProtocol(H11Protocol):
    """HTTP in which the head of a request has a deadline, too: uvicorn has none for it."""

    _deadline: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Wait for the first request, for so long."""
        super().connection_made(transport)
        self._expect()

    def data_received(self, data: bytes) -> None:
        """Take what came; a head that is begun has to end in time."""
        if self.conn.their_state is h11.IDLE and self._deadline is None:
            self._expect()
        super().data_received(data)
        if self.conn.their_state is not h11.IDLE:
            self._expect_nothing()

    def connection_lost(self, exc: Exception | None) -> None:
        """Wait for nothing any more."""
        self._expect_nothing()
        super().connection_lost(exc)

    def _expect(self) -> None:
        self._deadline = self.loop.call_later(HEAD_SECONDS, self.timeout_keep_alive_handler)

    def _expect_nothing(self) -> None:
        if self._deadline:
            self._deadline.cancel()
        self._deadline = None


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
        limit_concurrency=CONNECTIONS,
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
