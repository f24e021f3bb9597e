"""The pages of tasks: each task with all its fields, broken files, and the paginated lists."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from typing import Any, NamedTuple

from dagtasks.board.overview import COLUMNS, Overview
from dagtasks.board.pages.graphs import draw, find_around
from dagtasks.board.pages.paging import PER_PAGE, count_pages, cut, turn
from dagtasks.board.pages.past import make_past
from dagtasks.board.pages.press import BoardPage, Facts, words
from dagtasks.board.pages.runs import run_rows
from dagtasks.board.uris import list_uri, phase_uri, project_uri, task_uri, template_uri
from dagtasks.model.summary import BindingSummary, BrokenFile, TaskSummary
from dagtasks.model.values import Status
from dagtasks.planning.references import find_named

LINKS = 100
"""Tasks that a task's page lists on each side of its dependencies."""
RUNS = 20
COMMENTS = 100
HISTORY = 20
"""The latest changes that a task's page tells."""
FIELDS = 50
"""Keys of metadata, and parameters of a workflow, that a page shows."""


NEXT = {
    Status.PLANNED: Status.IN_PROGRESS,
    Status.IN_PROGRESS: Status.COMPLETED,
    Status.BLOCKED: Status.IN_PROGRESS,
    Status.COMPLETED: Status.PLANNED,
    Status.CANCELLED: Status.PLANNED,
}
"""The status that a task most likely gets next; a page shows the command for it."""


class Missing(NamedTuple):
    """A dependency without a readable file; `uri` when there is a broken one."""

    id: str
    uri: str | None


class Flow(NamedTuple):
    """A workflow of a task; `uri` leads to its template when there is one."""

    name: str
    template: str
    uri: str | None
    about: str
    parameters: list[tuple[str, Any]]
    run_on: list[str]


class Chip(NamedTuple):
    """A link to a list, with how much is in it."""

    name: str
    status: Status | None
    uri: str
    tasks: int
    is_here: bool


def task_pages(view: Overview) -> Iterator[BoardPage]:
    """A page for each task, and one for each task file that cannot be read."""
    for task in view.data.index.tasks.values():
        title = f"{task.name} ({task.id})"
        facts, more = partial(_task_facts, view, task), partial(_more_of_task, view, task)
        yield BoardPage(task_uri(task.id), title, "task.html", facts, more)
    for file in view.broken_tasks.values():
        title = f"{file.id} cannot be read"
        yield BoardPage(task_uri(file.id), title, "broken.html", partial(_broken_facts, view, file))


def _task_facts(view: Overview, row: TaskSummary) -> Facts:
    index = view.data.index
    needs = [index.tasks[need] for need in row.depends_on if need in index.tasks]
    missing = [Missing(need, view.find_task_uri(need)) for need in row.depends_on if need not in index.tasks]
    unblocks = _dependents(view, row.id)
    runs = view.runs_by_task.get(row.id, [])
    changes = view.data.changes.get(row.id, ())
    return {
        "card": view.card(row),
        "project_uri": project_uri(row.project),
        "phase_uri": _find_phase_uri(view, row),
        "found": view.problems.get(row.path, []),
        "next": NEXT[row.status],
        "around": find_around(view, row),
        "needs": view.cards(needs[:LINKS]),
        "missing": missing[:LINKS],
        "more_needs": max(0, len(needs) - LINKS) + max(0, len(missing) - LINKS),
        "unblocks": view.cards(unblocks[:LINKS]),
        "more_unblocks": max(0, len(unblocks) - LINKS),
        "workflows": [_flow(view, binding) for binding in row.workflows[:FIELDS]],
        "runs": run_rows(view, runs[:RUNS]),
        "total_runs": len(runs),
        "history": [make_past(change) for change in changes[:HISTORY]],
        "older": max(0, len(changes) - HISTORY),
        "is_shallow": view.data.is_shallow,
        "comments": view.data.comments.get(row.id, ())[:COMMENTS],
    }


def _more_of_task(view: Overview, row: TaskSummary) -> Facts:
    return {
        # The row has a digest of it.
        "description": view.data.read_description(row.id),
        "graph": draw(find_around(view, row)),
        "metadata": list(row.metadata.items())[:FIELDS],
    }


def _find_phase_uri(view: Overview, task: TaskSummary) -> str | None:
    phase = view.data.index.phases.get(f"{task.project}/{task.phase}")
    return phase_uri(phase.project, phase.key) if phase else None


def _dependents(view: Overview, task_id: str) -> list[TaskSummary]:
    tasks = view.data.index.tasks
    if task_id in tasks:
        return [tasks[other] for other in view.data.index.dependents[task_id]]
    return [task for task in tasks.values() if task_id in task.depends_on]


def _flow(view: Overview, binding: BindingSummary) -> Flow:
    template = find_named(binding.template, view.data.index.templates)
    return Flow(
        binding.name,
        binding.template,
        template_uri(template.name) if template else None,
        template.description if template else "",
        list(binding.parameters.items())[:FIELDS],
        list(binding.run_on),
    )


def _broken_facts(view: Overview, file: BrokenFile) -> Facts:
    return {"card": view.broken_card(file), "unblocks": view.cards(_dependents(view, file.id)[:LINKS])}


def list_pages(view: Overview) -> Iterator[BoardPage]:
    """The lists of tasks: all, by status, and of the projects and phases that are too long for their pages."""
    yield from _list(view, "all", "All tasks", "", view.tasks)
    for status in COLUMNS:
        yield from _list(view, str(status), words(status), f"#q=status:{status}", view.by_status[status])
    for key, tasks in view.by_project.items():
        if len(tasks) > PER_PAGE:
            title = f"All tasks of {view.project_name(key)}"
            yield from _list(view, f"project-{key}", title, f"#q=project:{key}", tasks)
    for (project, phase), tasks in view.by_phase.items():
        if phase and len(tasks) > PER_PAGE:
            title = f"All tasks of {view.phase_name(tasks[0])}"
            yield from _list(view, f"phase-{project}-{phase}", title, f"#q=phase:{project}/{phase}", tasks)


def _list(view: Overview, slug: str, title: str, on_board: str, tasks: Sequence[TaskSummary]) -> Iterator[BoardPage]:
    """The pages of a list; `on_board` is the view of the board that shows the same tasks."""
    last = count_pages(tasks)
    for number in range(1, last + 1):
        full = title if last == 1 else f"{title}, page {number} of {last}"
        facts = partial(_list_facts, view, slug, title, on_board, tasks, number)
        yield BoardPage(list_uri(slug, number), full, "list.html", facts)


def _list_facts(
    view: Overview, slug: str, title: str, on_board: str, tasks: Sequence[TaskSummary], number: int
) -> Facts:
    return {
        "title": title,
        "on_board": on_board,
        "total": len(tasks),
        "chips": _chips(view, slug),
        "tasks": view.cards(cut(tasks, number)),
        "pages": turn(number, count_pages(tasks), lambda page: list_uri(slug, page)),
    }


def _chips(view: Overview, here: str) -> list[Chip]:
    counts: Mapping[str, int] = {str(status): len(view.by_status[status]) for status in COLUMNS}
    own = [Chip(words(status), status, list_uri(status), counts[status], here == status) for status in COLUMNS]
    return [Chip("All", None, list_uri("all"), len(view.tasks), here == "all"), *own]
