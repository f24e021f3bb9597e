"""Steps as processes of this machine, each in a private folder that is removed afterwards. There is no isolation."""

from __future__ import annotations

import asyncio
import errno
import itertools
import json
import os
import socket
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager, suppress
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Any, NoReturn, Self, TypeVar

from dagtasks.engine.executor import Capture, ExecResult, OutputSink, StepError
from dagtasks.engine.folders import StepFolder
from dagtasks.engine.supervisor import remove
from dagtasks.errors import EngineUnavailable
from dagtasks.model.run import Stream
from dagtasks.planning.plan import ExecRequest
from dagtasks.settings import EngineSettings

INHERITED = ("PATH", "HOME", "LANG", "TZ", "TMPDIR")
"""All that a step sees of the environment of this process; the rest may hold secrets."""

T = TypeVar("T")

GRACE = 10.0
CHUNK = 1 << 16


class LocalExecutor:
    """Runs each request as a subprocess. `grace` is how many seconds a step has between SIGTERM and SIGKILL.

    One supervisor process for the run starts the steps and ends them with all they started, also when this process
    is killed: see `supervisor`.
    """

    name = "local"
    note = (
        "steps run as processes of this machine, without isolation; "
        "image, user, platform, pull, privileged and cache are ignored"
    )

    def __init__(
        self, _settings: EngineSettings, *, environ: Mapping[str, str] = os.environ, grace: float = GRACE
    ) -> None:
        self._environ = environ
        self._grace = grace
        self._numbers = itertools.count(1)
        self._busy = 0
        self._workers = 0

    async def __aenter__(self) -> Self:
        if sys.platform != "linux":
            raise EngineUnavailable(
                "the local engine needs Linux: it finds the processes of a step through /proc",
                hint="use --engine dagger",
            )
        self._folder = Path(tempfile.mkdtemp(prefix="dagtasks-"))
        self._steps, theirs = socket.socketpair()
        with theirs:
            self._supervisor = _start_supervisor(theirs, self._folder)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._steps.close()
        await asyncio.to_thread(self._end_supervisor)

    def _end_supervisor(self) -> None:
        self._supervisor.communicate()
        remove(str(self._folder))  # is gone by now, unless somebody killed the supervisor

    async def execute(self, request: ExecRequest, output: OutputSink) -> ExecResult:
        """Run the process to its end; cancelling ends it and all it started."""
        _refuse(request)
        folder = StepFolder(self._folder / str(next(self._numbers)), request)
        is_large = bool(request.mounts or request.collect_to)
        try:
            await _aside(folder.fill, is_large=is_large)
        except BaseException:
            await _aside(partial(remove, str(folder.root)), is_large=is_large)
            raise
        with self._worker():
            return await self._execute(request, folder, output)

    @contextmanager
    def _worker(self) -> Iterator[None]:
        """See that one more worker is there than steps: while one still removes a folder, another takes the next."""
        self._busy += 1
        try:
            while self._workers <= self._busy:
                self._start_worker()
            yield
        finally:
            self._busy -= 1

    def _start_worker(self) -> None:
        assert self._supervisor.stdin  # noqa: S101 - it was asked for
        try:
            self._supervisor.stdin.write(b"+")
        except OSError as error:
            raise _lost() from error
        self._workers += 1

    async def _execute(self, request: ExecRequest, folder: StepFolder, output: OutputSink) -> ExecResult:
        captured = {"stdout": Capture(), "stderr": Capture()}
        channel, theirs = socket.socketpair()
        with closing(channel):  # when it is closed, the worker removes the folder
            code = _exit_code(await self._run(folder, channel, theirs, _both(captured, output)), request)
            is_success = code in request.success_exit_codes
            return ExecResult(
                exit_code=code,
                stdout=captured["stdout"].data,
                stderr=captured["stderr"].data,
                files=folder.read_files(),
                missing=await _aside(folder.collect, is_large=True) if is_success and request.collect_to else (),
            )

    async def _run(
        self, folder: StepFolder, channel: socket.socket, theirs: socket.socket, output: OutputSink
    ) -> Mapping[str, Any]:
        order = json.dumps(_make_order(folder, self._environ, self._grace)).encode() + b"\n"
        channel.setblocking(False)
        with _reading("stdout", output) as stdout, _reading("stderr", output) as stderr:
            with theirs:
                sent = channel.send(order)  # before anybody waits for it
                self._hand_over(theirs.fileno(), stdout, stderr)
            return await _supervise(channel, order[sent:])

    def _hand_over(self, *handles: int) -> None:
        try:
            socket.send_fds(self._steps, [b"+"], handles)
        except OSError as error:
            raise _lost() from error


def _start_supervisor(steps: socket.socket, folder: Path) -> subprocess.Popen[bytes]:
    script = Path(__file__).with_name("supervisor.py")
    return subprocess.Popen(
        [sys.executable, "-I", "-S", str(script), str(steps.fileno()), str(folder)],
        bufsize=0,
        stdin=subprocess.PIPE,
        pass_fds=[steps.fileno()],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        env={},
        cwd="/",
        start_new_session=True,
    )


def _refuse(request: ExecRequest) -> None:
    """Raises `StepError` for what cannot be carried out without isolation, and must not be passed over."""
    if request.services:
        names = ", ".join(service.name for service in request.services)
        raise StepError("services_need_dagger", f"it has services ({names}); use --engine dagger")
    if request.network == "none":
        message = "it is to have no network, and the local engine cannot take it away"
        raise StepError("network_not_isolated", message)
    if not request.argv:
        raise StepError("no_command", "it has no command, and the local engine has no image to ask")


def _make_order(folder: StepFolder, environ: Mapping[str, str], grace: float) -> dict[str, Any]:
    inherited = {name: environ[name] for name in INHERITED if name in environ}
    depth = {"DAGTASKS_DEPTH": str(int(environ.get("DAGTASKS_DEPTH") or 0) + 1)}
    return {
        "argv": folder.argv(),
        "env": {**inherited, **folder.env(), **depth},
        "cwd": str(folder.workdir),
        "folder": str(folder.root),
        "grace": grace,
    }


async def _aside(work: Callable[[], T], *, is_large: bool) -> T:
    """What the work gives; large work is done in a thread, and ends even when this is cancelled meanwhile."""
    if not is_large:
        return work()
    task = asyncio.create_task(asyncio.to_thread(work))
    try:
        return await asyncio.shield(task)
    except asyncio.CancelledError:
        await _ended(task)
        raise


def _both(captured: Mapping[str, Capture], output: OutputSink) -> OutputSink:
    def sink(stream: Stream, data: bytes) -> None:
        captured[stream].add(data)
        output(stream, data)

    return sink


@contextmanager
def _reading(stream: Stream, output: OutputSink) -> Iterator[int]:
    """A handle for a process to write to; all of it has gone to the sink when the block ends."""
    loop = asyncio.get_running_loop()
    source, target = os.pipe()
    os.set_blocking(source, False)

    def pass_on() -> bool:
        try:
            data = os.read(source, CHUNK)
        except BlockingIOError:
            return False
        output(stream, data)
        return True

    loop.add_reader(source, pass_on)
    try:
        yield target
        while pass_on():
            pass
    finally:
        loop.remove_reader(source)
        os.close(source)
        os.close(target)


async def _supervise(channel: socket.socket, rest: bytes) -> Mapping[str, Any]:
    """What the worker answers, when it has got the rest of the order, too."""
    try:
        return await _exchange(channel, rest)
    except asyncio.CancelledError:
        channel.shutdown(socket.SHUT_WR)
        await _ended(asyncio.create_task(_wait_for_end(channel)))
        raise


async def _exchange(channel: socket.socket, rest: bytes) -> Mapping[str, Any]:
    loop = asyncio.get_running_loop()
    received = bytearray()
    try:
        await loop.sock_sendall(channel, rest)
        while not received.endswith(b"\n"):
            received += await loop.sock_recv(channel, CHUNK) or _gone()
    except OSError as error:
        raise _lost() from error
    answer: Mapping[str, Any] = json.loads(received)
    return answer


async def _wait_for_end(channel: socket.socket) -> None:
    """The worker shuts its side when the step, which was told to end, has ended."""
    with suppress(OSError):
        while await asyncio.get_running_loop().sock_recv(channel, CHUNK):
            pass


async def _ended(task: asyncio.Task[Any]) -> None:
    """Waits until the task is over, however often this is cancelled: nothing of the step may be left."""
    while not task.done():
        try:
            await asyncio.wait([task])
        except asyncio.CancelledError:
            continue
    task.exception()


def _exit_code(answer: Mapping[str, Any], request: ExecRequest) -> int:
    if "exit_code" not in answer:
        raise _not_started(answer, request)
    if answer["left"]:
        pids = ", ".join(map(str, answer["left"]))
        raise StepError("process_left", f"it started processes that could not be ended: {pids}")
    code: int = answer["exit_code"]
    return code


def _not_started(answer: Mapping[str, Any], request: ExecRequest) -> StepError:
    command = request.argv[0] if request.argv else ""
    match answer["errno"]:
        case errno.ENOENT:
            return StepError("command_not_found", f"the command {command!r} was not found on this machine")
        case errno.EACCES:
            return StepError("command_not_executable", f"the command {command!r} may not be executed")
        case errno.E2BIG:
            return StepError("argument_too_long", "an argument or variable is longer than 128 KiB; use a file")
        case _:
            return StepError("not_started", f"the command {command!r} could not be started: {answer['error']}")


def _gone() -> NoReturn:
    raise ConnectionError


def _lost() -> StepError:
    return StepError("engine_lost", "the supervisor of local steps is gone")
