"""Plain value types of the model: the words a task, a step and a run can be in. No pydantic: start-up stays fast."""

from __future__ import annotations

from enum import StrEnum

TEXT_LIMIT = 64 * 1024
"""Characters that a text field or a comment may have."""
NAME_LIMIT = 100
"""Characters that an assignee or author may have."""

JSON = None | bool | int | float | str | list["JSON"] | dict[str, "JSON"]
"""A value as YAML and JSON can hold it."""


class Ambiguous(str):
    """A plain YAML scalar that is text by YAML 1.2 but something else by YAML 1.1 (`no`, `12:30`, `2026-01-02`).

    The loader marks it; a text field refuses it with "quote it", a date field takes it.
    """

    __slots__ = ()


class Status(StrEnum):
    """Where a task stands."""

    PLANNED = "planned"
    IN_PROGRESS = "in_progress"
    COMPLETED = "completed"
    BLOCKED = "blocked"
    CANCELLED = "cancelled"

    @property
    def is_open(self) -> bool:
        """Whether a task in this status still holds back the tasks that depend on it."""
        return self not in _ENDED


_ENDED = (Status.COMPLETED, Status.CANCELLED)
"""A tuple of its own: this is asked for each task of a repository, and a member is slow to look up in its class."""


class Occasion(StrEnum):
    """What starts a workflow of a task by itself: its status became that, or something else happened to it."""

    PLANNED = "planned"
    IN_PROGRESS = "in_progress"
    COMPLETED = "completed"
    BLOCKED = "blocked"
    CANCELLED = "cancelled"
    READY = "ready"
    CREATED = "created"
    UPDATED = "updated"


class Priority(StrEnum):
    """How urgent a task is, least first."""

    LOW = "low"
    MEDIUM = "medium"
    HIGH = "high"
    CRITICAL = "critical"


class WorkflowType(StrEnum):
    """The four types of workflow template; inferred from the kinds of steps when not written."""

    CONTAINERIZED = "containerized_workflow"
    SCRIPT = "script_workflow"
    API = "api_workflow"
    COMPOSITE = "composite_workflow"


class StepState(StrEnum):
    """Where a step stands. The ones after `RETRY_WAIT` are final and never change."""

    PENDING = "pending"
    WAITING = "waiting"
    RUNNING = "running"
    RETRY_WAIT = "retry_wait"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    TIMED_OUT = "timed_out"
    ERRORED = "errored"
    CANCELLED = "cancelled"
    SKIPPED = "skipped"
    OMITTED = "omitted"

    @property
    def is_bad(self) -> bool:
        """Whether the step itself ended badly (it failed, errored or ran out of time)."""
        return self in (StepState.FAILED, StepState.TIMED_OUT, StepState.ERRORED)


class RunState(StrEnum):
    """Where a run stands. The ones after `CANCELLING` are final and never change."""

    QUEUED = "queued"
    RUNNING = "running"
    WAITING = "waiting"
    CANCELLING = "cancelling"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    TIMED_OUT = "timed_out"
    ERRORED = "errored"
    CANCELLED = "cancelled"
    SKIPPED = "skipped"
    INTERRUPTED = "interrupted"
    AWAITING_APPROVAL = "awaiting_approval"

    @property
    def is_final(self) -> bool:
        """Whether the run has ended."""
        return self not in (RunState.QUEUED, RunState.RUNNING, RunState.WAITING, RunState.CANCELLING)
