"""Editing the file of a task by hand, with its checks before it is saved."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import date
from typing import Any, cast

from dagtasks.errors import Conflict, DagtasksError, InvalidProject, has_errors
from dagtasks.model.summary import TaskSummary
from dagtasks.service.gates import refuse_closed_gates
from dagtasks.service.links import check_dependencies, check_phase, find_task, refuse_open_dependencies, with_row
from dagtasks.service.saving import Change, FileChange, Saved, WriteSettings, save
from dagtasks.service.views import row_to_json
from dagtasks.store.drafts import Draft
from dagtasks.store.layout import Kind, Place
from dagtasks.store.project import Project

Again = Callable[[DagtasksError], bool]
"""Asks whether to edit on, after this went wrong."""


def edit(project: Project, text: str, settings: WriteSettings, again: Again) -> Saved:
    """Let the user edit a copy of the task's file, also of a broken one, and save it when it is right.

    Raises what is wrong with it, when `again` says no; and `Conflict` when the file changed meanwhile. The hint says
    where the edited text is then.
    """
    found = _find(project, text)
    before = (project.root / found.path).read_bytes()
    draft = Draft(project, found.id, before)
    while True:
        try:
            return _edit_once(project, found, before, draft, settings)
        except DagtasksError as error:
            now = _read(project, found)
            if _holds(draft, before) or _holds(draft, now):
                draft.discard()  # nothing was written, or all of it: only the commit failed
                raise
            if draft.path.exists():
                error.hint = "; ".join(filter(None, [error.hint, f"the edited text is in {draft.path}"]))
            if now != before or not again(error):
                raise


def _find(project: Project, text: str) -> Place:
    """The file of the task. Raises `NotFound`."""
    index = project.load_around(text)
    try:
        task = find_task(index, text)
    except InvalidProject:
        file = next(file for file in index.broken_tasks if text in (file.id, file.id.partition("-")[2]))
        return Place(file.path, Kind.TASK, file.id, file.project)
    return Place(task.path, Kind.TASK, task.id, task.project)


def _edit_once(project: Project, found: Place, before: bytes, draft: Draft, settings: WriteSettings) -> Saved:
    content = draft.edit()
    if content == before:
        draft.discard()
        return Saved(Change([], f"{found.id}: edited", "task", {"id": found.id, "path": found.path}), ())

    def make() -> Change:
        if _read(project, found) != before:
            hint = f"compare them: git diff --no-index {found.path} {draft.path}"
            raise Conflict(f"{found.path} changed while it was edited, so nothing was saved", hint=hint)
        return _change(project, found, before, content)

    saved = save(project, f"task edit {found.id}", make, settings)
    if saved.dry_run:
        return saved._replace(change=saved.change._replace(notes=[f"the edited text is in {draft.path}"]))
    draft.discard()
    return saved


def _read(project: Project, found: Place) -> bytes | None:
    try:
        return (project.root / found.path).read_bytes()
    except FileNotFoundError:
        return None


def _holds(draft: Draft, content: bytes | None) -> bool:
    try:
        return draft.read() == content
    except DagtasksError:
        return False


def _change(project: Project, found: Place, before: bytes, content: bytes) -> Change:
    from dagtasks.store.documents import parse_document
    from dagtasks.store.rows import read_row

    old, new = (parse_document(version, found.path) for version in (before, content))
    read = read_row(found, new)
    if has_errors(read.problems):
        raise InvalidProject(f"{found.path} would be wrong, so nothing was saved", problems=read.problems)
    row, index = cast(TaskSummary, read.row), project.load()
    task = index.tasks.get(found.id)
    check_phase(index, row)
    if task is None or row.depends_on != task.depends_on:
        check_dependencies(index, row)
    after = with_row(index, row)
    status = task.status if task else None
    refuse_open_dependencies(after, row, status, ignore=False)
    refuse_closed_gates(project, after, row, status)
    message = f"{found.id}: {_describe(task, row, old.data or {}, new.data or {})}"
    data = row_to_json(after, row, date.today())  # noqa: DTZ011 - a due date is a day of the user's calendar
    return Change([FileChange(found.path, content, old.sha256)], message, "task", data)


def _describe(before: TaskSummary | None, after: TaskSummary, old: Mapping[str, Any], new: Mapping[str, Any]) -> str:
    """The status as `task set` says it, of everything else the names."""
    if before is None:
        return "edited"
    names = [name for name in {**old, **new} if old.get(name) != new.get(name) and name != "status"]
    words = [f"status {before.status} -> {after.status}"] if before.status is not after.status else []
    return ", ".join([*words, f"edited {', '.join(names)}"] if names else words or ["edited"])
