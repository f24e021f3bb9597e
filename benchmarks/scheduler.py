"""What the scheduler and the local engine cost, with a journal that is fsynced at every event.

    python benchmarks/scheduler.py

Budgets: a no-op step 5 ms, 200 independent steps 1 s, a diamond of 10 x 10 steps 0.6 s.
"""

from __future__ import annotations

import json
import os
import statistics
import tempfile
import time
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path

from dagtasks.engine.executor import ExecResult, OutputSink
from dagtasks.engine.local import LocalExecutor
from dagtasks.engine.scheduler import run_plan
from dagtasks.model.run import RunEvent, RunRecord, StepFinished, StepRecord, StepStarted
from dagtasks.planning.plan import ExecRequest, Plan, PlannedTemplate, PlanStep
from dagtasks.settings import EngineSettings

INPUTS = {"image": "alpine", "argv": ("true",), "env": {}, "success_exit_codes": (0,)}
SETTINGS = EngineSettings(name="local")


class NothingExecutor(LocalExecutor):
    """Starts no process: what is left is the scheduler and the journal."""

    async def execute(self, request: ExecRequest, output: OutputSink) -> ExecResult:
        return ExecResult(0)


def plan_of(needs: dict[str, tuple[str, ...]]) -> Plan:
    steps = tuple(PlanStep(name, "container", INPUTS, depends_on) for name, depends_on in needs.items())
    return Plan(PlannedTemplate("bench", None, "", "", {}), steps, {}, {"params": {}, "run": {}})


def chain(length: int) -> dict[str, tuple[str, ...]]:
    return {f"s{n}": (f"s{n - 1}",) if n else () for n in range(length)}


def independent(count: int) -> dict[str, tuple[str, ...]]:
    return {f"s{n}": () for n in range(count)}


def diamond(width: int, depth: int) -> dict[str, tuple[str, ...]]:
    def layer(row: int) -> tuple[str, ...]:
        return tuple(f"s{row}-{column}" for column in range(width))

    return {name: layer(row - 1) if row else () for row in range(depth) for name in layer(row)}


def measure(needs: dict[str, tuple[str, ...]], executor: LocalExecutor) -> tuple[float, list[float]]:
    """Seconds of the whole run, and of each step from its start event to its end event."""
    plan = plan_of(needs)
    record = RunRecord("r", {}, "local", "", steps=tuple(StepRecord(step.name) for step in plan.steps))
    begun: dict[str, float] = {}
    took: list[float] = []
    with tempfile.TemporaryDirectory() as folder, (Path(folder) / "journal").open("wb", buffering=0) as journal:

        def listen(event: RunEvent) -> None:
            if isinstance(event, StepStarted):
                begun[event.step] = time.perf_counter()
            journal.write(json.dumps(asdict(event), default=str).encode() + b"\n")
            os.fdatasync(journal.fileno())
            if isinstance(event, StepFinished):
                took.append(time.perf_counter() - begun[event.result.name])

        start = time.perf_counter()
        run_plan(
            plan,
            record,
            executor,
            SETTINGS,
            listeners=[listen],
            now=lambda: datetime.now(UTC),
            make_id=lambda now: "c",
        )
        return time.perf_counter() - start, took


def main() -> None:
    cases = {"chain of 100": chain(100), "200 independent": independent(200), "diamond 10 x 10": diamond(10, 10)}
    for name, needs in cases.items():
        for executor in (LocalExecutor(SETTINGS), NothingExecutor(SETTINGS)):
            whole, took = measure(needs, executor)
            kind = "no process" if isinstance(executor, NothingExecutor) else "true"
            print(f"{name:16} {kind:11} {whole:6.3f} s, a step {statistics.median(took) * 1000:5.2f} ms")


if __name__ == "__main__":
    main()
