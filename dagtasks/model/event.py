"""Events: what changed, in one vocabulary for `diff`, history, triggers and webhooks."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import NamedTuple

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
