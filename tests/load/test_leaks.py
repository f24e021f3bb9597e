"""What a server holds on to stays the same however long it is used."""

from __future__ import annotations

import re
import socket
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.api.served import Served, wait_until
from tests.conftest import Tell
from tests.load.conftest import API, HOT, TIMES, Client

pytestmark = pytest.mark.slow

ROUNDS = int(25 * TIMES)
"""Of 40 requests each, in the second half of the test as in the first."""


class Held(NamedTuple):
    descriptors: int
    kilobytes: int
    threads: int


def held(served: Served) -> Held:
    status = Path(f"/proc/{served.process.pid}/status").read_text()
    numbers = [int(re.search(rf"{name}:\s+(\d+)", status)[1]) for name in ("VmRSS", "Threads")]  # type: ignore[index]
    return Held(len([*Path(f"/proc/{served.process.pid}/fd").iterdir()]), *numbers)


def use(served: Served, rounds: int) -> int:
    """Read, write, look for what is not there, and follow events for a moment; how many requests that were."""
    client, asked = Client(served), 0
    for turn in range(rounds):
        paths = [f"/tasks/{HOT[turn % 5]}", "/tasks?q=is:ready", "/tasks/web-000001?history=true", "/nope", "/validate"]
        for _ in range(7):
            assert [client.ask("GET", path).status for path in paths] == [200, 200, 200, 404, 200]
        for number in range(3):
            body = {"metadata": {"count": turn * 3 + number}}
            assert client.ask("PATCH", f"/tasks/{HOT[turn % 5]}", body, {"If-Match": "*"}).status == 200
        refused = client.ask("PATCH", f"/tasks/{HOT[0]}", {"name": ""}, {"If-Match": "*"})
        assert refused.status == 422 or refused.status == 400
        cut_a_stream(served)
        asked += 5 * 7 + 5
    client.close()
    return asked


def cut_a_stream(served: Served) -> None:
    """Go away while events are told."""
    headers = "".join(f"{name}: {value}\r\n" for name, value in served.headers.items())
    with socket.create_connection(("127.0.0.1", served.port), timeout=60) as connection:
        head = f"GET {API}/events HTTP/1.1\r\nHost: 127.0.0.1\r\nAccept: text/event-stream\r\n{headers}\r\n"
        connection.sendall(head.encode())
        got = b""
        while b": here" not in got:
            got += connection.recv(4096)


def test_memory_and_descriptors_stay_the_same(serve: Callable[[], Served], tell: Tell) -> None:
    served = serve()
    use(served, max(ROUNDS // 4, 5))
    before = held(served)
    asked = use(served, ROUNDS)
    # A stream looks three times a second whether its client is there.
    wait_until(lambda: held(served).descriptors <= before.descriptors + 2)
    after = held(served)
    tell(f"{asked} requests: {before} before, {after} after")
    assert after.threads <= before.threads + 4
    assert after.kilobytes <= before.kilobytes + 8 * 1024
