"""Runs that somebody asks for from afar: what is asked is queued, and a runner does it, so that nothing is lost.

Whatever can be refused is refused when it is asked. The runner looks again, because files may have changed meanwhile.
"""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from datetime import UTC, datetime
from functools import partial
from typing import Any

from dagtasks.errors import Conflict, NotFound
from dagtasks.model.run import RunRecord
from dagtasks.model.values import JSON, RunState
from dagtasks.planning.plan import Plan
from dagtasks.service.beginnings import Origin
from dagtasks.service.records import (
    Again,
    Decision,
    LogReader,
    answer,
    interrupt,
    is_left,
    plan_of,
    plan_retry,
    retry,
)
from dagtasks.service.runs import Selection, make_plan
from dagtasks.service.trust import NOBODY, get_consent
from dagtasks.store.project import Project
from dagtasks.store.queue import Entry, Queue
from dagtasks.store.runs import make_run_id

TRIGGER = "api"
"""The trigger of runs that were asked for over HTTP."""
_GOING_ON = ("go_on", "cancel")


def ask_run(
    project: Project, task: str, workflow: str, given: Mapping[str, Any], by: str, *, ignore_dependencies: bool
) -> RunRecord:
    """Queue a workflow of a task with these parameters; the record of the run as it waits.

    Raises as `make_plan`, and `Conflict` where somebody has to approve it first.
    """
    chosen = Selection(task, workflow, given=given, trigger=TRIGGER, actor=by, ignore_dependencies=ignore_dependencies)
    plan = make_plan(project, chosen)
    get_consent(project, plan, NOBODY)
    asked: dict[str, JSON] = {"verb": "run", "by": by, "ignore_dependencies": ignore_dependencies}
    return _add(project, _names(plan), {"parameters": {**given}}, asked)


def ask_retry(project: Project, run: str, again: Again, by: str) -> RunRecord:
    """Queue a retry of the run; the record of the new run as it waits. Raises as `retry`, and `Conflict` as above."""
    found = plan_retry(project, run, again, NOBODY)
    get_consent(project, found.plan, found.asking)
    asked: dict[str, JSON] = {"verb": "retry", "by": by, "of": found.record.id, "from_step": again.from_step}
    asked |= {"everything": again.everything, "current": again.current}
    given = {**again.params} if isinstance(again.params, Mapping) else {}
    return _add(project, _names(found.plan), {"parameters": given}, asked)


def ask_answer(project: Project, run: str, step: str, decision: Decision, by: str) -> RunRecord:
    """Answer an approval; where no process waits for it, going on is queued. Raises as `answer`."""
    root = answer(project, run, step, decision, by)
    return _go_on_later(project, root, "go_on", by) if is_left(project, root) else project.runs.get(root.id)


def ask_cancel(project: Project, run: str, by: str) -> RunRecord:
    """End the run, or take it out of the queue; it may still go on for some seconds. Raises as `interrupt`."""
    try:
        record = interrupt(project, run)
    except NotFound:
        if entry := _find_entry(project, run):
            from dagtasks.service import queue  # which does what is asked here

            return queue.cancel(project, entry.id)
        # It may have begun since its record was looked for.
        record = interrupt(project, run)
    return _go_on_later(project, record, "cancel", by) if is_left(project, record) else project.runs.get(record.id)


def find_run(project: Project, text: str) -> RunRecord:
    """The record of the run, also of one that waits in the queue. Raises `NotFound`."""
    try:
        return project.runs.get(text)
    except NotFound:
        if entry := _find_entry(project, text):
            return queued_record(project, entry)
        # It may have begun since its record was looked for.
        return project.runs.get(text)


def read_logs(project: Project, text: str, step: str | None = None) -> LogReader:
    """What reads the logs of the run, also of one that waits in the queue. Raises `NotFound`."""
    return LogReader(project, text, step, partial(find_run, project))


def queued_record(project: Project, entry: Entry) -> RunRecord:
    """What is known of the run that the entry will begin."""
    work: Any = entry.work
    asked = work.get("asked") or {}
    return RunRecord(
        id=str(work["run"]),
        template={"name": work["template"], "version": None, "path": None, "blob": None},
        engine=project.settings.engine.name,
        started_at=entry.made_at,
        status=RunState.QUEUED,
        task=work["task"],
        workflow=work["workflow"],
        trigger=str(work["event"]),
        origin={"entry": entry.id},
        actor=asked.get("by"),
        retry_of=asked.get("of"),
    )


def _find_entry(project: Project, run: str) -> Entry | None:
    """What waits in the queue to become that run."""
    entries = (entry for entry in Queue(project.get_git()).entries() if entry.kind == "run" and not goes_on(entry))
    return next((entry for entry in entries if entry.work.get("run") == run), None)


def _names(plan: Plan) -> dict[str, JSON]:
    return {"task": plan.task, "workflow": plan.workflow, "template": plan.template.name}


def _go_on_later(project: Project, record: RunRecord, verb: str, by: str) -> RunRecord:
    names = {"task": record.task, "workflow": record.workflow, "template": str(record.template["name"])}
    _add(project, {**names, "run": record.id}, {}, {"verb": verb, "by": by})
    return record


def _add(project: Project, names: Mapping[str, JSON], more: Mapping[str, JSON], asked: dict[str, JSON]) -> RunRecord:
    now = datetime.now(UTC)
    nothing: dict[str, JSON] = {"parameters": {}, "written": {}, "file": None, "fault": None}
    named: dict[str, JSON] = {"run": make_run_id(now), "event": TRIGGER, "subject": names["task"], **names}
    work = {**named, **nothing, **more, "asked": asked}
    entry = Entry(secrets.token_hex(6), "run", now.isoformat(timespec="milliseconds"), str(project.root), "", work)
    with project.lock("queue a run"):
        Queue(project.get_git()).add([entry])
    return queued_record(project, entry)


# -- in the runner --------------------------------------------------------------------------------------------------


def is_asked(entry: Entry) -> bool:
    """Whether somebody asked for it in this way."""
    return isinstance(entry.work.get("asked"), dict)


def goes_on(entry: Entry) -> bool:
    """Whether the entry goes on with a run that there is already."""
    asked: Any = entry.work.get("asked") or {}
    return asked.get("verb") in _GOING_ON


def go_on(project: Project, entry: Entry) -> RunRecord:
    """Go on with the run as the entry says, if nobody else does. Raises as `go_on` of `execution`."""
    from dagtasks.service import execution

    asked: Any = entry.work["asked"]
    record = project.runs.get(str(entry.work["run"]))
    if not is_left(project, record):
        return record
    doing = execution.Doing(waits=False)
    return execution.go_on(project, record, plan_of(project, record), doing, cancel=asked["verb"] == "cancel")


def begin(project: Project, entry: Entry) -> RunRecord:
    """Begin the run that was asked for. Raises as `make_plan`, `retry` and `execute`."""
    from dagtasks.service.execution import Doing, execute

    work: Any = entry.work
    asked, doing = work["asked"], Doing(waits=False)
    origin = Origin(
        str(work["run"]), {"entry": entry.id, "event": TRIGGER, "subject": work["subject"], "by": asked["by"]}
    )
    if asked["verb"] == "retry":
        again = Again(asked["from_step"], asked["everything"], work["parameters"], asked["current"])
        return retry(project, asked["of"], again, doing, origin)
    if asked["verb"] != "run":
        raise Conflict(f"nobody knows how to {asked['verb']!r}")
    chosen = Selection(work["task"], work["workflow"], given=work["parameters"], trigger=TRIGGER, actor=asked["by"])
    plan = make_plan(project, _with_dependencies(chosen, asked))
    return execute(project, plan, doing, origin=origin)[0]


def _with_dependencies(chosen: Selection, asked: Mapping[str, Any]) -> Selection:
    from dataclasses import replace

    return replace(chosen, ignore_dependencies=asked["ignore_dependencies"])
