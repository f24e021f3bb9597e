"""A run: its record, and the events that change it. Folding the events gives the record; nothing else does."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from typing import Any, Literal, Self

from dagtasks.model.values import JSON, RunState, StepState

Stream = Literal["stdout", "stderr"]


@dataclass(frozen=True, slots=True)
class Failure:
    """Why a step or a run did not succeed: a stable code (`exit_code`, `image_not_found` ...) and one sentence."""

    code: str
    message: str


@dataclass(frozen=True, slots=True)
class StepRecord:
    """How one step of a run went. `duration` is in seconds; `output` is stdout without trailing newlines.

    `output` and `stderr` are None when they are too big to be read. `response` holds status_code and headers (api).
    """

    name: str
    state: StepState = StepState.PENDING
    conclusion: StepState | None = None
    attempts: int = 0
    exit_code: int | None = None
    started_at: str | None = None
    duration: float | None = None
    output: str | None = None
    stderr: str | None = None
    outputs: Mapping[str, JSON] = field(default_factory=dict)
    response: Mapping[str, JSON] | None = None
    error: Failure | None = None
    cached: bool = False
    image: str | None = None
    child: str | None = None

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Self:
        """The record that `to_json` wrote; keys of newer versions are left out."""
        known = {f.name: data[f.name] for f in fields(cls) if f.name in data}
        known["state"] = StepState(known["state"])
        known["conclusion"] = StepState(known["conclusion"]) if known.get("conclusion") else None
        known["error"] = Failure(**known["error"]) if known.get("error") else None
        return cls(**known)

    def to_json(self) -> dict[str, Any]:
        """The record as JSON values."""
        return asdict(self)


@dataclass(frozen=True, slots=True)
class RunRecord:
    """Everything that is kept of a run. Times are UTC (ISO 8601), durations seconds; there is never a secret in it."""

    id: str
    template: Mapping[str, JSON]
    engine: str
    started_at: str
    status: RunState = RunState.RUNNING
    task: str | None = None
    workflow: str | None = None
    parameters: Mapping[str, JSON] = field(default_factory=dict)
    duration: float | None = None
    outputs: Mapping[str, JSON] = field(default_factory=dict)
    steps: tuple[StepRecord, ...] = ()
    warnings: int = 0
    error: Failure | None = None
    trigger: str = "manual"
    actor: str | None = None
    commit: str | None = None
    branch: str | None = None
    dirty: bool = False
    dirty_digest: str | None = None
    retry_of: str | None = None
    parent: str | None = None
    children: tuple[str, ...] = ()
    process: Mapping[str, JSON] = field(default_factory=dict)
    blobs: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Self:
        """The record that `to_json` wrote; keys of newer versions are left out."""
        known = {f.name: data[f.name] for f in fields(cls) if f.name in data}
        known["status"] = RunState(known["status"])
        known["steps"] = tuple(StepRecord.from_json(step) for step in known.get("steps", ()))
        known["children"] = tuple(known.get("children", ()))
        known["error"] = Failure(**known["error"]) if known.get("error") else None
        return cls(**known)

    def to_json(self) -> dict[str, Any]:
        """The record as JSON values, as `run --json`, `runs show --json` and the API show it."""
        return asdict(self)

    def step(self, name: str) -> StepRecord | None:
        """The record of the step of that name."""
        return next((step for step in self.steps if step.name == name), None)


@dataclass(frozen=True, slots=True)
class RunStarted:
    """A run begins; the record holds all that is known before its first step, every step pending."""

    run: str
    record: RunRecord


@dataclass(frozen=True, slots=True)
class StepStarted:
    """An attempt of a step begins."""

    run: str
    step: str
    attempt: int
    at: str


@dataclass(frozen=True, slots=True)
class StepOutput:
    """Bytes that a step printed, as they came (masked, not cut into lines)."""

    run: str
    step: str
    attempt: int
    stream: Stream
    data: bytes


@dataclass(frozen=True, slots=True)
class StepFinished:
    """A step reached a final state."""

    run: str
    result: StepRecord


@dataclass(frozen=True, slots=True)
class RunFinished:
    """A run reached a final state. Without a duration nobody knows when it ended."""

    run: str
    status: RunState
    duration: float | None
    outputs: Mapping[str, JSON] = field(default_factory=dict)
    error: Failure | None = None


RunEvent = RunStarted | StepStarted | StepOutput | StepFinished | RunFinished


def apply_event(record: RunRecord, event: RunEvent) -> RunRecord:
    """The record after the event. Output is no part of a record; a final state never changes."""
    match event:
        case RunStarted():
            return event.record
        case StepStarted():
            running = replace(
                record.step(event.step) or StepRecord(event.step),
                state=StepState.RUNNING,
                attempts=event.attempt,
                started_at=event.at,
            )
            return _with_step(record, running)
        case StepFinished():
            tolerated = event.result.state.is_bad and event.result.conclusion is StepState.SUCCEEDED
            children = (*record.children, event.result.child) if event.result.child else record.children
            after = replace(record, warnings=record.warnings + tolerated, children=children)
            return _with_step(after, event.result)
        case RunFinished() if not record.status.is_final:
            return replace(
                record,
                status=event.status,
                duration=event.duration,
                outputs=event.outputs,
                error=event.error,
            )
        case _:
            return record


def _with_step(record: RunRecord, step: StepRecord) -> RunRecord:
    if record.step(step.name) is None:
        return replace(record, steps=(*record.steps, step))
    return replace(record, steps=tuple(step if old.name == step.name else old for old in record.steps))
