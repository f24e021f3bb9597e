"""Records of runs: reading them, and going on from them: retry, cancel, approve, compare."""

from __future__ import annotations

import json
import os
import re
import signal
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, NamedTuple

from dagtasks.errors import Conflict, InvalidInput, NotFound, Problem
from dagtasks.model.names import choose_from
from dagtasks.model.run import RunRecord, StepRecord
from dagtasks.model.values import JSON, RunState, StepState
from dagtasks.service.links import find_task
from dagtasks.store.project import Project
from dagtasks.store.runs import is_parked

if TYPE_CHECKING:
    from dagtasks.planning.plan import Plan
    from dagtasks.service.beginnings import Origin
    from dagtasks.service.execution import Doing
    from dagtasks.service.templates import Given
    from dagtasks.service.trust import Asking

POLL_SECONDS = 0.2
ENDING_SECONDS = 20.0
"""How long `cancel` waits for a run to end: steps have ten seconds, then they are killed."""


class Runs(NamedTuple):
    """Records of runs, and the problems of those that cannot be read."""

    records: list[RunRecord]
    problems: Sequence[Problem] = ()


def list_runs(
    project: Project, *, task: str | None = None, status: str | None = None, limit: int | None = None
) -> Runs:
    """The records, newest first, and what is wrong with others.

    Raises `NotFound` for an unknown task, `InvalidInput` for an unknown state.
    """
    if status and status not in list(RunState):
        raise InvalidInput(f"there is no state {status!r}", hint=f"there is: {', '.join(RunState)}")
    if project.git is None:
        return Runs([])
    wanted = find_task(project.load(), task).id if task else None
    store = project.runs
    every = store.newest(None if task or status else limit)
    found = [r for r in every if (not wanted or r.task == wanted) and (not status or r.status == status)]
    return Runs(found[:limit], store.problems)


# -- logs -----------------------------------------------------------------------------------------------------------


def read_logs(project: Project, run: str, step: str | None = None) -> list[dict[str, Any]]:
    """What the steps printed, line by line: step, stream, time and text. Raises `NotFound`."""
    record = project.runs.get(run)
    _check_step(record, step)
    return [line for name, attempt in _logs_of(record, step) for line in _read_log(project, record.id, name, attempt)]


def follow_logs(project: Project, run: str, step: str | None = None) -> Iterator[dict[str, Any]]:
    """The same, and what comes until the run has ended. Raises `NotFound`."""
    logs = LogReader(project, run, step, project.runs.get)
    while True:
        yield from logs.read()
        if logs.record.status.is_final:
            return
        time.sleep(POLL_SECONDS)


class LogReader:
    """Reads what the steps of a run print, piece by piece; `record` is the run as it was at the last look.

    `find` finds the record of a name; a run that waits in the queue has no steps yet.
    """

    def __init__(self, project: Project, run: str, step: str | None, find: Callable[[str], RunRecord]) -> None:
        """Raises `NotFound`."""
        self.record = find(run)
        if self.record.status is not RunState.QUEUED:
            _check_step(self.record, step)
        self._find = find
        self._project = project
        self._step = step
        self._shown: dict[tuple[str, int], int] = {}

    def read(self) -> list[dict[str, Any]]:
        """What came since the last time, all of it when the record says that the run has ended."""
        self.record = self._find(self.record.id)
        return [line for part in _logs_of(self.record, self._step) for line in self._read(*part)]

    def _read(self, name: str, attempt: int) -> list[dict[str, Any]]:
        lines = _read_log(self._project, self.record.id, name, attempt)
        fresh = lines[self._shown.get((name, attempt), 0) :]
        self._shown[name, attempt] = len(lines)
        return fresh


def _check_step(record: RunRecord, step: str | None) -> None:
    if step and record.step(step) is None:
        names = ", ".join(one.name for one in record.steps)
        raise NotFound(f"run {record.id} has no step {step!r}", hint=f"it has: {names}")


def _logs_of(record: RunRecord, step: str | None) -> Iterator[tuple[str, int]]:
    """The names of steps and items that printed something, with the numbers of their tries."""
    steps = record.steps if step is None else tuple(one for one in [record.step(step)] if one)
    for one in steps:
        for part in one.items or (one,):
            yield from ((part.name, attempt) for attempt in range(1, part.attempts + 1))


def _read_log(project: Project, run: str, step: str, attempt: int) -> list[dict[str, Any]]:
    from dagtasks.engine.logs import read_log

    path = project.runs.log_path(run, step, attempt)
    lines = read_log(path) if path.exists() else ()
    return [{"step": step, "attempt": attempt, **line} for line in lines]


# -- going on -------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Again:
    """What a retry does anew: what failed (and all after it), all from one step on, or everything.

    `params` are given anew; with `current` the template and the files of today are used.
    """

    from_step: str | None = None
    everything: bool = False
    params: Given = ()
    current: bool = False


def retry(project: Project, run: str, again: Again, doing: Doing, origin: Origin | None = None) -> RunRecord:
    """Run once more what did not succeed, with the template and parameters of then. A new record tells of it.

    Raises `NotFound`, `Conflict` while the run goes on, `InvalidInput`, `EngineUnavailable`.
    """
    from dagtasks.service.execution import execute

    record, plan, asking = plan_retry(project, run, again, doing.asking)
    doing, earlier = replace(doing, asking=asking), _earlier(project, record, plan, again)
    return execute(project, plan, doing, earlier=earlier, origin=origin)[0]


class Retry(NamedTuple):
    """What a retry would do: of which run, by which plan, and who has to say yes."""

    record: RunRecord
    plan: Plan
    asking: Asking


def plan_retry(project: Project, run: str, again: Again, asking: Asking) -> Retry:
    """What a retry would do; nothing is written. Raises as `retry`."""
    record = _get_whole(project, run)
    if not record.status.is_final:
        hint = f"wait for it, or end it: dagtasks runs cancel {record.id}"
        raise Conflict(f"run {record.id} has not ended: it is {record.status}", hint=hint)
    plan = _plan_again(project, record, again)
    is_left = record.status is RunState.AWAITING_APPROVAL
    asking = replace(asking, is_foreign=not project.runs.is_of_here(record.id), is_left=is_left)
    if again.from_step and again.from_step not in {step.name for step in plan.all_steps}:
        hint = choose_from(again.from_step, [step.name for step in plan.all_steps])
        raise NotFound(f"the template has no step {again.from_step!r}", hint=hint)
    return Retry(record, plan, asking)


def _earlier(project: Project, record: RunRecord, plan: Plan, again: Again) -> Any:
    from dagtasks.engine.desk import Earlier
    from dagtasks.service.execution import find_earlier

    if again.everything:
        return Earlier(record.id)
    made = find_earlier(project, record, plan)
    without = {again.from_step}
    return replace(
        made,
        results={name: step for name, step in made.results.items() if name not in without},
        records={name: step for name, step in made.records.items() if name not in without},
        checks_inputs=bool(again.params) or again.current,
    )


def _plan_again(project: Project, record: RunRecord, again: Again) -> Plan:
    from dagtasks.model.template import Template
    from dagtasks.planning.sources import from_sources
    from dagtasks.service.runs import Selection, make_plan
    from dagtasks.service.templates import read_given

    if again.current:
        kept = {name: value for name, value in record.parameters.items() if not _is_hidden(value)}
        template = None if record.task and record.workflow else str(record.template["name"])
        chosen = Selection(record.task, record.workflow if template is None else None, template)
        if isinstance(again.params, Mapping):
            return make_plan(project, replace(chosen, values=kept, given=again.params))
        return make_plan(project, replace(chosen, values=kept, params=again.params))
    data = json.loads(project.runs.read_plan(record.id))
    template_model = Template.model_validate(data["template"]["data"])
    return from_sources(data, read_given(template_model, again.params))


def _is_hidden(value: JSON) -> bool:
    from dagtasks.planning.planner import HIDDEN

    return value is None or value == HIDDEN


def _get_whole(project: Project, run: str) -> RunRecord:
    """The record of a run that is not a part of another one. Raises `NotFound`, `Conflict`."""
    record = project.runs.get(run)
    if record.parent:
        raise Conflict(f"run {record.id} is a part of run {record.parent}", hint=f"name that one: {record.parent}")
    return record


def cancel(project: Project, run: str, doing: Doing) -> RunRecord:
    """End the run: its steps are stopped and `finally` is done. Raises `NotFound`, `Conflict` when it has ended."""
    from dagtasks.service.execution import go_on

    record = interrupt(project, run)
    if is_left(project, record):
        return go_on(project, record, plan_of(project, record), doing, cancel=True)
    return _wait_for_end(project, record)


def is_left(project: Project, record: RunRecord) -> bool:
    """Whether the run waits for an approval and no process waits with it: whoever goes on with it has to be one."""
    return is_parked(record) and project.runs.is_abandoned(record)


def interrupt(project: Project, run: str) -> RunRecord:
    """Tell the process of the run to end it, and do not wait; a run without one stays as it is. Raises as `cancel`."""
    record = _get_whole(project, run)
    if record.status.is_final:
        raise Conflict(f"run {record.id} has ended: it is {record.status}")
    if is_left(project, record):
        return record
    pid, host = record.process.get("pid"), record.process.get("host")
    if host != os.uname().nodename:
        raise Conflict(f"run {record.id} goes on on another machine", hint=f"cancel it on {host}")
    with suppress(ProcessLookupError):  # it has ended since its record was read
        os.kill(int(str(pid)), signal.SIGINT)
    return record


def _wait_for_end(project: Project, record: RunRecord) -> RunRecord:
    end = time.monotonic() + ENDING_SECONDS
    while not record.status.is_final and time.monotonic() < end:
        time.sleep(POLL_SECONDS)
        record = project.runs.get(record.id)
    return record


def plan_of(project: Project, record: RunRecord) -> Plan:
    """The plan that the run was begun with."""
    from dagtasks.planning.sources import from_sources

    return from_sources(json.loads(project.runs.read_plan(record.id)), {})


@dataclass(frozen=True, slots=True)
class Decision:
    """What somebody says to an approval; `params` are answers."""

    approved: bool = True
    reason: str = ""
    params: Given = ()


def approve(project: Project, run: str, step: str, decision: Decision, doing: Doing) -> RunRecord:
    """Answer an approval. Where no process waits for it any more, the run goes on in this one.

    Raises `NotFound`, `Conflict` when nothing waits for an answer or somebody else has to give it, `InvalidInput`.
    """
    from dagtasks.service.execution import go_on
    from dagtasks.service.people import actor

    root = answer(project, run, step, decision, actor(project))
    if is_left(project, root):
        return go_on(project, root, plan_of(project, root), doing)
    return project.runs.get(root.id)


def answer(project: Project, run: str, step: str, decision: Decision, by: str) -> RunRecord:
    """Keep the answer to an approval; gives the run as it was, which goes on by itself where a process waits for it.

    Raises as `approve`.
    """
    record = project.runs.get(run)
    asked = _get_asked(record, step)
    if asked["approvers"] and by not in asked["approvers"]:
        raise Conflict(f"{step} is for {', '.join(asked['approvers'])} to decide, and you are {by}")
    said: dict[str, JSON] = {
        "approved": decision.approved,
        "by": by,
        "at": datetime.now(UTC).isoformat(timespec="milliseconds"),
        "reason": decision.reason,
        "parameters": _read_answers(step, asked["parameters"], decision.params) if decision.approved else {},
    }
    project.runs.answer(record.id, step, said)
    return _root_of(project, record)


def _get_asked(record: RunRecord, step: str) -> dict[str, Any]:
    """What the approval asks: message, approvers, parameters. Raises `NotFound`, `Conflict` when it does not wait."""
    _check_step(record, step)
    found = record.step(step)
    waits = found and found.state is StepState.WAITING and found.error and found.error.code == "approval"
    if found and waits and found.child:
        hint = f"say: dagtasks runs approve {found.child} STEP"
        raise Conflict(f"{step} waits for its child run {found.child}", hint=hint)
    if not found or not waits or not found.approval:
        raise Conflict(f"step {step} of run {record.id} does not wait for an approval: it is {found and found.state}")
    return dict(found.approval)


def _root_of(project: Project, record: RunRecord) -> RunRecord:
    while record.parent:
        record = project.runs.get(record.parent)
    return record


def _read_answers(step: str, declared: Mapping[str, Any], given: Given) -> dict[str, JSON]:
    """The answers as values of the types that the approval declares. Raises `InvalidInput`."""
    from dagtasks.language.parameters import read_texts, read_values, resolve
    from dagtasks.model.parameter import ParameterSpec
    from dagtasks.planning.planner import refuse
    from dagtasks.service.templates import split_pair

    specs = {name: ParameterSpec.model_validate(spec) for name, spec in declared.items()}
    what = f"answers to {step}"
    if isinstance(given, Mapping):
        read = read_values(specs, given)
    else:
        read = read_texts(specs, [split_pair(pair) for pair in given])
    refuse(read.findings, what)
    resolved = resolve(specs, read.values, {})
    refuse(resolved.findings, what)
    return dict(resolved.values)


# -- comparing ------------------------------------------------------------------------------------------------------


def diff(project: Project, one: str, other: str) -> dict[str, list[Any]]:
    """What is different between two runs, by name, each with both values: what they were made from comes first."""
    records = project.runs.get(one), project.runs.get(other)
    first, second = (_comparable(record) for record in records)
    return {key: [first.get(key), second.get(key)] for key in {**first, **second} if first.get(key) != second.get(key)}


def _comparable(record: RunRecord) -> dict[str, Any]:
    made_from = {
        "template": record.template.get("name"),
        "template.version": record.template.get("version"),
        "template.blob": record.template.get("blob"),
        **{f"template {name}": blob for name, blob in record.blobs.items()},
        **{f"parameter {name}": value for name, value in record.parameters.items()},
        "commit": record.commit,
        "branch": record.branch,
        "work tree": record.dirty_digest,
        "engine": record.engine,
        "host": record.process.get("host"),
        "status": record.status,
        **{f"output {name}": value for name, value in record.outputs.items()},
    }
    return made_from | {key: value for step in record.steps for key, value in _comparable_step(step).items()}


def _comparable_step(step: StepRecord) -> Mapping[str, Any]:
    facts = {
        "state": step.state,
        "image": step.image,
        "inputs": step.inputs,
        "exit code": step.exit_code,
        "attempts": step.attempts,
        "output": step.output,
        "error": step.error and step.error.message,
    }
    return {f"step {step.name}: {name}": value for name, value in facts.items()}


# -- clearing away --------------------------------------------------------------------------------------------------


def prune(project: Project, age: str, *, dry_run: bool) -> list[str]:
    """Remove journals and logs of runs that began longer ago than the age (`12h`, `30d`); gives their ids.

    Runs that go on are left, and so are the records on the ref. Raises `InvalidInput`.
    """
    before = datetime.now(UTC).timestamp() - _seconds(age)
    old = [
        record.id
        for record in project.runs.published()
        if record.status.is_final and datetime.fromisoformat(record.started_at).timestamp() < before
    ]
    if not dry_run:
        for run in old:
            project.runs.forget(run)
        project.runs.forget_artifacts()
    return old


def _seconds(age: str) -> float:
    match = re.fullmatch(r"(\d+)([hd])", age)
    if not match:
        raise InvalidInput(f"{age!r} is no age", hint="write hours or days, as 12h or 30d")
    return int(match[1]) * {"h": 3600.0, "d": 86400.0}[match[2]]
