"""Receives the live output of Dagger steps: the Dagger CLI posts it as OpenTelemetry log records to loopback.

Each step has a trace of its own, so the trace id of a record says whose output it is.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Self

from google.protobuf.message import DecodeError
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest

from dagtasks.engine.executor import OutputSink
from dagtasks.model.run import Stream

STREAMS: dict[int, Stream] = {1: "stdout", 2: "stderr"}
LARGEST_POST = 64 << 20
LAST_WORDS = 0.25
"""Seconds that records may come late after a step was broken off."""
LATEST = 1.0
"""Seconds to wait for records of a step that ended, where it matters that they come."""

OK = b"HTTP/1.1 200 OK\r\nContent-Type: application/x-protobuf\r\nContent-Length: 0\r\n\r\n"
NOT_FOUND = b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n"


@dataclass(slots=True)
class LiveOutput:
    """What came live of one step's output, and where it goes."""

    trace: bytes
    sink: OutputSink
    came: dict[Stream, bytearray] = field(default_factory=lambda: {"stdout": bytearray(), "stderr": bytearray()})
    ended: set[Stream] = field(default_factory=set)
    completed: set[Stream] = field(default_factory=set)
    is_whole: asyncio.Event = field(default_factory=asyncio.Event)
    is_settled: asyncio.Event = field(default_factory=asyncio.Event)

    def add(self, stream: Stream, data: bytes) -> None:
        """Pass on a piece; what comes after the stream was completed has been passed on already."""
        if stream not in self.completed:
            self.came[stream] += data
            self.sink(stream, data)

    def end(self, stream: Stream) -> None:
        """Note that nothing more will come of a stream."""
        self.ended.add(stream)
        self.is_settled.set()
        if len(self.ended) == len(STREAMS):
            self.is_whole.set()

    def complete(self, stream: Stream, whole: bytes) -> None:
        """Pass on what has not come live.

        Records that are no UTF-8 get lost, and what follows is then passed on again: rather twice than not at all.
        """
        self.completed.add(stream)
        rest = whole[_common_length(self.came[stream], whole) :]
        if rest:
            self.sink(stream, rest)

    async def wait_for_end(self, seconds: float = LAST_WORDS) -> None:
        """Wait a moment for what may still come."""
        try:
            async with asyncio.timeout(seconds):
                await self.is_whole.wait()
        except TimeoutError:
            return

    async def has_run(self) -> bool:
        """Whether the step's process ran, and not only its output was read anew, which comes later and is marked."""
        try:
            async with asyncio.timeout(LATEST):
                await self.is_settled.wait()
        except TimeoutError:  # nothing comes of what this very connection ran before
            pass
        return bool(self.ended)


class OutputReceiver:
    """A small HTTP server on loopback. `variables` make the Dagger CLI post to it; only who knows the path can."""

    def __init__(self) -> None:
        self._path = f"/{secrets.token_urlsafe(16)}/v1/logs"
        self._steps: dict[bytes, LiveOutput] = {}
        self._connections: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self._port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.close()
        for connection in self._connections:
            connection.cancel()
        await asyncio.gather(*self._connections, return_exceptions=True)

    @property
    def variables(self) -> dict[str, str]:
        """Environment variables of the OpenTelemetry exporter."""
        return {
            "OTEL_EXPORTER_OTLP_LOGS_ENDPOINT": f"http://127.0.0.1:{self._port}{self._path}",
            "OTEL_EXPORTER_OTLP_LOGS_PROTOCOL": "http/protobuf",
        }

    @contextmanager
    def listening(self, trace: bytes, sink: OutputSink) -> Iterator[LiveOutput]:
        """Pass the output of the step with that trace id to the sink, as long as the block lasts."""
        live = self._steps[trace] = LiveOutput(trace, sink)
        try:
            yield live
        finally:
            del self._steps[trace]

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        if task is not None:
            self._connections.add(task)
            task.add_done_callback(self._connections.discard)
        try:
            while True:
                path, body = await _read_post(reader)
                writer.write(OK if path == self._path else NOT_FOUND)
                if path == self._path:
                    self._take(body)
        except (OSError, EOFError, ValueError, LookupError, asyncio.LimitOverrunError, DecodeError):
            return
        except asyncio.CancelledError:  # asyncio would log it as a fault of the server
            return
        finally:
            writer.close()

    def _take(self, body: bytes) -> None:
        for record in _records(body):
            live = self._steps.get(record.trace_id)
            marks = {item.key: item.value for item in record.attributes}
            if live is None or "stdio.stream" not in marks:
                continue
            if "dagger.io/logs.verbose" in marks:
                live.is_settled.set()
                continue
            stream = STREAMS[marks["stdio.stream"].int_value]
            if record.body.string_value:
                live.add(stream, record.body.string_value.encode())
            if "stdio.eof" in marks:
                live.end(stream)


def _records(body: bytes) -> Iterator[Any]:
    for resource in ExportLogsServiceRequest.FromString(body).resource_logs:
        for scope in resource.scope_logs:
            yield from scope.log_records


async def _read_post(reader: asyncio.StreamReader) -> tuple[str, bytes]:
    """Path and body of the next request. Raises `ValueError` or `LookupError` when it is none that the CLI sends."""
    head = (await reader.readuntil(b"\r\n\r\n")).decode("ascii").split("\r\n")
    _, path, _ = head[0].split(" ")
    headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in head[1:])}
    length = int(headers["content-length"])
    if not 0 <= length <= LARGEST_POST:
        raise ValueError(f"a post of {length} bytes")
    return path, await reader.readexactly(length)


def _common_length(one: bytes | bytearray, other: bytes) -> int:
    if other.startswith(one):
        return len(one)
    return next(
        (place for place, (a, b) in enumerate(zip(one, other, strict=False)) if a != b), min(len(one), len(other))
    )
