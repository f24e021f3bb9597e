"""What is wrong between files: names that lead nowhere, circles, two files with one id."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Iterator, Mapping
from itertools import groupby
from typing import NamedTuple, Self

from dagtasks.errors import Finding, Loc, Problem, Severity
from dagtasks.model.names import did_you_mean
from dagtasks.model.summary import BindingSummary, TaskSummary, TemplateSummary
from dagtasks.model.values import JSON, Status
from dagtasks.planning import graph
from dagtasks.planning.calls import check_calls, check_value, required_of
from dagtasks.planning.index import Index, Row
from dagtasks.planning.references import ReferenceFault, find_called

CODES = {
    "DT201": "A folder below `tasks/` has no `project.yaml`. Create one (`dagtasks project create`).",
    "DT202": "A task names a phase that its project does not have. Create the phase or correct the name.",
    "DT203": "A task depends on an id that no task has. Correct the id, or remove the dependency.",
    "DT204": "Tasks depend on one another in a circle, so none of them could ever start. Remove one of the edges.",
    "DT205": "Two files have the same id. Ids are unique in a repository: rename one of the files.",
    "DT206": "A workflow or a step names a template that does not exist, or not in the version that is asked for. "
    "Correct the name or the version, or write the template.",
    "DT207": "A task is in progress or completed although a task that it depends on is still open.",
    "DT208": "A workflow or a step gives a template a parameter that it does not declare, or a value that does not "
    "fit, or leaves out a required one.",
}


HINTED_TASKS = 20
_OF_TEMPLATES = frozenset({"DT206", "DT208", "DT209", "DT212", "DT213", "DT214"})
_WORD = re.compile(r"[\w-]+")


class LinkFinding(NamedTuple):
    """A finding and the path of the file that it is about."""

    path: str
    finding: Finding


def check_links(index: Index, duplicates: Mapping[str, list[str]]) -> Iterator[LinkFinding]:
    """Everything that is wrong between the files of the index.

    `duplicates` holds, for each id that several files have, their paths in order.
    """
    yield from _check_duplicates(duplicates)
    yield from check_tasks(index, index.tasks.values())
    yield from _check_cycles(index)
    broken = _broken_names(index)
    for project in index.projects.values():
        for place, trigger in enumerate(project.triggers):
            bound = _Bound(("triggers", place), trigger.template, trigger.parameters, "give it here", is_rendered=True)
            yield from (LinkFinding(project.path, finding) for finding in _check_bound(index, bound, broken))
    for path, finding in check_calls(index, broken):
        yield LinkFinding(path, finding)


def check_tasks(index: Index, tasks: Iterable[TaskSummary]) -> Iterator[LinkFinding]:
    """What is wrong between these tasks and other files, but for circles and ids that several files have."""
    broken = _broken_names(index)
    phases = index.phases.keys() | {f"{file.project}/{file.id}" for file in index.broken if file.kind == "phase"}
    near = _NearTasks(index)
    for task in tasks:
        for finding in _check_task(index, task, phases, broken, near):
            yield LinkFinding(task.path, finding)


def _broken_names(index: Index) -> set[str]:
    return {name for file in index.broken for name in (file.id, file.path)}


def _check_duplicates(duplicates: Mapping[str, list[str]]) -> Iterator[LinkFinding]:
    for name, (first, *others) in duplicates.items():
        for path in others:
            message = f"{name!r} is taken by {first}"
            yield LinkFinding(path, Finding((), "DT205", message, "rename one of the two files"))


class _NearTasks:
    """Who may be meant by an unknown id. Each look at all ids takes long, so only the first few unknown ids get one."""

    def __init__(self, index: Index) -> None:
        self._index = index
        self._hints: dict[str, str] = {}

    def hint(self, name: str) -> str:
        if name not in self._hints and len(self._hints) < HINTED_TASKS:
            self._hints[name] = did_you_mean(name, self._index.tasks)
        return self._hints.get(name, "")


def _check_task(
    index: Index, task: TaskSummary, phases: Iterable[str], broken: set[str], near: _NearTasks
) -> Iterator[Finding]:
    if task.phase and f"{task.project}/{task.phase}" not in phases:
        yield _unknown_phase(index, task)
    for place, need in enumerate(task.depends_on):
        if need not in index.tasks and need not in broken:
            yield Finding(("depends_on", place), "DT203", f"there is no task {need!r}", near.hint(need))
    for binding in task.workflows:
        yield from _check_bound(index, _Bound.of(binding), broken)
    if task.status in (Status.IN_PROGRESS, Status.COMPLETED) and (needs := index.open_dependencies(task)):
        message = f"{task.status} although it depends on open tasks: {', '.join(needs)}"
        yield Finding(("status",), "DT207", message, severity=Severity.WARNING)


def _unknown_phase(index: Index, task: TaskSummary) -> Finding:
    known = [phase.key for phase in index.phases.values() if phase.project == task.project]
    listing = f"phases of {task.project}: {', '.join(known)}" if known else f"{task.project} has no phases yet"
    hint = did_you_mean(str(task.phase), known) or listing
    return Finding(("phase",), "DT202", f"project {task.project} has no phase {task.phase!r}", hint)


class _Bound(NamedTuple):
    """A template bound with parameters at a place of a file. `is_rendered`: they may hold expressions."""

    loc: Loc
    template: str
    parameters: Mapping[str, JSON]
    hint: str
    is_rendered: bool = False

    @classmethod
    def of(cls, binding: BindingSummary) -> Self:
        """A workflow of a task."""
        hint = "give it here, or with --param when you run it"
        return cls(("workflows", binding.name), binding.template, binding.parameters, hint)


def _check_bound(index: Index, bound: _Bound, broken: set[str]) -> Iterator[Finding]:
    try:
        template = find_called(bound.template, index.templates)
    except ReferenceFault as fault:
        if not {bound.template, bound.template.partition("@")[0]} & broken:
            yield Finding((*bound.loc, "template"), "DT206", fault.message, fault.hint)
        return
    for name, value in bound.parameters.items():
        loc = (*bound.loc, "parameters", name)
        if name not in template.parameters:
            hint = did_you_mean(name, template.parameters) or f"it has: {', '.join(template.parameters) or 'none'}"
            message = f"template {template.name} has no parameter {name!r}"
            yield Finding(loc, "DT208", message, hint, on_key=True)
        elif bound.is_rendered and _has_expression(value):
            yield from _check_rendered(index, template, name, loc)
        else:
            yield from check_value(template.parameters[name], value, loc, name)
    yield from _check_required(bound, template)


def _check_rendered(index: Index, template: TemplateSummary, name: str, loc: Loc) -> Iterator[Finding]:
    from dagtasks.planning.triggers import find_coded  # the language of expressions

    if name in find_coded(template, index.templates):
        message = f"template {template.name} runs `{name}` as code, and this makes it of what stands in tasks"
        yield Finding(loc, "DT309", message, "give it to a parameter that is data, or write the code itself here")


def _has_expression(value: JSON) -> bool:
    from dagtasks.model.parameter import has_expression  # as large an import as that of `check_value`

    return has_expression(value)


def _check_required(bound: _Bound, template: TemplateSummary) -> Iterator[Finding]:
    missing = [name for name in required_of(template) if bound.parameters.get(name) is None]
    if missing:
        message = f"template {template.name} needs {', '.join(missing)}"
        severity = Severity.ERROR if bound.is_rendered else Severity.NOTE
        yield Finding(bound.loc, "DT208", message, bound.hint, severity, on_key=True)


def _check_cycles(index: Index) -> Iterator[LinkFinding]:
    for cycle in graph.find_cycles({task.id: task.depends_on for task in index.tasks.values()}):
        task = index.tasks[cycle[0]]
        place = task.depends_on.index(cycle[1] if len(cycle) > 1 else cycle[0])
        message = f"tasks depend on one another in a circle: {' -> '.join([*cycle, cycle[0]])}"
        yield LinkFinding(task.path, Finding(("depends_on", place), "DT204", message, "remove one of these edges"))


def comes_from(problem: Problem, changed: Collection[str]) -> bool:
    """Whether the problem may come from a change of these files: it is in one of them, or between files and names one.

    Templates are called by a name of their own, so a change of any may bring what is wrong with a workflow.
    """
    if problem.path in changed:
        return True
    if not problem.code.startswith("DT2"):
        return False
    if problem.code in _OF_TEMPLATES and any(path.startswith("templates/") for path in changed):
        return True
    return not _names_of(changed, problem).isdisjoint(_WORD.findall(problem.message))


def _names_of(changed: Iterable[str], problem: Problem) -> set[str]:
    """The names that messages call the files by; a missing `project.yaml` is told by the folder."""
    if problem.code == "DT201":
        return {path.split("/")[1] for path in changed if "/" in path}
    return {path.rpartition("/")[2].removesuffix(".yaml") for path in changed}


def find_duplicates(rows: Iterable[Row]) -> dict[str, list[str]]:
    """Each id of a task and each name of a template that several files have, with their paths in order."""
    named = [(row.id, row.path) for row in rows if isinstance(row, TaskSummary)]
    named += [(row.name, row.path) for row in rows if isinstance(row, TemplateSummary)]
    groups = ((name, [path for _, path in group]) for name, group in groupby(sorted(named), key=lambda pair: pair[0]))
    return {name: paths for name, paths in groups if len(paths) > 1}
