"""Claims: taking a task so that nobody else has it."""

from __future__ import annotations

from datetime import date
from shlex import quote
from typing import TYPE_CHECKING, cast

from dagtasks.errors import Conflict
from dagtasks.model.summary import TaskSummary
from dagtasks.model.values import Status
from dagtasks.planning.index import Index
from dagtasks.planning.ready import next_tasks, why_not_ready
from dagtasks.service.documents import edit_document, row_of
from dagtasks.service.fields import Edit
from dagtasks.service.gates import refuse_closed_gates
from dagtasks.service.links import find_task, with_row
from dagtasks.service.people import name_or_me
from dagtasks.service.saving import Change, FileChange, Saved, WriteSettings, save
from dagtasks.service.tasks import row_to_json
from dagtasks.store.layout import Kind, Place
from dagtasks.store.project import Project

if TYPE_CHECKING:
    from dagtasks.store.documents import Document


def claim(project: Project, text: str, settings: WriteSettings, assignee: str | None = None) -> Saved:
    """Make the task in progress, by the assignee (else by Git's user); nothing when it is that already.

    Raises `NotFound`, and `Conflict` when somebody else has it or it cannot be started.
    """
    name = name_or_me(project, assignee)

    def make() -> Change:
        index = project.load_around(text)
        task = find_task(index, text)
        if reason := _why_not(index, task, name):
            raise Conflict(reason, hint=_next_hint(project.load(), task, assignee))
        refuse_closed_gates(project, index, task._replace(status=Status.IN_PROGRESS), task.status)
        return _change(index, task, project.read_document(task.path), name)

    return save(project, f"task claim {text}", make, settings)


def _why_not(index: Index, task: TaskSummary, name: str) -> str:
    """Why the task cannot be claimed; empty when it can, or has been by the same."""
    if task.status is Status.IN_PROGRESS:
        return (
            "" if task.assignee == name else f"{task.id} is in progress, claimed by {task.assignee or 'nobody named'}"
        )
    if reason := why_not_ready(index, task):
        return f"{task.id} cannot be claimed: it {reason}"
    return "" if task.assignee in (None, name) else f"{task.id} is planned for {task.assignee}"


def _next_hint(index: Index, refused: TaskSummary, assignee: str | None) -> str:
    """What to claim instead."""
    for task in next_tasks(index, assignee):
        if task.id != refused.id:
            who = f" --as {quote(assignee)}" if assignee else ""
            return f"{task.id} is ready ({task.name}): dagtasks task claim {task.id}{who}"
    return "nothing else can be started now: see `dagtasks task next --explain`"


def _change(index: Index, task: TaskSummary, document: Document, name: str) -> Change:
    found = Place(task.path, Kind.TASK, task.id, task.project)
    edits = [Edit("set", ("status",), str(Status.IN_PROGRESS)), Edit("set", ("assignee",), name)]
    content = edit_document(document, found, edits)
    after = cast(TaskSummary, row_of(found, content))
    data = row_to_json(with_row(index, after), after, date.today())  # noqa: DTZ011 - due dates are the user's days
    return Change([FileChange(task.path, content)], f"{task.id}: claimed by {name}", "task", data)
