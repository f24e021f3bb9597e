"""What the scheduler and the local engine cost, with a journal that is fsynced at every event, beside other tools.

    python benchmarks/scheduler.py

Budgets: at most 2 floors, and ahead of doit and go-task, where these are on the PATH; a no-op step 5 ms.
"""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import statistics
import subprocess
import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from dagtasks.engine.desk import Desk
from dagtasks.engine.executor import ExecResult, OutputSink
from dagtasks.engine.local import LocalExecutor
from dagtasks.engine.scheduler import Job, run_plan
from dagtasks.model.run import RunEvent, RunRecord, StepRecord
from dagtasks.planning.plan import ExecRequest, Plan, PlannedTemplate, PlanStep
from dagtasks.settings import EngineSettings

INPUTS = {"image": "alpine", "argv": ("true",), "env": {}, "success_exit_codes": (0,)}
SETTINGS = EngineSettings(name="local", max_parallel=2)
RUNS = 5
Needs = dict[str, tuple[str, ...]]


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


def measure_run(needs: Needs, executor: LocalExecutor) -> float:
    """Seconds of the whole run, with two events a step written and brought to disk."""
    plan = plan_of(needs)
    record = RunRecord("r", {}, "local", "", steps=tuple(StepRecord(step.name) for step in plan.steps))
    with tempfile.TemporaryDirectory() as folder, (Path(folder) / "journal").open("wb", buffering=0) as journal:

        def listen(event: RunEvent) -> None:
            journal.write(json.dumps(asdict(event), default=str).encode() + b"\n")
            os.fdatasync(journal.fileno())

        desk = Desk((listen,), lambda: datetime.now(UTC), lambda now: "r-2")
        begun = time.perf_counter()
        done = run_plan(Job(plan, record), executor, SETTINGS, desk)
        assert done.status == "succeeded", done.error
        return time.perf_counter() - begun


def measure_floor(needs: Needs) -> float:
    """The least that Python can do: asyncio starts the same processes in the same order, and writes the same lines."""

    async def run_all(journal: Any) -> None:
        places = asyncio.Semaphore(SETTINGS.max_parallel)
        ended = {name: asyncio.Event() for name in needs}

        async def run_one(name: str) -> None:
            for need in needs[name]:
                await ended[need].wait()
            async with places:
                write(journal, name)
                process = await asyncio.create_subprocess_exec("true", stdout=-1, stderr=-1)
                await process.communicate()
                write(journal, name)
            ended[name].set()

        await asyncio.gather(*map(run_one, needs))

    def write(journal: Any, name: str) -> None:
        journal.write(json.dumps({"step": name, "state": "x" * 300}).encode() + b"\n")
        os.fdatasync(journal.fileno())

    with tempfile.TemporaryDirectory() as folder, (Path(folder) / "journal").open("wb", buffering=0) as journal:
        begun = time.perf_counter()
        asyncio.run(run_all(journal))
        return time.perf_counter() - begun


def measure_command(write: Callable[[Path, Needs], None], *command: str) -> Callable[[Needs], float | None]:
    """Seconds that another tool takes for the same steps, over what it takes for one; None where it is not there."""

    def time_of(needs: Needs) -> float:
        with tempfile.TemporaryDirectory() as folder:
            write(Path(folder), needs)
            begun = time.perf_counter()
            subprocess.run(command, cwd=folder, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
            return time.perf_counter() - begun

    def measure(needs: Needs) -> float | None:
        return time_of(needs) - time_of({"one": ()}) if shutil.which(command[0]) else None

    return measure


def write_makefile(folder: Path, needs: Needs) -> None:
    rules = (f"{name}: {' '.join(of)}\n\t@/bin/true\n" for name, of in needs.items())
    text = f".PHONY: all {' '.join(needs)}\nall: {' '.join(needs)}\n" + "".join(rules)
    (folder / "Makefile").write_text(text)


def write_dodo(folder: Path, needs: Needs) -> None:
    text = "def task_s():\n" + "".join(
        f"    yield {{'name': {name!r}, 'actions': [['true']], 'task_dep': {[f's:{need}' for need in of]!r}}}\n"
        for name, of in needs.items()
    )
    (folder / "dodo.py").write_text(text)


def write_taskfile(folder: Path, needs: Needs) -> None:
    tasks = {
        name: {"deps": [{"task": need} for need in of], "cmds": ["true"], "run": "once"} for name, of in needs.items()
    }
    tasks["default"] = {"deps": [{"task": name} for name in needs]}
    (folder / "Taskfile.yml").write_text(json.dumps({"version": "3", "silent": True, "tasks": tasks}))


OTHERS = {
    "make -j2": measure_command(write_makefile, "make", "-j2"),
    "doit -n 2 -P thread": measure_command(write_dodo, "doit", "-n", "2", "-P", "thread"),
    "go-task -C 2": measure_command(write_taskfile, "task", "-C", "2"),
}
SHAPES = {"200 independent": independent(200), "chain of 100": chain(100), "diamond 10 x 10": diamond(10, 10)}


def main() -> None:
    """Print ms a step over start-up, the median of `RUNS` runs in turns, and the ratio to the floor."""
    rows: dict[str, Callable[[Needs], float | None]] = {
        "asyncio (the floor)": measure_floor,
        "dagtasks": lambda needs: (
            measure_run(needs, LocalExecutor(SETTINGS)) - measure_run({"one": ()}, LocalExecutor(SETTINGS))
        ),
        "dagtasks, no process": lambda needs: measure_run(needs, NothingExecutor(SETTINGS)),
        **OTHERS,
    }
    for label, needs in SHAPES.items():
        took: dict[str, list[float]] = {}
        for _ in range(RUNS):
            for name, measure in rows.items():
                if (seconds := measure(needs)) is not None:
                    took.setdefault(name, []).append(seconds)
        medians = {name: statistics.median(found) for name, found in took.items()}
        floor = medians["asyncio (the floor)"]
        print(f"\n{label}, {len(needs)} steps, {os.cpu_count()} processors")
        for name, seconds in medians.items():
            print(
                f"  {name:<22} {seconds * 1000 / len(needs):6.2f} ms a step  {seconds:6.2f} s  {seconds / floor:5.2f} floors"
            )


if __name__ == "__main__":
    main()
