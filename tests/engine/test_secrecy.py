"""No secret gets out of a run: a canary goes through every channel of it, in every encoding."""

from __future__ import annotations

import json
import sys
import threading
from collections.abc import Iterator
from dataclasses import asdict
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from running import Engine, Ran

from dagtasks.engine.logs import LogWriter
from tests.canaries import CANARY, ENCODINGS, find_canaries

PRINT = f"""
import os, sys, json
sys.path.insert(0, {str(Path(__file__).parents[2])!r})
from tests.canaries import ENCODINGS
value = os.environ["TOKEN"]
size = int(os.environ["SIZE"])
out = sys.stdout.buffer if os.environ["TO"] == "stdout" else sys.stderr.buffer
for name, encode in ENCODINGS.items():
    data = name.encode() + b": " + encode(value) + b"\\n"
    for start in range(0, len(data), size):
        out.write(data[start : start + size])
        out.flush()
sys.exit(int(os.environ.get("CODE", "0")))
"""


def python(name: str, source: str, **env: str) -> dict[str, Any]:
    variables = {"TOKEN": "${secrets.TOKEN}", **env}
    script = {"source": source, "interpreter": [sys.executable], "env": variables}
    return {"name": name, "script": script}


class Run:
    """A run with the canary as a secret, and all that it left."""

    def __init__(self, local: Engine, folder: Path, *steps: dict[str, Any], **options: Any) -> None:
        self.folder = folder
        template = {"secrets": ["TOKEN"], "steps": list(steps), **options.pop("template", {})}
        logs = LogWriter(self.place, now=lambda: datetime(2026, 11, 25, tzinfo=UTC))
        case = {"template": template, **options.pop("case", {})}
        options = {"secrets": {"TOKEN": CANARY}, **options}
        self.ran: Ran = local.perform(case, listeners=(logs,), **options)

    def place(self, run: str, step: str, attempt: int) -> Path:
        return self.folder / f"{step}.{attempt}"

    @property
    def everything(self) -> bytes:
        """Logs, events and the record."""
        shown = [f"{event!r} {json.dumps(asdict(event), default=repr)}" for event in self.ran.events]
        record = json.dumps(self.ran.record.to_json(), default=repr)
        logs = [path.read_text() for path in self.folder.iterdir()]
        return "\n".join([*shown, record, *logs]).encode()

    @property
    def finds(self) -> list[Any]:
        """Canaries in it."""
        return find_canaries(self.everything)

    def log(self, step: str) -> str:
        lines = (self.folder / f"{step}.1").read_text().splitlines()
        return "\n".join(json.loads(line)["text"] for line in lines)


@pytest.mark.parametrize("size", [1, 7, 4096])
@pytest.mark.parametrize("stream", ["stdout", "stderr"])
def test_what_a_process_prints(local: Engine, tmp_path: Path, stream: str, size: int) -> None:
    run = Run(local, tmp_path, python("a", PRINT, TO=stream, SIZE=str(size)))
    assert run.ran.record.status == "succeeded"
    assert [line.split(":")[0] for line in run.log("a").splitlines()] == list(ENCODINGS)
    assert run.log("a").count("***") >= len(ENCODINGS)
    assert run.finds == []


@pytest.mark.parametrize(
    "made",
    [
        "upper(secrets.TOKEN)",
        "sha256(secrets.TOKEN)",
        "replace(secrets.TOKEN, 'a', 'bb')",
        "split(secrets.TOKEN, '-')[0]",
    ],
)
def test_what_is_made_of_a_secret_is_secret(local: Engine, tmp_path: Path, made: str) -> None:
    source = "import os; made = os.environ['MADE']; print('made', made, len(made))"
    run = Run(local, tmp_path, python("a", source, MADE=f"Bearer ${{{made}}}"))
    assert run.log("a").startswith("made Bearer *** ")
    assert run.finds == []


def test_a_word_of_the_template_is_no_secret_because_one_decides_about_it(local: Engine, tmp_path: Path) -> None:
    step = python("a", "import os; print(os.environ['IS'])", IS="${case(secrets.TOKEN != '', 'present', 'absent')}")
    assert Run(local, tmp_path, step).log("a") == "present"


def test_what_a_failing_process_prints(local: Engine, tmp_path: Path) -> None:
    run = Run(local, tmp_path, python("a", PRINT, TO="stderr", SIZE="9", CODE="3"))
    assert run.ran.step("a").exit_code == 3
    assert run.finds == []


def test_what_a_process_prints_until_its_time_is_over(local: Engine, tmp_path: Path) -> None:
    step = python("a", PRINT + "\n", TO="stdout", SIZE="5") | {"timeout": "1s"}
    step["script"]["source"] = PRINT.replace(
        "sys.exit", "import time; out.write(value.encode()[:9]); out.flush(); time.sleep(60); sys.exit"
    )
    run = Run(local, tmp_path, step)
    assert run.ran.step("a").state == "timed_out"
    assert run.finds == []


def test_what_was_held_back_comes_at_the_end(local: Engine, tmp_path: Path) -> None:
    half = CANARY[:15]
    run = Run(local, tmp_path, {"name": "a", "container": {"image": "alpine", "command": ["printf", "%s", half]}})
    assert run.log("a") == run.ran.step("a").output == half


def named(value: str) -> dict[str, Any]:
    """That the run has a parameter of that value, which nobody said to be secret."""
    return {"template": {"parameters": {"name": {"type": "string"}}}, "case": {"parameters": {"name": value}}}


def test_what_an_error_says(local: Engine, tmp_path: Path) -> None:
    run = Run(local, tmp_path, {"name": "a", "container": {"image": "alpine", "command": ["${name}"]}}, **named(CANARY))
    assert "***" in run.ran.step("a").error.message  # type: ignore[union-attr]
    assert run.finds == []


def test_an_output_with_a_secret_is_not_read(local: Engine, tmp_path: Path) -> None:
    step = python("a", PRINT, TO="stdout", SIZE="4096") | {"outputs": {"all": {"from": "stdout"}}}
    run = Run(local, tmp_path, step, template={"outputs": {"all": {"value": "${steps.a.outputs.all}"}}})
    assert (run.ran.step("a").error or "").code == "secret_in_output"  # type: ignore[union-attr]
    assert run.finds == []


class Echo(BaseHTTPRequestHandler):
    """Answers with all that it was asked, in the body and in a header."""

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        self.server.seen.append((dict(self.headers.items()), body))  # type: ignore[attr-defined]
        self.send_response(int(self.path[1:4]))
        self.send_header("X-Echo", self.headers.get("Authorization", ""))
        self.end_headers()
        self.wfile.write(str(self.headers).encode() + body + json.dumps(body.decode()).encode())

    def log_message(self, *args: object) -> None:
        pass


@pytest.fixture
def server() -> Iterator[ThreadingHTTPServer]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Echo)
    server.seen = []  # type: ignore[attr-defined]
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.mark.parametrize("status", [200, 500])
def test_what_a_request_sends_and_gets_back(
    local: Engine, tmp_path: Path, server: ThreadingHTTPServer, status: int
) -> None:
    body = {"url": f"http://127.0.0.1:{server.server_port}/{status}", "method": "POST"}
    auth = {"basic": {"user": "ann", "password": "${secrets.TOKEN}"}}
    form = {"name": "form", "api": {**body, "form": {"secret": "${secrets.TOKEN}"}, "auth": auth}}
    text = {"name": "text", "api": {**body, "json": {"secret": "it is ${secrets.TOKEN}"}}}
    condition = {
        "name": "condition",
        "api": {**body, "body": "${secrets.TOKEN}", "success_condition": "response.body == ''"},
    }
    steps = [step | {"depends_on": []} for step in (form, text, condition)]
    run = Run(local, tmp_path, *steps, allow_hosts=("127.0.0.1",), template={"fail_fast": False})
    assert len(server.seen) == 3  # type: ignore[attr-defined]
    assert find_canaries(repr(server.seen).encode())  # type: ignore[attr-defined]
    assert run.finds == []
    assert "***" in run.log("form")


def test_a_child_run(local: Engine, tmp_path: Path) -> None:
    child = {"secrets": ["TOKEN"], "steps": [python("b", PRINT, TO="stdout", SIZE="3")]}
    step = {"name": "a", "workflow": {"template": "child", "secrets": ["TOKEN"]}}
    run = Run(local, tmp_path, step, case={"templates": {"child": child}})
    assert run.ran.record.status == "succeeded"
    assert "***" in run.log("b")
    assert run.finds == []


FRESH = CANARY[::-1]
"""A secret that is made while the run goes on."""
MAKE = f"import json; print(json.dumps({{'token': bytes.fromhex('{FRESH.encode().hex()}').decode(), 'pin': 4711}}))"


def making(**outputs: dict[str, Any]) -> dict[str, Any]:
    script = {"source": MAKE, "interpreter": [sys.executable]}
    hidden = {name: {"format": "json", "sensitive": True, **spec} for name, spec in outputs.items()}
    return {"name": "make", "script": script, "outputs": hidden}


def test_a_sensitive_output_is_used_and_never_shown(local: Engine, tmp_path: Path) -> None:
    env = {"T": "${steps.make.outputs.token}", "P": "${steps.make.outputs.pin}"}
    use = {"name": "use", "script": {"source": 'printf "%s|%s" "$T" "$P"', "env": env}}
    check = {"name": "check", "script": {"source": f'test "$P" = 4711; test ${{#T}} -eq {len(FRESH)}', "env": env}}
    check["script"]["interpreter"] = ["bash", "-e"]  # type: ignore[index]
    run = Run(local, tmp_path, making(token={"select": "token"}, pin={"select": "pin"}), check, use)
    assert run.ran.record.status == "succeeded"
    made = run.ran.step("make")
    assert (dict(made.outputs), made.output) == ({"token": "***", "pin": "***"}, None)
    assert run.ran.step("use").output == "***|4711"
    assert not (tmp_path / "make.1").exists()
    assert find_canaries(run.everything, canary=FRESH) == []
    assert b"4711" not in run.everything.replace(b"|4711", b"")


@pytest.mark.parametrize("outputs", [{"token": {"select": "missing"}}, {"token": {"format": "yaml", "select": "x"}}])
def test_a_sensitive_output_that_cannot_be_read(
    local: Engine, tmp_path: Path, outputs: dict[str, dict[str, Any]]
) -> None:
    run = Run(local, tmp_path, making(**outputs))
    assert run.ran.step("make").error.code == "output_error"  # type: ignore[union-attr]
    assert find_canaries(run.everything, canary=FRESH) == []


def test_sensitive_outputs_of_items(local: Engine, tmp_path: Path) -> None:
    step = making(token={"select": "token"}, pin={"select": "pin"}) | {"foreach": [1, 2]}
    run = Run(local, tmp_path, step)
    made = run.ran.step("make")
    assert dict(made.outputs) == {"token": "***", "pin": "***"}
    assert [dict(item.outputs) for item in made.items] == [{"token": "***", "pin": "***"}] * 2
    assert find_canaries(run.everything, canary=FRESH) == []
    assert b"4711" not in run.everything


def test_a_sensitive_output_of_a_run_without_secrets(local: Engine, tmp_path: Path) -> None:
    step = making(pin={"from": "stderr", "select": "pin"})
    step["script"]["source"] = MAKE.replace("print(", "import sys; print(file=sys.stderr, *[").replace("}))", "})])")
    run = Run(local, tmp_path, step, secrets={}, template={"secrets": []})
    made = run.ran.step("make")
    assert (made.state, dict(made.outputs), made.output, made.stderr) == ("succeeded", {"pin": "***"}, "", None)
    assert b"4711" not in run.everything


def test_only_what_is_sensitive_is_left_out(local: Engine, tmp_path: Path) -> None:
    source = 'echo shown; echo "made-value" >"$DT_OUTPUTS/token"; echo "also shown" >&2'
    step = {"name": "a", "script": {"source": source}, "outputs": {"token": {"from": "file", "sensitive": True}}}
    step["outputs"]["said"] = {"from": "stdout"}  # type: ignore[index]
    run = Run(local, tmp_path, step)
    made = run.ran.step("a")
    assert (dict(made.outputs), made.output, made.stderr) == ({"token": "***", "said": "shown"}, "shown", "also shown")
    assert sorted(run.log("a").splitlines()) == ["also shown", "shown"]


def test_sensitive_outputs_of_a_run_and_of_a_called_template(local: Engine, tmp_path: Path) -> None:
    shown = {"value": "shown"}
    token = {"value": "${steps.make.outputs.token}", "sensitive": True}
    pin = {"value": "${steps.make.outputs.pin}", "sensitive": True}
    steps = [making(token={"select": "token"}, pin={"select": "pin"})]
    child = {"steps": steps, "outputs": {"token": token, "pin": pin, "open": shown}}
    call = {"name": "call", "workflow": {"template": "child"}}
    env = {name: f"${{steps.call.outputs.{name}}}" for name in ("token", "pin", "open")}
    source = f'test "$pin" = 4711; test ${{#token}} -eq {len(FRESH)}; echo "$token $open"'
    use = {"name": "use", "script": {"source": source, "interpreter": ["bash", "-e"], "env": env}}
    outputs = {
        "pin": {"value": "${steps.call.outputs.pin}", "sensitive": True},
        "said": {"value": "${steps.use.stderr}"},
    }
    run = Run(local, tmp_path, call, use, case={"templates": {"child": child}}, template={"outputs": outputs})
    assert (run.ran.record.status, dict(run.ran.record.outputs)) == ("succeeded", {"pin": "***", "said": ""})
    called = run.ran.step("call")
    assert (dict(called.outputs), called.output) == ({"token": "***", "pin": "***", "open": "shown"}, None)
    assert run.log("use") == "*** shown"
    assert find_canaries(run.everything, canary=FRESH) == []
    assert b"4711" not in run.everything.replace(b'"$pin" = 4711', b"")
