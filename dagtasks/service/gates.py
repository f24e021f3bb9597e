"""Gates: a status that a project allows only when workflows of the task have succeeded on what is there now."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from dagtasks.errors import Conflict, Finding, Problem
from dagtasks.model.summary import BindingSummary, TaskSummary
from dagtasks.model.values import RunState, Status
from dagtasks.planning.index import Index
from dagtasks.store.layout import TASKS
from dagtasks.store.project import Project

if TYPE_CHECKING:
    from dagtasks.model.run import RunRecord

CODES = {
    "DT211": "A task got a status that its project allows only when a workflow has succeeded (`gates`), and that "
    "workflow has not, or not on what is there now. Run it, or give the task its old status back.",
}


def check_gates(project: Project, index: Index, before: Index) -> Iterator[Problem]:
    """A problem for each task that got its status since `before` although the gate was closed."""
    for task in index.tasks.values():
        old = before.tasks.get(task.id)
        if gates_of(index, task) and (old is None or old.status is not task.status):
            findings = [
                Finding(("status",), "DT211", f"{task.status} although {reason}", f"dagtasks run {task.id}")
                for reason in find_closed_gates(project, index, task)
            ]
            yield from project.read_document(task.path).problems_for(findings) if findings else ()


def refuse_closed_gates(project: Project, index: Index, task: TaskSummary, before: Status | None) -> None:
    """Raise `Conflict` when the task gets a status whose gate is closed; all reasons are named."""
    if task.status is before:
        return
    reasons = list(find_closed_gates(project, index, task))
    if reasons:
        names = gates_of(index, task)
        hint = f"run it: dagtasks run {task.id} {names[0]}"
        raise Conflict(f"{task.id} cannot become {task.status}: {'; '.join(reasons)}", hint=hint)


def find_closed_gates(project: Project, index: Index, task: TaskSummary) -> Iterator[str]:
    """Why the task may not have the status that it has: a reason for each workflow that its project wants first."""
    for name in gates_of(index, task):
        if reason := _why_closed(project, task, name):
            yield reason


def gates_of(index: Index, task: TaskSummary) -> Sequence[str]:
    """The workflows that have to succeed before the task may have the status that it has."""
    owner = index.projects.get(task.project)
    return owner.gates.get(task.status, ()) if owner else ()


def _why_closed(project: Project, task: TaskSummary, name: str) -> str:
    binding = next((binding for binding in task.workflows if binding.name == name), None)
    if binding is None:
        return f"it has no workflow {name}, which {task.project} wants to succeed before"
    last = _find_last_run(project, task.id, name)
    if last is None:
        return f"workflow {name} has not run"
    if last.status is not RunState.SUCCEEDED:
        return f"the last run of workflow {name} is {last.status} ({last.id})"
    if not _is_of_now(project, last, binding):
        return f"what workflow {name} last ran on has changed since ({last.id})"
    return ""


def _find_last_run(project: Project, task: str, workflow: str) -> RunRecord | None:
    if project.git is None:
        return None
    runs = (record for record in project.runs.newest() if not record.parent)
    return next((record for record in runs if (record.task, record.workflow) == (task, workflow)), None)


def _is_of_now(project: Project, run: RunRecord, binding: BindingSummary) -> bool:
    """Whether nothing but files below `tasks/` has changed since the run, and the task binds the same as then."""
    bound: Any = binding.parameters
    is_bound_so = all(run.parameters.get(name) == value for name, value in bound.items())
    return is_bound_so and run.content is not None and run.content == project.get_git().content_id(TASKS)
