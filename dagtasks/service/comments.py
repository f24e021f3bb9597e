"""Comments on tasks."""

from __future__ import annotations

from datetime import datetime

from dagtasks.errors import InvalidInput
from dagtasks.model.names import ID_ALPHABET
from dagtasks.model.summary import TaskSummary
from dagtasks.service.links import find_task
from dagtasks.service.people import name_or_me
from dagtasks.service.saving import NO_FILE, Change, FileChange, Saved, WriteSettings, save
from dagtasks.store.comments import comment_name, make_comment, parse_comment
from dagtasks.store.layout import comments_folder
from dagtasks.store.project import Project


def add(
    project: Project, text: str, words: str, now: datetime, settings: WriteSettings, author: str | None = None
) -> Saved:
    """Write a comment on the task; without an author it is by Git's user. Raises `NotFound`, `InvalidInput`."""
    name = name_or_me(project, author)
    if not words.strip():
        raise InvalidInput("a comment needs a text", field="text")
    content = make_comment(name, now, words)

    def make() -> Change:
        task = find_task(project.load_around(text), text)
        path = _new_path(project, task, now)
        answer = {"task": task.id, **parse_comment(content, path).comments[0]._asdict()}
        return Change([FileChange(path, content, NO_FILE)], f"{task.id}: comment by {name}", "comment", answer)

    return save(project, f"task comment {text}", make, settings)


def _new_path(project: Project, task: TaskSummary, now: datetime) -> str:
    """A path that no comment has yet, also on other branches, as far as chance goes."""
    import secrets

    folder = comments_folder(task.project, task.id)
    while True:
        token = "".join(secrets.choice(ID_ALPHABET) for _ in range(4))
        path = f"{folder}/{comment_name(now, token)}"
        if not (project.root / path).exists():
            return path
