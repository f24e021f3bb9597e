"""Changing files: under the lock, read again, written all or nothing, and committed when that is wanted."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, NamedTuple

from dagtasks.errors import Conflict, DagtasksError
from dagtasks.store.process import DEPTH
from dagtasks.store.project import Project

if TYPE_CHECKING:
    from dagtasks.store.writer import Writer


class Expected(NamedTuple):
    """The file at a path, and the digests that it may have; `*` stands for any file."""

    path: str
    digests: frozenset[str]


class Stale(Conflict):
    """The thing is not any more what the change was meant for."""

    status = 412


class WriteSettings(NamedTuple):
    """How a change is to be made. `commit` None: as the setting `commit` says. `trailer` ends the commit's message.

    `author` is whom the commit is by, as `Name <email>` ("": Git's user). `expected` says what a file has to hold for
    the change to be made. With `is_whole` nothing stays changed that cannot be committed.
    """

    commit: bool | None = None
    dry_run: bool = False
    trailer: str = ""
    author: str = ""
    expected: Expected | None = None
    is_whole: bool = False


class FileChange(NamedTuple):
    """The new content of a file; None removes it.

    `base` is the digest of what the content was made from ("": there was no file): if the file is another by now, the
    change is made anew. None: whatever the file holds.
    """

    path: str
    content: bytes | None
    base: str | None = None


NO_FILE = ""
"""The `base` of a file that must not be there."""
ATTEMPTS = 5
"""How often a change is made anew when somebody else changes the same files at the same moment."""


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
        for attempt in range(ATTEMPTS):
            writer.wait_for_git()
            if settings.expected:
                _refuse_stale(writer, settings.expected)
            change = make()
            files = {path: content for path, content in _files(change).items() if writer.read(path) != content}
            foreign = writer.find_foreign(list(_files(change))) if wants_commit else []
            if settings.is_whole:
                _refuse_uncommittable(project, foreign)
            before = _Before({path: writer.read(path) for path in files}, _head(project) if settings.is_whole else None)
            if _is_written(writer, change, files, is_last=attempt == ATTEMPTS - 1):
                break
        try:
            if wants_commit:
                return _commit(project, writer, Written(change, files, foreign), settings)
            return Saved(change, tuple(files))
        except DagtasksError as error:
            if settings.is_whole:
                _take_back(project, writer, before, files, error)
            raise
        finally:
            if settings.trailer or os.environ.get(DEPTH):
                from dagtasks.service.dispatch import pass_over

                pass_over(project, files, run=settings.trailer.partition(": ")[2] or None)


def _refuse_stale(writer: Writer, expected: Expected) -> None:
    """Raise `Stale` when the file is not what the change was meant for."""
    content = writer.read(expected.path)
    digest = _digest(content)
    if digest is None or not expected.digests & {digest, "*"}:
        raise Stale(f"{expected.path} is not as you have seen it", hint="read it again, then decide again")


def _refuse_uncommittable(project: Project, foreign: Sequence[str]) -> None:
    """Raise `Conflict` when it is known before anything is written that it could not be committed."""
    from dagtasks.store.commits import find_busy

    if what := find_busy(project.get_git()):
        raise Conflict(f"{what} is under way in the work tree, so nothing can be committed", hint="try again later")
    if foreign:
        message = f"{', '.join(foreign)} holds edits that somebody has not committed"
        raise Conflict(message, hint="they have to be committed first")


class _Before(NamedTuple):
    """What the files held before they were written, and the commit that was checked out."""

    files: Mapping[str, bytes | None]
    head: str | None


def _head(project: Project) -> str | None:
    return project.get_git().head().commit


def _take_back(
    project: Project, writer: Writer, before: _Before, files: Mapping[str, bytes | None], error: DagtasksError
) -> None:
    """Give the files back what they held before a commit that was refused; what others wrote meanwhile stays."""
    with suppress(DagtasksError):
        if _head(project) == before.head:
            bases = {path: _digest(content) or NO_FILE for path, content in files.items()}
            writer.write(before.files, bases)
            error.hint = "nothing was changed; when the cause is gone, do it again"


def _digest(content: bytes | None) -> str | None:
    from hashlib import sha256

    return None if content is None else sha256(content).hexdigest()


class Written(NamedTuple):
    """A change whose files are written. `foreign` are paths that held edits of somebody else before."""

    change: Change
    files: Mapping[str, bytes | None]
    foreign: Sequence[str]


def _is_written(writer: Writer, change: Change, files: Mapping[str, bytes | None], *, is_last: bool) -> bool:
    """Write the files; False when somebody else changed them at the same moment, so that it is to be done again.

    The last time that is a `Conflict`.
    """
    from dagtasks.store.files import Changed

    try:
        writer.write(files, {file.path: file.base for file in change.files})
    except Changed:
        if is_last:
            raise
        return False
    is_kept = writer.holds(files)
    if is_last and not is_kept:
        raise Conflict(f"others keep changing {', '.join(files)}", hint="do it again when they have ended")
    return is_kept


def _files(change: Change) -> dict[str, bytes | None]:
    return {file.path: file.content for file in change.files}


def _commit(project: Project, writer: Writer, written: Written, settings: WriteSettings) -> Saved:
    """Commit what is ours: also what an earlier command of ours wrote and left to be committed."""
    from dagtasks.store.commits import CHANGED, UNDONE
    from dagtasks.store.files import WriteError

    change, files, foreign = written
    try:
        changed = project.get_git().changes(*_files(change))
        if not changed:
            return Saved(change, tuple(files))
        if foreign:
            message = f"{', '.join(foreign)} held edits that were not committed, so nothing was committed"
            raise Conflict(f"{message}; the change is saved", hint="look at `git diff` and commit the file yourself")
        action = UNDONE if change.is_undo else CHANGED
        message = f"{change.message}\n\n{settings.trailer}" if settings.trailer else change.message
        made = writer.commit(changed, message, action, settings.author)
        return Saved(change._replace(notes=[*change.notes, *made.said]), tuple(sorted(changed)), made.commit)
    except DagtasksError as error:
        hint = "the files are saved; commit them yourself when the cause is gone"
        # What a `WriteError` says about its file is true of a note of ours, and not of the user's files.
        error.hint = hint if isinstance(error, WriteError) else error.hint or hint
        raise
