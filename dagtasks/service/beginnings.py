"""Records of runs that are about to begin, and of those that do not: nothing of an engine is needed for that."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from hashlib import sha256
from typing import NamedTuple

from dagtasks.model.run import Failure, RunEvent, RunFinished, RunRecord, RunStarted, StepFinished, StepRecord
from dagtasks.model.values import JSON, RunState, StepState
from dagtasks.planning.plan import Plan
from dagtasks.planning.sources import to_sources
from dagtasks.service.trust import find_refusal
from dagtasks.store.layout import TASKS
from dagtasks.store.process import this_process
from dagtasks.store.project import Project
from dagtasks.store.runs import make_run_id


class Origin(NamedTuple):
    """What a run comes from that nobody asked for: the id that it was promised, and the event that started it."""

    run: str
    event: Mapping[str, JSON]


def begin_record(project: Project, plan: Plan, origin: Origin | None = None) -> RunRecord:
    """The record of a run that is about to begin: every step pending, everything known that is known before."""
    now = datetime.now(UTC)
    run = dict(plan.scope["run"])  # type: ignore[arg-type]
    return RunRecord(
        id=origin.run if origin else make_run_id(now),
        template={key: getattr(plan.template, key) for key in ("name", "version", "path", "blob")},
        engine=project.settings.engine.name,
        started_at=now.isoformat(timespec="milliseconds"),
        task=plan.task,
        workflow=plan.workflow,
        parameters=plan.parameters,
        steps=tuple(StepRecord(step.name) for step in plan.all_steps),
        trigger=str(run["trigger"]),
        origin=origin.event if origin else {},
        actor=str(run["actor"]),
        commit=plan.commit,
        branch=plan.branch,
        dirty=plan.dirty,
        dirty_digest=_dirty_digest(project) if plan.dirty else None,
        content=project.get_git().content_id(TASKS),
        process=this_process(),
        blobs={name: template.blob for name, template in plan.templates.items()},
    )


def _dirty_digest(project: Project) -> str:
    """What the work tree has beyond the commit, as a digest: two runs with the same one saw the same tracked files."""
    git = project.get_git()
    return sha256(
        git.read_bytes("diff", "--no-ext-diff", "--no-textconv", "HEAD") if git.head().commit else b""
    ).hexdigest()


def leave_unapproved(project: Project, plan: Plan, origin: Origin | None = None) -> RunRecord | None:
    """The record of a run that awaits an approval; None when the plan is approved."""
    reason = find_refusal(project, plan)
    if not reason:
        return None
    record, why = begin_record(project, plan, origin), Failure("not_approved", reason)
    return leave(project, record, plan, RunFinished(record.id, RunState.AWAITING_APPROVAL, 0.0, {}, why))


def leave(project: Project, record: RunRecord, plan: Plan | None, end: RunFinished) -> RunRecord:
    """Keep the record of a run that has ended before it began."""
    steps = (StepRecord(step.name, StepState.OMITTED, StepState.OMITTED) for step in record.steps)
    events: list[RunEvent] = [RunStarted(record.id, record), *(StepFinished(record.id, step) for step in steps), end]
    with project.runs.record(record.id, dump_plan(plan) if plan else None) as recorder:
        for event in events:
            recorder(event)
    return project.runs.get(record.id)


def dump_plan(plan: Plan) -> bytes:
    """What the plan can be made from again, as it is kept with a run."""
    return json.dumps(to_sources(plan), ensure_ascii=False, sort_keys=True).encode()
