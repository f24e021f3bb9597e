"""Steps as containers of a Dagger engine. The only module that imports the Dagger SDK, which takes a second.

Written for SDK and engine 0.21.8. Odd-looking lines answer what these were seen to do; the comment there says what.
"""

from __future__ import annotations

import asyncio
import collections
import contextlib
import io
import os
import re
import secrets
import signal
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self
from urllib.parse import urlsplit

import dagger
from dagger import telemetry
from opentelemetry import context, trace

from dagtasks.engine.executor import CAPTURE_LIMIT, OUTPUT_LIMIT, ExecResult, OutputSink, StepError
from dagtasks.engine.otlp import LiveOutput, OutputReceiver
from dagtasks.engine.supervisor import children_of, parents
from dagtasks.errors import EngineUnavailable
from dagtasks.planning.plan import ExecRequest
from dagtasks.settings import EngineSettings

RUNNER_HOST = "_EXPERIMENTAL_DAGGER_RUNNER_HOST"
PROBE_TIMEOUT = 3.0
CONNECT_TIMEOUT = 30.0
FIRST_START_TIMEOUT = 600.0
"""Seconds for an engine that the SDK finds or starts by itself: it may have to pull the engine's image."""
LEAVE_TIMEOUT = 10.0
LAST_LINES = 20

HINT = (
    "start one (https://docs.dagger.io/install), set engine.host or DAGTASKS_ENGINE_HOST to a running one, "
    "or use --engine local to run steps as processes of this machine"
)
ESCAPES = re.compile(r"\x1b\[[0-9;]*m")
TRACE_SUFFIX = re.compile(r"\s*\[traceparent:[^\]]*\]")
NOT_STARTED = re.compile(r"(?:fork/)?exec:? \"?(?P<command>[^\"\n]*?)\"?: (?P<reason>[^:\n]+)")


class DaggerExecutor:
    """Runs each request in a container of the engine that `settings.host` names, or that the SDK finds.

    `connect_timeout` and `leave_timeout` are in seconds; afterwards the Dagger CLI, a child process, is killed.
    """

    name = "dagger"
    note = ""

    def __init__(
        self,
        settings: EngineSettings,
        *,
        connect_timeout: float | None = None,
        leave_timeout: float = LEAVE_TIMEOUT,
    ) -> None:
        self._host = settings.host or os.environ.get(RUNNER_HOST)
        is_running = self._host is not None and _address(self._host) is not None
        self._connect_timeout = connect_timeout or (CONNECT_TIMEOUT if is_running else FIRST_START_TIMEOUT)
        self._leave_timeout = leave_timeout
        self._receiver = OutputReceiver()
        self._log = _LastLines()
        self._images: dict[tuple[str, str | None], str] = {}
        self._cli: set[int] = set()

    async def __aenter__(self) -> Self:
        await probe(self._host)
        await self._receiver.__aenter__()
        try:
            self._client = await self._connect()
        except BaseException:
            await self._receiver.__aexit__(None, None, None)
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            leaving = asyncio.ensure_future(self._connection.__aexit__(None, None, None))
            await self._finish(leaving, self._leave_timeout)
        finally:
            await self._receiver.__aexit__(None, None, None)

    async def execute(self, request: ExecRequest, output: OutputSink) -> ExecResult:
        """Run the container to its end; cancelling kills it at once."""
        try:
            image = await self._find_image(request)
            return await self._execute_live(request, image, output)
        except dagger.TransportError as error:
            raise self._lost(error) from error
        except dagger.DaggerError as error:
            raise StepError("engine_error", clean(str(error))) from error

    async def _execute_live(self, request: ExecRequest, image: str, output: OutputSink) -> ExecResult:
        trace_id = secrets.token_bytes(16)
        with self._receiver.listening(trace_id, output) as live, _tracing(trace_id):
            try:
                return await self._execute(request, image, live)
            except asyncio.CancelledError:
                await live.wait_for_end()
                raise

    async def _connect(self) -> dagger.Client:
        telemetry.initialize()  # before our variables are set: they are for the CLI, not for this process
        self._connection = dagger.Connection(dagger.Config(retry=None, log_output=self._log))
        before = _cli_processes()
        host = {RUNNER_HOST: self._host} if self._host else {}
        with _environment({"NO_COLOR": "1", **host, **self._receiver.variables}):
            connecting = asyncio.ensure_future(self._connection.__aenter__())
            try:
                await asyncio.wait({connecting}, timeout=self._connect_timeout)
            finally:
                self._cli = _cli_processes() - before
                in_time = connecting.done()
                await self._finish(connecting, 0)
        if not in_time:
            raise self._unavailable(f"no connection within {self._connect_timeout:g} seconds")
        try:
            return connecting.result()
        except (dagger.DaggerError, OSError) as error:
            raise self._unavailable(clean(str(error))) from error

    def _unavailable(self, reason: str) -> EngineUnavailable:
        where = f"the Dagger engine at {self._host}" if self._host else "a Dagger engine"
        last = f" ({clean(self._log.last)})" if self._log.last else ""
        return EngineUnavailable(f"{where} cannot be used: {reason}{last}", hint=HINT)

    async def _finish(self, task: asyncio.Future[Any], limit: float) -> None:
        """Wait for the SDK; when that takes too long, end its CLI child, which it waits for minutes for."""
        try:
            await asyncio.wait({task}, timeout=limit)
        finally:
            for number in (signal.SIGINT, signal.SIGKILL):
                if not task.done():
                    _send(self._cli, number)
                    await asyncio.wait({task}, timeout=2)
            task.cancel()
            with contextlib.suppress(dagger.DaggerError, OSError, asyncio.CancelledError):
                await task

    async def _find_image(self, request: ExecRequest) -> str:
        """The image with its digest, the same for all steps of a run."""
        key = request.image, request.platform
        if key not in self._images:
            try:
                self._images[key] = await self._container(request).from_(request.image).image_ref()
            except dagger.QueryError as error:
                raise image_error(request.image, clean(str(error))) from error
        return self._images[key]

    def _container(self, request: ExecRequest) -> dagger.Container:
        platform = dagger.Platform(request.platform) if request.platform else None
        return self._client.container(platform=platform)

    async def _execute(self, request: ExecRequest, image: str, live: LiveOutput) -> ExecResult:
        container = self._prepare(request, self._container(request).from_(image))
        argv = list(request.argv or ())
        run = container.with_exec(
            argv, expect=dagger.ReturnType.ANY, use_entrypoint=request.use_entrypoint or request.argv is None
        )
        try:
            done = await run.sync()
        except dagger.ExecError as error:  # codes that ANY does not cover, and what could not be started at all
            if error.exit_code < 0:
                raise
            return _result(error.exit_code, error.stdout, error.stderr, {}, image, live)
        code, stdout, stderr = await asyncio.gather(done.exit_code(), done.stdout(), done.stderr())
        if failure := find_start_failure(request, code, stdout, stderr):
            raise failure
        files = await self._read_files(done, request) if code in request.success_exit_codes else {}
        return _result(code, stdout, stderr, files, image, live)

    def _prepare(self, request: ExecRequest, container: dagger.Container) -> dagger.Container:
        if request.user:
            container = container.with_user(request.user)
        if request.workdir:
            container = container.with_workdir(request.workdir)
        if folder := request.env.get("DT_OUTPUTS"):
            container = self._with_open_folder(container, folder)
        for path, text in sorted(request.files.items()):
            container = container.with_new_file(path, text, permissions=0o644)
        for name, value in sorted(request.env.items()):
            container = container.with_env_variable(name, value)
        return container

    def _with_open_folder(self, container: dagger.Container, folder: str) -> dagger.Container:
        """A folder that every user of the image may write to; `permissions` of with_directory does not make one."""
        parent, _, name = folder.rpartition("/")
        return container.with_directory(parent, self._client.directory().with_new_directory(name, permissions=0o777))

    async def _read_files(self, done: dagger.Container, request: ExecRequest) -> dict[str, bytes]:
        files = {}
        for path in request.read_files:
            content = await _read_file(done, path)
            if content is not None:
                files[path] = content
        return files

    def _lost(self, error: Exception) -> StepError:
        _send(self._cli, signal.SIGKILL)  # or leaving would take five minutes
        return StepError("engine_lost", f"the connection to the Dagger engine was lost: {clean(str(error))}")


async def probe(host: str | None) -> None:
    """Raises `EngineUnavailable` within a few seconds when nobody listens at a unix:// or tcp:// host.

    The SDK would try for ten minutes.
    """
    address = _address(host) if host else None
    if address is None:
        return
    try:
        async with asyncio.timeout(PROBE_TIMEOUT):
            _, writer = await _open(address)
    except (OSError, TimeoutError) as error:
        reason = str(error) or f"no answer within {PROBE_TIMEOUT:g} seconds"
        raise EngineUnavailable(f"the Dagger engine at {host} does not answer: {reason}", hint=HINT) from None
    writer.close()


def clean(text: str) -> str:
    """A message of the engine without trace ids and colours."""
    return TRACE_SUFFIX.sub("", ESCAPES.sub("", text)).strip()


def image_error(image: str, text: str) -> StepError:
    """What to say when an image cannot be had."""
    if "not found" in text or "invalid reference format" in text or "access denied" in text:
        return StepError("image_not_found", f"there is no image {image}: {text}")
    return StepError("image_unavailable", f"the image {image} cannot be had: {text}")


def find_start_failure(request: ExecRequest, code: int, stdout: str, stderr: str) -> StepError | None:
    """Whether the command did not even start. The engine then says exit code 1, and why on stderr."""
    if code != 1 or stdout or not request.argv:
        return None
    found = NOT_STARTED.fullmatch(stderr.strip())
    if found is None or found["command"] not in (request.argv[0], "/.init"):
        return None
    command, reason = request.argv[0], found["reason"]
    if reason in ("executable file not found in $PATH", "no such file or directory"):
        return StepError("command_not_found", f"the command {command!r} was not found in the image {request.image}")
    if reason == "permission denied":
        return StepError("command_not_executable", f"the command {command!r} may not be executed")
    if reason == "argument list too long":
        return StepError("argument_too_long", "an argument or variable is longer than 128 KiB; use a file")
    return StepError("not_started", f"the command {command!r} could not be started: {reason}")


async def _read_file(done: dagger.Container, path: str) -> bytes | None:
    file = done.file(path)
    try:
        size = await file.size()
    except dagger.QueryError as error:
        if "no such file" in str(error) or "is a directory" in str(error):
            return None
        raise
    if size > OUTPUT_LIMIT:
        raise StepError("output_too_big", f"{path} is read as an output and larger than {OUTPUT_LIMIT} bytes")
    return (await file.contents()).encode()


def _result(
    code: int, stdout: str, stderr: str, files: Mapping[str, bytes], image: str, live: LiveOutput
) -> ExecResult:
    whole_stdout, whole_stderr = stdout.encode(), stderr.encode()
    live.complete("stdout", whole_stdout)
    live.complete("stderr", whole_stderr)
    return ExecResult(code, whole_stdout[:CAPTURE_LIMIT], whole_stderr[:CAPTURE_LIMIT], files, image)


@contextlib.contextmanager
def _tracing(trace_id: bytes) -> Iterator[None]:
    """Make the requests of the block part of a trace, by which the engine marks the output of what they run."""
    span = trace.SpanContext(
        trace_id=int.from_bytes(trace_id),
        span_id=int.from_bytes(secrets.token_bytes(8)),
        is_remote=False,
        trace_flags=trace.TraceFlags(trace.TraceFlags.SAMPLED),
    )
    token = context.attach(trace.set_span_in_context(trace.NonRecordingSpan(span)))
    try:
        yield
    finally:
        context.detach(token)


@contextlib.contextmanager
def _environment(variables: Mapping[str, str]) -> Iterator[None]:
    """Set variables for the CLI child, which the SDK starts with the environment of this process."""
    before = {name: os.environ.get(name) for name in variables}
    os.environ.update(variables)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


class _LastLines(io.StringIO):
    """Keeps the last of what the SDK and its CLI print, instead of the terminal."""

    def __init__(self) -> None:
        super().__init__()
        self._lines: collections.deque[str] = collections.deque(maxlen=LAST_LINES)

    def write(self, text: str) -> int:
        self._lines.append(text)
        return len(text)

    @property
    def last(self) -> str:
        """The last line that says something."""
        return next((line.strip() for line in reversed(self._lines) if line.strip()), "")


def _address(host: str) -> str | tuple[str, int] | None:
    """Where to knock: the path of a socket, or name and port; None for a host that the SDK has to find."""
    parts = urlsplit(host)
    if parts.scheme == "unix":
        return parts.path
    if parts.scheme == "tcp" and parts.hostname:
        return parts.hostname, parts.port or 1234
    return None


async def _open(address: str | tuple[str, int]) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    if isinstance(address, str):
        return await asyncio.open_unix_connection(address)
    return await asyncio.open_connection(*address)


def _cli_processes() -> set[int]:
    """The Dagger CLI sessions that are children of this process."""
    found = set()
    for pid in children_of(os.getpid(), parents()):
        with contextlib.suppress(OSError):
            if b"dagger.io/sdk.name:python" in Path(f"/proc/{pid}/cmdline").read_bytes():
                found.add(pid)
    return found


def _send(pids: set[int], number: signal.Signals) -> None:
    for pid in pids & _cli_processes():
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, number)
