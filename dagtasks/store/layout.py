"""Where things lie in a repository, and what a file is by its path (02 section 1)."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterable, Iterator
from enum import StrEnum
from pathlib import Path
from typing import NamedTuple

from dagtasks.errors import Finding, Severity
from dagtasks.model.names import KEY_PATTERN, PROJECT_PATTERN, TASK_ID_PATTERN

TASKS = "tasks"
TEMPLATES = "templates"
TESTS_END = ".test.yaml"
"""The end of the names of files below `templates/` that hold test cases for the template beside them."""
COMMENTS = "comments"
DEFAULT_SETTINGS = "config/default.yaml"
ENGINE_SETTINGS = "config/dagger.yaml"
ENV_FILE = "config/.env"
WEBHOOKS = "config/webhooks.yaml"

CODES = {
    "DT126": "A file or folder below `tasks/` or `templates/` has a name that does not say what it is. Task files are "
    "called `<project>-<6 characters of 0-9a-z without i, l, o, u>.yaml`, phases and templates by a name of small "
    "letters, digits, `-` and `_`, project folders by small letters and digits.",
    "DT127": "The file ends in `.yml`. dagtasks reads `.yaml` only, so that no file is ever passed over: rename it.",
    "DT128": "A symlink stands where a file or folder of tasks or templates is wanted. Put the file itself there.",
}


class Kind(StrEnum):
    """What a file is."""

    PROJECT = "project"
    PHASE = "phase"
    TASK = "task"
    TEMPLATE = "template"


class Place(NamedTuple):
    """What the file at a path is: its kind, its id (key, stem or name) and the project it belongs to."""

    path: str
    kind: Kind
    id: str
    project: str | None = None


def place(path: str) -> Place | None:
    """What the file at that path (relative to the root) is; None for files that are none of our business."""
    top, _, below = path.partition("/")
    *folders, name = below.split("/")
    stem, ending = os.path.splitext(name)  # noqa: PTH122 - a Path for each of 100,000 names would double the time
    if ending not in (".yaml", ".yml") or name.startswith("."):
        return None
    if top == TEMPLATES:
        return None if name.endswith(TESTS_END) else Place(path, Kind.TEMPLATE, stem)
    if top != TASKS or not folders:
        return None
    return _place_below_project(path, folders, stem)


def _place_below_project(path: str, folders: list[str], stem: str) -> Place | None:
    project, *deeper = folders
    if not deeper and stem == "project":
        return Place(path, Kind.PROJECT, project, project)
    if deeper[:1] == ["phases"]:
        return Place(path, Kind.PHASE, stem, project)
    if deeper[:1] == [COMMENTS]:
        return None
    return Place(path, Kind.TASK, stem, project)


def check_place(found: Place) -> Finding | None:
    """What is wrong with the name of the file, if anything."""
    if found.path.endswith(".yml"):
        right = found.path.removesuffix(".yml") + ".yaml"
        return Finding((), "DT127", "files end in `.yaml`, not `.yml`", f"rename it to {right}")
    if found.project and not re.fullmatch(PROJECT_PATTERN, found.project):
        return Finding((), "DT126", f"{found.project!r} is no name for a project's folder", f"form: {PROJECT_PATTERN}")
    if found.kind is Kind.TASK:
        return _check_task_id(found)
    if not re.fullmatch(KEY_PATTERN, found.id):
        return Finding((), "DT126", f"{found.id!r} is no name for a {found.kind}", f"form: {KEY_PATTERN}")
    return None


def _check_task_id(found: Place) -> Finding | None:
    if not re.fullmatch(TASK_ID_PATTERN, found.id):
        hint = f"form: {found.project}-<6 of 0-9a-z without i, l, o, u>; `dagtasks task create` makes ids"
        return Finding((), "DT126", f"{found.id!r} is no task id", hint)
    if found.id.partition("-")[0] != found.project:
        hint = f"move it to tasks/{found.id.partition('-')[0]}/, or give it a new id"
        return Finding((), "DT126", f"the id {found.id} does not belong to project {found.project}", hint)
    return None


FOLDER_LIMIT = 256
"""Above this many files in a folder, new tasks go into folders of their own (one flat folder bloats every commit)."""


def new_task_place(project: str, name: str, taken: Iterable[str]) -> Place:
    """Where the file of a new task goes; `taken` are the paths of those that the project has."""
    flat = sum(path.count("/") == 2 for path in taken)
    deeper = f"/{name[-2:]}" if flat >= FOLDER_LIMIT else ""
    return Place(f"{TASKS}/{project}{deeper}/{name}.yaml", Kind.TASK, name, project)


def comments_folder(project: str, task: str) -> str:
    """Where the comments on a task lie."""
    return f"{TASKS}/{project}/{COMMENTS}/{task}"


OnError = Callable[[str, OSError], None]


def top_folders(root: Path) -> tuple[list[str], list[str]]:
    """Which of `tasks/` and `templates/` there are; and which of the two are symlinks, which are not followed."""
    links = [name for name in (TASKS, TEMPLATES) if (root / name).is_symlink()]
    return [name for name in (TASKS, TEMPLATES) if name not in links and (root / name).is_dir()], links


def list_folder(
    root: Path | str, folder: str, on_error: OnError | None = None
) -> tuple[list[os.DirEntry[str]], list[str]]:
    """The files and symlinks in the folder (a path relative to the root), and the paths of the folders in it.

    Folders that begin with a dot are left out, and those of comments, which would double a walk. A folder that cannot
    be read is told to `on_error` and has nothing in it.
    """
    files: list[os.DirEntry[str]] = []
    folders: list[str] = []
    try:
        with os.scandir(f"{root}/{folder}") as entries:
            for entry in entries:
                if not entry.is_dir(follow_symlinks=False):
                    files.append(entry)
                elif not entry.name.startswith(".") and not _is_comments(folder, entry.name):
                    folders.append(f"{folder}/{entry.name}")
    except FileNotFoundError:
        return [], []  # removed since its parent was listed
    except OSError as error:
        if on_error:
            on_error(folder, error)
        return [], []
    return files, folders


def _is_comments(folder: str, name: str) -> bool:
    return name == COMMENTS and folder.count("/") == 1 and folder.startswith(f"{TASKS}/")


def walk(root: Path, folder: str = "") -> Iterator[tuple[str, os.DirEntry[str]]]:
    """All files and symlinks below `tasks/` and `templates/`, each with its path relative to the root, in no order.

    With a folder (a path relative to the root): those below it.
    """
    waiting = [folder] if folder else top_folders(root)[0]
    while waiting:
        folder = waiting.pop()
        files, deeper = list_folder(root, folder)
        waiting += deeper
        for entry in files:
            yield f"{folder}/{entry.name}", entry


def check_symlink(path: str) -> Finding:
    """The finding for a symlink below `tasks/` or `templates/`."""
    return Finding((), "DT128", f"{path} is a symlink", "put the file itself here", Severity.ERROR)
