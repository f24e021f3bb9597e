"""What can be started now, best first, and why the rest cannot."""

from __future__ import annotations

from collections.abc import Iterator

from dagtasks.model.summary import TaskSummary
from dagtasks.model.values import Priority, Status
from dagtasks.planning.index import Index

_RANK = {priority: rank for rank, priority in enumerate(reversed(Priority))}


def next_tasks(index: Index, assignee: str | None = None) -> list[TaskSummary]:
    """The ready tasks: highest priority first, then what most tasks wait for, then the earliest due, then by id.

    With an assignee: the tasks of that one and those of nobody.
    """
    ready = [task for task in index.tasks.values() if index.is_ready(task) and _suits(task, assignee)]
    return sorted(ready, key=lambda task: _rank(index, task))


def _suits(task: TaskSummary, assignee: str | None) -> bool:
    return assignee is None or task.assignee in (None, assignee)


def _rank(index: Index, task: TaskSummary) -> tuple[int, int, str, str]:
    return _RANK[task.priority], -count_unblocked(index, task), task.due or "9999", task.id


def count_unblocked(index: Index, task: TaskSummary) -> int:
    """How many open tasks depend on this one directly.

    Not through others: that would take a walk through the whole graph for each ready task.
    """
    return index.unblocks.get(task.id, 0)


def explain(index: Index) -> Iterator[tuple[TaskSummary, str]]:
    """Each open task that is not ready, with the reason."""
    for task in index.tasks.values():
        if task.status.is_open and not index.is_ready(task):
            yield task, why_not_ready(index, task)


def why_not_ready(index: Index, task: TaskSummary) -> str:
    """Why the task cannot be started, in a few words; empty when it can."""
    if task.status is not Status.PLANNED:
        return f"is {task.status}"
    needs = [f"{need} ({_state(index, need)})" for need in index.open_dependencies(task)]
    return f"waits for {', '.join(needs)}" if needs else ""


def _state(index: Index, need: str) -> str:
    task = index.tasks.get(need)
    return task.status if task else "no such task"
