"""Tasks: create, list, show, change, delete, and what comes next."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import date
from itertools import islice
from typing import Any, NamedTuple, cast

from dagtasks.errors import Conflict, Problem
from dagtasks.model.summary import TaskSummary
from dagtasks.model.values import Priority, Status
from dagtasks.planning import ready
from dagtasks.planning.index import Index
from dagtasks.planning.query import is_overdue, parse_query, sort_tasks
from dagtasks.service.documents import edit_file, make_file, row_of, undo_hint
from dagtasks.service.fields import TASK_FIELDS, Edit, check_word, describe, parse_edits
from dagtasks.service.gates import refuse_closed_gates
from dagtasks.service.links import check_dependencies, check_phase, find_task, refuse_open_dependencies, with_row
from dagtasks.service.projects import Listing
from dagtasks.service.saving import Change, FileChange, Saved, WriteSettings, save
from dagtasks.store.comments import comments_folder, find_comment_files, read_comments
from dagtasks.store.layout import TASKS, Kind, Place
from dagtasks.store.project import Project

ID_ALPHABET = "0123456789abcdefghjkmnpqrstvwxyz"
"""Crockford's base 32: no letter looks like a digit."""
FOLDER_LIMIT = 256
"""Above this many files in a folder, new tasks go into folders of their own (one flat folder bloats every commit)."""


def list_matching(project: Project, query: str, today: date, *, sort: str = "id", limit: int | None = None) -> Listing:
    """The tasks that the query asks for (all for an empty one), sorted; broken files are in the problems."""
    index = project.load()
    wanted = parse_query(query, index, today)
    found: Iterable[TaskSummary] = index.tasks.values()  # by id
    if wanted.tests:
        found = filter(wanted.matches, found)
    if sort != "id":
        found = sort_tasks(found, sort, index)
    rows = [row_to_json(index, task, today) for task in islice(found, limit)]
    if wanted.wants_broken:
        rows += [
            {"id": file.id, "project": file.project, "path": file.path, "invalid": True} for file in index.broken_tasks
        ]
    return Listing(rows, index.problems)


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
    thread = read_comments(project.root, comments_folder(task.project, task.id))
    shown = {
        **row_to_json(index, task, today),
        **project.load_details(task.path),
        "comments": [comment._asdict() for comment in thread.comments],
    }
    if dependents:
        shown["dependents"] = index.dependents[task.id]
    if with_history:
        from dagtasks.service import history

        shown |= history.describe(project, task)
    return Shown(shown, thread.problems)


def create(project: Project, key: str, data: Mapping[str, Any], settings: WriteSettings) -> Saved:
    """Write a new task with a new id. Raises `NotFound`, `InvalidInput`, `Conflict`; nothing is written then."""
    for kind in ("status", "priority"):
        check_word(kind, data.get(kind) or next(iter(Status if kind == "status" else Priority)))

    def make() -> Change:
        index = project.load()
        index.get_project(key)
        needs = sorted({find_task(index, need).id for need in data.get("depends_on") or ()})
        found = _new_place(index, key)
        written = {
            **data,
            "status": data.get("status") or Status.PLANNED,
            "priority": data.get("priority") or Priority.MEDIUM,
            "labels": sorted(set(data.get("labels") or ())),
            "depends_on": needs,
        }
        content = make_file(found, written)
        row = cast(TaskSummary, row_of(found, content))
        check_phase(index, row)
        check_dependencies(index, row)
        after = with_row(index, row)
        refuse_open_dependencies(after, row, None, ignore=False)
        refuse_closed_gates(project, after, row, None)
        answer = {**row_to_json(after, row, date.today()), "description": written.get("description") or ""}  # noqa: DTZ011
        return Change([FileChange(found.path, content)], f"{row.id}: created: {row.name}", "task", answer)

    return save(project, f"task create in {key}", make, settings)


def _new_place(index: Index, key: str) -> Place:
    """A place for a new task: an id that no file has, in a folder that does not get too full."""
    import secrets  # costs start-up, and reading needs none

    taken = index.tasks.keys() | {file.id for file in index.broken}
    while (name := f"{key}-{''.join(secrets.choice(ID_ALPHABET) for _ in range(6))}") in taken:
        continue
    paths = [*(task.path for task in index.tasks.values()), *(file.path for file in index.broken)]
    flat = sum(path.rpartition("/")[0] == f"{TASKS}/{key}" for path in paths)
    deeper = f"/{name[-2:]}" if flat >= FOLDER_LIMIT else ""
    return Place(f"{TASKS}/{key}{deeper}/{name}.yaml", Kind.TASK, name, key)


def change(
    project: Project, text: str, texts: Sequence[str], settings: WriteSettings, *, ignore_dependencies: bool = False
) -> Saved:
    """Change fields of the task. Raises `NotFound`, `InvalidInput`, `Conflict` while a dependency is open."""
    edits = parse_edits(texts, TASK_FIELDS)

    links = any(edit.loc == ("depends_on",) for edit in edits)

    def make() -> Change:
        # Whether a new edge closes a circle is the one question that needs all tasks.
        index = project.load() if links else project.load_around(text)
        before = find_task(index, text)
        found = Place(before.path, Kind.TASK, before.id, before.project)
        resolved = [_resolve(index, edit) for edit in edits]
        content = edit_file(project, found, resolved)
        row = cast(TaskSummary, row_of(found, content))
        check_phase(index, row)
        if links:
            check_dependencies(index, row)
        after = with_row(index, row)
        notes = refuse_open_dependencies(after, row, before.status, ignore=ignore_dependencies)
        refuse_closed_gates(project, after, row, before.status)
        message = f"{row.id}: {_describe(before, row, resolved)}"
        data = row_to_json(after, row, date.today())  # noqa: DTZ011 - a due date is a day of the user's calendar
        return Change([FileChange(found.path, content)], message, "task", data, notes)

    return save(project, f"task set {text}", make, settings)


def _describe(before: TaskSummary, after: TaskSummary, edits: Sequence[Edit]) -> str:
    if before.status is after.status:
        return describe(edits)
    others = describe(edit for edit in edits if edit.loc != ("status",))
    return f"status {before.status} -> {after.status}" + (f", {others}" if others else "")


def _resolve(index: Index, edit: Edit) -> Edit:
    """The edit with whole ids where beginnings of ids may be written."""
    if edit.loc != ("depends_on",) or edit.value is None:
        return edit
    if edit.op == "set":
        return edit._replace(value=sorted({find_task(index, need).id for need in edit.value}))
    if edit.op == "remove" and edit.value not in index.tasks:
        return edit
    return edit._replace(value=find_task(index, edit.value).id)


def delete(project: Project, text: str, settings: WriteSettings, *, detach: bool = False) -> Saved:
    """Delete the task and its comments; `detach` removes it from the `depends_on` of others.

    Raises `NotFound`, `Conflict`.
    """

    def make() -> Change:
        index = project.load()
        task = index.get_task(text)
        dependents = index.dependents[task.id]
        if dependents and not detach:
            raise Conflict(
                f"{', '.join(dependents[:20])} depend{'s' if len(dependents) == 1 else ''} on {task.id}",
                hint="say --detach to remove these edges, too, or cancel the task: status=cancelled",
            )
        comments = find_comment_files(project.root, comments_folder(task.project, task.id))
        files = [FileChange(path, None) for path in (task.path, *comments)]
        files += [_detach(project, index, name, task.id) for name in dependents]
        notes = [undo_hint(project, path, comments) for path in (task.path, *comments)]
        notes += [f"{name} no longer depends on {task.id}" for name in dependents]
        return Change(files, f"{task.id}: deleted: {task.name}", "task", {"id": task.id, "path": task.path}, notes)

    return save(project, f"task delete {text}", make, settings)


def _detach(project: Project, index: Index, name: str, gone: str) -> FileChange:
    task = index.tasks[name]
    found = Place(task.path, Kind.TASK, task.id, task.project)
    return FileChange(task.path, edit_file(project, found, [Edit("remove", ("depends_on",), gone)]))


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
