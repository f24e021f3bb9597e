"""From a document to the row of the index, or to the problems that keep it from being one."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from pydantic import ValidationError

from dagtasks.errors import Finding, Problem, worst_first
from dagtasks.model.fields import find_unknown_keys, findings_of
from dagtasks.model.project import Phase, Project
from dagtasks.model.summary import (
    BindingSummary,
    BrokenFile,
    PhaseSummary,
    ProjectSummary,
    TaskSummary,
    TriggerSummary,
    digest_description,
)
from dagtasks.model.task import Task
from dagtasks.planning.index import Row
from dagtasks.store.documents import Document
from dagtasks.store.layout import Kind, Place

Details = dict[str, Any]
"""The parts of a task that lists do without: `description`, and `workflows` with all that they bind."""

CODES = {
    "DT129": "A key in the file contradicts where the file lies: a task's id is its file name, its project the folder. "
    "Remove the key.",
}


class Reading(NamedTuple):
    """What a file gave: a row (a `BrokenFile` when it is wrong), its problems, and of a task what no row holds."""

    row: Row
    problems: list[Problem]
    details: Details | None = None


def read_row(found: Place, document: Document) -> Reading:
    """The row of the file at that place, and its problems at once: all of them, or as many as a file shows."""
    if document.data is None:
        return Reading(_broken(found), list(document.problems))
    row, findings, details = _ROWS[found.kind](found, document.data)
    problems = document.problems_for(worst_first(findings))
    return Reading(row, problems, details) if row is not None else Reading(_broken(found), problems)


def _broken(found: Place) -> BrokenFile:
    return BrokenFile(found.path, found.kind, found.id, found.project)


class _Result(NamedTuple):
    row: Row | None
    findings: list[Finding]
    details: Details | None = None


def _read_project(found: Place, data: Mapping[str, Any]) -> _Result:
    try:
        project = Project.model_validate(data)
    except ValidationError as error:
        return _Result(None, findings_of(error))
    gates = {str(status): tuple(names) for status, names in project.gates.items()}
    triggers = tuple(TriggerSummary(str(one.on), one.template, one.if_, one.parameters) for one in project.triggers)
    row = ProjectSummary(found.id, project.name, found.path, project.description, project.metadata, gates, triggers)
    return _Result(row, [*find_unknown_keys(project), *_check_triggers(project, triggers)])


def _check_triggers(project: Project, triggers: Sequence[TriggerSummary]) -> Iterator[Finding]:
    for place, (trigger, row) in enumerate(zip(project.triggers, triggers, strict=True)):
        # The language of expressions is a large import that most projects do without.
        from dagtasks.planning.triggers import check_trigger

        yield from find_unknown_keys(trigger, ("triggers", place))
        yield from check_trigger(row, ("triggers", place))


def _read_phase(found: Place, data: Mapping[str, Any]) -> _Result:
    try:
        phase = Phase.model_validate(data)
    except ValidationError as error:
        return _Result(None, findings_of(error))
    row = PhaseSummary(found.project or "", found.id, phase.name, found.path, phase.description, phase.order)
    return _Result(row, find_unknown_keys(phase))


def _read_task(found: Place, data: Mapping[str, Any]) -> _Result:
    try:
        task = Task.model_validate(data)
    except ValidationError as error:
        return _Result(None, findings_of(error))
    return _Result(summarise_task(found, task), list(_check_task(found, task, data)), details_of(task))


def summarise_task(found: Place, task: Task) -> TaskSummary:
    """The row of a task."""
    return TaskSummary(
        id=found.id,
        project=found.project or "",
        path=found.path,
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
            BindingSummary(name, binding.template, binding.parameters, tuple(map(str, binding.run_on)))
            for name, binding in task.workflows.items()
        ),
        description_digest=digest_description(task.description),
    )


def details_of(task: Task) -> Details:
    """What the row of the task does not hold."""
    workflows = {name: binding.model_dump(mode="json") for name, binding in task.workflows.items()}
    return {"description": task.description, "workflows": workflows}


def _check_task(found: Place, task: Task, data: Mapping[str, Any]) -> Iterator[Finding]:
    for key, right in (("id", found.id), ("project", found.project)):
        if key in data:
            message = f"`{key}` is not written into the file: it is {right!r} by the file's place"
            yield Finding((key,), "DT129", message, "remove the line", on_key=True)
    yield from (f for f in find_unknown_keys(task) if f.loc[0] not in ("id", "project"))
    for name, binding in task.workflows.items():
        yield from find_unknown_keys(binding, ("workflows", name))


def _read_template(found: Place, data: Mapping[str, Any]) -> _Result:
    # The template language is a large import that files of tasks do without.
    from dagtasks.planning.template import check_template

    return _Result(*check_template(found.path, data))


_ROWS: dict[Kind, Callable[[Place, Mapping[str, Any]], _Result]] = {
    Kind.PROJECT: _read_project,
    Kind.PHASE: _read_phase,
    Kind.TASK: _read_task,
    Kind.TEMPLATE: _read_template,
}
