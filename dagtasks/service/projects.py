"""Projects: create, list, show, change, delete."""

from __future__ import annotations

import re
from typing import Any, cast

from dagtasks.errors import Conflict, InvalidInput, about
from dagtasks.model.names import PROJECT_PATTERN
from dagtasks.model.summary import ProjectSummary, TaskSummary
from dagtasks.model.values import Status
from dagtasks.planning.index import Index
from dagtasks.service.documents import edit_file, make_file, refuse_existing, row_of, undo_hint
from dagtasks.service.fields import PROJECT_FIELDS, Changes, describe, read_changes
from dagtasks.service.saving import NO_FILE, Change, FileChange, Saved, WriteSettings, save
from dagtasks.service.views import Listing
from dagtasks.store.layout import TASKS, Kind, Place
from dagtasks.store.project import Project


def project_place(key: str) -> Place:
    """Where the file of the project lies."""
    return Place(f"{TASKS}/{key}/project.yaml", Kind.PROJECT, key, key)


def list_all(project: Project) -> Listing:
    """All projects with their phases and progress."""
    index = project.load()
    return Listing([to_json(index, row) for row in index.projects.values()], index.problems)


def show(project: Project, key: str) -> dict[str, Any]:
    """The project of that key. Raises `NotFound`."""
    index = project.load()
    return to_json(index, index.get_project(key))


def to_json(index: Index, row: ProjectSummary) -> dict[str, Any]:
    """The project as `--json` shows it."""
    tasks = tasks_of(index, row.key)
    return {
        "key": row.key,
        "name": row.name,
        "description": row.description,
        "metadata": dict(row.metadata),
        "path": row.path,
        "phases": [phase.key for phase in index.phases.values() if phase.project == row.key],
        "tasks": len(tasks),
        "tasks_completed": sum(task.status is Status.COMPLETED for task in tasks),
    }


def tasks_of(index: Index, key: str) -> list[TaskSummary]:
    """The tasks of the project, by id."""
    return [task for task in index.tasks.values() if task.project == key]


def create(project: Project, key: str, data: dict[str, Any], settings: WriteSettings) -> Saved:
    """Write a new `project.yaml`. Raises `InvalidInput` for a bad key, `Conflict` when it is there."""
    if not re.fullmatch(PROJECT_PATTERN, key):
        hint = "a small letter, then up to 15 letters or digits"
        raise InvalidInput(f"{key!r} is no key for a project", hint=hint, field="key")
    found = project_place(key)

    def make() -> Change:
        with about("key"):
            refuse_existing(project, found.path)
        content = make_file(found, data)
        answer = to_json(project.load(), cast(ProjectSummary, row_of(found, content)))
        return Change([FileChange(found.path, content, NO_FILE)], f"{key}: project created", "project", answer)

    return save(project, f"project create {key}", make, settings)


def change(project: Project, key: str, changes: Changes, settings: WriteSettings) -> Saved:
    """Change fields of the project (`name=Web`, `metadata.team=core`). Raises `NotFound`, `InvalidInput`."""

    def make() -> Change:
        index = project.load()
        edits = read_changes(changes, PROJECT_FIELDS, {"metadata": index.get_project(key).metadata})
        found = project_place(key)
        edited = edit_file(project, found, edits)
        data = to_json(index, cast(ProjectSummary, row_of(found, edited.content)))
        return Change([FileChange(*edited)], f"{key}: {describe(edits)}", "project", data)

    return save(project, f"project set {key}", make, settings)


def delete(project: Project, key: str, settings: WriteSettings) -> Saved:
    """Delete a project that has neither tasks nor phases, and that no webhook names. Raises `NotFound`, `Conflict`."""

    def make() -> Change:
        index = project.load()
        row = index.get_project(key)
        left = [task.id for task in tasks_of(index, key)]
        left += [file.path for file in index.broken if file.project == key]
        left += [phase.id for phase in index.phases.values() if phase.project == key]
        if hooks := _webhooks_of(project, key):
            names = ", ".join(hooks[:20])
            raise Conflict(f"webhooks tell of project {key} alone: {names}", hint="change or delete these first")
        if left:
            raise Conflict(f"project {key} still holds {', '.join(left[:20])}", hint="delete these first")
        notes = [undo_hint(project, row.path)]
        return Change([FileChange(row.path, None)], f"{key}: project deleted", "project", {"key": key}, notes)

    return save(project, f"project delete {key}", make, settings)


def _webhooks_of(project: Project, key: str) -> list[str]:
    """The webhooks that name the project; also those of a file with errors, as it was when it was last right."""
    from dagtasks.store.webhooks import read_definitions

    return [name for name, endpoint in read_definitions(project).endpoints.items() if endpoint.project == key]
