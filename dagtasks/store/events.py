"""The log of events: what happened in this clone, in the order in which it was seen, for whoever wants to follow it."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from typing import NamedTuple

from dagtasks.model.event import EventRecord
from dagtasks.store.files import write_file
from dagtasks.store.git import Git
from dagtasks.store.linelog import LineLog

LOG_BYTES = 2 * 1024 * 1024
"""A log that is longer becomes the old one: some 5,000 events."""
_BEFORE_ID = b'{"id":"'


class EventLog:
    """The events of a repository, shared by its work trees. Whoever appends holds the project's lock."""

    def __init__(self, git: Git, *, limit: int = LOG_BYTES) -> None:
        self._log = LineLog(git.state_dir / "events" / "log.jsonl", limit)

    def append(self, records: Iterable[EventRecord]) -> None:
        """Put the events at the end, but for those whose id is there already. Raises `WriteError`."""
        known = {_id_of(line) for line in self._log.current().splitlines()}
        self._log.append([_to_line(record) for record in records if record.id.encode() not in known])

    def read_after(self, name: str | None = None) -> list[EventRecord]:
        """The events after the one of that id, the oldest first; all that are kept where it is not among them.

        To go on, give the id of the last one that was read.
        """
        lines = self._log.lines()
        at = next(
            (place for place in range(len(lines), 0, -1) if name and _id_of(lines[place - 1]) == name.encode()), 0
        )
        return list(parse_events(lines[at:]))

    def stamp(self) -> tuple[int, int]:
        """Another one whenever something was appended."""
        return self._log.stamp()

    def find_last(self) -> str | None:
        """The id of the newest event, from which on what comes can be read; None when there is none."""
        lines = self._log.lines()
        return _id_of(lines[-1]).decode() if lines else None

    def find(self, name: str) -> EventRecord | None:
        """The event of that id, if it is still kept."""
        return next(parse_events(line for line in self._log.lines() if _id_of(line) == name.encode()), None)


def _to_line(record: EventRecord) -> bytes:
    # As ASCII: file names may hold bytes that are no UTF-8. No line break stands in it, either.
    return json.dumps(record.to_json(), separators=(",", ":")).encode()


def _id_of(line: bytes) -> bytes:
    return line.removeprefix(_BEFORE_ID).partition(b'"')[0]


def parse_events(lines: Iterable[bytes]) -> Iterator[EventRecord]:
    """The events that the lines say; what says none is left out."""
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
