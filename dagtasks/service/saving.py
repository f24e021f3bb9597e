"""Changing files: under the lock, read again, written all or nothing, and committed when that is wanted."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple

from dagtasks.errors import Conflict, DagtasksError
from dagtasks.store.project import Project

if TYPE_CHECKING:
    from dagtasks.store.writer import Writer


class WriteSettings(NamedTuple):
    """How a change is to be made. `commit` None: as the setting `commit` says. `trailer` ends the commit's message."""

    commit: bool | None = None
    dry_run: bool = False
    trailer: str = ""


class FileChange(NamedTuple):
    """The new content of a file; None removes it."""

    path: str
    content: bytes | None


class Change(NamedTuple):
    """What a command wants to do: the files, the line that says so, and the thing as it will be (for `--json`).

    `is_undo` keeps the commit from being undone in turn.
    """

    files: Sequence[FileChange]
    message: str
    kind: str = ""
    data: object = None
    notes: Sequence[str] = ()
    is_undo: bool = False


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
    # Commands that only read import this module for its types.
    from dagtasks.store.writer import Writer

    if settings.dry_run:
        change = make()
        files = _files(change)
        return Saved(
            change, tuple(path for path in files if Writer(project, what).read(path) != files[path]), dry_run=True
        )
    wants_commit = project.settings.commit if settings.commit is None else settings.commit
    with Writer(project, what) as writer:
        change = make()
        files = {path: content for path, content in _files(change).items() if writer.read(path) != content}
        if wants_commit:
            return _write_and_commit(project, writer, change, files, settings.trailer)
        writer.write(files)
        return Saved(change, tuple(files))


def _files(change: Change) -> dict[str, bytes | None]:
    return {file.path: file.content for file in change.files}


def _write_and_commit(
    project: Project, writer: Writer, change: Change, files: Mapping[str, bytes | None], trailer: str
) -> Saved:
    """Write, and commit what is ours: also what an earlier command of ours wrote and left to be committed."""
    git = project.get_git()
    paths = list(_files(change))
    foreign = writer.find_foreign(paths)
    writer.write(files)
    changed = git.changed_paths(*paths)
    if not changed:
        return Saved(change, tuple(files))
    if foreign:
        raise Conflict(
            f"{', '.join(foreign)} held edits that were not committed, so nothing was committed; the change is saved",
            hint="look at `git diff` and commit the file yourself",
        )
    from dagtasks.store.commits import CHANGED, UNDONE

    try:
        action = UNDONE if change.is_undo else CHANGED
        message = f"{change.message}\n\n{trailer}" if trailer else change.message
        return Saved(change, tuple(changed), writer.commit(changed, message, action))
    except DagtasksError as error:
        error.hint = error.hint or "the files are saved; commit them yourself when the cause is gone"
        raise
