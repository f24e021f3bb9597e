"""What is special to the Dagger executor: finding an engine, letting go of it, and what the engine says."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import secrets
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import graphql
import pytest
from conftest import ENGINE_HOST, REAL
from running import Engine
from test_local import alive, eventually, request, token

from dagtasks.engine.dagger import DaggerExecutor
from dagtasks.engine.diagnosis import clean, find_start_failure, image_error
from dagtasks.engine.executor import ExecResult, StepError
from dagtasks.engine.hosts import cli_processes, find_connect_timeout
from dagtasks.errors import EngineUnavailable
from dagtasks.planning.plan import ArtifactSpec, ExecRequest, Mounted, ServiceRequest
from dagtasks.settings import EngineSettings
from tests.conftest import MakeProject
from tests.dagger_session import SDL, dagger_session, read_published_schema

__all__ = ["token"]

real = [pytest.mark.engine, REAL]
BAD_IMAGES = ("nosuchimage", "alpine:nosuchtag")


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


def test_a_pod_cannot_be_reached_without_kubectl(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(EngineUnavailable, match="kube-pod://x cannot be reached without kubectl"):
        enter(DaggerExecutor(EngineSettings(host="kube-pod://x")))


TIMEOUTS = {
    "unix:///s": 30,
    "tcp://h:1": 30,
    "docker-container://x": 30,
    "kube-pod://x": 10,
    "image://x": 600,
    None: 600,
}


@pytest.mark.parametrize("host", TIMEOUTS)
def test_how_long_a_connection_may_take(host: str | None) -> None:
    assert find_connect_timeout(host) == TIMEOUTS[host]


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


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
@pytest.mark.parametrize("command", [("run", "--template", "box"), ("doctor",)], ids=" ".join)
def test_a_cli_that_still_connects_is_killed_with_the_command(
    command: tuple[str, ...], number: signal.Signals, cli: MakeCli, listening: str, project: MakeProject
) -> None:
    seen = cli("trap '' TERM INT HUP; while :; do sleep 1; done")
    box = 'metadata: {name: box}\nsteps: [{name: a, container: {image: "alpine:3", command: [echo, a]}}]\n'
    made = project({"templates/box.yaml": box})
    argv = [sys.executable, "-m", "dagtasks", "-C", str(made.root), *command]
    environment = {**os.environ, "DAGTASKS_ENGINE_HOST": listening}
    with subprocess.Popen(argv, env=environment, stdout=-3, stderr=subprocess.PIPE, text=True) as running:
        assert eventually(lambda: seen.is_file() and "PATH=" in seen.read_text(), 60)
        running.send_signal(number)
        assert running.communicate(timeout=30)[1].endswith("stopped\n")
    assert running.returncode == 130
    assert is_gone(seen)
    assert made.runs.newest() == []


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
        (
            'failed to resolve image "x" (platform: "linux/s390x"): no manifest matches requested platform for sha256:5d',
            "platform_unavailable",
        ),
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


class Door:
    """A socket that leads to another one, and can be shut with all who came through it."""

    def __init__(self, target: str, place: Path) -> None:
        self._target = target
        self._place = place
        self._inside: set[asyncio.StreamWriter] = set()

    async def open(self) -> None:
        self._server = await asyncio.start_unix_server(self._enter, self._place)

    async def shut(self) -> None:
        self._server.close()
        self._place.unlink(missing_ok=True)
        for writer in self._inside:
            writer.close()

    async def _enter(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        inner_reader, inner_writer = await asyncio.open_unix_connection(self._target)
        self._inside |= {writer, inner_writer}
        await asyncio.gather(pour(reader, inner_writer), pour(inner_reader, writer))


async def pour(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(OSError):
        while data := await reader.read(1 << 16):
            writer.write(data)
            await writer.drain()
    writer.close()


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
            "from dataclasses import replace\n"
            "from dagtasks.engine.dagger import DaggerExecutor\n"
            "from dagtasks.planning.plan import ExecRequest, ServiceRequest\n"
            "from dagtasks.settings import EngineSettings\n"
            "async def main():\n"
            "    async with DaggerExecutor(EngineSettings(host=sys.argv[1])) as executor:\n"
            "        one = ExecRequest('s', 1, 'alpine', ('sleep', sys.argv[2]))\n"
            "        other = replace(one, services=(ServiceRequest('db', 'alpine', one.argv),))\n"
            "        await asyncio.gather(*(executor.execute(each, lambda *_: None) for each in (one, other)))\n"
            "asyncio.run(main())\n"
        )
        with subprocess.Popen([sys.executable, "-c", program, str(ENGINE_HOST), token]) as process:
            begun = eventually(lambda: len(alive(token)) == 3, 60)
            process.kill()
        assert begun
        assert eventually(lambda: not alive(token), 10)

    def test_a_lost_session_fails_the_steps_and_the_next_one_connects_anew(self, token: str) -> None:
        others = cli_processes()

        async def once() -> None:
            async with DaggerExecutor(EngineSettings(host=ENGINE_HOST)) as executor:
                wanted = ExecRequest("s", 1, "alpine", ("sleep", token))
                other = replace(wanted, step="t")
                steps = [asyncio.create_task(executor.execute(one, lambda *_: None)) for one in (wanted, other)]
                while len(alive(token)) < 2:
                    await asyncio.sleep(0.05)
                for pid in cli_processes() - others:
                    os.kill(pid, signal.SIGKILL)
                for step in steps:
                    with pytest.raises(StepError) as caught:
                        await step
                    assert caught.value.code == "engine_lost"
                again = [replace(wanted, argv=("echo", text)) for text in "ab"]
                results = await asyncio.gather(*(executor.execute(one, lambda *_: None) for one in again))
                assert [one.stdout for one in results] == [b"a\n", b"b\n"]
                assert len(cli_processes() - others) == 1

        begun = time.monotonic()
        asyncio.run(once())
        assert time.monotonic() - begun < 30
        assert eventually(lambda: not alive(token), 10)
        assert cli_processes() == others

    def test_an_engine_that_goes_away_and_comes_back(self, tmp_path: Path, token: str) -> None:
        others = cli_processes()

        async def once() -> None:
            door = Door(str(ENGINE_HOST).removeprefix("unix://"), tmp_path / "door")
            await door.open()
            async with DaggerExecutor(EngineSettings(host=f"unix://{tmp_path}/door")) as executor:

                async def execute(*argv: str, **fields: Any) -> ExecResult:
                    return await executor.execute(request(*argv, **fields), lambda *_: None)

                beside = (service(f"sleep {token}"),)
                steps = [asyncio.create_task(execute("sleep", token, services=s)) for s in ((), beside)]
                while len(alive(token)) < 3:
                    await asyncio.sleep(0.05)
                await door.shut()
                for step in (*steps, asyncio.create_task(execute("true"))):
                    with pytest.raises(StepError) as caught:
                        await asyncio.wait_for(step, 20)
                    assert caught.value.code == "engine_lost"
                await door.open()
                assert (await execute("echo", "back")).stdout == b"back\n"
                await door.shut()
                begun = time.monotonic()
            assert time.monotonic() - begun < 9
            assert cli_processes() == others

        asyncio.run(once())
        assert eventually(lambda: not alive(token), 20)

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

    def test_a_privileged_step_has_all_rights(self, real: Engine) -> None:
        rights = [
            real.execute(request("grep", "CapEff", "/proc/self/status", privileged=privileged)).stdout
            for privileged in (False, True)
        ]
        assert rights[0] < rights[1]

    @pytest.mark.parametrize("user", ["nobody", "65534:65534"])
    def test_what_is_mounted_belongs_to_the_user(self, user: str, real: Engine, tmp_path: Path) -> None:
        (tmp_path / "repo").mkdir()
        (tmp_path / "repo/file").write_text("")
        mounts = (
            Mounted("/src", "repo", str(tmp_path / "repo")),
            Mounted("/cache", "cache", str(tmp_path / "cache"), user),
            Mounted("/in", "artifact", str(tmp_path / "repo")),
            Mounted("/run/key", "secret", value="hidden"),
        )
        command = "touch /src/new /cache/new /in/new; echo >> /src/file; cat /run/key | od -An -tx1"
        result = real.execute(request("sh", "-ec", command, user=user, mounts=mounts))
        assert (bytes.fromhex(result.stdout.decode()), result.stderr) == (b"hidden", b"")

    def test_a_secret_that_is_too_big(self, real: Engine) -> None:
        with pytest.raises(StepError, match="TOKEN is larger") as caught:
            real.execute(request("true", secret_env={"TOKEN": "x" * 128_001}))
        assert caught.value.code == "secret_too_big"
        assert real.execute(request("true", secret_env={"TOKEN": "x" * 128_000})).exit_code == 0

    def test_an_image_that_may_not_be_fetched(self, real: Engine) -> None:
        with pytest.raises(StepError) as caught:
            real.execute(request("true", pull="never"))
        assert caught.value.code == "pull_not_controlled"

    def test_a_long_output_of_a_step_that_was_killed_is_whole(self, real: Engine) -> None:
        printed = bytearray()
        wanted = request("sh", "-c", "seq 100000; kill -9 $$")
        result = real.execute(wanted, lambda stream, data: printed.extend(data))
        assert (result.exit_code, len(result.stdout), len(printed)) == (137, 588_895, 588_895)

    def test_a_platform_that_there_is_not(self, real: Engine) -> None:
        with pytest.raises(StepError, match="platform nonsense") as caught:
            real.execute(request("true", platform="nonsense"))
        assert caught.value.code == "platform_unavailable"
        assert "query" not in caught.value.message


UUID = "cat /proc/sys/kernel/random/uuid"


@pytest.mark.engine
@REAL
class TestCache:
    def known(self, real: Engine, **fields: Any) -> list[ExecResult]:
        """The results of two tries in two runs, of one new request that may be answered from the cache."""
        env = {"UNIQUE": secrets.token_hex(8), **fields.pop("env", {})}
        found = []
        for run in "ab":
            varying = {"DT_RUN": run, "DT_ATTEMPT": run}
            wanted = request("sh", "-c", UUID + fields.get("end", ""), env={**env, **varying}, cache=True)
            wanted = replace(wanted, **{name: value for name, value in fields.items() if name != "end"})
            found.append(real.execute(wanted))
        return found

    def test_what_is_known_is_told_again(self, real: Engine) -> None:
        first, second = self.known(real)
        assert (first.cached, second.cached) == (False, True)
        assert second.stdout == first.stdout

    def test_what_another_session_did_is_known(self, real: Engine) -> None:
        wanted = request("sh", "-c", UUID, env={"UNIQUE": secrets.token_hex(8)}, cache=True)

        async def anew() -> tuple[ExecResult, bytes]:
            printed = bytearray()
            async with DaggerExecutor(EngineSettings(host=ENGINE_HOST)) as executor:
                result = await executor.execute(wanted, lambda stream, data: printed.extend(data))
            return result, bytes(printed)

        first, second = asyncio.run(anew()), asyncio.run(anew())
        assert (first[0].cached, second[0].cached) == (False, True)
        assert {first[0].stdout, second[0].stdout, first[1], second[1]} == {first[1]}

    def test_files_are_collected_from_what_is_known(self, real: Engine, tmp_path: Path) -> None:
        wanted = {"artifacts": {"k": ArtifactSpec("/tmp/x")}, "collect_to": str(tmp_path)}
        first, second = self.known(real, end=" | tee /tmp/x", **wanted)
        assert (second.cached, second.missing, second.stdout) == (True, (), first.stdout)
        assert (tmp_path / "artifacts/k/x").read_bytes() == first.stdout

    @pytest.mark.parametrize(
        "fields",
        [
            {"cache": False},
            {"end": "; exit 3"},
            {"end": "; exit 3", "success_exit_codes": (0, 3)},
            {"secret_env": {"TOKEN": "hidden-value"}},
            {"mounts": (Mounted("/key", "secret", value="hidden-value"),)},
        ],
        ids=str,
    )
    def test_what_is_never_told_again(self, fields: dict[str, Any], real: Engine) -> None:
        first, second = self.known(real, **fields)
        assert (first.cached, second.cached) == (False, False)
        assert first.stdout != second.stdout
        assert len(first.stdout.strip()) == len(second.stdout.strip()) == 36

    def test_equal_steps_at_the_same_time_all_run(self, real: Engine) -> None:
        async def many() -> set[bytes]:
            wanted = request("sh", "-c", UUID, env={"DT_RUN": "r", "DT_STEP": "s", "DT_ATTEMPT": "1"})
            results = await asyncio.gather(*(real.executor.execute(wanted, lambda *_: None) for _ in range(4)))
            return {result.stdout for result in results}

        assert len(real.runner.run(many())) == 4


SERVE = "mkdir /w; echo page > /w/index.html; exec httpd -f -p 8000 -h /w"


def service(command: str, name: str = "web", **fields: Any) -> ServiceRequest:
    return ServiceRequest(name, "alpine", ("sh", "-c", command), **fields)


@pytest.mark.engine
@REAL
class TestServices:
    def fails(self, real: Engine, code: str, *services: ServiceRequest, command: str = "sleep 60") -> str:
        begun = time.monotonic()
        with pytest.raises(StepError) as caught:
            real.execute(request("sh", "-c", command, services=services))
        assert caught.value.code == code, caught.value
        assert time.monotonic() - begun < 30
        return caught.value.message

    @pytest.mark.parametrize(
        "fields",
        [
            {"ports": (8000,)},
            {"ready": 8000},
            {"ports": (8000, 9999), "ready": 8000},
            {"ready": ("wget", "-qO-", "http://127.0.0.1:8000/")},
            {"ports": (9999,), "ready": ("wget", "-qO-", "http://127.0.0.1:8000/")},
        ],
        ids=str,
    )
    def test_a_service_is_ready_when_the_step_begins(self, fields: dict[str, Any], real: Engine) -> None:
        services = (service(f"sleep 1; {SERVE}", **fields),)
        printed: list[bytes] = []
        wanted = request("wget", "-qO-", "http://web:8000/", services=services)
        result = real.execute(wanted, lambda stream, data: printed.append(data))
        assert (result.exit_code, result.stdout, b"".join(printed)) == (0, b"page\n", b"page\n")

    def test_the_command_of_the_image_and_variables(self, real: Engine) -> None:
        services = (replace(service("", env={"A": "b c"}, name="one"), argv=("sh", "-c", 'echo "$A" | nc -l -p 7000')),)
        command = "sleep 0.5; nc one 7000 < /dev/null"
        assert real.execute(request("sh", "-c", command, services=services)).stdout == b"b c\n"

    def test_equal_services_are_two(self, real: Engine) -> None:
        services = tuple(
            service(f"{UUID} > /tmp/x; {SERVE.replace('echo page', 'cat /tmp/x')}", name, ready=8000)
            for name in ("a", "b")
        )
        lines = real.execute(
            request("sh", "-c", "wget -qO- a:8000; wget -qO- b:8000", services=services)
        ).stdout.split()
        assert len(set(lines)) == 2

    def test_nothing_is_left_of_services(self, real: Engine, token: str) -> None:
        result = real.execute(
            request("true", services=(service(f"sleep {token}"), service(f"(sleep {token} &); sleep {token}", "other")))
        )
        assert result.exit_code == 0
        assert eventually(lambda: not alive(token), 5)

    def test_a_service_that_does_not_get_ready(self, real: Engine, token: str) -> None:
        command = f"echo still booting; sleep {token}"
        for ready in (8000, ("false",)):
            message = self.fails(real, "service_not_ready", service(command, ready=ready, ready_timeout=2.0))
            assert message.startswith("service web is not ready")
            assert "within 2 seconds" in message
            assert "still booting" in message
            assert eventually(lambda: not alive(token), 5)

    def test_a_service_that_ends_at_once(self, real: Engine, token: str) -> None:
        other = service(f"sleep {token}", "other")
        message = self.fails(real, "service_ended", other, service("echo no disk >&2; exit 7", ready=8000))
        assert message == "service web ended: exit code 7; its last lines:\nno disk"
        assert "exit code 0" in self.fails(real, "service_ended", service("exit 0", ready=8000))
        assert eventually(lambda: not alive(token), 5)

    def test_a_service_that_ends_meanwhile(self, real: Engine, token: str) -> None:
        message = self.fails(
            real, "service_ended", service("sleep 2; echo bye; exit 9", "db"), command=f"sleep {token}"
        )
        assert message == "service db ended: exit code: 9; its last lines:\nbye"
        assert eventually(lambda: not alive(token), 5)

    def test_a_service_without_an_image(self, real: Engine) -> None:
        message = self.fails(real, "image_not_found", replace(service("true"), image="nosuchimage"))
        assert "nosuchimage" in message

    def test_what_a_service_said_is_shown_when_the_step_failed(self, real: Engine) -> None:
        printed: dict[str, bytes] = {"stdout": b"", "stderr": b""}

        def sink(stream: str, data: bytes) -> None:
            printed[stream] += data

        wanted = request(
            "sh", "-c", "echo mine; sleep 0.5; exit 1", services=(service(f"echo served; {SERVE}", ready=8000),)
        )
        result = real.execute(wanted, sink)
        assert (result.exit_code, result.stdout, result.stderr) == (1, b"mine\n", b"")
        assert printed == {"stdout": b"mine\n", "stderr": b"[web] served\n"}

    @pytest.mark.parametrize("when", ["starting", "running"])
    def test_cancelling_leaves_nothing(self, when: str, real: Engine, token: str) -> None:
        ready = 8000 if when == "starting" else None
        wanted = request("sleep", token, services=(service(f"(sleep {token} &); sleep {token}", ready=ready),))

        async def once() -> None:
            step = asyncio.create_task(real.executor.execute(wanted, lambda *_: None))
            while len(alive(token)) < (2 if when == "starting" else 3):
                await asyncio.sleep(0.05)
            step.cancel()
            with pytest.raises(asyncio.CancelledError):
                await step

        real.runner.run(asyncio.wait_for(once(), 60))
        assert eventually(lambda: not alive(token), 5)
        assert real.execute(request("echo", "on")).stdout == b"on\n"
