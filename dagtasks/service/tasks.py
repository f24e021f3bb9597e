"""Tasks: create, change, delete. How they are shown is in `views`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import date
from typing import Any, cast

from dagtasks.errors import Conflict, about
from dagtasks.model.names import ID_ALPHABET, ID_LENGTH
from dagtasks.model.summary import TaskSummary
from dagtasks.model.values import Priority, Status
from dagtasks.planning.index import Index
from dagtasks.service.documents import edit_file, make_file, row_of, undo_hint
from dagtasks.service.fields import TASK_FIELDS, Changes, Edit, check_word, describe, read_changes
from dagtasks.service.gates import refuse_closed_gates
from dagtasks.service.links import (
    check_dependencies,
    check_phase,
    find_need,
    find_task,
    refuse_open_dependencies,
    with_row,
)
from dagtasks.service.saving import NO_FILE, Change, FileChange, Saved, WriteSettings, save
from dagtasks.service.views import row_to_json
from dagtasks.store.comments import find_comment_files
from dagtasks.store.layout import Kind, Place, comments_folder, new_task_place
from dagtasks.store.project import Project


def create(project: Project, key: str, data: Mapping[str, Any], settings: WriteSettings) -> Saved:
    """Write a new task with a new id. Raises `NotFound`, `InvalidInput`, `Conflict`; nothing is written then."""
    for kind in ("status", "priority"):
        check_word(kind, data.get(kind) or next(iter(Status if kind == "status" else Priority)))

    def make() -> Change:
        wanted = data.get("depends_on") or ()
        with about("project"):
            index = project.load_project(key, wanted)
            index.get_project(key)
        needs = sorted({find_need(index, need).id for need in wanted})
        found = _new_place(project, key)
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
        return Change([FileChange(found.path, content, NO_FILE)], f"{row.id}: created: {row.name}", "task", answer)

    return save(project, f"task create in {key}", make, settings)


def _new_place(project: Project, key: str) -> Place:
    """A place for a new task: an id that no file has, in a folder that does not get too full."""
    import secrets  # costs start-up, and reading needs none

    taken = project.find_tasks(key)
    while (name := f"{key}-{''.join(secrets.choice(ID_ALPHABET) for _ in range(ID_LENGTH))}") in taken:
        continue
    return new_task_place(key, name, taken.values())


def change(
    project: Project, text: str, changes: Changes, settings: WriteSettings, *, ignore_dependencies: bool = False
) -> Saved:
    """Change fields of the task. Raises `NotFound`, `InvalidInput`, `Conflict` while a dependency is open."""
    links = any(edit.loc == ("depends_on",) for edit in read_changes(changes, TASK_FIELDS, {}))

    def make() -> Change:
        # Whether a new edge closes a circle is the one question that needs all tasks.
        index = project.load() if links else project.load_around(text)
        before = find_task(index, text)
        found = Place(before.path, Kind.TASK, before.id, before.project)
        edits = read_changes(changes, TASK_FIELDS, {"metadata": before.metadata})
        resolved = [_resolve(index, edit) for edit in edits]
        edited = edit_file(project, found, resolved)
        row = cast(TaskSummary, row_of(found, edited.content))
        check_phase(index, row)
        if links:
            check_dependencies(index, row)
        after = with_row(index, row)
        notes = refuse_open_dependencies(after, row, before.status, ignore=ignore_dependencies)
        refuse_closed_gates(project, after, row, before.status)
        message = f"{row.id}: {_describe(before, row, resolved)}"
        data = row_to_json(after, row, date.today())  # noqa: DTZ011 - a due date is a day of the user's calendar
        return Change([FileChange(*edited)], message, "task", data, notes)

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
        return edit._replace(value=sorted({find_need(index, need).id for need in edit.value}))
    if edit.op == "remove" and edit.value not in index.tasks:
        return edit
    return edit._replace(value=find_need(index, edit.value).id)


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
    return FileChange(*edit_file(project, found, [Edit("remove", ("depends_on",), gone)]))
