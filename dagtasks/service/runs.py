"""Runs: choosing what to run, planning it, running it, and reading the records."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Generic, NamedTuple, TypeVar

from dagtasks.errors import Conflict, InvalidInput, InvalidProject, NotFound, has_errors
from dagtasks.language.expressions import parse_scalar
from dagtasks.language.parameters import merge, read_texts, read_values, resolve
from dagtasks.model.run import RunEvent, RunRecord
from dagtasks.model.summary import PhaseSummary, ProjectSummary, TaskSummary
from dagtasks.model.template import Template
from dagtasks.planning.index import Index
from dagtasks.planning.plan import Deferred, Plan, PlannedTemplate
from dagtasks.planning.planner import Surroundings, refuse
from dagtasks.planning.planner import make_plan as plan_of
from dagtasks.planning.trust import write_down
from dagtasks.service.links import find_task
from dagtasks.service.people import actor
from dagtasks.service.templates import find_template, plan_template, read_script, split_pair
from dagtasks.service.trust import NOBODY, Asking
from dagtasks.store.git import Head
from dagtasks.store.project import Project

T = TypeVar("T")
Listener = Callable[[RunEvent], None]


@dataclass(frozen=True)
class Selection:
    """What to run: a workflow of a task (the only one by default), or a template; and with which parameters.

    `values` are parameters of a template, weaker than all others; `written` what a file of the repository says of them,
    where that is something else (an expression). `given` are parameters as values, for whoever types no text, and
    `actor` is who asks for the run (None: the user of this machine).
    """

    task: str | None = None
    workflow: str | None = None
    template: str | None = None
    params: Sequence[str] = ()
    param_files: Sequence[str] = ()
    ignore_dependencies: bool = False
    values: Mapping[str, Any] = field(default_factory=dict)
    written: Mapping[str, Any] = field(default_factory=dict)
    trigger: str = "manual"
    given: Mapping[str, Any] = field(default_factory=dict)
    actor: str | None = None


def make_plan(project: Project, selection: Selection) -> Plan:
    """The plan of the selection; nothing is written and no engine asked.

    Raises `NotFound`, `Conflict` (an open dependency), `InvalidInput` (parameters), `InvalidProject` (files).
    """
    index = project.load()
    task = find_task(index, selection.task) if selection.task else None
    name, bound = _choose(task, selection)
    planned = plan_called(project, index, name)
    notes = _refuse_open(index, task, ignore=selection.ignore_dependencies) if task else []
    head, dirty = project.git.standing() if project.git else (Head(None, None), False)
    who = selection.actor or actor(project)
    now = {"commit": head.commit, "branch": head.branch, "dirty": dirty, "trigger": selection.trigger, "actor": who}
    scope = _scope(project, index, task, now)
    asked = _read_given(planned, bound, selection, scope)
    around = Surroundings(
        scope=scope,
        find_template=lambda called: plan_called(project, index, called),
        read_file=lambda path: read_script(project, path),
        task=task.id if task else None,
        workflow=_workflow_name(task, selection),
        commit=head.commit,
        branch=head.branch,
        dirty=dirty,
        notes=tuple(notes),
        bound=write_down({name: text for name, text in (selection.written or bound).items() if name not in asked}),
    )
    return plan_of(planned, merge(asked, bound), around)


def plan_called(project: Project, index: Index, name: str) -> PlannedTemplate:
    """The template for a plan. Raises `NotFound`, and `InvalidProject` when something is wrong with its calls."""
    row = find_template(index, name)
    if errors := [problem for problem in index.problems if problem.path == row.path and has_errors([problem])]:
        raise InvalidProject(f"template {row.name} cannot be used", problems=errors)
    return plan_template(project, row)


def _choose(task: TaskSummary | None, selection: Selection) -> tuple[str, Mapping[str, Any]]:
    """The template's name and the parameters that the binding gives."""
    if selection.template:
        if selection.workflow:
            raise InvalidInput("say either a workflow of the task or --template, not both")
        return selection.template, selection.values
    if task is None:
        raise InvalidInput("say a task, or a template with --template")
    name = _workflow_name(task, selection)
    binding = next((binding for binding in task.workflows if binding.name == name), None)
    if binding is None:
        known = ", ".join(binding.name for binding in task.workflows)
        hint = f"it has: {known}" if known else f"add one: dagtasks workflow add {task.id} NAME --template T"
        raise NotFound(f"{task.id} has no workflow {name!r}" if name else f"{task.id} has no workflow", hint=hint)
    return binding.template, binding.parameters


def _workflow_name(task: TaskSummary | None, selection: Selection) -> str | None:
    if task is None or selection.template:
        return None
    if selection.workflow is None and len(task.workflows) > 1:
        names = ", ".join(binding.name for binding in task.workflows)
        raise InvalidInput(f"{task.id} has several workflows: {names}", hint=f"say which: dagtasks run {task.id} NAME")
    return selection.workflow or next((binding.name for binding in task.workflows), None)


def _refuse_open(index: Index, task: TaskSummary, *, ignore: bool) -> list[str]:
    needs = index.open_dependencies(task)
    if needs and not ignore:
        raise Conflict(
            f"{task.id} depends on open tasks: {', '.join(needs)}",
            hint="complete or cancel them first, or say --ignore-dependencies",
        )
    return [f"{task.id} depends on open tasks: {', '.join(needs)}"] if needs else []


def _read_given(
    planned: PlannedTemplate, bound: Mapping[str, Any], selection: Selection, scope: Mapping[str, Any]
) -> dict[str, Any]:
    """The parameters that came with the command, the command line strongest, then its files of parameters.

    Raises `InvalidInput` when a text is of the wrong type, then with all else that is wrong with the parameters.
    """
    specs = Template.model_validate(planned.data).parameters
    read, typed = (
        read_texts(specs, [split_pair(pair) for pair in selection.params]),
        read_values(specs, selection.given),
    )
    from_files = {key: value for path in selection.param_files for key, value in _read_parameters(path).items()}
    given = merge(typed.values, read.values, from_files)
    if wrong := [*typed.findings, *read.findings]:
        told = {finding.loc for finding in wrong}
        others = [finding for finding in resolve(specs, merge(given, bound), scope).findings if finding.loc not in told]
        refuse([*wrong, *others], f"parameters of template {planned.name}")
    return given


def _read_parameters(path: str) -> dict[str, Any]:
    from dagtasks.store.documents import read_document

    document = read_document(Path(path), path)
    if document.data is None:
        raise InvalidProject(f"{path} cannot be read", problems=document.problems)
    return document.data


def _scope(project: Project, index: Index, task: TaskSummary | None, run: dict[str, Any]) -> dict[str, Any]:
    """The names that expressions see before the run has begun."""
    scope: dict[str, Any] = {"run": run}
    if task is None:
        return scope
    owner, phase = index.projects.get(task.project), index.phases.get(f"{task.project}/{task.phase}")
    scope["task"] = {**_plain(task), "description": project.read_task(task.path).description}
    scope["project"] = _plain(owner) if owner else None
    scope["phase"] = _plain(phase) if phase else None
    return scope


def _plain(row: ProjectSummary | PhaseSummary | TaskSummary) -> dict[str, Any]:
    data = row._asdict()
    data.pop("workflows", None)
    return json.loads(json.dumps(data))  # type: ignore[no-any-return]


def run(
    project: Project,
    selection: Selection,
    listeners: Sequence[Listener],
    *,
    waits: bool = True,
    asking: Asking = NOBODY,
) -> tuple[RunRecord, Sequence[str]]:
    """Run the selection to its end, and return its record and what a person should know about it.

    With `waits` False it does not wait for approvals: the record is then that of a run that waits.
    Raises as `make_plan` and `get_consent`, and `EngineUnavailable`; no record is made then.
    """
    from dagtasks.service.execution import Doing, execute

    plan = make_plan(project, selection)
    record, notes = execute(project, plan, Doing(tuple(listeners), waits, asking))
    return record, [*plan.notes, *notes]


class Ready(NamedTuple, Generic[T]):
    """What came of a task that can be started: `done`, or None and why it was not done."""

    done: T | None
    reason: str = ""


def for_each_ready(project: Project, do: Callable[[Selection], T]) -> Iterator[Ready[T]]:
    """Do it with each task that can be started and has a workflow, best first; also with those that this makes ready.

    A task with which it cannot be done keeps no other from it.
    """
    seen: set[str] = set()
    while task := _find_ready(project.load(), seen):
        seen.add(task.id)
        try:
            yield Ready(do(Selection(task.id)))
        except (Conflict, InvalidInput, InvalidProject, NotFound) as error:
            yield Ready(None, f"{task.id}: {error.message}" + (f" ({error.hint})" if error.hint else ""))


def _find_ready(index: Index, seen: set[str]) -> TaskSummary | None:
    rows = (index.tasks[start[-1]] for start in index.startable if start[-1] not in seen)
    return next((task for task in rows if task.workflows), None)


def plan_to_json(plan: Plan) -> dict[str, Any]:
    """The plan as `--json` shows it; values that are not known yet stand as `‹steps.x.output›`."""
    steps = [
        {
            "name": step.name,
            "kind": step.kind,
            "description": step.description,
            "depends_on": list(step.depends_on),
            "if": step.condition,
            "timeout": step.timeout,
            "continue_on_error": step.continue_on_error,
            "max_attempts": step.retry.max_attempts,
            "foreach": _shown(step.loop.foreach) if step.loop else None,
            "matrix": _shown(step.loop.matrix) if step.loop else {},
            "finally": step in plan.finally_,
            **{name: _shown(value) for name, value in step.inputs.items()},
        }
        for step in plan.all_steps
    ]
    template = {key: getattr(plan.template, key) for key in ("name", "version", "path", "blob")}
    return {
        "task": plan.task,
        "workflow": plan.workflow,
        "template": template,
        "parameters": plan.parameters,
        "commit": plan.commit,
        "branch": plan.branch,
        "dirty": plan.dirty,
        "steps": steps,
        "outputs": {name: _shown(output.value) for name, output in plan.outputs.items()},
        "notes": list(plan.notes),
    }


def _shown(value: Any) -> Any:
    if isinstance(value, Deferred):
        parts = parse_scalar(value.source).parts
        return "".join(part if isinstance(part, str) else f"‹{part.source[2:-1]}›" for part in parts)
    if isinstance(value, Mapping):
        return {key: _shown(item) for key, item in value.items()}
    if isinstance(value, tuple):
        return [_shown(item) for item in value]
    return value
