"""What the scheduler and the local engine cost, with a journal that is fsynced at every event, beside other tools.

    python benchmarks/scheduler.py

Prints tables of Markdown in about two minutes. A figure is what a run takes over a run of one step, the median of 5 in
turns. doit (`pip install doit`, in an environment of its own) and go-task (`go install
github.com/go-task/task/v3/cmd/task@latest`) are measured when they are on the PATH. Only our steps and the floor's are
written to disk one by one. "CPU" is the time of all processors, in which a busy disk or another program costs nothing.
"""

from __future__ import annotations

import asyncio
import json
import os
import resource
import shutil
import statistics
import subprocess
import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

from dagtasks.engine.desk import Desk
from dagtasks.engine.executor import ExecResult, OutputSink
from dagtasks.engine.local import LocalExecutor
from dagtasks.engine.scheduler import Job, run_plan
from dagtasks.model.run import RunEvent, RunRecord, StepRecord
from dagtasks.planning.plan import ExecRequest, Plan, PlannedTemplate, PlanStep
from dagtasks.service.runs import Selection, make_plan
from dagtasks.service.setup import init
from dagtasks.settings import EngineSettings
from dagtasks.store.project import Project

INPUTS: dict[str, Any] = {"image": "alpine", "argv": ("true",), "env": {}, "success_exit_codes": (0,)}
SETTINGS = EngineSettings(name="local", max_parallel=2)
RUNS = 5
Needs = dict[str, tuple[str, ...]]
TEMPLATE = """\
metadata: {{name: {name}, description: Measured, version: 1.0.0}}
parameters:
  word: {{type: string, description: A word, default: hello}}
steps:
"""


class Figure(NamedTuple):
    seconds: float
    cpu: float


class Row(NamedTuple):
    """A tool with what it may take of the floor, if that is limited."""

    label: str
    run: Callable[[Needs], object]
    floors: float | None = None
    command: str | None = None


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


def cpu_time() -> float:
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(one.ru_utime + one.ru_stime for one in used)


def measure(action: Callable[..., object], *arguments: object) -> Figure:
    begun, used = time.perf_counter(), cpu_time()
    action(*arguments)
    return Figure(time.perf_counter() - begun, cpu_time() - used)


def run_ours(needs: Needs, executor: LocalExecutor) -> None:
    """The whole run, with two events a step written and brought to disk."""
    plan = plan_of(needs)
    record = RunRecord("r", {}, "local", "", steps=tuple(StepRecord(step.name) for step in plan.steps))
    with tempfile.TemporaryDirectory() as folder, (Path(folder) / "journal").open("wb", buffering=0) as journal:

        def listen(event: RunEvent) -> None:
            journal.write(json.dumps(asdict(event), default=str).encode() + b"\n")
            os.fdatasync(journal.fileno())

        desk = Desk((listen,), lambda: datetime.now(UTC), lambda now: "r-2")
        done = run_plan(Job(plan, record), executor, SETTINGS, desk)
        assert done.status == "succeeded", done.error


def run_floor(needs: Needs) -> None:
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
        asyncio.run(run_all(journal))


def run_command(write: Callable[[Path, Needs], None], *command: str) -> Callable[[Needs], None]:
    """What runs the same steps with another tool."""

    def run(needs: Needs) -> None:
        with tempfile.TemporaryDirectory() as folder:
            write(Path(folder), needs)
            subprocess.run(command, cwd=folder, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    return run


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


ROWS = (
    Row("a floor of asyncio", run_floor),
    Row("dagtasks", lambda needs: run_ours(needs, LocalExecutor(SETTINGS)), 2),
    Row("dagtasks, no process started", lambda needs: run_ours(needs, NothingExecutor(SETTINGS))),
    Row("make -j2", run_command(write_makefile, "make", "-j2"), command="make"),
    Row("doit -n 2 -P thread", run_command(write_dodo, "doit", "-n", "2", "-P", "thread"), command="doit"),
    Row("go-task -C 2", run_command(write_taskfile, "task", "-C", "2"), command="task"),
)
ONE: Needs = {"one": ()}
SHAPES = {"200 independent": independent(200), "chain of 100": chain(100), "diamond 10 x 10": diamond(10, 10)}


def measure_shape(needs: Needs) -> dict[str, Figure]:
    """What each tool that is there takes for a step, over its start."""
    found: dict[str, list[Figure]] = {}
    for _ in range(RUNS):
        for row in ROWS:
            if row.command is None or shutil.which(row.command):
                all_, one = measure(row.run, needs), measure(row.run, ONE)
                over = [(whole - start) / (len(needs) - 1) for whole, start in zip(all_, one, strict=True)]
                found.setdefault(row.label, []).append(Figure(*over))
    return {label: Figure(*map(statistics.median, zip(*figures, strict=True))) for label, figures in found.items()}


def show_steps() -> None:
    print(f"{os.cpu_count()} processors, `max_parallel: 2`, ms a step.\n")
    print("| steps | with | ms | floors | CPU | floors | |\n|---|---|---|---|---|---|---|")
    for shape, needs in SHAPES.items():
        figures = measure_shape(needs)
        floor = figures[ROWS[0].label]
        for row in ROWS:
            if row.label not in figures:
                print(f"| {shape} | {row.label} | | | | | it is not on this machine |")
                continue
            took = figures[row.label]
            floors = [took.seconds / floor.seconds, took.cpu / floor.cpu]
            cells = f"{took.seconds * 1000:.1f} | {floors[0]:.1f} | {took.cpu * 1000:.1f} | {floors[1]:.1f}"
            print(f"| {shape} | {row.label} | {cells} | {verdict(floors[0], row.floors)} |")


def verdict(value: float, limit: float | None) -> str:
    return "" if limit is None else "reached" if value <= limit else "**missed**"


def write_template(root: Path, name: str, needs: Needs) -> None:
    steps = (
        f"  - name: {step}\n    container: {{image: 'alpine:3.20', command: [echo, '${{word}}']}}\n"
        f"    depends_on: [{', '.join(of)}]\n"
        for step, of in needs.items()
    )
    (root / f"templates/{name}.yaml").write_text(TEMPLATE.format(name=name) + "".join(steps))


def show_plans() -> None:
    """Print what planning takes: with files that are new and have to be checked, and with the same once more."""
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        subprocess.run(["git", "init", "--quiet", folder], check=True)
        init(root)
        write_template(root, "edges", {f"s{n}": tuple(f"s{m}" for m in range(max(0, n - 20), n)) for n in range(500)})
        plans = {"10,000 edges between 500 steps": (["edges"], 1), "100 templates of 10 steps": ([], 2)}
        for number in range(100):
            write_template(root, f"small{number}", chain(10))
            plans["100 templates of 10 steps"][0].append(f"small{number}")
        commit = ["-c", "user.name=a", "-c", "user.email=a@b", "commit", "--quiet", "--message", "templates"]
        for words in (["add", "."], commit):
            subprocess.run(["git", "-C", folder, *words], check=True)
        print("\n| planned | at most | at first | again | CPU again | |\n|---|---|---|---|---|---|")
        for label, (names, limit) in plans.items():
            first, again = measure(plan_all, root, names), measure(plan_all, root, names)
            cells = f"{limit} s | {first.seconds:.2f} s | {again.seconds:.2f} s | {again.cpu:.2f} s"
            print(f"| {label} | {cells} | {verdict(again.seconds, limit)} |")


def plan_all(root: Path, names: list[str]) -> None:
    for name in names:
        make_plan(Project(root), Selection(template=name))


if __name__ == "__main__":
    for name in [name for name in os.environ if name.startswith("GIT_")]:
        del os.environ[name]  # with one of them, each command of Git is started twice
    show_steps()
    show_plans()
