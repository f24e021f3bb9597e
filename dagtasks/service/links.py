"""What a task is linked to: finding it, and refusing a phase, a dependency or a start that cannot be."""

from __future__ import annotations

from collections import ChainMap
from typing import cast

from dagtasks.errors import Conflict, InvalidProject, NotFound, about
from dagtasks.model.summary import TaskSummary
from dagtasks.model.values import Status
from dagtasks.planning import graph
from dagtasks.planning.index import Index


def find_task(index: Index, text: str) -> TaskSummary:
    """As `Index.get_task`; of a task whose file is wrong the problems. Raises `NotFound`, `InvalidProject`."""
    try:
        return index.get_task(text)
    except NotFound:
        broken = [file for file in index.broken_tasks if text and text in (file.id, file.id.partition("-")[2])]
        if not broken:
            raise
        problems = [problem for problem in index.problems if problem.path == broken[0].path]
        raise InvalidProject(f"task {broken[0].id} cannot be read", problems=problems) from None


def find_need(index: Index, text: str) -> TaskSummary:
    """As `find_task`, for a dependency: an error says that it is about these."""
    with about("depends_on"):
        return find_task(index, text)


def with_row(index: Index, row: TaskSummary) -> Index:
    """The index with the task as it will be."""
    tasks = ChainMap({row.id: row}, cast(dict[str, TaskSummary], index.tasks))  # nobody writes to it
    return Index(index.projects, index.phases, tasks, index.templates, index.broken)


def refuse_open_dependencies(index: Index, task: TaskSummary, before: Status | None, *, ignore: bool) -> list[str]:
    """Raise `Conflict` when the task begins or ends although it depends on open tasks; `ignore` makes it a note."""
    starts = task.status in (Status.IN_PROGRESS, Status.COMPLETED) and task.status is not before
    needs = index.open_dependencies(task) if starts else []
    if not needs:
        return []
    names = ", ".join(f"{need} ({index.tasks[need].status if need in index.tasks else 'unknown'})" for need in needs)
    if ignore:
        return [f"{task.id} depends on open tasks: {names}"]
    raise Conflict(
        f"{task.id} cannot become {task.status}: it depends on open tasks: {names}",
        hint="complete or cancel them first, or say --ignore-dependencies",
    )


def check_phase(index: Index, row: TaskSummary) -> None:
    """Raise `NotFound` when the project of the task has no such phase."""
    if row.phase:
        with about("phase"):
            index.get_phase(f"{row.project}/{row.phase}")


def check_dependencies(index: Index, row: TaskSummary) -> None:
    """Raise `NotFound` for an unknown dependency, `Conflict` for a circle."""
    for need in row.depends_on:
        if need not in index.tasks and need != row.id:
            find_need(index, need)
    after = with_row(index, row)
    if row.id in graph.reachable(after.edges, [row.id]):
        edges = {task.id: task.depends_on for task in after.tasks.values()}
        cycle = next((path for path in graph.find_cycles(edges) if row.id in path), [row.id])
        circle = " -> ".join([*cycle, cycle[0]])
        raise Conflict(f"tasks would depend on one another in a circle: {circle}", field="depends_on")
