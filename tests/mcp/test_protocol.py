"""The server as a process: what it starts, what it writes where, and how it ends."""

from __future__ import annotations

import json
import os
import select
import signal
import stat
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import anyio
import pytest

from dagtasks.store.audit import AuditLog
from dagtasks.store.git import find_git
from tests.conftest import MakeProject, Result, git, write_files
from tests.mcp.conftest import FILES, WRITER, agent, audit, divide

Cli = Callable[..., Result]
RUNNER = ("--allow", "run")


@pytest.fixture
def root(project: MakeProject) -> Path:
    return project(FILES).root


def until(found: Callable[[], Any]) -> Any:
    """What is found at last, within a minute."""
    end = time.monotonic() + 60
    while not (value := found()):
        assert time.monotonic() < end
        time.sleep(0.05)
    return value


# -- runs -----------------------------------------------------------------------------------------------------------


@pytest.fixture
def waiting(root: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A file that the approved workflow of web-000003 waits for."""
    monkeypatch.setenv("DAGTASKS_ENGINE", "local")
    flag = root.parent / "flag"
    command = f"until test -e {flag}; do sleep 0.05; done; echo done"
    write_files(root, {"templates/t.yaml": FILES["templates/t.yaml"].replace("echo hello", command)})
    git(root, "commit", "--quiet", "--all", "--message", "wait")
    yield flag
    flag.touch()


def test_what_is_not_approved_does_not_run(root: Path, waiting: Path, cli: Cli) -> None:
    async def work() -> None:
        async with agent(root, *RUNNER) as one:
            error = await one.refused("run", task="web-000003")
            assert error["code"] == "Conflict"
            assert "not approved" in error["untrusted"]["message"]
            assert cli(root, "trust", "approve", "web-000003/w", "--yes").code == 0
            write_files(root, {"templates/t.yaml": (root / "templates/t.yaml").read_text() + "# changed\n"})
            assert "changed since" in (await one.refused("run", task="web-000003"))["untrusted"]["message"]
            # An agent gives no parameters: they would not be covered by the approval.
            assert (await one.refused("run", task="web-000003", params=["a=b"]))["code"] == "InvalidInput"

    anyio.run(work)
    assert cli(root, "queue", "list", "--json").json == []
    assert cli(root, "runs", "list", "--json").json == []


@pytest.mark.slow
def test_a_run_outlives_the_agent_that_asked_for_it(root: Path, waiting: Path, cli: Cli) -> None:
    assert cli(root, "trust", "approve", "web-000003/w", "--yes").code == 0
    with talking(root, *RUNNER) as server:
        first = server.call("run", task="web-000003")
        assert (first["status"], first["has_ended"]) == ("queued", False)
        assert server.call("run", task="000003", workflow="w")["run"] == first["run"]
        assert server.call("logs", run=first["run"])["status"] in ("queued", "running")
        os.killpg(server.process.pid, signal.SIGKILL)
        server.process.wait()
    waiting.touch()
    begun, ended = divide(audit(root))
    assert {line["run"] for line in ended} == {first["run"]}
    assert [line["tool"] for line in begun] == ["run", "run"]
    (record,) = until(lambda: [run for run in cli(root, "runs", "list", "--json").json if run["status"] == "succeeded"])
    assert (record["id"], record["trigger"], record["task"]) == (first["run"], "agent", "web-000003")
    until(lambda: cli(root, "queue", "list", "--json").json == [])
    with talking(root) as server:
        assert server.call("logs", run=first["run"])["items"][-1]["untrusted"] == "done"


# -- the process ----------------------------------------------------------------------------------------------------


class Talking:
    """A server that is spoken to by hand, line by line."""

    def __init__(self, root: Path, *options: str) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-m", "dagtasks", "-C", str(root), "mcp", *options],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            start_new_session=True,
        )
        client = {"protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": {"name": "t", "version": "1"}}
        self.ask("initialize", **client)
        self.send({"jsonrpc": "2.0", "method": "notifications/initialized"})

    def send(self, message: Any) -> None:
        """Send a line: a message, or text that is none."""
        line = message if isinstance(message, str) else json.dumps(message)
        assert self.process.stdin
        self.process.stdin.write(line.encode() + b"\n")
        self.process.stdin.flush()

    def ask(self, method: str, **params: Any) -> dict[str, Any]:
        """The answer; every line of stdout until then is a message, too."""
        self.send({"jsonrpc": "2.0", "id": 7, "method": method, "params": params})
        assert self.process.stdout
        while True:
            assert select.select([self.process.stdout], [], [], 60)[0]
            line = self.process.stdout.readline()
            assert line, self.process.stderr.read() if self.process.stderr else ""
            said = json.loads(line)
            assert said["jsonrpc"] == "2.0"
            if said.get("id") == 7:
                return said

    def call(self, name: str, **arguments: Any) -> dict[str, Any]:
        """What a tool answers."""
        said = self.ask("tools/call", name=name, arguments=arguments)
        return said["result"]["structuredContent"]


@contextmanager
def talking(root: Path, *options: str) -> Iterator[Talking]:
    """A server that has ended afterwards, whatever happened."""
    server = Talking(root, *options)
    try:
        yield server
    finally:
        server.process.kill()
        server.process.wait()
        for stream in (server.process.stdin, server.process.stdout, server.process.stderr):
            with suppress(BrokenPipeError):
                stream.close()


@pytest.mark.slow
def test_only_messages_reach_stdout(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    hook = root / ".git/hooks/pre-commit"
    hook.write_text("#!/bin/sh\necho printed by a hook\necho complained >&2\n")
    hook.chmod(0o755)
    monkeypatch.setenv("DAGTASKS_COMMIT", "true")
    with talking(root, *WRITER) as server:
        for line in ("no message", '{"jsonrpc": "2.0", "id": 1}', "[]", '{"jsonrpc":"2.0","method":"none","id":2}'):
            server.send(line)
        assert server.call("claim", task="000001")["commit"] == git(root, "rev-parse", "HEAD")
        assert server.ask("tools/call", name="list", arguments=[])["error"]
        assert server.call("list")["total"] == 3
        server.process.stdin.close()
        assert server.process.wait(60) == 0
        assert server.process.stdout.read() == b""
        assert b"Traceback" not in server.process.stderr.read()


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_it(number: signal.Signals, root: Path) -> None:
    with talking(root) as server:
        os.kill(server.process.pid, number)
        assert server.process.wait(60) in (-number, 130)
        assert server.process.stderr.read() == b""


@pytest.mark.slow
def test_it_ends_quietly_when_the_agent_is_gone(root: Path) -> None:
    with talking(root) as server:
        server.process.stdout.close()
        server.send({"jsonrpc": "2.0", "id": 8, "method": "tools/call", "params": {"name": "list", "arguments": {}}})
        until(lambda: audit(root))
        server.process.stdin.close()
        assert server.process.wait(60) == 0
        assert server.process.stderr.read() == b""


def test_without_a_name_nobody_writes(root: Path, cli: Cli) -> None:
    done = cli(root, "mcp", "--allow", "write")
    assert done.code == 2
    assert "--as agent:NAME" in done.err
    for name in ("a\nb", "a" * 101, "\u202ea"):
        assert cli(root, "mcp", "--as", name).code == 2


def test_it_says_what_to_install(root: Path, cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "dagtasks.mcp.server", raising=False)
    monkeypatch.setitem(sys.modules, "mcp.server.lowlevel", None)
    done = cli(root, "mcp")
    assert done.code == 3
    assert "pip install 'dagtasks[mcp]'" in done.err


def test_it_needs_a_repository(tmp_path: Path, cli: Cli) -> None:
    assert cli(tmp_path, "mcp").code == 4
    write_files(tmp_path, {"tasks/web/project.yaml": "name: Web\n"})
    assert cli(tmp_path, "mcp").code == 4


# -- the audit log --------------------------------------------------------------------------------------------------


@pytest.fixture
def log(root: Path) -> AuditLog:
    found = find_git(root)
    assert found
    return AuditLog(found, limit=2_000)


def test_the_audit_log_has_an_end(log: AuditLog) -> None:
    for number in range(100):
        log.add({"number": number, "text": "x" * 100})
    kept = [log.path.with_name(log.path.name + ".1"), log.path]
    assert sorted(log.path.parent.iterdir()) == sorted(kept)
    assert all(file.stat().st_size <= 2_000 for file in kept)
    numbers = [json.loads(line)["number"] for file in kept for line in file.read_text().splitlines()]
    assert numbers == list(range(numbers[0], 100))
    assert stat.S_IMODE(log.path.stat().st_mode) == 0o600


@pytest.mark.slow
def test_the_audit_log_keeps_no_more_than_it_may_of_a_call(root: Path) -> None:
    with talking(root) as server:
        server.call("list", query="q" * 100_000)
        server.call("x" * 100_000)
        server.call("show", task="\x1b[2J\u202e")
    lines = audit(root)
    assert [line["outcome"] for line in lines] == ["InvalidInput", "NotFound", "NotFound"]
    assert max(len(json.dumps(line)) for line in lines) < 10_000
    assert "\\u202e" in lines[-1]["arguments"]["task"]


def test_without_an_audit_log_nothing_is_served(root: Path, cli: Cli, log: AuditLog) -> None:
    log.add({})
    log.path.parent.chmod(0o777)
    done = cli(root, "mcp")
    assert done.code == 6
    assert "others may write" in done.err


@pytest.mark.slow
def test_what_cannot_be_logged_is_not_done(root: Path, log: AuditLog) -> None:
    with talking(root, *WRITER) as server:
        log.path.mkdir(parents=True)
        log.path.parent.chmod(0o700)
        assert server.call("claim", task="000001")["error"]["code"] == "Unlogged"
        assert server.call("list")["error"]["code"] == "Unlogged"
    assert git(root, "status", "--short") == ""


@pytest.mark.slow
def test_a_call_is_logged_also_where_it_is_killed(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DAGTASKS_COMMIT", "true")
    hook = root / ".git/hooks/pre-commit"
    hook.write_text("#!/bin/sh\nkill -9 $(cat ../pid)\n")
    hook.chmod(0o755)
    with talking(root, *WRITER) as server:
        (root.parent / "pid").write_text(str(server.process.pid))
        claim = {"name": "claim", "arguments": {"task": "000001"}}
        server.send({"jsonrpc": "2.0", "id": 8, "method": "tools/call", "params": claim})
        assert server.process.wait(60) == -signal.SIGKILL
    assert [(line["tool"], line["outcome"]) for line in audit(root)] == [("claim", "begun")]
