from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dagtasks.engine.logs import LONGEST_LINE, LogWriter, read_log
from dagtasks.model.run import StepFinished, StepOutput, StepRecord, Stream

Chunk = tuple[Stream, bytes]


def write(folder: Path, chunks: list[Chunk], **limits: int) -> list[dict[str, Any]]:
    writer = LogWriter(
        lambda run, step, attempt: folder / run / f"{step}.{attempt}.jsonl",
        now=lambda: datetime(2026, 11, 23, 18, 45, tzinfo=UTC),
        **limits,
    )
    for stream, data in chunks:
        writer(StepOutput("r", "s", 1, stream, data))
    writer(StepFinished("r", StepRecord("s", attempts=1)))
    return list(read_log(folder / "r/s.1.jsonl"))


CASES: dict[str, tuple[list[Chunk], list[tuple[str, str]]]] = {
    "lines over chunks": ([("stdout", b"a"), ("stdout", b"b\nc\n")], [("stdout", "ab"), ("stdout", "c")]),
    "streams are apart": (
        [("stdout", b"a"), ("stderr", b"x\n"), ("stdout", b"b\n")],
        [("stderr", "x"), ("stdout", "ab")],
    ),
    "no newline at the end": ([("stdout", b"a\nb")], [("stdout", "a"), ("stdout", "b")]),
    "empty lines stay": ([("stdout", b"\n\na\n")], [("stdout", ""), ("stdout", ""), ("stdout", "a")]),
    "a letter in two chunks": ([("stdout", b"h\xc3"), ("stdout", b"\xa9\n")], [("stdout", "hé")]),
    "bytes that are no text": ([("stdout", b"a\xff\nb\xc3")], [("stdout", "a\ufffd"), ("stdout", "b\ufffd")]),
    "control characters stay": ([("stderr", b"\x1b[31mred\r\x07\n")], [("stderr", "\x1b[31mred\r\x07")]),
    "separators are no line ends": ([("stdout", "a\u2028b\x85c\n".encode())], [("stdout", "a\u2028b\x85c")]),
}


@pytest.mark.parametrize("name", CASES)
def test_lines(name: str, tmp_path: Path) -> None:
    chunks, wanted = CASES[name]
    assert [(line["stream"], line["text"]) for line in write(tmp_path, chunks)] == wanted


def test_lines_have_their_time(tmp_path: Path) -> None:
    [line] = write(tmp_path, [("stdout", b"a\n")])
    assert line["at"] == "2026-11-23T18:45:00.000+00:00"


@settings(max_examples=40, deadline=None)
@given(st.binary(max_size=200), st.integers(1, 20))
def test_any_split_gives_the_same_log(tmp_path_factory: pytest.TempPathFactory, data: bytes, size: int) -> None:
    folder = tmp_path_factory.mktemp("log")
    whole = write(folder / "one", [("stdout", data or b"\n")])
    pieces: list[Chunk] = [("stdout", data[at : at + size]) for at in range(0, len(data), size)]
    assert write(folder / "many", pieces or [("stdout", b"\n")]) == whole


def test_a_line_without_an_end_is_broken(tmp_path: Path) -> None:
    lines = write(tmp_path, [("stdout", b"x" * LONGEST_LINE), ("stdout", b"y" * LONGEST_LINE + b"z\n")])
    assert [len(line["text"]) for line in lines] == [LONGEST_LINE, LONGEST_LINE, 1]


def test_head_and_tail_with_a_mark_between(tmp_path: Path) -> None:
    data = b"".join(b"%04d\n" % number for number in range(1000))
    lines = write(tmp_path, [("stdout", data)], head=1000, tail=1000)
    texts = [line["text"] for line in lines]
    size = (tmp_path / "r/s.1.jsonl").stat().st_size
    assert texts[0] == "0000"
    assert texts[-1] == "0999"
    [mark] = [number for number, line in enumerate(lines) if line["stream"] == "log"]
    width = len((tmp_path / "r/s.1.jsonl").read_bytes().splitlines(keepends=True)[0])
    assert texts[mark] == f"[{(1001 - len(lines)) * width} bytes of the log are left out here]"
    assert texts[:mark] == [f"{number:04d}" for number in range(mark)]
    assert size < 2200


def test_lines_stay_in_order_when_a_short_one_would_still_fit(tmp_path: Path) -> None:
    chunks: list[Chunk] = [("stdout", b"a" * 300 + b"\n"), ("stdout", b"b" * 700 + b"\n"), ("stdout", b"c\n")]
    assert [line["text"][0] for line in write(tmp_path, chunks, head=900, tail=2000)] == ["a", "b", "c"]


def test_no_mark_when_all_fits(tmp_path: Path) -> None:
    data = b"".join(b"%04d\n" % number for number in range(20))
    lines = write(tmp_path, [("stdout", data)], head=1000, tail=1000)
    assert [line["text"] for line in lines] == [f"{number:04d}" for number in range(20)]


def test_a_half_last_line_is_passed_over(tmp_path: Path) -> None:
    write(tmp_path, [("stdout", b"a\nb\n")])
    path = tmp_path / "r/s.1.jsonl"
    path.write_bytes(path.read_bytes()[:-5])
    assert [line["text"] for line in read_log(path)] == ["a"]


def test_the_head_is_on_disk_while_the_step_runs(tmp_path: Path) -> None:
    writer = LogWriter(lambda run, step, attempt: tmp_path / "log")
    writer(StepOutput("r", "s", 1, "stdout", b"a\nb"))
    assert [line["text"] for line in read_log(tmp_path / "log")] == ["a"]
    writer(StepFinished("r", StepRecord("s", attempts=1)))
