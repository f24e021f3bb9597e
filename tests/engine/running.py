"""Runs templates through the real planner, scheduler and executors."""

from __future__ import annotations

import asyncio
import functools
import itertools
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from dagtasks.engine.desk import Desk, Earlier, Listener
from dagtasks.engine.executor import ExecResult, Executor, OutputSink
from dagtasks.engine.performing import Tools
from dagtasks.engine.scheduler import Job, make_secrecy, run
from dagtasks.model.run import RunEvent, RunRecord, RunStarted, StepRecord, apply_event
from dagtasks.outbound import OutboundClient
from dagtasks.planning.plan import ExecRequest, Plan, PlannedTemplate
from dagtasks.planning.planner import Surroundings, make_plan
from dagtasks.settings import EngineSettings

NOW = datetime(2026, 11, 23, 18, 45, tzinfo=UTC)
SETTINGS = EngineSettings(max_parallel=4)


def as_template(name: str, data: Mapping[str, Any]) -> PlannedTemplate:
    whole = {"metadata": {"name": name, "version": "1.0.0"}, **data}
    return PlannedTemplate(name, "1.0.0", f"templates/{name}.yaml", "0" * 40, whole)


def plan_of(case: Mapping[str, Any]) -> Plan:
    """The plan of a case: `template`, `parameters`, `templates` that it calls, `files` of the repository."""
    others = {name: as_template(name, data) for name, data in case.get("templates", {}).items()}
    files = case.get("files", {})
    around = Surroundings({"task": {"id": "t-1"}, "run": {}}, others.__getitem__, files.__getitem__)
    return make_plan(as_template("main", case["template"]), case.get("parameters", {}), around)


def record_of(plan: Plan, engine: str = "local", run_id: str = "r-1") -> RunRecord:
    steps = tuple(StepRecord(step.name) for step in plan.all_steps)
    return RunRecord(run_id, {"name": plan.template.name}, engine, "2026-11-23T18:45:00.000Z", steps=steps)


def make_desk(**fields: Any) -> Desk:
    """A desk with a clock that stands still, and ids that are always the same."""
    return Desk(**{"listeners": (), "now": lambda: NOW, "make_id": lambda now: "r-2", **fields})


class Ran:
    """A run that ended, and all its events."""

    def __init__(self, record: RunRecord, events: list[RunEvent]) -> None:
        self.record = record
        self.events = events

    def step(self, name: str) -> StepRecord:
        found = self.record.step(name)
        assert found is not None
        return found

    def whole(self, run: str) -> RunRecord:
        """The record of the run or of a child, as its events make it."""
        events = [event for event in self.events if event.run == run]
        begun = next(event.record for event in events if isinstance(event, RunStarted))
        return functools.reduce(apply_event, events, begun)

    @property
    def children(self) -> dict[str, RunRecord]:
        """The records that child runs began with."""
        begun = [event.record for event in self.events if isinstance(event, RunStarted)]
        return {record.id: record for record in begun if record.parent}


async def perform(
    plan: Plan,
    executor: Executor,
    *,
    listeners: tuple[Listener, ...] = (),
    settings: EngineSettings = SETTINGS,
    allow_hosts: tuple[str, ...] = (),
    earlier: Earlier | None = None,
    record: RunRecord | None = None,
    **desk: Any,
) -> Ran:
    """Run the plan with an executor that is open; `desk` are further fields of the desk."""
    events: list[RunEvent] = []
    numbers = itertools.count(2)
    run_id = f"r-{datetime.now(UTC):%H%M%S%f}"
    async with OutboundClient(allow_hosts) as client:
        made = make_desk(listeners=(events.append, *listeners), make_id=lambda now: f"{run_id}-{next(numbers)}", **desk)
        tools = Tools(executor, client, made, make_secrecy(plan, made))
        job = Job(plan, record or record_of(plan, executor.name, run_id), earlier or Earlier())
        done = await run(job, tools, settings)
    return Ran(done, events)


class Engine:
    """An executor that stays open for many runs, with the loop that it lives in."""

    def __init__(self, name: str, executor: Executor) -> None:
        self.name = name
        self.executor = executor
        self.runner = asyncio.Runner()

    def __enter__(self) -> Engine:
        self.runner.run(self.executor.__aenter__())
        return self

    def __exit__(self, *error: object) -> None:
        self.runner.run(self.executor.__aexit__(None, None, None))
        self.runner.close()

    def execute(self, request: ExecRequest, sink: OutputSink = lambda stream, data: None) -> ExecResult:
        return self.runner.run(self.executor.execute(request, sink))

    def perform(self, case: Mapping[str, Any], **options: Any) -> Ran:
        return self.runner.run(perform(plan_of(case), self.executor, **options))
