from __future__ import annotations

import asyncio
from urllib.parse import urlsplit

import httpx
import pytest
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest

from dagtasks.engine.otlp import LiveOutput, OutputReceiver

TRACE = bytes(range(16))
Chunk = tuple[str, bytes]


def post(*records: tuple[bytes, dict[str, int | bool], str]) -> bytes:
    """What the Dagger CLI posts: trace id, attributes and text of each record."""
    request = ExportLogsServiceRequest()
    scope = request.resource_logs.add().scope_logs.add()
    for trace, attributes, text in records:
        record = scope.log_records.add(trace_id=trace)
        record.body.string_value = text
        for key, value in attributes.items():
            item = record.attributes.add(key=key)
            if isinstance(value, bool):
                item.value.bool_value = value
            else:
                item.value.int_value = value
    return request.SerializeToString()


RECORDS = [
    (TRACE, {"stdio.stream": 1}, "out\n"),
    (TRACE, {"stdio.stream": 2}, "err é\n"),
    (bytes(16), {"stdio.stream": 1}, "of another step"),
    (TRACE, {"stdio.stream": 1, "dagger.io/logs.verbose": True}, "of the engine"),
    (TRACE, {}, "a message of the CLI"),
]


async def posted(body: bytes, path: str = "") -> tuple[int, list[Chunk]]:
    chunks: list[Chunk] = []
    async with OutputReceiver() as receiver, httpx.AsyncClient(trust_env=False) as client:
        url = receiver.variables["OTEL_EXPORTER_OTLP_LOGS_ENDPOINT"]
        assert urlsplit(url).hostname == "127.0.0.1"
        with receiver.listening(TRACE, lambda stream, data: chunks.append((stream, data))):
            try:
                answer = await client.post(f"{url.rpartition(path)[0]}{path}x" if path else url, content=body)
            except httpx.RemoteProtocolError:
                return 0, chunks
    return answer.status_code, chunks


def test_output_of_a_step() -> None:
    status, chunks = asyncio.run(posted(post(*RECORDS)))
    assert (status, chunks) == (200, [("stdout", b"out\n"), ("stderr", "err é\n".encode())])


def test_only_who_knows_the_path_can_post() -> None:
    assert asyncio.run(posted(post(*RECORDS), path="/v1/logs")) == (404, [])


@pytest.mark.parametrize("body", [b"\xff\xff", post((TRACE, {"stdio.stream": 7}, "x"))])
def test_a_post_that_is_none_ends_the_connection(body: bytes) -> None:
    assert asyncio.run(posted(body))[1] == []


COMPLETED = [
    (b"", b"all", b"all"),
    (b"all", b"all", b""),
    (b"al", b"all", b"l"),
    (b"one\nthree\n", b"one\n\xff\nthree\n", b"\xff\nthree\n"),
    (b"more than there is", b"more", b""),
]


@pytest.mark.parametrize(("came", "whole", "rest"), COMPLETED)
def test_what_has_not_come_live_is_passed_on(came: bytes, whole: bytes, rest: bytes) -> None:
    chunks: list[bytes] = []
    live = LiveOutput(TRACE, lambda stream, data: chunks.append(data))
    if came:
        live.add("stdout", came)
    live.complete("stdout", whole)
    assert chunks == [data for data in (came, rest) if data]


def test_what_comes_too_late_is_not_passed_on_twice() -> None:
    chunks: list[Chunk] = []
    live = LiveOutput(TRACE, lambda stream, data: chunks.append((stream, data)))
    live.add("stdout", b"one\n")
    live.complete("stdout", b"one\ntwo\n")
    live.add("stdout", b"two\n")
    live.add("stderr", b"three\n")
    assert chunks == [("stdout", b"one\n"), ("stdout", b"two\n"), ("stderr", b"three\n")]


def test_waiting_ends_when_both_streams_have_ended() -> None:
    async def once() -> float:
        loop = asyncio.get_running_loop()
        live = LiveOutput(TRACE, lambda stream, data: None)
        begun = loop.time()
        await live.wait_for_end()
        assert loop.time() - begun > 0.2
        live.end("stdout")
        live.end("stderr")
        begun = loop.time()
        await live.wait_for_end()
        return loop.time() - begun

    assert asyncio.run(once()) < 0.1
