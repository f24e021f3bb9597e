"""What Git knows of the past of task files: who changed what, and when.

The one module that uses GitPython, and only to run `git log`; nothing that a user wrote can become an option of it.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import NamedTuple

from dagtasks.errors import GitError
from dagtasks.model.event import Changed
from dagtasks.model.summary import TaskSummary
from dagtasks.planning.changes import find_changed_with_workflows
from dagtasks.store.documents import Document, parse_document
from dagtasks.store.git import READ_ONLY, Git, local_variables
from dagtasks.store.layout import TASKS, Kind, Place, check_place, place
from dagtasks.store.project import Project
from dagtasks.store.rows import read_row
from dagtasks.store.trees import read_contents

_FIELDS = ("%H", "%P", "%at", "%aN", "%s")
_OPTIONS = (
    *("--encoding=UTF-8", "--no-show-signature", f"--format={'%x00'.join(_FIELDS)}"),
    *("--raw", "-z", "--no-renames", "--no-abbrev", "--relative", "--diff-merges=separate"),
    *("--no-follow", "--no-ext-diff", "--no-textconv"),
)
# A git that we started tells its hooks to take paths as they are.
_ENVIRONMENT = {f"GIT_{kind}_PATHSPECS": "0" for kind in ("LITERAL", "GLOB", "NOGLOB", "ICASE")}
_LAST_SECOND = 253_402_300_799
"""The end of the year 9999."""


class FileChange(NamedTuple):
    """A file that is not as it was: its blob before and after; None for no file."""

    path: str
    before: str | None
    after: str | None


class Commit(NamedTuple):
    """A commit with the files that it changed, by each of its parents: of a merge there are several such lists.

    `time` is when the author wrote it, in UTC, as `2026-11-23T14:15:00Z`.
    """

    id: str
    time: str
    author: str
    subject: str
    changes: list[list[FileChange]]


class Entry(NamedTuple):
    """What a commit changed in a task; `commit` None: what is not committed yet.

    `changed` is empty when the form alone was changed. `is_broken` says that the file could not be read after it.
    """

    commit: Commit | None
    changed: Changed
    is_broken: bool = False


class History(NamedTuple):
    """The past of a task, the newest first. `is_cut` says that the clone is shallow and has not all of it."""

    entries: list[Entry]
    is_cut: bool = False


class _Version(NamedTuple):
    """What a file said; `row` None when there was none, or it could not be read."""

    row: TaskSummary | None = None
    description: str | None = None
    is_broken: bool = False


_Versions = Mapping[tuple[str, str], _Version]
"""What was said, by path and blob."""


# -- commits --------------------------------------------------------------------------------------------------------


def read_log(git: Git, *pathspecs: str) -> list[Commit]:
    """The commits that led to the files of the pathspecs (as of HEAD), the newest first. Raises `GitError`.

    A merge is among them when it differs from each of its parents.
    """
    head = git.head().commit
    return _read_commits(git, head, "--", *pathspecs) if head else []


def _read_commits(git: Git, *arguments: str) -> list[Commit]:
    printed = _run(git, "-c", "log.showRoot=true", "log", *_OPTIONS, *arguments)
    parts = iter(printed.decode("utf-8", "surrogateescape").split("\0"))
    commits: dict[str, Commit] = {}
    parents: dict[str, int] = {}
    changes: list[FileChange] = []
    for part in parts:
        if part.startswith((":", "\n:")):
            changes.append(_file_change(part, next(parts)))
        elif part:
            # A merge comes once for each parent.
            parents[part] = max(len(next(parts).split()), 1)
            commit = Commit(part, _moment(next(parts)), next(parts), next(parts), [])
            changes = []
            commits.setdefault(part, commit).changes.append(changes)
    return [commit for commit in commits.values() if len(list(filter(None, commit.changes))) == parents[commit.id]]


def _run(git: Git, *arguments: str) -> bytes:
    """What git prints. GitPython adds variables to our environment, and can take none away: `env` does that."""
    from git import Git as Runner

    without = [word for name in sorted(local_variables() & os.environ.keys()) for word in ("-u", name)]
    reading = [option for option in READ_ONLY if option != "--literal-pathspecs"]
    command = ["env", *without, "git", "-C", str(git.root), *reading, *arguments]
    status, printed, errors = Runner().execute(
        command,
        env={**_ENVIRONMENT, "GIT_TERMINAL_PROMPT": "0"},
        stdout_as_string=False,
        with_extended_output=True,
        with_exceptions=False,
    )
    if status:
        raise GitError(f"git log ended with {status}: {errors.strip()}")
    return printed if isinstance(printed, bytes) else b""


def _file_change(facts: str, path: str) -> FileChange:
    before, after = (blob if blob.strip("0") else None for blob in facts.split(" ")[2:4])
    return FileChange(path, before, after)


def _moment(seconds: str) -> str:
    second = min(max(int(seconds), 0), _LAST_SECOND)
    return datetime.fromtimestamp(second, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


# -- one task -------------------------------------------------------------------------------------------------------


def read_history(project: Project, task: TaskSummary) -> History:
    """The past of the task, in whatever folders its file lay. Raises `ProjectNotFound` outside of Git, `GitError`."""
    git = project.get_git()
    commits = _find_commits(git, task)
    history, last = _tell(commits, _read_versions(git, commits), _read_cut_off(git))
    if commits and not git.changed_paths(task.path):
        return history
    edit = Entry(None, _find_changed(last, _read_version(project.read_document(task.path))))
    return history._replace(entries=[edit, *history.entries])


def read_histories(git: Git) -> dict[str, History]:
    """The past of every task that HEAD has or had, by id, without what is not committed.

    One walk through the commits, and one reading of all versions of all files: seconds for ten thousand of those.
    Where a merge kept nothing of what one of its sides did to a task, that is in here, and not in `read_history`.
    """
    commits: dict[str, list[Commit]] = {}
    for commit in read_log(git, TASKS):
        for name, changes in _by_task(commit).items():
            commits.setdefault(name, []).append(commit._replace(changes=changes))
    versions = _read_versions(git, (commit for each in commits.values() for commit in each))
    cut_off = _read_cut_off(git)
    return {name: _tell(commits[name], versions, cut_off)[0] for name in sorted(commits)}


def _by_task(commit: Commit) -> dict[str, list[list[FileChange]]]:
    """What the commit changed, for each task that is not as in any of the parents."""
    sides: list[dict[str, list[FileChange]]] = [{} for _ in commit.changes]
    for side, changes in zip(sides, commit.changes, strict=True):
        for change in changes:
            if found := _place_task(change.path):
                side.setdefault(found.id, []).append(change)
    return {name: [side[name] for side in sides] for name in sides[0] if all(name in side for side in sides)}


def _tell(commits: Sequence[Commit], versions: _Versions, cut_off: set[str]) -> tuple[History, _Version]:
    """What the commits did to a task, and what it says after them."""
    entries: list[Entry] = []
    last = _Version()
    for commit in reversed(commits):
        entry, last = _make_entry(commit, versions, last)
        is_mere_merge = len(commit.changes) > 1 and not entry.changed and not entry.is_broken
        if commit.id not in cut_off and not is_mere_merge:
            entries.append(entry)
    return History(entries[::-1], any(commit.id in cut_off for commit in commits)), last


def _find_commits(git: Git, task: TaskSummary) -> list[Commit]:
    """The commits that changed the task.

    Looking through all folders takes Git several times as long as looking at one path, so that is tried first: it will
    do when the file has not come from another folder.
    """
    everywhere = f":(glob){TASKS}/{task.project}/**/{task.id}.yaml"
    commits = read_log(git, f":(literal){task.path}")
    if commits and any(file.after for file in commits[0].changes[0]):
        [first] = _read_commits(git, "--max-count=1", commits[-1].id, "--", everywhere)
        if not any(file.before for changes in first.changes for file in changes):
            return commits
    return read_log(git, everywhere)


def _read_cut_off(git: Git) -> set[str]:
    """The commits of a shallow clone whose parents it has not; they look as if they had made every file."""
    listing = git.common_dir / "shallow"
    return set(listing.read_text().split()) if listing.is_file() else set()


def _read_versions(git: Git, commits: Iterable[Commit]) -> _Versions:
    """What the task said in each version of each file."""
    changes = (change for commit in commits for changes in commit.changes for change in changes)
    files = sorted({(path, blob) for path, *blobs in changes for blob in blobs if blob})
    contents = read_contents(git, [blob for _, blob in files])
    documents = (parse_document(content, path) for content, (path, _) in zip(contents, files, strict=True))
    return dict(zip(files, map(_read_version, documents), strict=True))


def _read_version(document: Document) -> _Version:
    found = _place_task(document.path)
    if found is None:
        return _Version()
    row, _, details = read_row(found, document)
    if not isinstance(row, TaskSummary) or details is None:
        return _Version(is_broken=True)
    return _Version(row, details["description"] or None)


def _place_task(path: str) -> Place | None:
    found = place(path)
    return found if found and found.kind is Kind.TASK and not check_place(found) else None


def _make_entry(commit: Commit, versions: _Versions, last: _Version) -> tuple[Entry, _Version]:
    """The entry of the commit, and what the task said after it; `last` is what it said when it could be read last.

    A field counts as changed by a merge when it is as in none of the parents.
    """
    after = _pick(versions, ((file.path, file.after) for file in commit.changes[0]))
    if after.is_broken:
        return Entry(commit, {}, is_broken=True), last
    befores = [_pick(versions, ((file.path, file.before) for file in changes)) for changes in commit.changes]
    first, *others = [_find_changed(last if before.is_broken else before, after) for before in befores]
    changed = {field: pair for field, pair in first.items() if all(field in other for other in others)}
    return Entry(commit, changed), after


def _pick(versions: _Versions, files: Iterable[tuple[str, str | None]]) -> _Version:
    """What the task said in the one of the files that is there; a file that moved is there at one of two places."""
    return next((versions[path, blob] for path, blob in files if blob), _Version())


def _find_changed(before: _Version, after: _Version) -> Changed:
    changed = find_changed_with_workflows(before.row, after.row)
    texts = {"description": (before.description, after.description)} if "description" in changed else {}
    return {**changed, **texts}
