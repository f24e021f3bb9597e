"""Changing files: under the lock, read again, written all or nothing, and committed when that is wanted."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

from dagtasks.errors import Conflict, DagtasksError
from dagtasks.store.files import remove_file, write_file
from dagtasks.store.git import Git
from dagtasks.store.project import Project


class WriteSettings(NamedTuple):
    """How a change is to be made. `commit` None: as the setting `commit` says."""

    commit: bool | None = None
    dry_run: bool = False


class FileChange(NamedTuple):
    """The new content of a file; None removes it."""

    path: str
    content: bytes | None


class Change(NamedTuple):
    """What a command wants to do: the files, the line that says so, and the thing as it will be (for `--json`)."""

    files: Sequence[FileChange]
    message: str
    kind: str = ""
    data: object = None
    notes: Sequence[str] = ()


class Saved(NamedTuple):
    """What came of a change. `paths` are the files that really changed; `commit` is the new commit's id."""

    change: Change
    paths: tuple[str, ...]
    commit: str | None = None
    dry_run: bool = False


def save(project: Project, what: str, make: Callable[[], Change], settings: WriteSettings) -> Saved:
    """Make the change under the lock and write it. `make` reads what it needs, so that nothing stale is written.

    Raises `Conflict` when the files were saved but may not be committed now; nothing is written on other errors.
    """
    if settings.dry_run:
        change = make()
        return Saved(change, tuple(_changed(project, change)), dry_run=True)
    wants_commit = project.settings.commit if settings.commit is None else settings.commit
    with project.lock(what):
        change = make()
        paths = _changed(project, change)
        if not paths:
            return Saved(change, ())
        if not wants_commit:
            _write(project, change, paths)
            return Saved(change, tuple(paths))
        return Saved(change, tuple(paths), _write_and_commit(project, change, paths))


def _changed(project: Project, change: Change) -> list[str]:
    return [file.path for file in change.files if _current(project, file.path) != file.content]


def _current(project: Project, path: str) -> bytes | None:
    try:
        return (project.root / path).read_bytes()
    except FileNotFoundError:
        return None


def _write(project: Project, change: Change, paths: Sequence[str]) -> None:
    for file in change.files:
        if file.path not in paths:
            continue
        if file.content is None:
            remove_file(project.root / file.path)
        else:
            write_file(project.root / file.path, file.content)


def _write_and_commit(project: Project, change: Change, paths: Sequence[str]) -> str:
    git = project.get_git()
    foreign = git.changed_paths(*paths)
    _write(project, change, paths)
    if foreign:
        raise Conflict(
            f"{', '.join(foreign)} held edits that were not committed, so nothing was committed; the change is saved",
            hint="look at `git diff` and commit the file yourself",
        )
    return _commit(git, paths, change.message)


def _commit(git: Git, paths: Sequence[str], message: str) -> str:
    try:
        return git.commit(paths, message)
    except DagtasksError as error:
        error.hint = error.hint or "the files are saved; commit them yourself when the cause is gone"
        raise
