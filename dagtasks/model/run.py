"""A run: its record, and the events that change it. Folding the events gives the record; nothing else does."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from functools import cache
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
    A step that loops has a record for each of its items, called `name[0]`, `name[1]` ...; `item` is then its item.
    `artifacts` are digests. `inputs` is a digest of what the step was asked to do. `reused_from` is the run whose
    result this is, `approval` what is asked, and who decided what (approved, by, at, reason). `is_cut`: outputs are
    not whole, as in records in Git. `is_mended`: U+FFFD is in what it printed, as it
    stands for bytes that are no UTF-8.
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
    item: JSON = None
    items: tuple[StepRecord, ...] = ()
    artifacts: Mapping[str, JSON] = field(default_factory=dict)
    approval: Mapping[str, JSON] | None = None
    inputs: str | None = None
    reused_from: str | None = None
    is_cut: bool = False
    is_mended: bool = False

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Self:
        """The record that `to_json` wrote; keys of newer versions are left out."""
        known = {f.name: data[f.name] for f in fields(cls) if f.name in data}
        known["items"] = tuple(cls.from_json(item) for item in known.get("items", ()))
        known["state"] = StepState(known["state"])
        known["conclusion"] = StepState(known["conclusion"]) if known.get("conclusion") else None
        known["error"] = Failure(**known["error"]) if known.get("error") else None
        return cls(**known)

    def to_json(self) -> dict[str, Any]:
        """The record as JSON values."""
        return asdict(self)


@dataclass(frozen=True, slots=True)
class RunRecord:
    """Everything that is kept of a run. Times are UTC (ISO 8601), durations seconds; there is never a secret in it.

    `content` stands for the files of the repository without those below `tasks/`. `trigger` is what started it:
    `manual`, the type of an event, `agent` or `api`; `origin` is then that, its subject, and the entry of the queue.
    """

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
    origin: Mapping[str, JSON] = field(default_factory=dict)
    actor: str | None = None
    commit: str | None = None
    branch: str | None = None
    dirty: bool = False
    dirty_digest: str | None = None
    content: str | None = None
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

    @property
    def parts(self) -> tuple[StepRecord, ...]:
        """The records of all steps, each followed by those of its items."""
        return tuple(part for step in self.steps for part in (step, *step.items))

    def step(self, name: str) -> StepRecord | None:
        """The record of the step, or of the item of a step (`name[0]`), of that name."""
        parent = item_of(name)
        owner = next((step for step in self.steps if step.name == (parent or name)), None)
        if owner is None or parent is None:
            return owner
        return next((item for item in owner.items if item.name == name), None)


def approval_name(task: str | None, workflow: str | None, template: str, trigger: str) -> str:
    """What a run is approved by: `TASK/WORKFLOW`, `KEY on EVENT` for a trigger of a project, else the template."""
    if task and workflow:
        return f"{task}/{workflow}"
    return f"{task.partition('-')[0]} on {trigger}" if task and "." in trigger else template


_KINDS: Mapping[str, tuple[type, ...]] = {
    "str": (str,),
    "int": (int,),
    "float": (int, float),
    "bool": (bool,),
    "Mapping": (Mapping,),
    "None": (type(None),),
    "tuple": (tuple,),
    "Failure": (Failure,),
    "StepState": (StepState,),
    "RunState": (RunState,),
}


def find_misfit(record: RunRecord) -> str | None:
    """A key of the record, or of a step in it, whose value is not of the key's type; None when all fit.

    Records come from others, too, and every page and command trusts their types.
    """
    owners: list[Any] = [record, *record.parts]
    owners += [owner.error for owner in owners if owner.error]
    for owner in owners:
        kind: Any = type(owner)
        for name, kinds in _kinds_of(kind):
            if not isinstance(getattr(owner, name), kinds):
                return name
    return None if all(isinstance(child, str) for child in record.children) else "children"


@cache
def _kinds_of(kind: Any) -> list[tuple[str, tuple[type, ...]]]:
    """The types of each field of the dataclass but those that take any JSON."""
    named = [
        (each.name, [word.partition("[")[0].strip() for word in str(each.type).split("|")]) for each in fields(kind)
    ]
    return [
        (name, tuple(found for word in words for found in _KINDS[word])) for name, words in named if words != ["JSON"]
    ]


def item_name(step: str, index: int) -> str:
    """What an item of a step that loops is called. No step can be called so."""
    return f"{step}[{index}]"


def item_of(name: str) -> str | None:
    """The step whose item is called so; None for a step."""
    return name.partition("[")[0] if name.endswith("]") else None


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
class StepChanged:
    """A step waits: for an approval or its turn (`waiting`), or for its next try (`retry_wait`).

    `reason` says for what, or why the last try failed; `child` is the run that the step waits for, `asks` what an
    approval asks: message, approvers, parameters (specs).
    """

    run: str
    step: str
    state: StepState
    at: str
    reason: Failure | None = None
    child: str | None = None
    asks: Mapping[str, JSON] | None = None


@dataclass(frozen=True, slots=True)
class RunChanged:
    """A run waits, is being cancelled, or goes on. `process` is the one that carries it on now: {} for none at all,
    None for the same as before."""

    run: str
    status: RunState
    at: str
    process: Mapping[str, JSON] | None = None


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


RunEvent = RunStarted | RunChanged | StepStarted | StepChanged | StepOutput | StepFinished | RunFinished


EVENT_TYPES: Mapping[type[RunEvent], str] = {
    RunStarted: "run.started",
    RunChanged: "run.changed",
    StepStarted: "step.started",
    StepChanged: "step.changed",
    StepOutput: "step.output",
    StepFinished: "step.finished",
    RunFinished: "run.finished",
}


def event_to_json(event: RunEvent) -> dict[str, Any]:
    """The event as JSON values, with its `type`; output as text."""
    values = asdict(event)
    if isinstance(event, StepOutput):
        values["data"] = event.data.decode("utf-8", "replace")
    return {"type": EVENT_TYPES[type(event)], **values}


def apply_event(record: RunRecord, event: RunEvent) -> RunRecord:
    """The record after the event. Output is no part of a record; a final state never changes."""
    match event:
        case RunStarted():
            return event.record
        case RunChanged() if not record.status.is_final:
            process = record.process if event.process is None else event.process
            return replace(record, status=event.status, process=process)
        case StepStarted():
            step = record.step(event.step) or StepRecord(event.step)
            running = replace(step, state=StepState.RUNNING, attempts=event.attempt, started_at=event.at)
            return _with_step(record, running)
        case StepChanged():
            step = record.step(event.step) or StepRecord(event.step)
            child, asks = event.child or step.child, event.asks or step.approval
            return _with_step(record, replace(step, state=event.state, error=event.reason, child=child, approval=asks))
        case StepFinished():
            return _with_result(record, event.result)
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


def _with_result(record: RunRecord, result: StepRecord) -> RunRecord:
    """The record after a step has ended. A result that brings its items (of a run before) keeps them."""
    before = record.step(result.name)
    whole = replace(result, items=result.items or (before.items if before else ()))
    tolerated = item_of(result.name) is None and result.state.is_bad and result.conclusion is StepState.SUCCEEDED
    child = result.child if result.child and result.reused_from is None else None
    children = record.children if child in (None, *record.children) else (*record.children, str(child))
    return _with_step(replace(record, warnings=record.warnings + tolerated, children=children), whole)


def _with_step(record: RunRecord, step: StepRecord) -> RunRecord:
    parent = item_of(step.name)
    if parent is None:
        return replace(record, steps=_put(record.steps, step))
    owner = record.step(parent) or StepRecord(parent)
    return replace(record, steps=_put(record.steps, replace(owner, items=_put(owner.items, step))))


def _put(steps: tuple[StepRecord, ...], step: StepRecord) -> tuple[StepRecord, ...]:
    """The steps with this one instead of the one of its name, or at the end."""
    for place, old in enumerate(steps):
        if old.name == step.name:
            return (*steps[:place], step, *steps[place + 1 :])
    return (*steps, step)
