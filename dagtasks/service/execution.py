"""Executing a plan: the record before the first step, the listeners, the engine, and the record's commit at the end."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from hashlib import sha256

from dagtasks.engine.executor import make_executor
from dagtasks.engine.logs import LogWriter
from dagtasks.engine.scheduler import run_plan
from dagtasks.model.run import RunEvent, RunRecord, StepRecord
from dagtasks.planning.plan import Plan
from dagtasks.store.process import this_process
from dagtasks.store.project import Project
from dagtasks.store.runs import make_run_id

Listener = Callable[[RunEvent], None]


def execute(project: Project, plan: Plan, listeners: Sequence[Listener]) -> tuple[RunRecord, str]:
    """Run the plan to its end, and return its record and what a person should know of the engine.

    Raises `EngineUnavailable` before any record is made.
    """
    runs, settings = project.runs, project.settings
    executor = make_executor(settings.engine)
    record = begin_record(project, plan, settings.engine.name)
    with runs.record(sources(plan)) as recorder:
        logs = LogWriter(runs.log_path)
        done = run_plan(
            plan,
            record,
            executor,
            settings.engine,
            listeners=[recorder, logs, *listeners],
            now=lambda: datetime.now(UTC),
            make_id=make_run_id,
            allow_hosts=settings.allow_hosts,
        )
    return done, executor.note


def begin_record(project: Project, plan: Plan, engine: str) -> RunRecord:
    """The record of a run that is about to begin: every step pending, everything known that is known before."""
    now = datetime.now(UTC)
    run = dict(plan.scope["run"])  # type: ignore[arg-type]
    return RunRecord(
        id=make_run_id(now),
        template={key: getattr(plan.template, key) for key in ("name", "version", "path", "blob")},
        engine=engine,
        started_at=now.isoformat(timespec="milliseconds"),
        task=plan.task,
        workflow=plan.workflow,
        parameters=plan.parameters,
        steps=tuple(StepRecord(step.name) for step in plan.steps),
        trigger=str(run["trigger"]),
        actor=str(run["actor"]),
        commit=plan.commit,
        branch=plan.branch,
        dirty=plan.dirty,
        dirty_digest=_dirty_digest(project) if plan.dirty else None,
        process=this_process(),
        blobs={name: template.blob for name, template in plan.templates.items()},
    )


def _dirty_digest(project: Project) -> str:
    """What the work tree has beyond the commit, as a digest: two runs with the same one saw the same tracked files."""
    git = project.get_git()
    return sha256(
        git.read_bytes("diff", "--no-ext-diff", "--no-textconv", "HEAD") if git.head().commit else b""
    ).hexdigest()


def sources(plan: Plan) -> Mapping[str, bytes]:
    """The templates that the plan was made from, by blob id."""
    return {template.blob: template.text.encode() for template in (plan.template, *plan.templates.values())}
