"""Phases of a project: create, list, show, change, delete."""

from __future__ import annotations

import re
from typing import Any, cast

from dagtasks.errors import Conflict, InvalidInput, about
from dagtasks.model.names import KEY_PATTERN
from dagtasks.model.summary import PhaseSummary, TaskSummary
from dagtasks.model.values import Status
from dagtasks.planning.index import Index
from dagtasks.service.documents import edit_file, make_file, refuse_existing, row_of, undo_hint
from dagtasks.service.fields import PHASE_FIELDS, Changes, describe, read_changes
from dagtasks.service.saving import NO_FILE, Change, FileChange, Saved, WriteSettings, save
from dagtasks.service.views import Listing
from dagtasks.store.layout import TASKS, Kind, Place
from dagtasks.store.project import Project


def phase_place(name: str) -> Place:
    """Where the file of the phase called `project/key` lies. Raises `InvalidInput`."""
    owner, slash, key = name.partition("/")
    if not slash or not re.fullmatch(KEY_PATTERN, key):
        raise InvalidInput(f"{name!r} is not PROJECT/KEY", hint="a phase is called as in web/build", field="key")
    return Place(f"{TASKS}/{owner}/phases/{key}.yaml", Kind.PHASE, key, owner)


def list_all(project: Project, key: str) -> Listing:
    """The phases of the project in their order. Raises `NotFound`."""
    index = project.load()
    index.get_project(key)
    rows = sorted((p for p in index.phases.values() if p.project == key), key=lambda p: (p.order, p.key))
    return Listing([to_json(index, row) for row in rows], index.problems)


def show(project: Project, name: str) -> dict[str, Any]:
    """The phase called `project/key`. Raises `NotFound`."""
    index = project.load()
    return to_json(index, index.get_phase(name))


def to_json(index: Index, row: PhaseSummary) -> dict[str, Any]:
    """The phase as `--json` shows it."""
    tasks = tasks_of(index, row)
    return {
        "id": row.id,
        "project": row.project,
        "key": row.key,
        "name": row.name,
        "description": row.description,
        "order": row.order,
        "path": row.path,
        "tasks": len(tasks),
        "tasks_completed": sum(task.status is Status.COMPLETED for task in tasks),
    }


def tasks_of(index: Index, row: PhaseSummary) -> list[TaskSummary]:
    """The tasks of the phase, by id."""
    return [task for task in index.tasks.values() if task.project == row.project and task.phase == row.key]


def create(project: Project, name: str, data: dict[str, Any], settings: WriteSettings) -> Saved:
    """Write a new phase; without `order` it comes after all others. Raises `NotFound`, `InvalidInput`, `Conflict`."""
    found = phase_place(name)

    def make() -> Change:
        index = project.load()
        index.get_project(str(found.project))
        with about("key"):
            refuse_existing(project, found.path)
        content = make_file(found, {**data, "order": _order(index, found, data["order"])})
        answer = to_json(index, cast(PhaseSummary, row_of(found, content)))
        return Change([FileChange(found.path, content, NO_FILE)], f"{name}: phase created", "phase", answer)

    return save(project, f"phase create {name}", make, settings)


def _order(index: Index, found: Place, order: int | None) -> int:
    if order is not None:
        return order
    return 1 + max((phase.order for phase in index.phases.values() if phase.project == found.project), default=0)


def change(project: Project, name: str, changes: Changes, settings: WriteSettings) -> Saved:
    """Change fields of the phase (`name=Build`, `order=2`). Raises `NotFound`, `InvalidInput`."""
    edits = read_changes(changes, PHASE_FIELDS, {})
    found = phase_place(name)

    def make() -> Change:
        index = project.load()
        index.get_phase(name)
        edited = edit_file(project, found, edits)
        data = to_json(index, cast(PhaseSummary, row_of(found, edited.content)))
        return Change([FileChange(*edited)], f"{name}: {describe(edits)}", "phase", data)

    return save(project, f"phase set {name}", make, settings)


def delete(project: Project, name: str, settings: WriteSettings) -> Saved:
    """Delete a phase that no task is in. Raises `NotFound`, `Conflict`."""

    def make() -> Change:
        index = project.load()
        row = index.get_phase(name)
        left = [task.id for task in tasks_of(index, row)]
        if left:
            hint = f"move them first: dagtasks task set {left[0]} phase="
            raise Conflict(f"phase {name} still holds {', '.join(left[:20])}", hint=hint)
        notes = [undo_hint(project, row.path)]
        return Change([FileChange(row.path, None)], f"{name}: phase deleted", "phase", {"id": name}, notes)

    return save(project, f"phase delete {name}", make, settings)
