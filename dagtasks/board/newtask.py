"""A task that a reader could add: a valid file for it, where that goes, and the command that makes one."""

from __future__ import annotations

from collections.abc import Collection
from hashlib import blake2b
from itertools import count
from typing import NamedTuple

from dagtasks.board.overview import Overview
from dagtasks.board.uris import project_uri
from dagtasks.model.names import ID_ALPHABET, ID_LENGTH
from dagtasks.model.summary import TASK_KEYS
from dagtasks.model.values import Priority, Status
from dagtasks.store.emitter import make_document
from dagtasks.store.layout import new_task_place

NAME = "New task"
PROJECTS = 12
"""Projects for which the board offers a new task."""
PLACE = "dt-new"
"""The part of a project's page that tells how to make one."""


class NewTask(NamedTuple):
    """A file for a new task; `uri` leads to a forge where it is filled in already."""

    id: str
    path: str
    text: str
    uri: str | None
    command: tuple[str, ...]


class Proposal(NamedTuple):
    """A way to a new task in a project: a file for it in the forge, else the page of the project. `id` with a file."""

    project: str
    id: str | None
    uri: str


def propose_tasks(view: Overview) -> list[Proposal]:
    """Ways to a new task in each of the first projects; none of them is broken."""
    return [_propose(view, project.key) for project in view.projects[:PROJECTS]]


def _propose(view: Overview, key: str) -> Proposal:
    new = make_new_task(view, key)
    if new and new.uri:
        return Proposal(view.project_name(key), new.id, new.uri)
    return Proposal(view.project_name(key), None, f"{project_uri(key)}#{PLACE}")


def make_new_task(view: Overview, project: str, phase: str | None = None) -> NewTask | None:
    """A task for the project, or for a phase of it; None when the project has no file of its own that can be read."""
    if project not in view.data.index.projects:
        return None
    taken = view.task_paths.get(project, {})
    new = new_task_place(project, _make_id(project, phase, taken), taken.values())
    values = {"name": NAME, "status": str(Status.PLANNED), "priority": str(Priority.MEDIUM), "phase": phase}
    text = make_document(values, TASK_KEYS).decode()
    command = ("dagtasks", "task", "create", project, *(("--phase", phase) if phase else ()), "--name", NAME)
    return NewTask(new.id, new.path, text, view.data.forge.new(new.path, text), command)


def _make_id(project: str, phase: str | None, taken: Collection[str]) -> str:
    """An id that no file has. The same files give the same id, and others when a task was added."""
    begin = "\n".join([project, phase or "", *sorted(taken)])
    for number in count():
        digest = int.from_bytes(blake2b(f"{begin}\n{number}".encode("utf-8", "replace")).digest())
        letters = (ID_ALPHABET[digest // 32**place % 32] for place in range(ID_LENGTH))
        if (name := f"{project}-{''.join(letters)}") not in taken:
            return name
    raise AssertionError
