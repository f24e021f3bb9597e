"""Tasks as they are shown: lists, one task, and what comes next.

Everybody waits for these most often, so nothing is imported here that changes files or reads any.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import date
from itertools import islice
from typing import TYPE_CHECKING, Any, NamedTuple

from dagtasks.errors import Problem
from dagtasks.model.summary import TaskSummary
from dagtasks.planning import ready
from dagtasks.planning.index import Index
from dagtasks.planning.query import Query, is_overdue, parse_query, sort_tasks
from dagtasks.service.links import find_task
from dagtasks.store.layout import comments_folder
from dagtasks.store.project import Project

if TYPE_CHECKING:
    from dagtasks.service.pages import Wish


class Listing(NamedTuple):
    """Things as `--json` shows them, and the problems of the files that are wrong."""

    data: list[dict[str, Any]]
    problems: Sequence[Problem] = ()


def list_matching(project: Project, query: str, today: date, *, sort: str = "id", limit: int | None = None) -> Listing:
    """The tasks that the query asks for (all for an empty one), sorted; broken files are in the problems."""
    index = project.load()
    wanted = parse_query(query, index, today)
    rows = [row_to_json(index, task, today) for task in islice(_find(index, wanted, sort), limit)]
    return Listing([*rows, *_broken_rows(index, wanted)], index.problems)


class Part(NamedTuple):
    """A page of a listing; `following` is the cursor of the next one, None on the last."""

    listing: Listing
    following: str | None


def list_page(project: Project, query: str, today: date, wish: Wish, *, sort: str = "id") -> Part:
    """A page of what `list_matching` gives."""
    from dagtasks.service.pages import cut

    index = project.load()
    wanted = parse_query(query, index, today)
    broken = {row["path"]: row for row in _broken_rows(index, wanted)}  # an id can be there twice
    names = [*(task.id for task in _find(index, wanted, sort)), *broken]
    page = cut(names, lambda name: name, wish)
    rows = [broken.get(name) or row_to_json(index, index.tasks[name], today) for name in page.items]
    return Part(Listing(rows, index.problems), page.following)


def _find(index: Index, wanted: Query, sort: str) -> Iterable[TaskSummary]:
    found: Iterable[TaskSummary] = index.tasks.values()  # by id
    if wanted.tests:
        found = filter(wanted.matches, found)
    return sort_tasks(found, sort, index) if sort != "id" else found


def _broken_rows(index: Index, wanted: Query) -> list[dict[str, Any]]:
    files = index.broken_tasks if wanted.wants_broken else ()
    return [{"id": file.id, "project": file.project, "path": file.path, "invalid": True} for file in files]


def join_query(words: Iterable[str], filters: Mapping[str, str | None]) -> str:
    """The query that says the words and, for each filter with a value, `key:value`."""
    given = (f'{key}:"{value}"' if " " in value else f"{key}:{value}" for key, value in filters.items() if value)
    return " ".join([*words, *given])


def row_to_json(index: Index, task: TaskSummary, today: date) -> dict[str, Any]:
    """The task as lists show it: the fields of its file but the description, and what follows from them."""
    return {
        "id": task.id,
        "project": task.project,
        "path": task.path,
        "name": task.name,
        "status": task.status,
        "priority": task.priority,
        "assignee": task.assignee,
        "phase": task.phase,
        "due": task.due,
        "labels": list(task.labels),
        "depends_on": list(task.depends_on),
        "metadata": dict(task.metadata),
        "workflows": [binding.name for binding in task.workflows],
        "ready": index.is_ready(task),
        "waiting": index.is_waiting(task),
        "overdue": is_overdue(task, today),
        "open_dependencies": index.open_dependencies(task),
    }


class Shown(NamedTuple):
    """A task with all that belongs to it, and the problems of comments that cannot be read."""

    data: dict[str, Any]
    problems: Sequence[Problem]


def show(project: Project, text: str, today: date, *, dependents: bool = False, with_history: bool = False) -> Shown:
    """The whole task whose id begins with the text. Raises `NotFound`, `InvalidProject` when its file is wrong.

    Only its own file, its comments and the files of its dependencies are looked at; `dependents` asks every file who
    depends on it, and `with_history` asks Git for what was changed when and by whom (raises `ProjectNotFound`).
    """
    index = project.load() if dependents else project.load_around(text)
    task = find_task(index, text)
    comments, problems = _read_comments(project, task)
    shown = {**row_to_json(index, task, today), **project.load_details(task.path), "comments": comments}
    if dependents:
        shown["dependents"] = index.dependents[task.id]
    if with_history:
        from dagtasks.service import history

        shown |= history.describe(project, task)
    return Shown(shown, problems)


def _read_comments(project: Project, task: TaskSummary) -> tuple[list[dict[str, Any]], Sequence[Problem]]:
    folder = comments_folder(task.project, task.id)
    try:
        (project.root / folder).lstat()
    except FileNotFoundError:
        return [], ()
    except OSError:
        pass  # reading them will tell
    from dagtasks.store.comments import read_comments

    thread = read_comments(project.root, folder)
    return [comment._asdict() for comment in thread.comments], thread.problems


def list_next(project: Project, today: date, assignee: str | None = None, limit: int | None = None) -> Listing:
    """The tasks that can be started now, best first: all, or `limit` of them."""
    index = project.load()
    rows = [
        {**row_to_json(index, task, today), "unblocks": unblocked}
        for task, unblocked in islice(ready.next_tasks(index, assignee), limit)
    ]
    return Listing(rows, index.problems)


def explain_next(project: Project) -> Listing:
    """Each open task that cannot be started now, with the reason."""
    index = project.load()
    return Listing(
        [{"id": task.id, "name": task.name, "reason": why} for task, why in ready.explain(index)], index.problems
    )
