"""What is special to the Dagger executor: finding an engine, letting go of it, and what the engine says."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import graphql
import pytest
from conftest import ENGINE_HOST, REAL
from running import Engine
from test_local import alive, eventually, token

from dagtasks.engine.dagger import DaggerExecutor, clean, find_start_failure, image_error
from dagtasks.engine.executor import ExecResult, StepError
from dagtasks.errors import EngineUnavailable
from dagtasks.planning.plan import ExecRequest
from dagtasks.settings import EngineSettings
from tests.dagger_session import SDL, dagger_session, read_published_schema

__all__ = ["token"]

real = [pytest.mark.engine, REAL]
BAD_IMAGES = ("nosuchimage", "alpine:nosuchtag", "Not An Image")


def enter(executor: DaggerExecutor) -> None:
    async def once() -> None:
        async with executor:
            pass

    asyncio.run(once())


@pytest.mark.parametrize("host", ["unix:///nowhere/engine.sock", "tcp://127.0.0.1:1", "tcp://127.0.0.1:1/"])
def test_no_engine_at_the_host(host: str) -> None:
    begun = time.monotonic()
    with pytest.raises(EngineUnavailable, match="does not answer") as caught:
        enter(DaggerExecutor(EngineSettings(host=host)))
    assert host in caught.value.message
    assert "DAGTASKS_ENGINE_HOST" in caught.value.hint
    assert "--engine local" in caught.value.hint
    assert time.monotonic() - begun < 3.5


@pytest.fixture
def listening(tmp_path: Path) -> Any:
    """The host of a socket where somebody listens."""
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(tmp_path / "s"))
        server.listen()
        yield f"unix://{tmp_path / 's'}"


MakeCli = Callable[[str], Path]


@pytest.fixture
def cli(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> MakeCli:
    """Makes the given shell text the Dagger CLI; the file it returns holds its process id and its environment."""

    def make(text: str) -> Path:
        seen = tmp_path / "seen"
        script = tmp_path / "cli"
        script.write_text(f"#!/bin/sh\necho $$ > {seen}\nenv >> {seen}\n{text}\n")
        script.chmod(0o755)
        monkeypatch.setenv("_EXPERIMENTAL_DAGGER_CLI_BIN", str(script))
        return seen

    monkeypatch.delenv("DAGGER_SESSION_PORT", raising=False)
    return make


def is_gone(seen: Path) -> bool:
    return not Path("/proc", seen.read_text().split("\n")[0]).exists()


def test_a_cli_that_does_not_connect_is_killed(cli: MakeCli, listening: str) -> None:
    seen = cli("trap '' TERM INT; while :; do sleep 1; done")
    before = dict(os.environ)
    begun = time.monotonic()
    with pytest.raises(EngineUnavailable, match=r"no connection within 0\.5 seconds"):
        enter(DaggerExecutor(EngineSettings(host=listening), connect_timeout=0.5))
    assert time.monotonic() - begun < 6
    assert is_gone(seen)
    assert dict(os.environ) == before
    given = seen.read_text()
    assert f"_EXPERIMENTAL_DAGGER_RUNNER_HOST={listening}\n" in given
    assert "OTEL_EXPORTER_OTLP_LOGS_ENDPOINT=http://127.0.0.1:" in given


def test_a_cli_that_fails_says_why(cli: MakeCli, listening: str) -> None:
    cli("echo 'start engine: no space left' >&2; exit 1")
    with pytest.raises(EngineUnavailable, match=r"cannot be used: .*no space left"):
        enter(DaggerExecutor(EngineSettings(host=listening)))


def run_with_cli(cli: MakeCli, text: str, tmp_path: Path, **options: float) -> tuple[ExecResult, Path]:
    """The result of a step that runs in a session that a CLI started."""

    async def once() -> ExecResult:
        async with DaggerExecutor(EngineSettings(), **options) as executor:
            return await executor.execute(ExecRequest("s", 1, "alpine", ("echo", "hi")), lambda stream, data: None)

    with dagger_session(tmp_path) as variables:
        told = {"port": int(variables["DAGGER_SESSION_PORT"]), "session_token": variables["DAGGER_SESSION_TOKEN"]}
        seen = cli(f"echo '{json.dumps(told)}'; {text}")
        return asyncio.run(once()), seen


def test_the_cli_ends_with_the_run(cli: MakeCli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("_EXPERIMENTAL_DAGGER_RUNNER_HOST", raising=False)
    result, seen = run_with_cli(cli, "cat > /dev/null", tmp_path)
    assert result.stdout == b"hi\n"
    assert is_gone(seen)


def test_a_cli_that_does_not_end_is_killed(cli: MakeCli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("_EXPERIMENTAL_DAGGER_RUNNER_HOST", raising=False)
    begun = time.monotonic()
    result, seen = run_with_cli(cli, "trap '' TERM INT; while :; do sleep 1; done", tmp_path, leave_timeout=0.3)
    assert result.stdout == b"hi\n"
    assert is_gone(seen)
    assert time.monotonic() - begun < 8


START_FAILURES: list[tuple[tuple[str, ...], int, str, str, str]] = [
    (("foo", "x"), 1, "", 'exec: "foo": executable file not found in $PATH\n', "command_not_found"),
    (("/a/foo",), 1, "", "fork/exec /a/foo: no such file or directory\n", "command_not_found"),
    (("/etc/passwd",), 1, "", "fork/exec /etc/passwd: permission denied\n", "command_not_executable"),
    (("echo", "x" * 9), 1, "", "exec /.init: argument list too long\n", "argument_too_long"),
    (("echo", "a"), 1, "", "exec /.init: invalid argument\n", "not_started"),
    (("sh", "-c", "foo"), 1, "", 'exec: "foo": executable file not found in $PATH\n', ""),
    (("foo",), 1, "out", 'exec: "foo": executable file not found in $PATH\n', ""),
    (("foo",), 2, "", 'exec: "foo": executable file not found in $PATH\n', ""),
    (("foo",), 1, "", 'warning\nexec: "foo": executable file not found in $PATH\n', ""),
    (("foo",), 127, "", "sh: foo: not found\n", ""),
]


@pytest.mark.parametrize(("argv", "code", "stdout", "stderr", "wanted"), START_FAILURES)
def test_command_that_did_not_start(argv: tuple[str, ...], code: int, stdout: str, stderr: str, wanted: str) -> None:
    failure = find_start_failure(ExecRequest("s", 1, "alpine", argv), code, stdout, stderr)
    assert (failure.code if failure else "") == wanted


def test_messages_of_the_engine_are_cleaned() -> None:
    text = "\x1b[31mexit code: 3\x1b[0m [traceparent:5f80189afbf0ff6bd71602ad3ec27d52-28361a347641ee5f]"
    assert clean(text) == "exit code: 3"


@pytest.mark.parametrize(
    ("text", "code"),
    [
        (
            'failed to resolve image "docker.io/library/x:latest": docker.io/library/x:latest: not found',
            "image_not_found",
        ),
        ("pull access denied, repository does not exist", "image_not_found"),
        ("invalid reference format: repository name must be lowercase", "image_not_found"),
        ('failed to resolve image "r/x": dial tcp 127.0.0.1:1: connect: connection refused', "image_unavailable"),
    ],
)
def test_image_that_cannot_be_had(text: str, code: str) -> None:
    error = image_error("x", text)
    assert (error.code, "x" in error.message) == (code, True)


def test_the_session_double_speaks_the_published_schema() -> None:
    published = read_published_schema()
    if published is None:
        pytest.skip("the schema of the engine is not at hand")
    for name, ours in graphql.build_schema(SDL).type_map.items():
        theirs = published.type_map.get(name)
        assert theirs is not None, name
        for field, definition in getattr(ours, "fields", {}).items():
            other = theirs.fields[field]  # type: ignore[attr-defined]
            assert str(definition.type) == str(other.type), f"{name}.{field}"
            arguments = {key: (str(arg.type), arg.default_value) for key, arg in definition.args.items()}
            assert arguments == {key: (str(arg.type), arg.default_value) for key, arg in other.args.items()}, field


IMAGES = [("double", "nosuchimage"), *(pytest.param("real", image, marks=real) for image in BAD_IMAGES)]


@pytest.mark.parametrize(("name", "image"), IMAGES)
def test_image_that_is_not_there(name: str, image: str, request: pytest.FixtureRequest) -> None:
    case = {"template": {"steps": [{"name": "a", "container": {"image": image, "command": "true"}}]}}
    step = request.getfixturevalue(name).perform(case).step("a")
    assert step.error
    assert (step.state, step.error.code) == ("errored", "image_not_found")
    assert image in step.error.message


def one_step(command: str, **fields: Any) -> dict[str, Any]:
    return {"template": {"steps": [{"name": "a", "container": {"image": "alpine", "command": command, **fields}}]}}


@pytest.mark.parametrize("name", ["double", pytest.param("real", marks=real)])
def test_the_image_is_recorded_with_its_digest(name: str, request: pytest.FixtureRequest) -> None:
    step = request.getfixturevalue(name).perform(one_step("true")).step("a")
    assert step.image
    assert step.image.startswith("docker.io/library/alpine")
    assert len(step.image.partition("@sha256:")[2]) == 64


@pytest.mark.engine
@REAL
class TestRealEngine:
    def test_output_comes_live_and_to_the_right_step(self, real: Engine) -> None:
        command = "for i in 1 2 3; do echo $DT_STEP $i; echo $DT_STEP err >&2; sleep 0.5; done; printf last"
        steps = [
            {"name": name, "depends_on": [], "container": {"image": "alpine", "command": command}}
            for name in ("a", "b")
        ]
        times: dict[str, list[float]] = {"a": [], "b": []}
        output: dict[tuple[str, str], bytes] = {}

        def listen(event: Any) -> None:
            if hasattr(event, "data"):
                times[event.step].append(time.monotonic())
                output[event.step, event.stream] = output.get((event.step, event.stream), b"") + event.data

        ran = real.perform({"template": {"steps": steps}}, listeners=(listen,))
        assert ran.record.status == "succeeded"
        for name in ("a", "b"):
            assert output[name, "stdout"] == f"{name} 1\n{name} 2\n{name} 3\nlast".encode()
            assert output[name, "stderr"] == f"{name} err\n".encode() * 3
            assert times[name][-1] - times[name][0] > 0.8

    def test_what_was_printed_before_a_timeout_is_kept(self, real: Engine) -> None:
        case = one_step("echo said; sleep 60")
        case["template"]["steps"][0]["timeout"] = "1500ms"
        step = real.perform(case).step("a")
        assert (step.state, step.output) == ("timed_out", "said")

    def test_nothing_is_taken_from_the_cache(self, real: Engine) -> None:
        command = "cat /proc/sys/kernel/random/uuid"
        steps = [
            {"name": name, "depends_on": [], "container": {"image": "alpine", "command": command}}
            for name in ("a", "b")
        ]
        first, second = (real.perform({"template": {"steps": steps}}) for _ in range(2))
        seen = {first.step("a").output, first.step("b").output, second.step("a").output}
        assert len(seen) == 3

    def test_a_timeout_ends_the_container(self, real: Engine, token: str) -> None:
        case = one_step(f"(setsid sleep {token} &); sleep {token}")
        case["template"]["steps"][0]["timeout"] = "1s"
        begun = time.monotonic()
        assert real.perform(case).step("a").state == "timed_out"
        assert time.monotonic() - begun < 3
        assert eventually(lambda: not alive(token), 2)

    def test_death_of_this_process_ends_the_container(self, real: Engine, token: str) -> None:
        program = (
            "import asyncio, sys\n"
            "from dagtasks.engine.dagger import DaggerExecutor\n"
            "from dagtasks.planning.plan import ExecRequest\n"
            "from dagtasks.settings import EngineSettings\n"
            "async def main():\n"
            "    async with DaggerExecutor(EngineSettings(host=sys.argv[1])) as executor:\n"
            "        request = ExecRequest('s', 1, 'alpine', ('sleep', sys.argv[2]))\n"
            "        await executor.execute(request, lambda stream, data: None)\n"
            "asyncio.run(main())\n"
        )
        with subprocess.Popen([sys.executable, "-c", program, str(ENGINE_HOST), token]) as process:
            assert eventually(lambda: alive(token), 20)
            process.kill()
        assert eventually(lambda: not alive(token), 10)

    def test_a_lost_session_fails_the_step_and_is_left_quickly(self, token: str) -> None:
        async def once() -> None:
            async with DaggerExecutor(EngineSettings(host=ENGINE_HOST)) as executor:
                request = ExecRequest("s", 1, "alpine", ("sleep", token))
                step = asyncio.create_task(executor.execute(request, lambda stream, data: None))
                while not alive(token):
                    await asyncio.sleep(0.05)
                for pid in executor._cli:
                    os.kill(pid, signal.SIGKILL)
                with pytest.raises(StepError) as caught:
                    await step
                assert caught.value.code == "engine_lost"

        begun = time.monotonic()
        asyncio.run(once())
        assert time.monotonic() - begun < 15

    def test_a_working_folder_of_another_user_can_be_written_to(self, real: Engine) -> None:
        command = "touch here; id -un; echo value > $DT_OUTPUTS/k"
        case = one_step(command, user="nobody", workdir="/new/app")
        case["template"]["steps"][0]["outputs"] = {"k": {"from": "file"}}
        step = real.perform(case).step("a")
        assert (step.state, step.output, dict(step.outputs)) == ("succeeded", "nobody", {"k": "value"})

    def test_a_user_that_the_image_does_not_have(self, real: Engine) -> None:
        step = real.perform(one_step("true", user="nosuchuser")).step("a")
        assert step.error
        assert (step.state, step.error.code) == ("errored", "engine_error")
        assert "nosuchuser" in step.error.message
        assert "traceparent" not in step.error.message

    def test_the_command_of_the_image(self, real: Engine) -> None:
        case = {"template": {"steps": [{"name": "a", "container": {"image": "alpine"}}]}}
        assert real.perform(case).step("a").state == "succeeded"

    def test_nothing_of_this_process_reaches_the_step(self, real: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("API_TOKEN", "secret")
        output = real.perform(one_step("env", env={"MINE": "1"})).step("a").output or ""
        names = {line.partition("=")[0] for line in output.splitlines()}
        assert "API_TOKEN" not in names
        assert {"MINE", "DT_RUN", "DT_STEP", "DT_ATTEMPT"} <= names
