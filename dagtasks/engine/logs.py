"""What steps print, as files: one for each step and attempt, one JSON object a line (`at`, `stream`, `text`).

Control characters stay as they are (JSON escapes them); whoever shows a line escapes it for where it is shown.
"""

from __future__ import annotations

import codecs
import json
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, BinaryIO

from dagtasks.model.run import RunEvent, StepChanged, StepFinished, StepOutput, StepStarted, Stream
from dagtasks.store.files import WriteError, append, writing

HEAD = 10 << 20
TAIL = 10 << 20
"""How many bytes of a log are kept of its beginning and of its end."""
LONGEST_LINE = 64 << 10
"""Characters after which a line without an end is broken."""

PathOf = Callable[[str, str, int], Path]
"""Where the log of a run's step and attempt lies."""


class LogWriter:
    """A listener that writes the logs. The head of a log is on disk at once, its tail when the step has ended.

    A log that cannot be written ends there, and `notes` say so; the run goes on.
    """

    def __init__(
        self, path_of: PathOf, *, now: Callable[[], datetime] | None = None, head: int = HEAD, tail: int = TAIL
    ) -> None:
        self._path_of = path_of
        self._now = now or (lambda: datetime.now(UTC))
        self._head = head
        self._tail = tail
        self._logs: dict[tuple[str, str], _Log | None] = {}
        self.notes: list[str] = []

    def __call__(self, event: RunEvent) -> None:
        """Write what a step printed; close its log when the try has ended. Other events are nothing to it."""
        match event:
            case StepOutput():
                with self._noting(event.run, event.step):
                    if log := self._find_log(event):
                        log.add(event.stream, event.data, self._timestamp())
            case StepStarted() | StepChanged():
                self._close(event.run, event.step)
            case StepFinished():
                self._close(event.run, event.result.name)

    def _close(self, run: str, step: str) -> None:
        with self._noting(run, step):
            if log := self._logs.get((run, step)):
                log.close(self._timestamp())
        self._logs.pop((run, step), None)

    @contextmanager
    def _noting(self, run: str, step: str) -> Iterator[None]:
        try:
            yield
        except WriteError as error:
            self._logs[run, step] = None
            self.notes.append(f"the log of step {step} is not whole: {error.message}")

    def _find_log(self, event: StepOutput) -> _Log | None:
        key = event.run, event.step
        if key not in self._logs:
            path = self._path_of(event.run, event.step, event.attempt)
            with writing(path):
                path.parent.mkdir(parents=True, exist_ok=True)
                self._logs[key] = _Log(path, path.open("wb", buffering=0), self._head, self._tail)
        return self._logs[key]

    def _timestamp(self) -> str:
        return self._now().astimezone(UTC).isoformat(timespec="milliseconds")


def read_log(path: Path) -> Iterator[dict[str, Any]]:
    """The lines of a log: `at`, `stream` (or `log` for a mark of ours) and `text`. A half last line is none."""
    with path.open("rb") as file:
        for line in file:
            try:
                yield json.loads(line)
            except ValueError:
                return


class _Log:
    """The log of one attempt. Raises `WriteError`."""

    def __init__(self, path: Path, file: BinaryIO, head: int, tail: int) -> None:
        self._path = path
        self._file = file
        self._head_left = head
        self._tail_limit = tail
        self._tail: deque[bytes] = deque()
        self._tail_size = 0
        self._left_out = 0
        self._lines: dict[Stream, _Lines] = {"stdout": _Lines(), "stderr": _Lines()}

    def add(self, stream: Stream, data: bytes, at: str) -> None:
        """Keep what came, line by line."""
        self._keep(_to_line(at, stream, text) for text in self._lines[stream].feed(data))

    def close(self, at: str) -> None:
        """Keep the last lines that have no end, and write the tail."""
        for stream, lines in self._lines.items():
            self._keep(_to_line(at, stream, text) for text in lines.finish())
        if self._left_out:
            self._write(_to_line(at, "log", f"[{self._left_out} bytes of the log are left out here]"))
        self._write(b"".join(self._tail))
        self._file.close()

    def _write(self, content: bytes) -> None:
        with writing(self._path):
            append(self._file, content)

    def _keep(self, lines: Iterable[bytes]) -> None:
        head = []
        for line in lines:
            if len(line) <= self._head_left and not self._tail:
                self._head_left -= len(line)
                head.append(line)
            else:
                self._keep_tail(line)
        if head:
            self._write(b"".join(head))

    def _keep_tail(self, line: bytes) -> None:
        self._tail.append(line)
        self._tail_size += len(line)
        while self._tail_size > self._tail_limit:
            self._left_out += len(self._tail[0])
            self._tail_size -= len(self._tail.popleft())


class _Lines:
    """Cuts a stream of bytes into lines of text."""

    def __init__(self) -> None:
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self._rest = ""

    def feed(self, data: bytes) -> Iterator[str]:
        """The lines that ended."""
        *ended, self._rest = (self._rest + self._decoder.decode(data)).split("\n")
        for line in ended:
            yield from _pieces(line)
        while len(self._rest) > LONGEST_LINE:
            yield self._rest[:LONGEST_LINE]
            self._rest = self._rest[LONGEST_LINE:]

    def finish(self) -> Iterator[str]:
        """The last line, when it has no end."""
        rest = self._rest + self._decoder.decode(b"", final=True)
        if rest:
            yield from _pieces(rest)


def _pieces(line: str) -> Iterator[str]:
    yield line[:LONGEST_LINE]
    for start in range(LONGEST_LINE, len(line), LONGEST_LINE):
        yield line[start : start + LONGEST_LINE]


def _to_line(at: str, stream: str, text: str) -> bytes:
    # Only the text can hold anything that has to be escaped; for each line an object would take four times as long.
    return f'{{"at":"{at}","stream":"{stream}","text":{json.dumps(text)}}}\n'.encode()
