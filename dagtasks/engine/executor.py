"""What can run a process: the `Executor` protocol, and the lazy table of the executors there are."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from importlib import import_module
from types import TracebackType
from typing import Protocol, Self

from dagtasks.errors import EngineUnavailable, InvalidInput
from dagtasks.model.run import Stream
from dagtasks.planning.plan import ExecRequest
from dagtasks.settings import EngineSettings

OutputSink = Callable[[Stream, bytes], None]
"""Called with each piece of output as it comes."""

OUTPUT_LIMIT = 1 << 20
"""The most bytes of an output that can be read by other steps (03 section 2.6)."""

CAPTURE_LIMIT = OUTPUT_LIMIT + 1
"""The most bytes that are kept of stdout, stderr and a file: one more than can be read, to tell what was too big."""


class Capture:
    """The first `CAPTURE_LIMIT` bytes of what is added."""

    def __init__(self) -> None:
        self._data = bytearray()

    def add(self, data: bytes) -> None:
        """Keep what still fits."""
        self._data += data[: CAPTURE_LIMIT - len(self._data)]

    @property
    def data(self) -> bytes:
        """What was kept."""
        return bytes(self._data)


@dataclass(frozen=True, slots=True)
class ExecResult:
    """How a process ended. `stdout`, `stderr` and `files` hold at most `CAPTURE_LIMIT` bytes each.

    A file that is not there is not in `files`. `image` is the image with its digest, where the engine told one.
    `cached`: the engine answered from its cache. `missing` are the artifacts of the request that were not there.
    """

    exit_code: int
    stdout: bytes = b""
    stderr: bytes = b""
    files: Mapping[str, bytes] = field(default_factory=dict)
    image: str | None = None
    cached: bool = False
    missing: tuple[str, ...] = ()


class StepError(Exception):
    """The step could not be run or read at all (no image, no engine, output too big): its state is `errored`."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.message = message


class Executor(Protocol):
    """Runs processes. Cancelling the awaiting task ends the process and all it started before `execute` returns.

    `note` is what a person should know before a run begins; empty when there is nothing to say.
    """

    name: str
    note: str

    async def __aenter__(self) -> Self:
        """Make ready; raises `EngineUnavailable` within a few seconds when the engine does not answer."""
        ...

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Let go of everything; leaves no process behind."""
        ...

    async def execute(self, request: ExecRequest, output: OutputSink) -> ExecResult:
        """Run the process to its end; raises `StepError` when that is not possible."""
        ...


EXECUTORS = {
    "dagger": "dagtasks.engine.dagger:DaggerExecutor",
    "local": "dagtasks.engine.local:LocalExecutor",
}


class NoExecutor:
    """Stands in for one in a run that starts no process, so that an engine is neither imported nor looked for."""

    note = ""

    def __init__(self, name: str) -> None:
        self.name = name

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        pass

    async def execute(self, request: ExecRequest, output: OutputSink) -> ExecResult:
        """Never possible."""
        raise StepError("engine_lost", f"it needs the engine {self.name}, which was not started")


def make_executor(settings: EngineSettings, *, is_needed: bool = True) -> Executor:
    """The executor that the settings name, not yet opened; its module is imported only now, and only when needed.

    Raises `EngineUnavailable` when the extra of the package that it needs is not installed.
    """
    if settings.name not in EXECUTORS:
        raise InvalidInput(f"there is no engine {settings.name!r}", hint=f"engines: {', '.join(EXECUTORS)}")
    if not is_needed:
        return NoExecutor(settings.name)
    module, _, name = EXECUTORS[settings.name].partition(":")
    try:
        executor: Executor = getattr(import_module(module), name)(settings)
    except ModuleNotFoundError as error:
        hint = (
            f"pip install 'dagtasks[{settings.name}]', or use --engine local to run steps as processes of this machine"
        )
        raise EngineUnavailable(f"the engine {settings.name} is not installed: {error}", hint=hint) from error
    return executor
