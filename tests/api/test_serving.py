"""`dagtasks serve` as a process: it answers, tells what happens, loses no run, and ends when it is told to."""

from __future__ import annotations

import json
import re
import signal
import socket
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import httpx
import pytest

from dagtasks.api import serving
from tests.api.conftest import FILES, make_key
from tests.api.served import SECONDS, Served, wait_until
from tests.conftest import MakeProject, Result, git

SLEEPER = """\
metadata: {name: sleeper}
steps: [{name: say, script: {source: 'echo begun; while [ ! -e "$GO" ]; do sleep 0.1; done; echo ended', env: {GO: "%s"}}}]
"""
TASK = "name: Four\n\nworkflows:\n  go:\n    template: sleeper\n"


@pytest.fixture
def root(project: MakeProject, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("DAGTASKS_ENGINE", "local")
    files = {"tasks/web/web-000004.yaml": TASK, "templates/sleeper.yaml": SLEEPER % (tmp_path / "go")}
    made = project({**FILES, **files}).root
    make_key(made, "read")
    return made


@pytest.fixture
def serve(root: Path) -> Iterator[Callable[..., Served]]:
    with ExitStack() as stack:

        def start(*options: str) -> Served:
            served = Served(root, *options)
            stack.callback(lambda: served.process.poll() is None and served.end(signal.SIGKILL))
            return served

        yield start


def test_it_refuses_to_start_without_a_key(project: MakeProject, process: Callable[..., Result]) -> None:
    refused = process(project().root, "serve", "--port", "0")
    assert (refused.code, "dagtasks keys create" in refused.err) == (6, True)


def test_it_says_when_a_port_is_taken(root: Path, process: Callable[..., Result]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        refused = process(root, "serve", "--port", str(taken.getsockname()[1]))
    assert (refused.code, "--port" in refused.err, "Traceback" in refused.err) == (2, True, False)


def test_it_answers_changes_and_notices_what_others_change(serve: Callable[..., Served]) -> None:
    served = serve()
    client = served.client
    assert {row["id"] for row in client.get("/tasks").json()["data"]} >= {"web-000001", "web-000004"}
    tag = client.get("/tasks/web-000003").headers["etag"]
    changed = client.patch("/tasks/web-000003", json={"priority": "high"}, headers={"If-Match": tag})
    assert changed.headers["dagtasks-commit"] == git(served.root, "rev-parse", "HEAD")
    assert client.get("/tasks/web-000003").json()["priority"] == "high"
    (served.root / "tasks/web/web-000003.yaml").write_text("name: By hand\n")
    assert client.get("/tasks/web-000003").json()["name"] == "By hand"
    wait_until(lambda: [e for e in client.get("/events").json()["data"] if e["name"] == "By hand"])
    for address in ("/tasks/web-000001", "/events"):  # HEAD is GET without the body, and is no stream
        asked, whole = client.head(address, headers={"Accept": "text/event-stream"}), client.get(address)
        assert (asked.status_code, asked.content, asked.headers.get("etag")) == (200, b"", whole.headers.get("etag"))
        assert asked.headers["content-type"] == "application/json"
    wait_until(lambda: "task.updated web-000003  By hand\n" in served.said)
    with httpx.Client() as stranger:
        assert stranger.get(f"http://127.0.0.1:{served.port}/api/v1/tasks").status_code == 401
        host = {"Host": "evil.example.org"}
        assert stranger.get(f"http://127.0.0.1:{served.port}/api/v1/tasks", headers=host).status_code == 421
    assert served.end(signal.SIGINT) == 130


def test_logs_are_streamed_while_the_run_goes_on_and_a_dead_server_loses_no_run(
    serve: Callable[..., Served], tmp_path: Path
) -> None:
    served = serve()
    asked = served.client.post("/tasks/web-000004/workflows/go/runs")
    run = asked.json()["id"]
    assert asked.status_code == 202
    wait_until(lambda: served.client.get(f"/runs/{run}").json()["status"] == "running")
    with served.client.stream("GET", f"/runs/{run}/logs", headers={"Accept": "text/event-stream"}) as stream:
        for line in stream.iter_lines():
            if line.startswith("data: ") and json.loads(line[6:]).get("text") == "begun":
                break
        assert served.end(signal.SIGKILL) == -signal.SIGKILL
    again = serve()
    assert again.client.get(f"/runs/{run}").json()["status"] == "running"
    (tmp_path / "go").touch()
    wait_until(lambda: again.client.get(f"/runs/{run}").json()["status"] == "succeeded")
    texts = [line["text"] for line in again.client.get(f"/runs/{run}/logs").json()["data"]]
    assert texts == ["begun", "ended"]
    assert again.end(signal.SIGTERM) == -signal.SIGTERM


def test_it_ends_at_once_although_somebody_listens(serve: Callable[..., Served]) -> None:
    served = serve()
    with served.client.stream("GET", "/events", headers={"Accept": "text/event-stream"}) as stream:
        pieces = stream.iter_raw()
        assert next(pieces) == b": here\n\n"
        served.process.send_signal(signal.SIGINT)
        assert b"".join(pieces).replace(b": here\n\n", b"") == b""
        served.process.wait(SECONDS)
    assert served.end(signal.SIGINT) == 130


@pytest.mark.slow
def test_who_is_slow_with_the_head_of_a_request_is_hung_up_on(serve: Callable[..., Served]) -> None:
    served = serve()
    for first in (b"", b"GET /api/v1/tasks HTTP/1.1\r\nHost: 127.0.0.1\r\n"):
        with socket.create_connection(("127.0.0.1", served.port), timeout=SECONDS) as connection:
            connection.sendall(first)
            assert connection.recv(100) == b""
    assert serving.HEAD_SECONDS <= 10
    assert served.client.get("/tasks").status_code == 200


@pytest.mark.slow
def test_a_stream_ends_when_its_key_is_revoked(serve: Callable[..., Served], process: Callable[..., Result]) -> None:
    served = serve()
    headers = {"Accept": "text/event-stream"}
    with served.client.stream("GET", "/events", headers=headers) as stream:
        assert process(served.root, "keys", "revoke", "admin of Bo <bo@example.org>").code == 0
        assert set("".join(stream.iter_text()).split("\n")) <= {": here", ""}
    assert served.client.get("/tasks").status_code == 401


@pytest.mark.slow
def test_it_keeps_its_memory_and_its_descriptors(serve: Callable[..., Served]) -> None:
    served = serve()

    def use(times: int) -> tuple[int, int]:
        assert served.client.get("/tasks/web-000001?history=true").status_code == 200
        for _ in range(times):
            assert served.client.get("/tasks/web-000001").status_code == 200
            assert served.client.get("/tasks?q=is:ready").status_code == 200
            assert served.client.get("/nope").status_code == 404
        descriptors = len(list(Path(f"/proc/{served.process.pid}/fd").iterdir()))
        status = Path(f"/proc/{served.process.pid}/status").read_text()
        found = re.search(r"VmRSS:\s+(\d+)", status)
        assert found
        return descriptors, int(found[1])

    before, after = use(100), use(400)
    assert after[0] <= before[0] + 4
    assert after[1] <= before[1] + 8 * 1024
