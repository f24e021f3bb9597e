"""Telling others what happened to runs: it is read from their journals, so that no run is missed, whoever ran it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import NamedTuple

from dagtasks.errors import InvalidProject, NotFound
from dagtasks.model.event import WORKFLOW_COMPLETED, EventRecord
from dagtasks.model.run import (
    RunChanged,
    RunEvent,
    RunFinished,
    RunRecord,
    RunStarted,
    StepStarted,
    approval_name,
)
from dagtasks.model.values import JSON, RunState
from dagtasks.service.events import make_event_id, publish
from dagtasks.store.events import RunCursor, RunCursorFile, Told
from dagtasks.store.project import Project
from dagtasks.store.queue import Entry, Queue
from dagtasks.store.runs import RunStore


def tell_runs(project: Project) -> None:
    """Tell what happened to the runs of this clone since the last time; the first time of all nothing.

    The caller holds the lock. Raises `WriteError`.
    """
    file, queue = RunCursorFile(project.get_git()), Queue(project.get_git())
    cursor, runs = file.read(), project.runs
    known = cursor or RunCursor({}, frozenset())
    now = RunCursor(_look(runs, known), frozenset(queue.names()))
    if now == cursor:
        return
    found: list[EventRecord] = []
    if cursor:
        queued = (entry for name in queue.names() if name not in known.queued and (entry := queue.find(name)))
        changed = [run for run, told in now.runs.items() if known.runs.get(run, _NOTHING) != told]
        of_runs = (record for run in changed for record in _find_events(runs, run, known.runs.get(run)))
        found = [*map(_to_queued, queued), *sorted(of_runs, key=lambda record: record.time)]
        publish(project, found)
    if found or _without_sizes(now) != _without_sizes(cursor):
        file.write(now)


def _without_sizes(cursor: RunCursor | None) -> object:
    """A run that goes on writes all the time: that alone is not worth a write."""
    return cursor and ({run: told is None for run, told in cursor.runs.items()}, cursor.queued)


def has_news(project: Project) -> bool:
    """Whether there may be something to tell of runs; nothing is locked for that."""
    cursor = RunCursorFile(project.get_git()).read()
    if cursor is None:
        return False
    now = RunCursor(_look(project.runs, cursor), frozenset(Queue(project.get_git()).names()))
    return now != cursor


def find_interrupted(project: Project) -> None:
    """Have the runs marked as interrupted whose process is gone: nobody else may look at them for long."""
    cursor = RunCursorFile(project.get_git()).read()
    for run, told in cursor.runs.items() if cursor else ():
        if told is not None:
            with suppress(NotFound, InvalidProject):
                project.runs.get(run)


_NOTHING = Told(0, 0)


def _look(runs: RunStore, known: RunCursor) -> dict[str, Told | None]:
    """How much there is to tell of each run. Of one that was told of to its end nothing is read."""
    ended = {run for run, told in known.runs.items() if told is None}
    now: dict[str, Told | None] = {}
    for run in runs.folders():
        told = known.runs.get(run) or _NOTHING
        if run in ended:
            now[run] = None
        elif (size := runs.journal_size(run)) == told.size:
            now[run] = told
        else:
            with suppress(OSError):  # somebody removes it
                length = runs.journal_length(run)
                now[run] = None if length.is_ended else Told(size, length.lines)
    return now


# -- the events of a run --------------------------------------------------------------------------------------------


class _Change(NamedTuple):
    """That a run came into a state. `number` is the line of its journal that says so."""

    number: int
    old: RunState | None
    new: RunState
    time: str
    end: RunFinished | None = None


def _find_events(runs: RunStore, run: str, told: Told | None) -> Iterator[EventRecord]:
    """What is new in the journal of the run; nothing where it cannot be read."""
    events: list[RunEvent] = []
    with suppress(OSError, ValueError, TypeError, LookupError, AttributeError):
        events = runs.read_events(run)
    if not events or not isinstance(events[0], RunStarted):
        return
    record = events[0].record
    for change in _find_changes(record, events):
        if change.number > (told.lines if told else 0):
            yield _make_record(record, f"run.{_WORDS.get(change.new, change.new)}", record.id, change)
            if change.end and change.new is not RunState.AWAITING_APPROVAL:
                yield _make_record(record, WORKFLOW_COMPLETED, _name(record), change)


_WORDS: Mapping[RunState, str] = {RunState.RUNNING: "started"}


def _find_changes(record: RunRecord, events: Sequence[RunEvent]) -> Iterator[_Change]:
    state: RunState | None = None
    for number, event in enumerate(events, 1):
        found = _find_change(record, event, number, state)
        if found and found.new is not state and not (found.new is RunState.RUNNING and _never_began(events)):
            yield found
            state = found.new


def _find_change(record: RunRecord, event: RunEvent, number: int, state: RunState | None) -> _Change | None:
    match event:
        case RunStarted():
            return _Change(number, state, event.record.status, event.record.started_at)
        case RunChanged() if event.status in (RunState.WAITING, RunState.RUNNING):
            return _Change(number, state, event.status, event.at)
        case RunFinished():
            return _Change(number, state, event.status, _find_end(record, event), event)
        case _:
            return None


def _never_began(events: Iterable[RunEvent]) -> bool:
    """Whether the run was only recorded: it waits for an approval, say, or was taken out of the queue."""
    events = list(events)
    is_left = isinstance(events[-1], RunFinished) and events[-1].status is not RunState.SUCCEEDED
    return is_left and not any(isinstance(event, StepStarted) for event in events)


def _find_end(record: RunRecord, end: RunFinished) -> str:
    if end.duration is None:  # nobody knows when it ended: it was found to be gone now
        return datetime.now(UTC).isoformat(timespec="milliseconds")
    ended = datetime.fromisoformat(record.started_at) + timedelta(seconds=end.duration)
    return ended.isoformat(timespec="milliseconds")


def _make_record(record: RunRecord, type_: str, subject: str, change: _Change) -> EventRecord:
    error = change.end.error if change.end else None
    told: dict[str, JSON] = {
        "id": record.id,
        "status": str(change.new),
        "task": record.task,
        "workflow": record.workflow,
        "template": str(record.template["name"]),
        "trigger": record.trigger,
        "parent": record.parent,
        "started_at": record.started_at,
        "duration": change.end.duration if change.end else None,
        "error": {"code": error.code, "message": error.message} if error else None,
    }
    return EventRecord(
        id=make_event_id(record.id, change.number, type_),
        type=type_,
        time=change.time,
        project=record.task.partition("-")[0] if record.task else None,
        subject=subject,
        name=_name(record),
        changed={"status": (change.old and str(change.old), str(change.new))},
        actor=record.actor,
        origin=record.parent,
        before=record.commit,
        after=record.commit,
        run=told,
    )


def _name(record: RunRecord) -> str:
    return approval_name(record.task, record.workflow, str(record.template["name"]), record.trigger)


def _to_queued(entry: Entry) -> EventRecord:
    """That the run was put into the queue, of which there is no record yet."""
    work = entry.work
    task, workflow = (str(work[key]) if work.get(key) else None for key in ("task", "workflow"))
    shown = {key: work.get(key) for key in ("task", "workflow", "template")}
    run = str(work["run"])
    return EventRecord(
        id=make_event_id(run, "run.queued"),
        type="run.queued",
        time=entry.made_at,
        project=task.partition("-")[0] if task else None,
        subject=run,
        name=approval_name(task, workflow, str(work["template"]), str(work["event"])),
        changed={"status": (None, str(RunState.QUEUED))},
        run={"id": run, "status": str(RunState.QUEUED), **shown, "trigger": work.get("event")},
    )
