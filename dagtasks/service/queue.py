"""The queue: what is in it, taking something out of it, and doing what an entry says."""

from __future__ import annotations

import secrets
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from dagtasks.errors import (
    Conflict,
    DagtasksError,
    InvalidInput,
    InvalidProject,
    NotFound,
    ProjectNotFound,
    has_errors,
)
from dagtasks.model.run import Failure, RunFinished, RunRecord, approval_name
from dagtasks.model.values import JSON, RunState
from dagtasks.planning.plan import Plan
from dagtasks.service import requests
from dagtasks.service.beginnings import Origin, begin_record, leave, leave_unapproved
from dagtasks.service.people import actor
from dagtasks.service.runs import Selection, make_plan
from dagtasks.service.trust import find_refusal
from dagtasks.service.trust import name_of as name_of_plan
from dagtasks.store.process import this_process
from dagtasks.store.project import Project
from dagtasks.store.queue import Entry, Queue
from dagtasks.store.runs import is_parked, make_run_id

TRIES = 3
"""How often a runner begins with an entry: what ended as many runners is given up."""


def list_entries(project: Project) -> list[dict[str, JSON]]:
    """What waits in the queue, first come first, as `--json` shows it."""
    return [to_json(entry) for entry in Queue(project.get_git()).entries()] if project.git else []


def to_json(entry: Entry) -> dict[str, JSON]:
    """The entry as `--json` shows it."""
    shown = ("event", "subject", "task", "workflow", "template", "run")
    told: dict[str, JSON] = {name: entry.work.get(name) for name in shown}
    return {
        "id": entry.id,
        "kind": entry.kind,
        "what": what_of(entry),
        **told,
        "queued_at": entry.made_at,
        "root": entry.root,
    }


def what_of(entry: Entry) -> str:
    """What the entry starts: `TASK/WORKFLOW`, or the name of a template."""
    work = entry.work
    return f"{work.get('task')}/{work.get('workflow')}" if work.get("workflow") else str(work.get("template"))


def name_of(record: RunRecord) -> str:
    """What the run is called and approved by."""
    return approval_name(record.task, record.workflow, str(record.template["name"]), record.trigger)


ASKED = "agent"
"""The trigger of runs that a program asked for."""


def ask(project: Project, task: str, workflow: str | None) -> dict[str, JSON]:
    """Queue a workflow of a task for a program that may ask and not decide; the entry as `--json` shows it.

    Only what is approved on this machine, with the parameters that the task gives. What is in the queue already is not
    added again. Raises as `make_plan`, and `Conflict` when it is not approved.
    """
    plan = make_plan(project, Selection(task, workflow, trigger=ASKED))
    if reason := find_refusal(project, plan):
        name = name_of_plan(plan)
        hint = f"a person looks at it (dagtasks trust show {name}) and may approve it (dagtasks trust approve {name})"
        raise Conflict(reason, hint=hint)
    queue = Queue(project.get_git())
    with project.lock("queue a run"):
        same = (entry for entry in queue.entries() if _is_of(entry, project, plan))
        return to_json(next(same, None) or queue.add([_make_entry(project, plan)])[0])


def _is_of(entry: Entry, project: Project, plan: Plan) -> bool:
    named = entry.root, entry.work.get("task"), entry.work.get("workflow")
    return named == (str(project.root), plan.task, plan.workflow)


def _make_entry(project: Project, plan: Plan) -> Entry:
    now = datetime.now(UTC)
    nothing: dict[str, JSON] = {"parameters": {}, "written": {}, "file": None, "fault": None}
    named = {"task": plan.task, "workflow": plan.workflow, "template": plan.template.name}
    work: dict[str, JSON] = {"run": make_run_id(now), "event": ASKED, "subject": plan.task, **named, **nothing}
    return Entry(secrets.token_hex(6), "run", now.isoformat(timespec="milliseconds"), str(project.root), "", work)


def cancel(project: Project, text: str) -> RunRecord:
    """Take an entry out of the queue; its run is recorded as cancelled.

    Raises `NotFound`, and `Conflict` when a runner has begun with it.
    """
    queue = Queue(project.get_git())
    with project.lock("queue cancel"), queue.hold() as is_idle:
        entry = queue.get(text)
        if entry.tries and not is_idle:
            raise Conflict(f"{what_of(entry)} has begun", hint=f"end its run: dagtasks runs cancel {_run_id(entry)}")
        # What goes on with a run has its record already.
        known = _find_record(project, entry) if requests.goes_on(entry) else None
        failure = Failure("cancelled", "it was taken out of the queue")
        record = known or _end(project, entry, RunState.CANCELLED, failure)
        queue.remove(entry.id)
        return record


# -- doing what an entry says ---------------------------------------------------------------------------------------


def carry_out(entry: Entry, here: Project) -> RunRecord:
    """Do what the entry says, once: a run of it that has begun already is not begun anew.

    Whatever keeps it from running is told by its record. `here` is where that is kept when the work tree is gone.
    """
    project = _find_root(entry, here)
    if known := _find_record(project, entry):
        return _go_on(project, entry, known) if requests.goes_on(entry) else known
    if entry.tries > TRIES:
        return _end(project, entry, RunState.ERRORED, Failure("runner", f"{TRIES} runners ended with it"))
    try:
        if requests.is_asked(entry):
            return _begin(project, entry)
        plan = _plan(entry, project)
    except DagtasksError as error:
        state = RunState.SKIPPED if isinstance(error, Conflict) else RunState.ERRORED
        return _end(project, entry, state, _failure(error))
    return _run(project, entry, plan)


def _begin(project: Project, entry: Entry) -> RunRecord:
    try:
        return requests.begin(project, entry)
    except DagtasksError:
        if begun := _find_record(project, entry):
            return begun
        raise


def _go_on(project: Project, entry: Entry, known: RunRecord) -> RunRecord:
    """Go on with a run that waited; what keeps it from that leaves it as it was."""
    if entry.tries > TRIES:
        return known
    try:
        return requests.go_on(project, entry)
    except DagtasksError:
        return _find_record(project, entry) or known


def find_waiting(entry: Entry, here: Project) -> RunRecord | None:
    """The record of the run when it has to wait for an approval; None when it can be begun, or nobody knows."""
    project = _find_root(entry, here)
    try:
        return leave_unapproved(project, _plan(entry, project), _origin(entry))
    except DagtasksError:
        return None


def is_done(record: RunRecord) -> bool:
    """Whether nothing is left to be done for the run now."""
    return record.status.is_final or is_parked(record)


def _find_root(entry: Entry, here: Project) -> Project:
    root = Path(entry.root)
    return here if root == here.root or not root.is_dir() else Project(root, use_cache=here.use_cache)


def _find_record(project: Project, entry: Entry) -> RunRecord | None:
    try:
        return project.runs.get(_run_id(entry))
    except NotFound:
        return None


def _plan(entry: Entry, project: Project) -> Plan:
    """The plan of what the entry starts. A workflow of a task waits for what the task depends on; a trigger does not.

    Raises `Conflict` then, and as `make_plan`.
    """
    work: Any = entry.work
    if work["fault"]:
        raise InvalidInput(work["fault"])
    if str(project.root) != entry.root:
        raise ProjectNotFound(f"the work tree {entry.root} is gone")
    chosen = Selection(work["task"], work["workflow"], trigger=work["event"])
    if work["workflow"] is None:
        _refuse_wrong(project, work["file"])
        given = {"values": work["parameters"], "written": work["written"]}
        chosen = replace(chosen, template=work["template"], ignore_dependencies=True, **given)
    return make_plan(project, chosen)


def _refuse_wrong(project: Project, file: str) -> None:
    """Raise `InvalidProject` where the file of the trigger has errors: what it starts could be something else."""
    errors = [problem for problem in project.load().problems if problem.path == file and has_errors([problem])]
    if errors:
        raise InvalidProject(f"{errors[0]}; a file with errors starts nothing", problems=errors)


def _run(project: Project, entry: Entry, plan: Plan) -> RunRecord:
    from dagtasks.service.execution import Doing, execute_unasked  # engines, which nobody needs to leave a run

    try:
        return execute_unasked(project, plan, Doing(waits=False), _origin(entry))[0]
    except DagtasksError as error:
        if begun := _find_record(project, entry):
            return begun
        record = begin_record(project, plan, _origin(entry))
        return leave(project, record, plan, RunFinished(record.id, RunState.ERRORED, 0.0, {}, _failure(error)))


# -- records of runs that never had a plan --------------------------------------------------------------------------


def _failure(error: DagtasksError) -> Failure:
    return Failure(type(error).__name__, f"{error.message} ({error.hint})" if error.hint else error.message)


def _end(project: Project, entry: Entry, status: RunState, error: Failure) -> RunRecord:
    head = project.get_git().head()
    work: Any = entry.work
    record = RunRecord(
        id=_run_id(entry),
        template={"name": work["template"], "version": None, "path": None, "blob": None},
        engine=project.settings.engine.name,
        started_at=datetime.now(UTC).isoformat(timespec="milliseconds"),
        task=work["task"],
        workflow=work["workflow"],
        trigger=work["event"],
        origin=_origin(entry).event,
        actor=actor(project),
        commit=head.commit,
        branch=head.branch,
        process=this_process(),
    )
    return leave(project, record, None, RunFinished(record.id, status, 0.0, {}, error))


def _run_id(entry: Entry) -> str:
    return str(entry.work["run"])


def _origin(entry: Entry) -> Origin:
    return Origin(_run_id(entry), {"entry": entry.id, **{key: entry.work[key] for key in ("event", "subject")}})
