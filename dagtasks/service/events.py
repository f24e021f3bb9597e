"""Telling others what happened to projects, phases, tasks and workflows, and keeping it for those who look later.

What is told is on disk before the cursor moves from which it was found. So nobody misses it, whoever dies; and since
the id of an event follows from what it is, one that is found twice is known again.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from hashlib import sha256
from typing import NamedTuple

from dagtasks.model.event import Event, EventRecord
from dagtasks.planning.index import Index
from dagtasks.store.cursor import Mark
from dagtasks.store.events import EventLog
from dagtasks.store.layout import WEBHOOKS
from dagtasks.store.project import Project


class Step(NamedTuple):
    """From one look to the next: the two marks and what was there. `run` is who changed what nobody has committed."""

    mark: Mark
    now: Mark
    before: Index
    after: Index
    run: str | None = None


def tell(project: Project, step: Step, events: Sequence[Event]) -> None:
    """Tell the events that lie between the two. The caller holds the lock. Raises `WriteError`."""
    publish(project, list(_make_records(project, step, events)))


def publish(project: Project, records: Sequence[EventRecord]) -> None:
    """Keep the events, and send them to those who want them. The caller holds the lock. Raises `WriteError`."""
    if records:
        EventLog(project.get_git()).append(records)
        if os.path.lexists(project.root / WEBHOOKS):
            from dagtasks.service.deliveries import put_aside

            put_aside(project, records)


def _make_records(project: Project, step: Step, events: Sequence[Event]) -> Iterator[EventRecord]:
    from dagtasks.store.moves import find_writers

    git, now, me = project.get_git(), datetime.now(UTC), ""
    writers = find_writers(git, step.mark.head, step.now.head)
    for event in events:
        path = _find_path(step, event)
        written = writers.get(path)
        me = me or ("" if written else _find_actor(project))
        yield EventRecord(
            id=make_event_id(step.mark, event.type, event.subject, repr(event.changed), _find_time(project, path)),
            type=str(event.type),
            time=now.isoformat(timespec="milliseconds"),
            project=event.subject.partition("/")[0].partition("-")[0],
            subject=event.subject,
            name=event.name,
            changed=event.changed,
            actor=(written.author if written else me) or None,
            origin=(written.run if written else step.run) or None,
            before=step.mark.head,
            after=step.now.head,
        )


def _find_actor(project: Project) -> str:
    """Who works here; "" where neither Git nor the machine knows a name, as in many containers."""
    from dagtasks.service.people import actor

    with suppress(KeyError, OSError):
        return actor(project)
    return ""


def _find_path(step: Step, event: Event) -> str:
    """The file of the subject: of a workflow that of its task."""
    kind, subject = event.type.partition(".")[0], event.subject
    for index in (step.after, step.before):
        files: Mapping[str, Mapping[str, object]] = {"project": index.projects, "phase": index.phases}
        row = files.get(kind, index.tasks).get(subject.partition("/")[0] if kind == "workflow" else subject)
        if row:
            return str(getattr(row, "path", ""))
    return ""


def _find_time(project: Project, path: str) -> int:
    """When the file was written: what happens again and again within one look of others is not one event."""
    with suppress(OSError):
        return (project.root / path).stat().st_mtime_ns
    return 0


def make_event_id(*parts: object) -> str:
    """The id of the event that these parts say; it holds no full stop, as the receivers of webhooks want it."""
    text = "\0".join(map(str, parts))
    return f"evt_{sha256(text.encode('utf-8', 'surrogateescape')).hexdigest()[:24]}"
