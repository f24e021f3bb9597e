"""A realistic repository for the board's tests: files, runs, and any number of tasks without files."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import yaml

from dagtasks.board.data import BoardData
from dagtasks.errors import Problem
from dagtasks.model.run import Failure, RunRecord, StepRecord
from dagtasks.model.summary import (
    BindingSummary,
    BrokenFile,
    PhaseSummary,
    ProjectSummary,
    TaskSummary,
    TemplateSummary,
)
from dagtasks.model.task import Task
from dagtasks.model.values import Priority, RunState, Status, StepState
from dagtasks.planning.index import build_index

DESCRIPTION = """\
People land on `/login` from three places, and each sends another `next`.

## What has to work

- [x] the form keeps what was typed after a failure
- [ ] a wrong password says **nothing** about whether the account exists
- [ ] keyboard only, see web-7k2m9q

```python
def login(name: str) -> Session[int]: ...
```

| case | answer |
|---|---|
| right | 303 |
| wrong | 422 |

More in [the guide](https://example.org/guide).
"""

# id suffix: (name, status, priority, assignee, phase, due, labels, needs)
TASKS: dict[str, tuple[str, str, str, str | None, str | None, str | None, list[str], list[str]]] = {
    "3f8k2p": ("Collect what people ask for", "completed", "medium", "ann", "design", None, ["research"], []),
    "4g9m3q": ("Draw the sign-in flow", "completed", "high", "ben.okafor", "design", None, ["ux"], ["3f8k2p"]),
    "5h0n4r": ("Choose the colours and the type", "completed", "low", "ann", "design", None, ["ux", "brand"], []),
    "6j1p5s": ("A logo in three sizes", "cancelled", "low", None, "design", None, ["brand"], ["5h0n4r"]),
    "7k2m9q": (
        "Build the login page",
        "in_progress",
        "high",
        "ann",
        "build",
        "2026-11-28",
        ["ui", "auth", "a11y", "q4"],
        ["4g9m3q"],
    ),
    "8m3q7t": ("Store sessions on the server", "in_progress", "critical", "agent:coder", "build", None, ["api"], []),
    "9n4r8v": ("Limit the rate of failed sign-ins", "planned", "high", None, "build", None, ["api", "auth"], []),
    "0p5s9w": (
        "Send the mail that resets a password",
        "blocked",
        "critical",
        "Chen Li",
        "build",
        "2026-11-02",
        ["mail"],
        ["8m3q7t"],
    ),
    "1q6t0x": (
        "Measure how fast the first page is on a slow phone",
        "planned",
        "medium",
        "Chen Li",
        "launch",
        "2027-01-15",
        ["perf"],
        ["7k2m9q"],
    ),
    "2r7v1y": (
        "Write the page that explains accounts",
        "planned",
        "low",
        "ann",
        "launch",
        None,
        ["docs"],
        ["7k2m9q", "0p5s9w", "4g9m3q"],
    ),
    "3s8w2z": ("Tell everybody", "planned", "medium", None, "launch", "2027-02-01", [], ["1q6t0x", "2r7v1y"]),
    "4t9x30": ("Look at the bill for the cluster", "planned", "low", None, None, None, ["ops"], []),
}

TEMPLATES: dict[str, str] = {
    "basic_task": """\
metadata:
  name: basic_task
  description: Runs one command in a container.
  version: 1.2.0
  category: General
  tags: [shell]
parameters:
  task_name:
    type: string
    required: true
    description: What the run is called.
  task_command:
    type: string
    default: echo hello
    description: The command.
  retries:
    type: integer
    default: 0
    minimum: 0
    maximum: 5
steps:
  - name: run
    container:
      image: alpine:3.20
      command: ${task_command}
""",
    "pytest": """\
metadata:
  name: pytest
  description: Installs the package and runs its tests.
  version: 0.4.1
  category: Quality
steps:
  - name: install
    container:
      image: python:3.12-slim
      command: [pip, install, -e, .]
    timeout: 10m
  - name: test
    description: The whole suite, once.
    depends_on: [install]
    container:
      image: python:3.12-slim
      command: [pytest, -q]
outputs:
  report:
    value: ${steps.test.output}
""",
}


def task_text(name: str, **fields: Any) -> str:
    """A task file."""
    return yaml.safe_dump({"name": name, **fields}, sort_keys=False, allow_unicode=True)


def sample_files() -> dict[str, str]:
    """Project `web` with three phases, twelve tasks and two templates."""
    about = {"name": "Web site", "description": "The public site: accounts, sign-in, and the pages around it."}
    files = {"tasks/web/project.yaml": yaml.safe_dump({**about, "metadata": {"owner": "ann", "tier": 1}})}
    for order, (key, name) in enumerate({"design": "Design", "build": "Build", "launch": "Launch"}.items()):
        files[f"tasks/web/phases/{key}.yaml"] = yaml.safe_dump({"name": name, "order": order})
    for suffix, (name, status, priority, assignee, phase, due, labels, needs) in TASKS.items():
        files[f"tasks/web/web-{suffix}.yaml"] = task_text(
            name,
            status=status,
            priority=priority,
            assignee=assignee,
            phase=phase,
            due=due,
            labels=labels,
            depends_on=[f"web-{need}" for need in needs],
            **(_more() if suffix == "7k2m9q" else {}),
        )
    return files | {f"templates/{name}.yaml": text for name, text in TEMPLATES.items()}


def _more() -> dict[str, Any]:
    parameters = {"task_name": "login", "task_command": "npm test -- --run login"}
    return {
        "description": DESCRIPTION,
        "metadata": {"package": "web", "estimate": 3, "reviewers": ["ben.okafor", "Chen Li"]},
        "workflows": {
            "check": {"template": "basic_task", "parameters": parameters},
            "test": {"template": "pytest"},
        },
    }


BROKEN = {
    "tasks/web/web-5v0y4a.yaml": "name: Half a file\nstatus: [planned\n",
    "tasks/web/web-6w1z5b.yaml": "name: Wrong status\nstatus: soon\n",
}


def write_files(root: Path, files: Mapping[str, str]) -> None:
    """Put the files below `root`."""
    for path, text in files.items():
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_text(text, "utf-8")


def sample_runs() -> list[RunRecord]:
    """A run that went well, one that failed, and one that goes on."""
    template = {"name": "pytest", "version": "0.4.1", "blob": "4f1c"}
    log = "\x1b[32mcollected 212 items\x1b[0m\n" + "." * 60 + "\nE   assert 303 == 500\n1 failed, 211 passed\n"
    return [
        RunRecord(
            id="20261123t091500-k3f9ab",
            template=template,
            engine="dagger",
            started_at="2026-11-23T09:15:00Z",
            status=RunState.FAILED,
            task="web-7k2m9q",
            workflow="test",
            duration=74.2,
            steps=(
                StepRecord(
                    "install",
                    StepState.SUCCEEDED,
                    attempts=1,
                    exit_code=0,
                    duration=12.4,
                    output="Successfully installed web-0.1",
                    image="python:3.12-slim",
                    cached=True,
                ),
                StepRecord(
                    "test",
                    StepState.FAILED,
                    attempts=2,
                    exit_code=1,
                    duration=61.8,
                    output=log,
                    stderr="warning: slow test",
                    error=Failure("exit_code", "the command ended with 1"),
                ),
                StepRecord("report", StepState.OMITTED),
            ),
            error=Failure("exit_code", "step test ended with 1"),
            actor="ann",
            commit="9f2b1c7e00aa11bb22cc",
            branch="main",
        ),
        RunRecord(
            id="20261122t180000-z0q1cd",
            template={"name": "basic_task", "version": "1.2.0"},
            engine="dagger",
            started_at="2026-11-22T18:00:00Z",
            status=RunState.SUCCEEDED,
            task="web-7k2m9q",
            workflow="check",
            duration=3.31,
            parameters={"task_name": "login", "task_command": "npm test"},
            outputs={"report": {"passed": 12, "failed": 0}},
            steps=(StepRecord("run", StepState.SUCCEEDED, attempts=1, exit_code=0, duration=3.2, output="ok\n"),),
            actor="ann",
            trigger="task.started",
        ),
        RunRecord(
            id="20261123t100000-m4n5ef",
            template={"name": "nightly"},
            engine="local",
            started_at="2026-11-23T10:00:00Z",
            status=RunState.RUNNING,
            steps=(StepRecord("a", StepState.RUNNING, attempts=1), StepRecord("b")),
        ),
    ]


def many_tasks(count: int) -> BoardData:
    """A board of `count` tasks in two projects of four phases each, without files."""
    projects = [ProjectSummary(key, f"Project {key}", f"tasks/{key}/project.yaml") for key in ("web", "api")]
    phases = [
        PhaseSummary(project.key, f"part{n}", f"Part {n}", f"tasks/{project.key}/phases/part{n}.yaml", order=n)
        for project in projects
        for n in range(4)
    ]
    tasks = [_numbered(number) for number in range(count)]
    text = "Some words about it.\n\n- one\n- two\n\nSee `docs/guide.md` and **do** it.\n" * 3
    return BoardData(
        index=build_index([*projects, *phases, *tasks], []),
        read_description=lambda _: text,
        commit="9f2b1c7e00aa11bb22cc",
        as_of="2026-11-23T12:00:00Z",
    )


def task_id(number: int) -> str:
    """The id of a numbered task: even ones belong to `web`, odd ones to `api`."""
    return f"{'web' if number % 2 == 0 else 'api'}-{number:06d}"


def _numbered(number: int) -> TaskSummary:
    project = task_id(number).partition("-")[0]
    return TaskSummary(
        id=task_id(number),
        project=project,
        path=f"tasks/{project}/{task_id(number)}.yaml",
        name=f"Do the thing with number {number} and then look whether it holds",
        status=list(Status)[number % 5],
        priority=list(Priority)[number % 4],
        assignee=("ann", "Ben Okafor", None)[number % 3],
        phase=f"part{number % 8 // 2}",
        due="2026-12-01" if number % 7 == 0 else None,
        labels=("ui", "area-one", "q4")[: number % 4],
        depends_on=tuple(task_id(other) for other in range(max(0, number - number % 4), number)),
        metadata={"points": 3},
    )


def sample_data(**changes: Any) -> BoardData:
    """The sample without files: two broken ones among them."""
    texts = sample_files()
    tasks = {
        Path(path).stem: Task.model_validate(yaml.safe_load(text)) for path, text in texts.items() if is_task(path)
    }
    templates = {name: yaml.safe_load(text) for name, text in TEMPLATES.items()}
    phases = {Path(path).stem: yaml.safe_load(text) for path, text in texts.items() if "/phases/" in path}
    project = yaml.safe_load(texts["tasks/web/project.yaml"])
    rows = [
        ProjectSummary("web", project["name"], "tasks/web/project.yaml", project["description"], project["metadata"]),
        *(
            PhaseSummary("web", key, p["name"], f"tasks/web/phases/{key}.yaml", "", p["order"])
            for key, p in phases.items()
        ),
        *(summarise(task_id, task) for task_id, task in tasks.items()),
        *(summarise_template(name, data) for name, data in templates.items()),
        *(BrokenFile(path, "task", Path(path).stem, "web") for path in BROKEN),
    ]
    problems = [
        Problem("tasks/web/web-5v0y4a.yaml", 3, 1, "DT102", "the list that begins in line 2 has no end", "add `]`"),
        Problem("tasks/web/web-6w1z5b.yaml", 2, 9, "DT122", "'soon' is not a status; allowed: planned, blocked"),
    ]
    index = build_index(rows, problems)
    data = BoardData(
        index=index,
        problems=index.problems,
        read_description=lambda name: tasks[name].description,
        templates=templates,
        runs=sample_runs(),
        commit="9f2b1c7e00aa11bb22cc",
        as_of="2026-11-23T12:00:00Z",
    )
    return replace(data, **changes)


def is_task(path: str) -> bool:
    """Whether the path of the sample is that of a task."""
    return path.startswith("tasks/web/web-")


def summarise(task_id: str, task: Task) -> TaskSummary:
    """The row of the index for a task."""
    return TaskSummary(
        id=task_id,
        project=task_id.partition("-")[0],
        path=f"tasks/web/{task_id}.yaml",
        name=task.name,
        status=task.status,
        priority=task.priority,
        assignee=task.assignee,
        phase=task.phase,
        due=task.due,
        labels=task.labels,
        depends_on=task.depends_on,
        metadata=task.metadata,
        workflows=tuple(
            BindingSummary(name, each.template, each.parameters, tuple(each.run_on))
            for name, each in task.workflows.items()
        ),
    )


def summarise_template(name: str, data: Mapping[str, Any]) -> TemplateSummary:
    """The row of the index for a template."""
    about = data["metadata"]
    return TemplateSummary(
        name=name,
        path=f"templates/{name}.yaml",
        type="containerized_workflow",
        version=about.get("version"),
        description=about.get("description", ""),
        category=about.get("category"),
        tags=tuple(about.get("tags", ())),
        parameters=tuple(data.get("parameters", {})),
    )
