"""The log of events: what happened in this clone, in the order in which it was seen, for whoever wants to follow it.

One JSON line an event, on disk when `append` returns. The log does not grow for ever: when it is long it becomes the
old one, and the old one before it goes. A half last line, as a power cut leaves it, counts as not written.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from dagtasks.model.event import EventRecord
from dagtasks.store.files import append, fsync_folder, write_file, writing
from dagtasks.store.git import Git

LOG_BYTES = 2 * 1024 * 1024
"""A log that is longer becomes the old one: some 5,000 events."""
_BEFORE_ID = b'{"id":"'


class EventLog:
    """The events of a repository, shared by its work trees. Whoever appends holds the project's lock."""

    def __init__(self, git: Git) -> None:
        self._folder = git.state_dir / "events"
        self._path = self._folder / "log.jsonl"
        self._old = self._folder / "log.old.jsonl"

    def append(self, records: Iterable[EventRecord]) -> None:
        """Put the events at the end, but for those whose id is there already. Raises `WriteError`."""
        whole = _whole_lines(_read(self._path))
        known = {_id_of(line) for line in whole.splitlines()}
        lines = b"".join(_to_line(record) for record in records if record.id.encode() not in known)
        if not lines:
            return
        with writing(self._path):
            self._folder.mkdir(parents=True, exist_ok=True)
            if len(whole) > LOG_BYTES:
                self._path.replace(self._old)
                whole = b""
            self._write(len(whole), lines)

    def _write(self, at: int, lines: bytes) -> None:
        descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o644)
        with os.fdopen(descriptor, "r+b", buffering=0) as file:
            file.truncate(at)
            file.seek(at)
            append(file, lines)
            os.fdatasync(descriptor)
        if not at:
            fsync_folder(self._folder)

    def read_after(self, name: str | None = None) -> list[EventRecord]:
        """The events after the one of that id, the oldest first; all that are kept where it is not among them.

        To go on, give the id of the last one that was read.
        """
        lines = self._read_whole().splitlines()
        at = next(
            (place for place in range(len(lines), 0, -1) if name and _id_of(lines[place - 1]) == name.encode()), 0
        )
        return list(_parse(lines[at:]))

    def stamp(self) -> tuple[int, int]:
        """Another one whenever something was appended."""
        with suppress(FileNotFoundError):
            found = self._path.stat()
            return found.st_ino, found.st_size
        return 0, 0

    def find_last(self) -> str | None:
        """The id of the newest event, from which on what comes can be read; None when there is none."""
        lines = self._read_whole().splitlines()
        return _id_of(lines[-1]).decode() if lines else None

    def _read_whole(self) -> bytes:
        """Both logs. When one became the other meanwhile, they are read again."""
        while True:
            before = _identity(self._path)
            content = _whole_lines(_read(self._old)) + _whole_lines(_read(self._path))
            if _identity(self._path) == before:
                return content


def _read(path: Path) -> bytes:
    with suppress(FileNotFoundError):
        return path.read_bytes()
    return b""


def _identity(path: Path) -> int:
    with suppress(FileNotFoundError):
        return path.stat().st_ino
    return 0


def _whole_lines(content: bytes) -> bytes:
    return content[: content.rfind(b"\n") + 1]


def _to_line(record: EventRecord) -> bytes:
    # As ASCII: file names may hold bytes that are no UTF-8. No line break but ours stands in it, either.
    return json.dumps(record.to_json(), separators=(",", ":")).encode() + b"\n"


def _id_of(line: bytes) -> bytes:
    return line.removeprefix(_BEFORE_ID).partition(b'"')[0]


def _parse(lines: Iterable[bytes]) -> Iterator[EventRecord]:
    for line in lines:
        with suppress(ValueError, TypeError, LookupError, AttributeError, RecursionError):
            yield EventRecord.from_json(json.loads(line))


# -- how far runs are told of ---------------------------------------------------------------------------------------


class Told(NamedTuple):
    """How much of the journal of a run was told: how long it was then, and how many lines it had."""

    size: int
    lines: int


class RunCursor(NamedTuple):
    """The runs of this clone that were told of (None: to their end), and the entries of the queue that were."""

    runs: Mapping[str, Told | None]
    queued: frozenset[str]


class RunCursorFile:
    """The cursor of the runs of a repository. One that is missing or damaged is as if nobody had looked yet."""

    def __init__(self, git: Git) -> None:
        self._path = git.state_dir / "events" / "runs.json"

    def read(self) -> RunCursor | None:
        """The cursor; None when nobody has looked yet."""
        with suppress(OSError, ValueError, TypeError, LookupError, AttributeError):
            data = json.loads(self._path.read_bytes())
            runs = {str(run): Told(*map(int, told)) if told else None for run, told in data["runs"].items()}
            return RunCursor(runs, frozenset(data["queued"]))
        return None

    def write(self, cursor: RunCursor) -> None:
        """Put the cursor there; it is on disk then. Raises `WriteError`."""
        data = {"runs": dict(sorted(cursor.runs.items())), "queued": sorted(cursor.queued)}
        write_file(self._path, json.dumps(data, separators=(",", ":")).encode() + b"\n")
