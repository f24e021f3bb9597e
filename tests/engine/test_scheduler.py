"""What scenarios cannot say: order in time, cancelling, events, api steps, signals, faults."""

from __future__ import annotations

import asyncio
import json
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from running import SETTINGS, Engine, Ran, make_desk, perform, plan_of, record_of

from dagtasks.engine.local import LocalExecutor
from dagtasks.engine.scheduler import Job, run_plan
from dagtasks.errors import EngineUnavailable
from dagtasks.model.run import RunEvent, RunFinished, RunStarted, StepFinished, StepOutput, StepStarted, apply_event
from dagtasks.settings import EngineSettings


def container(name: str, command: str, **fields: Any) -> dict[str, Any]:
    return {"name": name, "depends_on": [], "container": {"image": "alpine", "command": command}, **fields}


def most_at_once(ran: Ran) -> int:
    most = running = 0
    for event in ran.events:
        running += isinstance(event, StepStarted)
        running -= isinstance(event, StepFinished) and event.result.attempts > 0
        most = max(most, running)
    return most


@pytest.mark.parametrize(("of_template", "of_settings", "most"), [(1, 4, 1), (2, 4, 2), (None, 3, 3), (6, 2, 6)])
def test_max_parallel(local: Engine, of_template: int | None, of_settings: int, most: int) -> None:
    steps = [container(f"s{number}", "sleep 0.1") for number in range(7)]
    template = {"steps": steps, **({"max_parallel": of_template} if of_template else {})}
    ran = local.perform({"template": template}, settings=EngineSettings(max_parallel=of_settings))
    assert (ran.record.status, most_at_once(ran)) == ("succeeded", most)


def test_children_share_the_places_of_the_run(local: Engine) -> None:
    inner = {"max_parallel": 9, "steps": [container(f"s{number}", "sleep 0.1") for number in range(4)]}
    calls = [{"name": name, "depends_on": [], "workflow": {"template": "inner"}} for name in ("a", "b")]
    case = {"templates": {"inner": inner}, "template": {"max_parallel": 3, "steps": calls}}
    ran = local.perform(case)
    assert ran.record.status == "succeeded"
    assert most_at_once(ran) == 3 + 2  # and the two steps that wait for their child runs


def test_steps_begin_in_the_order_of_the_template(local: Engine) -> None:
    template = {"max_parallel": 1, "steps": [container(name, "true") for name in "cab"]}
    started = [event.step for event in local.perform({"template": template}).events if isinstance(event, StepStarted)]
    assert started == ["c", "a", "b"]


def test_a_step_begins_when_what_it_needs_has_ended(local: Engine) -> None:
    steps = [container("slow", "sleep 0.4"), container("fast", "true"), container("next", "true", depends_on=["fast"])]
    ran = local.perform({"template": {"steps": steps}})
    ended = [event.result.name for event in ran.events if isinstance(event, StepFinished)]
    assert ended == ["fast", "next", "slow"]


def test_events_of_a_run(local: Engine) -> None:
    ran = local.perform({"template": {"steps": [container("a", "echo out")]}})
    assert [type(event) for event in ran.events] == [RunStarted, StepStarted, StepOutput, StepFinished, RunFinished]
    begun = ran.events[0]
    assert isinstance(begun, RunStarted)
    assert [step.state for step in begun.record.steps] == ["pending"]
    folded = begun.record
    for event in ran.events:
        folded = apply_event(folded, event)
    assert folded == ran.record
    assert ran.step("a").started_at == "2026-11-23T18:45:00.000+00:00"
    assert 0 < (ran.step("a").duration or 0) <= (ran.record.duration or 0)
    json.dumps(ran.record.to_json())


def test_a_child_run_has_a_record_of_its_own(local: Engine) -> None:
    inner = {"parameters": {"n": {"type": "integer"}}, "steps": [container("say", "echo ${n}")]}
    call = {"name": "call", "workflow": {"template": "inner", "parameters": {"n": 4}}}
    ran = local.perform({"templates": {"inner": inner}, "template": {"steps": [call]}})
    [(child_id, child)] = ran.children.items()
    assert (child.parent, child.template["name"], dict(child.parameters)) == (ran.record.id, "inner", {"n": 4})
    assert (ran.step("call").child, ran.record.children) == (child_id, (child_id,))
    assert child_id != ran.record.id
    kinds = [(type(event).__name__, event.run == child_id) for event in ran.events if not isinstance(event, StepOutput)]
    assert kinds == [
        ("RunStarted", False),
        ("StepStarted", False),
        ("RunStarted", True),
        ("StepStarted", True),
        ("StepFinished", True),
        ("RunFinished", True),
        ("StepFinished", False),
        ("RunFinished", False),
    ]


def cancel_when(ran: Engine, case: dict[str, Any], is_time: Callable[[RunEvent], bool]) -> Ran:
    async def once() -> Ran:
        task = asyncio.current_task()
        assert task

        def listen(event: RunEvent) -> None:
            if is_time(event):
                task.cancel()

        done = await perform(plan_of(case), ran.executor, listeners=(listen,))
        task.uncancel()
        return done

    return ran.runner.run(once())


def test_cancel(engine: Engine) -> None:
    steps = [
        container("done", "true"),
        container("runs", "echo begun; sleep 60", depends_on=["done"]),
        container("waits", "true", depends_on=["done"]),
        container("later", "true", depends_on=["runs"]),
        container("cleanup", "true", depends_on=["runs"], **{"if": "always()"}),
    ]
    begun = time.monotonic()
    ran = cancel_when(
        engine,
        {"template": {"max_parallel": 1, "steps": steps}},
        lambda event: isinstance(event, StepStarted) and event.step == "runs",
    )
    states = {step.name: str(step.state) for step in ran.record.steps}
    assert states == {
        "done": "succeeded",
        "runs": "cancelled",
        "waits": "omitted",
        "later": "omitted",
        "cleanup": "omitted",
    }
    assert ran.record.status == "cancelled"
    assert ran.record.error
    assert ran.record.error.code == "cancelled"
    assert time.monotonic() - begun < 10


def test_cancel_reaches_child_runs(local: Engine) -> None:
    inner = {"steps": [container("runs", "sleep 60"), container("next", "true", depends_on=["runs"])]}
    call = {"name": "call", "workflow": {"template": "inner"}}
    case = {"templates": {"inner": inner}, "template": {"steps": [call]}}
    ran = cancel_when(local, case, lambda event: isinstance(event, StepStarted) and event.step == "runs")
    finished = [(event.status, event.run in ran.children) for event in ran.events if isinstance(event, RunFinished)]
    assert finished == [("cancelled", True), ("cancelled", False)]
    assert ran.step("call").state == "cancelled"


def test_cancel_before_any_step(local: Engine) -> None:
    # What ends by itself could have done so before a busy machine ends it.
    case = {"template": {"steps": [container("a", "sleep 60"), container("b", "sleep 60")]}}
    ran = cancel_when(local, case, lambda event: isinstance(event, RunStarted))
    assert ran.record.status == "cancelled"
    assert {str(step.state) for step in ran.record.steps} <= {"omitted", "cancelled"}


def test_what_was_printed_before_the_end_is_kept(local: Engine) -> None:
    step = container("a", "echo said; echo warned >&2; sleep 60", timeout="300ms", continue_on_error=True)
    ran = local.perform({"template": {"steps": [step]}})
    assert (ran.step("a").output, ran.step("a").stderr) == ("said", "warned")


def test_no_step_begins_after_the_time_of_the_run(local: Engine) -> None:
    def listen(event: RunEvent) -> None:
        if isinstance(event, StepFinished) and event.result.name == "a":
            time.sleep(1)

    steps = [container("a", "true"), container("b", "true", depends_on=["a"])]
    ran = local.perform({"template": {"timeout": "800ms", "steps": steps}}, listeners=(listen,))
    assert (str(ran.record.status), str(ran.step("b").state)) == ("timed_out", "omitted")


def test_a_fault_of_a_listener_ends_the_run_and_comes_through(local: Engine, tmp_path: Path) -> None:
    def listen(event: RunEvent) -> None:
        if isinstance(event, StepFinished):
            raise OSError("no space left")

    steps = [container("a", "true"), container("b", "sleep 60")]
    begun = time.monotonic()
    with pytest.raises(OSError, match="no space left"):
        local.perform({"template": {"steps": steps}}, listeners=(listen,))
    assert time.monotonic() - begun < 10


class Handler(BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        size = int(self.headers.get("Content-Length", 0))
        self.server.seen.append((self.path, self.headers["Content-Type"], self.rfile.read(size).decode()))  # type: ignore[attr-defined]
        status, body = ANSWERS[self.path.partition("?")[0]]
        self.send_response(status)
        self.send_header("Content-Type", "application/json; charset=utf-8")
        self.send_header("X-Request", "7")
        self.end_headers()
        self.wfile.write(body.encode())

    def do_GET(self) -> None:
        self.do_POST()

    def log_message(self, *args: object) -> None:
        pass


ANSWERS = {"/ok": (200, '{"ok": true, "id": 12, "name": "é"}'), "/no": (200, '{"ok": false}'), "/bad": (503, "down")}


@pytest.fixture
def server() -> Iterator[ThreadingHTTPServer]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.seen = []  # type: ignore[attr-defined]
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


def api(server: ThreadingHTTPServer, path: str, **fields: Any) -> dict[str, Any]:
    return {"name": "call", "api": {"url": f"http://127.0.0.1:{server.server_port}{path}", **fields}}


def test_api_step(local: Engine, server: ThreadingHTTPServer) -> None:
    step = api(
        server, "/ok", method="POST", json={"n": [1, "é"]}, query={"q": "a b"}, success_condition="response.json.ok"
    )
    step["outputs"] = {"id": {"format": "json", "select": "id"}}
    command = ["echo", "${steps.call.status_code}", "${steps.call.headers.x-request}", "${steps.call.json.name}"]
    following = {"name": "use", "container": {"image": "alpine", "command": [*command, "${steps.call.outputs.id}"]}}
    ran = local.perform({"template": {"steps": [step, following]}}, allow_hosts=("127.0.0.1",))
    assert server.seen == [("/ok?q=a+b", "application/json", '{"n": [1, "é"]}')]  # type: ignore[attr-defined]
    assert ran.step("call").output == ANSWERS["/ok"][1]
    assert ran.step("use").output == "200 7 é 12"


API_FAILURES: list[tuple[str, dict[str, Any], str, str]] = [
    ("/bad", {}, "failed", "http_status"),
    ("/bad", {"success_status": [503]}, "succeeded", ""),
    ("/no", {"success_condition": "response.json.ok == true"}, "failed", "success_condition"),
    ("/ok", {"success_condition": "response.json.ok == 'yes' || response.status < 100"}, "failed", "success_condition"),
    ("/ok", {"success_condition": "response.json.id"}, "errored", "expression"),
    ("/ok", {"max_response": 4}, "errored", "response_too_big"),
]


@pytest.mark.parametrize(("path", "fields", "state", "code"), API_FAILURES)
def test_api_step_that_fails(
    local: Engine, server: ThreadingHTTPServer, path: str, fields: dict[str, Any], state: str, code: str
) -> None:
    case = {"template": {"steps": [api(server, path, **fields)]}}
    step = local.perform(case, allow_hosts=("127.0.0.1",)).step("call")
    assert (str(step.state), step.error.code if step.error else "") == (state, code)


def test_api_step_to_an_address_that_is_not_allowed(local: Engine, server: ThreadingHTTPServer) -> None:
    step = local.perform({"template": {"steps": [api(server, "/ok")]}}).step("call")
    assert step.error
    assert (step.state, step.error.code) == ("errored", "address_refused")
    assert server.seen == []  # type: ignore[attr-defined]


def test_run_plan_from_a_thread_that_is_not_the_main_one() -> None:
    plan = plan_of({"template": {"steps": [container("a", "echo a")]}})
    found: list[Any] = []

    def work() -> None:
        executor = LocalExecutor(SETTINGS)
        found.append(run_plan(Job(plan, record_of(plan)), executor, SETTINGS, make_desk()))

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert found[0].status == "succeeded"


class Unreachable(LocalExecutor):
    async def __aenter__(self) -> Any:
        raise EngineUnavailable("no engine")


def test_no_event_when_the_engine_does_not_answer() -> None:
    plan = plan_of({"template": {"steps": [container("a", "true")]}})
    events: list[RunEvent] = []
    with pytest.raises(EngineUnavailable):
        run_plan(Job(plan, record_of(plan)), Unreachable(SETTINGS), SETTINGS, make_desk(listeners=(events.append,)))
    assert events == []


PROGRAM = """
import json, sys
sys.path.insert(0, sys.argv[1])
from running import SETTINGS, make_desk, plan_of, record_of
from dagtasks.engine.local import LocalExecutor
from dagtasks.engine.scheduler import Job, run_plan
from dagtasks.model.run import StepOutput

def listen(event):
    if isinstance(event, StepOutput):
        print("output", flush=True)

command = "trap 'exit 0' TERM; echo begun; sleep 60 & wait"
plan = plan_of({"template": {"steps": [{"name": "a", "container": {"image": "alpine", "command": command}}]}})
done = run_plan(Job(plan, record_of(plan)), LocalExecutor(SETTINGS, grace=1), SETTINGS, make_desk(listeners=(listen,)))
print(json.dumps([done.status, done.steps[0].state]))
"""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_cancels_the_run(number: signal.Signals) -> None:
    command = [sys.executable, "-c", PROGRAM, str(Path(__file__).parent)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout
        assert process.stdout.readline() == "output\n"
        process.send_signal(number)
        assert json.loads(process.stdout.readline()) == ["cancelled", "cancelled"]
        assert process.wait(10) == 0
