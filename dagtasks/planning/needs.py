"""What templates read of their tasks, and tasks that do not have it. Worked out for `validate` alone: it is a note."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import NamedTuple

from dagtasks.errors import Finding, Severity
from dagtasks.model.summary import ReadSummary, TaskSummary
from dagtasks.model.values import JSON
from dagtasks.planning import graph
from dagtasks.planning.calls import Calls, PathFinding
from dagtasks.planning.index import Index

CODES = {
    "DT212": "A template needs something that tasks which use it do not have, so their runs would fail. Add it to "
    "them, or give another value with `??`.",
}

SHOWN = 5


class _User(NamedTuple):
    """A task that uses a template, and the parameters that it gives; None when it is used through another."""

    task: TaskSummary
    given: Mapping[str, JSON] | None = None

    def needs(self, parameter: str | None) -> bool:
        """Whether what is read is needed, when it is so only where that parameter is not given."""
        return parameter is None or (self.given is not None and self.given.get(parameter) is None)


def find_lacking(index: Index) -> Iterator[PathFinding]:
    """A note at each place of a template that reads what tasks which use it do not have."""
    reading = [template for template in index.templates.values() if template.reads]
    users = _find_users(index) if reading else {}
    for template in reading:
        for read in template.reads:
            if finding := _check_read(index, read, users.get(template.name, [])):
                yield template.path, finding


def _find_users(index: Index) -> Mapping[str, list[_User]]:
    """The tasks that use each template, directly or through others."""
    edges = Calls(index).edges
    direct: dict[str, list[_User]] = {}
    for task in index.tasks.values():
        for binding in task.workflows:
            if binding.template in edges:
                direct.setdefault(binding.template, []).append(_User(task, binding.parameters))
    users = {name: [*found] for name, found in direct.items()}
    for name, found in direct.items():
        for other in graph.reachable(edges, [name]) - {name}:
            users.setdefault(other, []).extend(_User(user.task) for user in found)
    return users


def _check_read(index: Index, read: ReadSummary, users: list[_User]) -> Finding | None:
    lacking = [user.task for user in users if user.needs(read.parameter) and not _has(index, user.task, read)]
    is_project = read.path[0] == "project"
    names = [*dict.fromkeys(task.project if is_project else task.id for task in lacking)]
    if not names:
        return None
    shown = ", ".join(names[:SHOWN]) + (f" and {len(names) - SHOWN} more" if len(names) > SHOWN else "")
    what = "phase" if read.path[0] == "phase" else f"`{'.'.join(read.path[1:])}`"
    message = f"{_count(len(names), is_project=is_project)} no {what}: {shown}"
    hint = f"write {'.'.join(read.path)} ?? 'another value'"
    return Finding(read.loc, "DT212", message, hint, Severity.NOTE, read.offset)


def _has(index: Index, task: TaskSummary, read: ReadSummary) -> bool:
    """Whether the task, its project or its phase has what is read."""
    root, *fields = read.path
    if root == "phase":
        return task.phase is not None
    owner = index.projects.get(task.project) if root == "project" else task
    value: JSON = dict(owner.metadata) if owner else {}
    for field in fields[1:]:
        if not isinstance(value, Mapping) or value.get(field) is None:
            return False
        value = value[field]
    return True


def _count(number: int, *, is_project: bool) -> str:
    if is_project:
        return f"{number} project{'s' * (number > 1)} whose tasks use this template {'have' if number > 1 else 'has'}"
    return f"{number} tasks that use this template have" if number > 1 else "1 task that uses this template has"
