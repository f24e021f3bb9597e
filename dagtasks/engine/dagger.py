"""Steps as containers of a Dagger engine. The only module that imports the Dagger SDK, which takes a second.

Written for SDK and engine 0.21.8. Odd-looking lines answer what these were seen to do; the comment there says what.
"""

from __future__ import annotations

import asyncio
import collections
import contextlib
import hashlib
import hmac
import io
import os
import re
import secrets
import shutil
import signal
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from opentelemetry import context, trace

from dagtasks.engine.collecting import Wanted, find_wanted, list_tree, measure_tree
from dagtasks.engine.diagnosis import (
    SERVICE_ENDED,
    clean,
    engine_lost,
    find_connect_reason,
    find_start_failure,
    image_error,
    service_ended,
    service_not_ready,
)
from dagtasks.engine.executor import CAPTURE_LIMIT, OUTPUT_LIMIT, ExecResult, OutputSink, StepError
from dagtasks.engine.folders import ROOT_VARIABLE, check_artifact, find_left_out
from dagtasks.engine.hosts import HINT, RUNNER_HOST, cli_processes, find_connect_timeout, find_host, probe, send_signal
from dagtasks.engine.local import LocalExecutor
from dagtasks.engine.otlp import LATEST, LiveOutput, OutputReceiver
from dagtasks.engine.unchecked import unchecked
from dagtasks.errors import EngineUnavailable
from dagtasks.model.run import Stream
from dagtasks.planning.plan import ExecRequest, Mounted, ServiceRequest
from dagtasks.settings import EngineSettings

with unchecked():
    import dagger
    from dagger import telemetry

LEAVE_TIMEOUT = 10.0
ANSWER_TIMEOUT = 5.0
LAST_LINES = 20
SECRET_LIMIT = 128_000
"""The most bytes of a secret that the engine takes."""
WATCH = 0.1
"""Seconds between looks at how much was exported."""
VARYING = ("DT_RUN", "DT_ATTEMPT")
"""Variables that differ each time; with `cache` they are left out, or nothing would ever be known already."""
NONCE = "DT_EXECUTION"
"""A variable without a meaning that keeps the engine from answering out of its cache."""


class DaggerExecutor:
    """Runs each request in a container of the engine that `settings.host` names, or that the SDK finds.

    A lost connection fails the steps that go on, and is made anew for the next one. `connect_timeout` and
    `leave_timeout` are in seconds; afterwards the Dagger CLI, a child process, is killed.
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
        self._host = find_host(settings)
        self._timeouts = connect_timeout or find_connect_timeout(self._host), leave_timeout
        self._receiver = OutputReceiver()
        self._images: dict[tuple[str, str | None], str] = {}
        self._session: _Session | None = None
        self._connecting = asyncio.Lock()
        self._secret_key = secrets.token_bytes(32)
        self._settings = settings
        self._on_host: LocalExecutor | None = None

    async def __aenter__(self) -> Self:
        await self._receiver.__aenter__()
        try:
            await self._connected()
        except BaseException:
            await self._receiver.__aexit__(None, None, None)
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            if self._on_host:
                await self._on_host.__aexit__(None, None, None)
            if self._session:
                await self._session.close()
        finally:
            await self._receiver.__aexit__(None, None, None)

    async def execute(self, request: ExecRequest, output: OutputSink) -> ExecResult:
        """Run the container to its end; cancelling kills it at once."""
        if request.on_host:
            return await (await self._local()).execute(request, output)
        _refuse(request)
        try:
            if not request.services:
                return await self._execute(await self._connected(), request, output)
            async with self._own_session() as session:
                return await self._execute(session, request, output)
        except EngineUnavailable as error:
            raise engine_lost(error.message) from error

    async def _connected(self) -> _Session:
        """The connection that steps share; a lost one is replaced."""
        async with self._connecting:
            if self._session and self._session.is_lost:
                await self._session.close()
                self._session = None
            if self._session is None:
                self._session = await self._connect()
            return self._session

    async def _connect(self) -> _Session:
        await probe(self._host)
        session = _Session(self._host, *self._timeouts)
        await session.open(self._receiver.variables)
        return session

    @contextlib.asynccontextmanager
    async def _own_session(self) -> AsyncIterator[_Session]:
        """A connection for one step. Leaving it kills its services, also one that is still starting: nothing else
        does, and it would go on for up to a quarter of an hour.
        """
        async with self._connecting:
            session = await self._connect()
        try:
            yield session
        finally:
            await session.close()

    async def _local(self) -> LocalExecutor:
        async with self._connecting:
            self._on_host = self._on_host or await LocalExecutor(self._settings).__aenter__()
            return self._on_host

    async def _execute(self, session: _Session, request: ExecRequest, output: OutputSink) -> ExecResult:
        with contextlib.ExitStack() as listening:
            services: dict[str, _Service] = {}
            try:
                image = await self._find_image(session, request.image, request.platform)
                await self._start_services(session, request, services, listening)
                result = await self._execute_live(session, request, image, services, output)
            except dagger.TransportError as error:
                raise session.lost(error) from error
            except dagger.DaggerError as error:
                raise await _diagnose(session, error, services) from error
            if result.exit_code not in request.success_exit_codes:
                _show_services(services, output)
            return result

    async def _execute_live(
        self,
        session: _Session,
        request: ExecRequest,
        image: str,
        services: Mapping[str, _Service],
        output: OutputSink,
    ) -> ExecResult:
        trace_id = secrets.token_bytes(16)
        with self._receiver.listening(trace_id, output) as live, _tracing(trace_id):
            try:
                container = await self._prepare(session, request, image, services)
                return await _run(container, request, image, live)
            except asyncio.CancelledError:
                await live.wait_for_end()
                raise

    async def _find_image(self, session: _Session, image: str, platform: str | None) -> str:
        """The image with its digest, the same for all steps of a run."""
        key = image, platform
        if key not in self._images:
            try:
                self._images[key] = await session.container(platform).from_(image).image_ref()
            except dagger.QueryError as error:
                raise image_error(image, clean(str(error)), platform) from error
        return self._images[key]

    async def _start_services(
        self,
        session: _Session,
        request: ExecRequest,
        services: dict[str, _Service],
        listening: contextlib.ExitStack,
    ) -> None:
        """Start all and wait until they are ready. Each has a trace of its own, by which its output is known."""

        async def start(wanted: ServiceRequest) -> None:
            image = await self._find_image(session, wanted.image, request.platform)
            service = services[wanted.name] = _Service(wanted, _as_service(session, wanted, image, request.platform))
            trace_id = secrets.token_bytes(16)
            listening.enter_context(self._receiver.listening(trace_id, service.add))
            with _tracing(trace_id):
                await service.start()

        starting = [asyncio.create_task(start(wanted)) for wanted in request.services]
        try:
            await asyncio.gather(*starting)
        finally:
            for task in starting:
                task.cancel()
            await asyncio.gather(*starting, return_exceptions=True)

    async def _prepare(
        self, session: _Session, request: ExecRequest, image: str, services: Mapping[str, _Service]
    ) -> dagger.Container:
        container = session.container(request.platform).from_(image)
        if request.user:
            container = container.with_user(request.user)
        container = await self._with_mounts(session, container, request)
        if request.workdir:
            container = container.with_workdir(request.workdir)
        if folder := request.env.get("DT_OUTPUTS"):
            container = _with_open_folder(session, container, folder)
        for path, text in sorted(request.files.items()):
            container = container.with_new_file(path, text, permissions=0o644)
        for name, value in sorted(_environment_of(request).items()):
            container = container.with_env_variable(name, value)
        for name, value in sorted(request.secret_env.items()):
            container = container.with_secret_variable(name, self._secret(session, name, value))
        for name, service in services.items():
            container = container.with_service_binding(name, service.service)
        return container

    async def _with_mounts(
        self, session: _Session, container: dagger.Container, request: ExecRequest
    ) -> dagger.Container:
        owner = await _find_owner(container, request) if request.mounts else ""
        for mount in sorted(request.mounts, key=lambda mount: mount.path):
            match mount.kind:
                case "repo":
                    folder = await _work_tree(session, mount)
                    container = container.with_mounted_directory(mount.path, folder, owner=owner)
                case "artifact":
                    check_artifact(mount)
                    folder = session.client.host().directory(mount.source)
                    container = container.with_mounted_directory(mount.path, folder, owner=owner)
                case "cache":
                    volume = session.client.cache_volume(_cache_key(mount))
                    container = container.with_mounted_cache(mount.path, volume, owner=owner)
                case "secret":
                    secret = self._secret(session, mount.path, mount.value)
                    container = container.with_mounted_secret(mount.path, secret, owner=owner, mode=0o400)
        return container

    def _secret(self, session: _Session, name: str, value: str) -> dagger.Secret:
        """The engine knows secrets by name, also in its cache: a new value needs a new one, which must not tell it."""
        if len(value.encode()) > SECRET_LIMIT:
            raise StepError("secret_too_big", f"the secret for {name} is larger than {SECRET_LIMIT} bytes")
        digest = hmac.new(self._secret_key, f"{name}\0{value}".encode(), hashlib.sha256).hexdigest()
        return session.client.set_secret(f"dagtasks-{digest[:32]}", value)


class _Session:
    """One connection to an engine, through a CLI process of its own."""

    client: dagger.Client

    def __init__(self, host: str | None, connect_timeout: float, leave_timeout: float) -> None:
        self._host = host
        self._connect_timeout = connect_timeout
        self._leave_timeout = leave_timeout
        self._log = _LastLines()
        self._cli: set[int] = set()
        self.is_lost = False

    async def open(self, variables: Mapping[str, str]) -> None:
        """Connect; no other session may do so meanwhile. Raises `EngineUnavailable`."""
        telemetry.initialize()  # before our variables are set: they are for the CLI, not for this process
        self._connection = dagger.Connection(dagger.Config(retry=None, log_output=self._log))
        before = cli_processes()
        host = {RUNNER_HOST: self._host} if self._host else {}
        with _environment({"NO_COLOR": "1", **host, **variables}):
            connecting = asyncio.ensure_future(self._connection.__aenter__())
            try:
                await asyncio.wait({connecting}, timeout=self._connect_timeout)
            finally:
                self._cli = cli_processes() - before
                in_time, last = connecting.done(), self._log.last
                await self._finish(connecting, 0)
        if not in_time:
            raise self._unavailable(f"no connection within {self._connect_timeout:g} seconds", last)
        try:
            self.client = connecting.result()
        except (dagger.DaggerError, OSError) as error:
            raise self._unavailable(str(error), self._log.last) from error

    async def close(self) -> None:
        """Leave the connection; what runs in it is killed."""
        if not self.is_lost and not await self.answers():
            self._give_up()
        leaving = asyncio.ensure_future(self._connection.__aexit__(None, None, None))
        await self._finish(leaving, 0 if self.is_lost else self._leave_timeout)

    def container(self, platform: str | None) -> dagger.Container:
        """An empty container."""
        return self.client.container(platform=dagger.Platform(platform) if platform else None)

    async def answers(self) -> bool:
        """Whether the engine is still there."""
        try:
            async with asyncio.timeout(ANSWER_TIMEOUT):
                await self.client.version()
        except (dagger.DaggerError, TimeoutError):
            return False
        return True

    def lost(self, error: Exception) -> StepError:
        """The error of a step whose connection broke; the session is of no use any more."""
        self._give_up()
        reason = clean(str(error)).partition("\n")[0]
        return engine_lost(f"the connection to the Dagger engine was lost: {reason}")

    def _give_up(self) -> None:
        self.is_lost = True
        send_signal(self._cli, signal.SIGKILL)  # or leaving would take five minutes

    def _unavailable(self, text: str, said: str) -> EngineUnavailable:
        where = f"the Dagger engine at {self._host}" if self._host else "a Dagger engine"
        reason = find_connect_reason(text, said)
        return EngineUnavailable(f"{where} cannot be used: {reason}", hint=HINT)

    async def _finish(self, task: asyncio.Future[Any], limit: float) -> None:
        """Wait for the SDK; when that takes too long, end its CLI child, which it waits for minutes for."""
        try:
            await asyncio.wait({task}, timeout=limit)
        finally:
            for number in (signal.SIGINT, signal.SIGKILL):
                if not task.done():
                    send_signal(self._cli, number)
                    await asyncio.wait({task}, timeout=2)
            task.cancel()
            with contextlib.suppress(dagger.DaggerError, OSError, asyncio.CancelledError):
                await task


@dataclass(slots=True)
class _Service:
    """A service of a step, and the end of what it printed."""

    request: ServiceRequest
    service: dagger.Service
    printed: bytearray = field(default_factory=bytearray)

    @property
    def lines(self) -> str:
        """The last lines that it printed."""
        return "\n".join(self.printed.decode("utf-8", "replace").splitlines()[-LAST_LINES:])

    def add(self, stream: Stream, data: bytes) -> None:
        """Note what it printed."""
        self.printed += data
        del self.printed[:-CAPTURE_LIMIT]

    async def start(self) -> None:
        """Wait until it is ready. Raises `StepError` when it ends, or is not ready in time."""
        request = self.request
        try:
            async with asyncio.timeout(request.ready_timeout + 1):  # the engine counts, too, and knows more
                await self.service.start()
        except TimeoutError:
            message = f"it did not get ready within {request.ready_timeout:g} seconds"
            raise service_not_ready(request, message, self.lines) from None
        except dagger.ExecError as error:
            said = self.lines or f"{error.stdout}\n{error.stderr}".strip()
            if "health check errored" in str(error):
                message = f"it did not get ready within {request.ready_timeout:g} seconds"
                raise service_not_ready(request, message, said) from error
            raise service_ended(request.name, f"exit code {error.exit_code}", said) from error
        except dagger.QueryError as error:
            if "exited before healthcheck" in str(error):
                raise service_ended(request.name, "exit code 0", self.lines) from error
            raise


def _as_service(session: _Session, request: ServiceRequest, image: str, platform: str | None) -> dagger.Service:
    container = session.container(platform).from_(image).without_docker_healthcheck()
    container = container.with_env_variable("DT_SERVICE", request.name)  # equal services would be one
    for name, value in sorted(request.env.items()):
        container = container.with_env_variable(name, value)
    awaited = {request.ready} if isinstance(request.ready, int) else set(request.ports)
    for port in sorted({*request.ports, *awaited}):
        container = container.with_exposed_port(port, experimental_skip_healthcheck=port not in awaited)
    if isinstance(request.ready, tuple):
        period = f"{request.ready_timeout:.3f}s"
        container = container.with_docker_healthcheck(
            list(request.ready), start_period=period, start_interval="250ms", interval="250ms", retries=1
        )
    return container.as_service(args=list(request.argv or ()), use_entrypoint=request.argv is None)


async def _diagnose(session: _Session, error: dagger.DaggerError, services: Mapping[str, _Service]) -> StepError:
    text = clean(str(error))
    if found := SERVICE_ENDED.search(text):
        name = next((name for name in found["names"].split() if name.strip(",") in services), found["names"])
        service = services.get(name)
        return service_ended(name, found["reason"] or "exit code 0", service.lines if service else "")
    if not await session.answers():
        return session.lost(error)
    return StepError("engine_error", text)


def _show_services(services: Mapping[str, _Service], output: OutputSink) -> None:
    """What services printed last may tell why the step failed."""
    for name, service in services.items():
        for line in service.lines.splitlines():
            output("stderr", f"[{name}] {line}\n".encode())


def _refuse(request: ExecRequest) -> None:
    """Raises `StepError` for what the engine has no way to do, and must not be passed over."""
    if request.network == "none":
        message = "it is to have no network, and a Dagger engine offers no way to take it away"
        raise StepError("network_not_isolated", message)
    if request.pull == "never":
        message = "it may not fetch its image, and a Dagger engine cannot be kept from it"
        raise StepError("pull_not_controlled", message)


def _may_be_known(request: ExecRequest) -> bool:
    """Whether the engine may answer from its cache. Results with secrets are not kept; nor may a failure be, and which
    exit codes are one it can only be told for all but 0.
    """
    has_secret = request.secret_env or any(mount.kind == "secret" for mount in request.mounts)
    return request.cache and not has_secret and request.success_exit_codes == (0,)


def _environment_of(request: ExecRequest) -> dict[str, str]:
    env = {**request.env, ROOT_VARIABLE: ""}
    if not request.cache:
        return {**env, NONCE: secrets.token_hex(8)}
    steady = {name: value for name, value in env.items() if name not in VARYING}
    return steady if _may_be_known(request) else {**steady, NONCE: secrets.token_hex(8)}


async def _run(container: dagger.Container, request: ExecRequest, image: str, live: LiveOutput) -> ExecResult:
    may_be_known = _may_be_known(request)
    run = container.with_exec(
        list(request.argv or ()),
        # An exit code that is expected is kept in the cache, a failure, too.
        expect=dagger.ReturnType.SUCCESS if may_be_known else dagger.ReturnType.ANY,
        use_entrypoint=request.use_entrypoint or request.argv is None,
        insecure_root_capabilities=request.privileged,
    )
    try:
        done = await run.sync()
    except dagger.ExecError as error:  # codes that ANY does not cover, and what could not be started at all
        if error.exit_code < 0:
            raise
        if failure := find_start_failure(request, error.exit_code, error.stdout, error.stderr):
            raise failure from error
        return await _failed_result(error, image, live)
    code, stdout, stderr = await asyncio.gather(done.exit_code(), done.stdout(), done.stderr())
    if failure := find_start_failure(request, code, stdout, stderr):
        raise failure
    result = _result(code, stdout.encode(), stderr.encode(), image, live)
    if code not in request.success_exit_codes:
        return result
    return replace(
        result,
        files=await _read_files(done, request),
        cached=may_be_known and not await live.has_run(),
        missing=await _collect(done, request),
    )


def _with_open_folder(session: _Session, container: dagger.Container, folder: str) -> dagger.Container:
    """A folder that every user of the image may write to; `permissions` of with_directory does not make one."""
    parent, _, name = folder.rpartition("/")
    return container.with_directory(parent, session.client.directory().with_new_directory(name, permissions=0o777))


async def _find_owner(container: dagger.Container, request: ExecRequest) -> str:
    """Who is to own what is mounted: the user that the process runs as; empty for root."""
    user = request.user or await container.user()
    return "" if user.partition(":")[0] in ("", "0", "root") else user


async def _work_tree(session: _Session, mount: Mounted) -> dagger.Directory:
    """The files of the repository as they are now. What Git ignores stays here: it may hold secrets."""
    left_out = await asyncio.to_thread(find_left_out, Path(mount.source))
    return session.client.host().directory(mount.source, no_cache=True, exclude=[escape(path) for path in left_out])


def escape(path: str) -> str:
    """A pattern of the engine that means just that path. It would trim white space, and knows no bytes but text."""
    quoted = re.sub(r"[\\*?\[\]!^]", r"\\\g<0>", path.rstrip("/"))
    return re.sub(r"^\s|\s$|[\ud800-\udfff]", "?", quoted)


def _cache_key(mount: Mounted) -> str:
    """Engines are shared, so a repository (`source` lies in it) has caches of its own."""
    digest = hashlib.sha256(f"{mount.source}\0{mount.value}".encode()).hexdigest()
    return f"dagtasks-{digest[:32]}"


async def _collect(done: dagger.Container, request: ExecRequest) -> tuple[str, ...]:
    """Export what the request wants to be kept; the keys of artifacts that are not there."""
    missing = []
    for wanted in find_wanted(request):
        try:
            is_there = await _export(done, wanted)
        except dagger.QueryError as error:
            if "not a directory" not in str(error):  # a file where a folder would have to be
                raise wanted.refuse(clean(str(error))) from error
            is_there = False
        if not is_there and wanted.kind == "artifact":
            missing.append(wanted.key)
    return tuple(missing)


async def _export(done: dagger.Container, wanted: Wanted) -> bool:
    """Export what is wanted; whether it was there."""
    if await done.exists(wanted.folder, expected_type=dagger.ExistsType.DIRECTORY_TYPE):
        return await _export_folder(done.directory(wanted.folder), wanted)
    if wanted.pattern is not None or not await done.exists(wanted.folder):
        return False
    await _export_watched(done.file(wanted.folder).export, wanted, wanted.target / wanted.name)
    return True


async def _export_folder(folder: dagger.Directory, wanted: Wanted) -> bool:
    paths = wanted.choose(await folder.glob("**"))
    if wanted.pattern is not None:
        if not paths:
            return False
        folder = folder.filter(include=[escape(path) for path in paths])
    files = {path for path in paths if not path.endswith("/")}
    wanted.check_size(len(files), len(paths) - len(files), 0)
    await _export_watched(folder.export, wanted, wanted.target)
    if {path for path in list_tree(wanted.target) if not path.endswith("/")} != files:
        raise wanted.refuse("the names of its files cannot be told apart by the engine")
    return True


async def _export_watched(export: Callable[[str], Awaitable[str]], wanted: Wanted, target: Path) -> None:
    """Export to the target, and stop when it gets too big; asking for sizes before takes the engine 30 ms a file."""
    wanted.make_target()
    exporting = asyncio.ensure_future(export(str(target)))
    try:
        while not exporting.done():
            await asyncio.wait({exporting}, timeout=WATCH)
            wanted.check_size(0, 0, measure_tree(wanted.target))
    except BaseException:
        exporting.cancel()
        await asyncio.wait({exporting})
        shutil.rmtree(wanted.target, ignore_errors=True)
        raise
    exporting.result()


async def _read_files(done: dagger.Container, request: ExecRequest) -> dict[str, bytes]:
    files = {}
    for path in request.read_files:
        content = await _read_file(done, path)
        if content is not None:
            files[path] = content
    return files


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


async def _failed_result(error: dagger.ExecError, image: str, live: LiveOutput) -> ExecResult:
    """The error has the end of a long output, and not the last line break; what came live is whole."""
    await live.wait_for_end(LATEST)
    stdout = max(bytes(live.came["stdout"]), error.stdout.encode(), key=len)
    stderr = max(bytes(live.came["stderr"]), error.stderr.encode(), key=len)
    return _result(error.exit_code, stdout, stderr, image, live)


def _result(code: int, stdout: bytes, stderr: bytes, image: str, live: LiveOutput) -> ExecResult:
    live.complete("stdout", stdout)
    live.complete("stderr", stderr)
    return ExecResult(code, stdout[:CAPTURE_LIMIT], stderr[:CAPTURE_LIMIT], image=image)


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
