"""Events: what changed, in one vocabulary for `diff`, history, triggers and webhooks."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import Any, NamedTuple, Self

from dagtasks.model.values import JSON

Changed = Mapping[str, tuple[JSON, JSON]]
"""Each field that changed with its old and its new value; None stands for a value that is not there."""


class EventType(StrEnum):
    """What happened to the subject."""

    PROJECT_CREATED = "project.created"
    PROJECT_UPDATED = "project.updated"
    PROJECT_DELETED = "project.deleted"
    PHASE_CREATED = "phase.created"
    PHASE_UPDATED = "phase.updated"
    PHASE_DELETED = "phase.deleted"
    TASK_CREATED = "task.created"
    TASK_UPDATED = "task.updated"
    TASK_COMPLETED = "task.completed"
    TASK_BLOCKED = "task.blocked"
    TASK_READY = "task.ready"
    TASK_DELETED = "task.deleted"
    WORKFLOW_CREATED = "workflow.created"
    WORKFLOW_UPDATED = "workflow.updated"
    WORKFLOW_DELETED = "workflow.deleted"


class Event(NamedTuple):
    """Something that happened to the subject.

    `subject` is the key of a project, the id of a task, `project/phase` or `task/workflow`; `name` is what the subject
    is called, as it is now or was at last.
    """

    type: EventType
    subject: str
    name: str
    changed: Changed

    def to_json(self) -> dict[str, JSON]:
        """The event as the keys that `--json` shows."""
        changed: dict[str, JSON] = {field: list(values) for field, values in self.changed.items()}
        return {"type": str(self.type), "subject": self.subject, "name": self.name, "changed": changed}


class EventRecord(NamedTuple):
    """An event as others are told of it, and as it is kept.

    `id` is the same however often it is found. `time` is UTC (ISO 8601), `project` a key. `actor` is who did it,
    `origin` the run that did. `before` and `after` are the commits that HEAD was at. `run` is told of runs alone.
    """

    id: str
    type: str
    time: str
    project: str | None
    subject: str
    name: str
    changed: Changed
    actor: str | None = None
    origin: str | None = None
    before: str | None = None
    after: str | None = None
    run: Mapping[str, JSON] | None = None

    def to_json(self) -> dict[str, Any]:
        """The event as the log, the API and the bodies of webhooks hold it."""
        about = {"project": self.project, "subject": self.subject, "name": self.name}
        by = {"actor": self.actor, "origin": self.origin, "commit": {"before": self.before, "after": self.after}}
        changed = {field: list(values) for field, values in self.changed.items()}
        told = {"id": self.id, "type": self.type, "time": self.time, **about, **by, "changed": changed}
        return {**told, "run": dict(self.run)} if self.run else told

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Self:
        """The event that `to_json` gave. Raises `LookupError`, `TypeError` or `ValueError` for anything else."""
        known = {name: data[name] for name in cls._fields if name in data}
        changed = {field: (old, new) for field, (old, new) in data["changed"].items()}
        return cls(
            **{**known, "changed": changed, "before": data["commit"]["before"], "after": data["commit"]["after"]}
        )


RUN_TYPES = tuple(
    f"run.{state}"
    for state in (
        *("queued", "started", "waiting", "succeeded", "failed", "timed_out", "errored", "cancelled", "skipped"),
        *("interrupted", "awaiting_approval"),
    )
)
"""What happens to runs: it starts nothing, and is told."""
WORKFLOW_COMPLETED = "workflow.completed"
"""Is told of every run that ended, beside its own event."""
TOLD_TYPES = (*map(str, EventType), *RUN_TYPES, WORKFLOW_COMPLETED)
"""All that others are told of."""
TEST_TYPE = "webhook.test"
"""What a webhook is tried with: nothing happened."""
