"""Undoing what dagtasks committed last, field by field: later edits of other fields stay."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

from dagtasks.errors import Conflict, Severity
from dagtasks.model.summary import TaskSummary
from dagtasks.planning.index import Index, Row, build_index
from dagtasks.planning.links import check_links, find_duplicates
from dagtasks.planning.merges import BlobChange
from dagtasks.service.documents import row_of
from dagtasks.service.saving import Change, FileChange, Saved, WriteSettings, save
from dagtasks.store.changes import OwnChange, find_uncommitted, read_entries, read_own_changes, undo_subject
from dagtasks.store.comments import find_comment_files
from dagtasks.store.commits import find_busy
from dagtasks.store.git import Git
from dagtasks.store.layout import TASKS, TEMPLATES, comments_folder, place
from dagtasks.store.merge import merge
from dagtasks.store.merges import read_blobs, read_changes
from dagtasks.store.project import Project

Files = Mapping[str, bytes | None]


def undo(project: Project, *, dry_run: bool = False) -> Saved:
    """Take back, in a new commit, the last change of this branch that dagtasks committed in this clone.

    Changes that have no effect any more are passed over. Raises `Conflict` when a later edit touched the same thing,
    when something would be left without what it needs, or when there is nothing to undo.
    """

    def make() -> Change:
        git = project.get_git()
        _refuse_unready(git)
        for own in read_own_changes(git):
            if files := _files_before(project, git, own):
                return _change(project, git, own, files)
        raise Conflict(
            "there is nothing to undo: nothing is in effect that dagtasks committed on this branch in this clone",
            hint="see `git log`; any commit can be taken back with `git revert`",
        )

    return save(project, "undo", make, WriteSettings(commit=True, dry_run=dry_run))


def _refuse_unready(git: Git) -> None:
    if what := find_busy(git):
        raise Conflict(f"{what} is under way", hint="finish it first")
    if paths := find_uncommitted(git):
        raise Conflict(
            f"the last change was not committed, so it cannot be undone: {', '.join(paths[:20])}",
            hint="look at `git diff`; commit it first, or take it back by hand",
        )


# --- the files as they were ---------------------------------------------------------------------------------------


class _Merged(NamedTuple):
    """A file that is to change: its new content (None: it goes)."""

    path: str
    content: bytes | None


class _Touched(NamedTuple):
    """A file whose change cannot be taken back, and why."""

    path: str
    why: str


def _files_before(project: Project, git: Git, own: OwnChange) -> Files:
    """The files that have to change for the commit to be undone. Raises `Conflict` naming what stands in the way."""
    changed = _read_changed(git, own)
    now = read_entries(git, "HEAD", [*changed]) if changed else {}
    contents = read_blobs(git, (blob for blobs in changed.values() if blobs.before for blob in blobs if blob))
    results = [
        _take_back(project.root / path, path, blobs, now.get(path), contents) for path, blobs in sorted(changed.items())
    ]
    touched = [f"{result.path} {result.why}" for result in results if isinstance(result, _Touched)]
    if touched:
        raise Conflict(
            f"{own.subject} ({own.commit[:10]}) cannot be undone: {'; '.join(touched[:20])}",
            hint="change it by hand: see `git show` for what it did",
        )
    return {result.path: result.content for result in results if isinstance(result, _Merged)}


def _read_changed(git: Git, own: OwnChange) -> dict[str, BlobChange]:
    """What the commit made of the files of dagtasks; a person may have amended it with others."""
    base = own.parent or git.read("hash-object", "-t", "tree", "--stdin", given=b"")
    found = read_changes(git, base, own.commit, ".")
    return {path: blobs for path, blobs in found.items() if path.startswith((f"{TASKS}/", f"{TEMPLATES}/"))}


def _take_back(
    file: Path, path: str, blobs: BlobChange, now: str | None, contents: Mapping[str, bytes]
) -> _Merged | _Touched | None:
    """What becomes of the file; None when the commit has no effect on it any more."""
    before, after = blobs
    if before is None:
        if now in (None, after):
            return _Merged(path, None) if now else None
        return _Touched(path, "was changed since it was made")
    if after is None:
        return None if now else _Merged(path, contents[before])
    if now is None:
        return _Touched(path, "was deleted since")
    content = file.read_bytes()
    merged = merge(contents[after], content, contents[before])
    if merged.conflicts:
        return _Touched(path, f"was changed since ({', '.join(merged.conflicts)})")
    return None if merged.content == content else _Merged(path, merged.content)


# --- what comes of it ---------------------------------------------------------------------------------------------


def _change(project: Project, git: Git, own: OwnChange, files: Files) -> Change:
    if dirty := git.changed_paths(*files):
        what = f"{own.subject} ({own.commit[:10]}) is not undone"
        hint = "commit or stash them first"
        raise Conflict(f"{what}: there are edits that are not committed in {', '.join(dirty)}", hint=hint)
    _refuse_broken(project, own, files)
    data = {"undone": own.commit, "subject": own.subject, "paths": list(files)}
    changes = [FileChange(path, content) for path, content in files.items()]
    return Change(changes, undo_subject(own.subject), "undo", data, list(_notes(git, own)), is_undo=True)


def _notes(git: Git, own: OwnChange) -> Iterator[str]:
    yield from (f"{subject}: passed over, it is not in this branch any more as it was" for subject in own.passed_over)
    upstream = git.find_commit("@{upstream}")
    if upstream and git.find("merge-base", "--is-ancestor", own.commit, upstream) is not None:
        yield "the change was pushed already: push the undoing, too"


def _refuse_broken(project: Project, own: OwnChange, files: Files) -> None:
    """Raise `Conflict` when something would be wrong afterwards that is not wrong now."""
    index = project.load()
    after = _rows_after(index, files)
    wrong = _errors(after) - _errors(_rows(index))
    wrong |= {f"{path} would be left" for path in _left_behind(project, index, after, files)}
    if wrong:
        what = f"{own.subject} ({own.commit[:10]}) cannot be undone"
        raise Conflict(f"{what}: {'; '.join(sorted(wrong)[:20])}", hint="change what needs it first")


def _rows(index: Index) -> list[Row]:
    kinds = (index.projects, index.phases, index.tasks, index.templates)
    return [*(row for kind in kinds for row in kind.values()), *index.broken]


def _rows_after(index: Index, files: Files) -> list[Row]:
    kept = [row for row in _rows(index) if row.path not in files]
    places = ((place(path), content) for path, content in files.items())
    return [*kept, *(row_of(found, content) for found, content in places if found and content is not None)]


def _errors(rows: Iterable[Row]) -> set[str]:
    """The errors between the rows in words, and the files that cannot be read."""
    rows = list(rows)
    index = build_index(rows, ())
    found = check_links(index, find_duplicates(rows))
    errors = {f"{path}: {finding.message}" for path, finding in found if finding.severity is Severity.ERROR}
    return errors | {f"{file.path} would be broken" for file in index.broken}


def _left_behind(project: Project, index: Index, after: list[Row], files: Files) -> Iterator[str]:
    """Files that belong to a project or a task that would be gone."""
    left = build_index(after, ())
    gone = index.projects.keys() - left.projects.keys()
    yield from (row.path for row in after if getattr(row, "project", None) in gone)
    for task in index.tasks.values():
        if task.id not in left.tasks:
            yield from _comments_on(project, task, files)


def _comments_on(project: Project, task: TaskSummary, files: Files) -> Iterator[str]:
    found = find_comment_files(project.root, comments_folder(task.project, task.id))
    yield from (path for path in found if path not in files)
