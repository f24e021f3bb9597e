"""Api steps that are tried again, on a server of this machine."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
from running import NOW, Engine

from dagtasks.engine.performing import wait_before_next
from dagtasks.model.run import StepRecord
from dagtasks.planning.plan import PlanStep, RetryPolicy


class Busy(BaseHTTPRequestHandler):
    """Gives the answers that it was told to, in turn."""

    def do_GET(self) -> None:
        status, wait = self.server.answers.pop(0)  # type: ignore[attr-defined]
        self.send_response(status)
        if wait is not None:
            self.send_header("Retry-After", wait)
        self.end_headers()

    def do_POST(self) -> None:
        self.do_GET()

    def log_message(self, *args: object) -> None:
        pass


@pytest.fixture
def server() -> Iterator[ThreadingHTTPServer]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Busy)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


RETRY = {"max_attempts": 3, "delay": "1ms", "jitter": False}


def perform(local: Engine, port: int, **api: Any) -> Any:
    retry = api.pop("retry", RETRY)
    step = {"name": "ask", "api": {"url": f"http://127.0.0.1:{port}/", **api}, "retry": retry}
    return local.perform({"template": {"steps": [step]}}, allow_hosts=("127.0.0.1",)).step("ask")


@pytest.mark.parametrize("status", [429, 502, 503, 504])
def test_a_busy_server_is_asked_again(local: Engine, server: ThreadingHTTPServer, status: int) -> None:
    server.answers = [(status, None), (status, "0"), (200, None)]  # type: ignore[attr-defined]
    step = perform(local, server.server_port)
    assert (step.state, step.attempts) == ("succeeded", 3)


@pytest.mark.parametrize("status", [400, 404, 500])
def test_no_other_answer_is_asked_for_again(local: Engine, server: ThreadingHTTPServer, status: int) -> None:
    server.answers = [(status, None)]  # type: ignore[attr-defined]
    step = perform(local, server.server_port)
    assert (step.state, step.attempts) == ("failed", 1)


def test_where_nobody_listens_is_tried_again(local: Engine, server: ThreadingHTTPServer) -> None:
    server.socket.close()
    step = perform(local, server.server_port)
    assert (step.error.code, step.attempts) == ("no_connection", 3)


def test_an_address_that_is_refused_is_not_tried_again(local: Engine) -> None:
    step = perform(local, 1, url="http://10.0.0.1/")
    assert (step.error.code, step.attempts) == ("address_refused", 1)


@pytest.mark.parametrize(
    ("said", "seconds"),
    [("7", 7.0), (f"{NOW:%a, %d %b %Y} 18:45:09 GMT", 9.0), ("99999", 3600.0), ("soon", None), (None, None)],
)
def test_when_a_server_wants_to_be_asked_again(
    local: Engine, server: ThreadingHTTPServer, said: str | None, seconds: float | None
) -> None:
    server.answers = [(503, said)]  # type: ignore[attr-defined]
    step = perform(local, server.server_port, retry={"max_attempts": 1})
    assert step.response.get("retry_after") == seconds


@pytest.mark.parametrize(("asked", "seconds"), [(None, 2.0), (0.0, 2.0), (90.0, 90.0)])
def test_the_wait_is_as_long_as_the_server_asks(asked: float | None, seconds: float) -> None:
    policy = RetryPolicy(max_attempts=3, delay=2.0, jitter=False, max_delay=5.0)
    answered = StepRecord("ask", attempts=1, response={} if asked is None else {"retry_after": asked})
    assert wait_before_next(PlanStep("ask", "api", {}, retry=policy), answered, 0.5) == seconds


class Silent(Busy):
    """Gives no answer until the test is over."""

    def do_GET(self) -> None:
        self.server.is_over.wait(30)  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("step", "request_", "state"),
    [("200ms", "30s", "timed_out"), ("30s", "200ms", "errored"), ("200ms", "200s", "timed_out")],
)
def test_the_time_of_a_step_and_that_of_its_request(
    local: Engine, server: ThreadingHTTPServer, step: str, request_: str, state: str
) -> None:
    server.is_over = threading.Event()  # type: ignore[attr-defined]
    server.RequestHandlerClass = Silent
    ask = {
        "name": "ask",
        "timeout": step,
        "api": {"url": f"http://127.0.0.1:{server.server_port}/", "timeout": request_},
    }
    ran = local.perform({"template": {"steps": [ask]}}, allow_hosts=("127.0.0.1",))
    server.is_over.set()  # type: ignore[attr-defined]
    error = ran.step("ask").error
    assert (ran.step("ask").state, error and error.code, ran.record.status) == (state, "timeout", state)
