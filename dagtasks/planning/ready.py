"""What can be started now, best first, and why the rest cannot."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Set
from typing import TYPE_CHECKING

from dagtasks.model.summary import TaskSummary
from dagtasks.model.values import Priority, Status

if TYPE_CHECKING:
    from dagtasks.planning.index import Index

_RANK = {priority: rank for rank, priority in enumerate(reversed(Priority))}

Start = tuple[int, int, str, str]
"""Where a ready task stands: its priority's rank, minus how many open tasks depend on it directly, day, id."""


def make_start(task: TaskSummary, unblocks: Mapping[str, int]) -> Start:
    """Where the task stands among those that are ready: what is least comes first.

    Tasks that depend on it through others do not count: that would take a walk through the whole graph for each.
    """
    return _RANK[task.priority], -unblocks.get(task.id, 0), task.due or "9999", task.id


def next_tasks(index: Index, assignee: str | None = None) -> Iterator[tuple[TaskSummary, int]]:
    """The ready tasks: highest priority first, then what most tasks wait for, then the earliest due, then by id.

    Each comes with how many open tasks depend on it directly. With an assignee: the tasks of that one and those of
    nobody.
    """
    for _, minus_unblocked, _, name in index.startable:
        task = index.tasks[name]
        if assignee is None or task.assignee in (None, assignee):
            yield task, -minus_unblocked


def update_startable(
    starts: Iterable[Start], index: Index, names: Set[str], find_dependents: Callable[[str], Iterable[TaskSummary]]
) -> list[Start]:
    """`startable` of the index, from what it was before something changed that matters to the tasks of these names."""
    kept = [start for start in starts if start[-1] not in names]
    ready = [task for name in names if (task := index.tasks.get(name)) and index.is_ready(task)]
    for task in ready:
        unblocks = sum(dependent.status.is_open for dependent in find_dependents(task.id))
        kept.append(make_start(task, {task.id: unblocks}))
    return sorted(kept)


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
