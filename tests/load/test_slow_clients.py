"""Clients that are slow, or do nothing at all, are hung up on in time, and keep nobody else out."""

from __future__ import annotations

import resource
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

import pytest

from dagtasks.api import serving
from tests.api.served import SECONDS, Served, wait_until
from tests.load.conftest import API, Client

pytestmark = pytest.mark.slow


def connect(served: Served, *, takes: int = 0) -> socket.socket:
    """A connection; one that takes a few bytes of an answer and no more, if that is wanted."""
    made = socket.socket()
    if takes:
        made.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, takes)
    made.settimeout(SECONDS)
    made.connect(("127.0.0.1", served.port))
    return made


def head_of(served: Served, start: str, *more: str, key: bool = True) -> bytes:
    headers = [f"{name}: {value}" for name, value in served.headers.items() if key]
    return "\r\n".join([f"{start} HTTP/1.1", "Host: 127.0.0.1", *headers, *more, "", ""]).encode()


def descriptors(served: Served) -> int:
    return len([*Path(f"/proc/{served.process.pid}/fd").iterdir()])


def is_held(served: Served, connection: socket.socket) -> bool:
    """Whether the server still has its end of the connection. Data on the way may outlive that, with no file of its own."""
    ends = f"0100007F:{served.port:04X} 0100007F:{connection.getsockname()[1]:04X}"
    rows = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()]
    return any(" ".join(row[1:3]) == ends and row[9] != "0" for row in rows)


@contextmanager
def many(served: Served, number: int) -> Iterator[list[socket.socket]]:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(max(soft, 4096), hard), hard))
    with ExitStack() as stack:
        yield [stack.enter_context(connect(served)) for _ in range(number)]


def test_connections_that_do_nothing_keep_nobody_out(served: Served) -> None:
    with many(served, serving.CONNECTIONS + 20) as idle:
        for connection in idle[::2]:
            connection.sendall(b"GET /api/v1/tasks HTTP/1.1\r\nHost: ")
        for _ in range(3):
            client = Client(served)
            assert client.ask("GET", "/tasks/web-000001").status == 200
            client.close()
        assert descriptors(served) < serving.CONNECTIONS + 100


def test_who_sends_a_body_that_nobody_waits_for_is_hung_up_on(served: Served) -> None:
    """It was refused at its head, and goes on byte by byte."""
    with connect(served) as connection:
        given = ("Content-Type: application/json", "Content-Length: 100000")
        connection.sendall(head_of(served, f"POST {API}/tasks", *given, key=False))
        assert connection.recv(100).startswith(b"HTTP/1.1 401")
        end = time.monotonic() + SECONDS
        with suppress(ConnectionError):
            while time.monotonic() < end:
                connection.sendall(b" ")
                time.sleep(1)
        assert time.monotonic() < end


def test_a_slow_body_is_answered_in_time_and_hung_up_on(served: Served) -> None:
    with connect(served) as connection:
        given = ("Content-Type: application/json", "Content-Length: 100000")
        connection.sendall(head_of(served, f"POST {API}/tasks", *given))
        done = threading.Event()

        def drip() -> None:
            with suppress(OSError):
                while not done.wait(1):
                    connection.sendall(b" ")

        dripping = threading.Thread(target=drip)
        dripping.start()
        try:
            assert connection.recv(100).startswith(b"HTTP/1.1 408")
            with suppress(ConnectionError):
                while connection.recv(4096):
                    continue
        finally:
            done.set()
            dripping.join()


def test_who_takes_nothing_is_hung_up_on_and_who_is_slow_gets_all(served: Served) -> None:
    """Five answers at once are more than the system keeps for a client."""
    head = head_of(served, f"GET {API}/templates/large/text") * 5
    with connect(served, takes=4096) as dead, connect(served, takes=4096) as slow:
        dead.sendall(head)
        slow.sendall(head)
        assert dead.recv(10) == b"HTTP/1.1 2"
        assert is_held(served, dead)
        begun, got = time.monotonic(), 0
        while got < 5 * 900_000:
            got += len(slow.recv(4096))
            time.sleep(0.032)  # all in all longer than whoever takes nothing is waited for
        assert time.monotonic() - begun > serving.SEND_SECONDS
        wait_until(lambda: not is_held(served, dead))
    assert served.client.get("/tasks").status_code == 200
