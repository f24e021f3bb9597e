"""What Git knows of the past of task files: who changed what, and when.

The one module that uses GitPython, and only to run `git log`; nothing that a user wrote can become an option of it.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

from dagtasks.errors import GitError
from dagtasks.model.event import Changed
from dagtasks.model.summary import TaskSummary
from dagtasks.planning.changes import find_changed_with_workflows
from dagtasks.store.cache import Cache
from dagtasks.store.documents import Document, parse_document
from dagtasks.store.git import READ_ONLY, Git, local_variables
from dagtasks.store.layout import TASKS, Kind, Place, check_place, place
from dagtasks.store.project import Project
from dagtasks.store.records import Packed, pack, unpack
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
    """What a commit (without its files) changed in a task; `commit` None: what is not committed yet.

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
    try:
        from git import Git as Runner
    except ImportError as error:  # it looks for the program when it is imported
        raise GitError(f"git cannot be started: {error}", hint="see: dagtasks doctor") from error

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


def read_histories(git: Git, cache: Cache | None = None) -> dict[str, History]:
    """The past of every task that HEAD has or had, by id, without what is not committed.

    One walk through the commits, and one reading of all versions of all files: seconds for ten thousand of those. What
    the cache has is not read again: where HEAD came from there by commits in a row, only these are.
    Where a merge kept nothing of what one of its sides did to a task, that is in here, and not in `read_history`.
    """
    head = git.head().commit
    if head is None:
        return {}
    cache = cache or Cache(None)
    source = (head, _read_mailmap(git), sorted(_read_cut_off(git)))
    known = _Kept.load(cache)
    if known.source == source:
        return known.histories
    grown = known.grow(git, head) if known.source[1:] == source[1:] else None
    histories = grown or _read_histories(git, head)
    _Kept(source, histories).store(cache)
    return histories


def _read_histories(git: Git, revisions: str) -> dict[str, History]:
    commits: dict[str, list[Commit]] = {}
    for commit in _read_commits(git, revisions, "--", TASKS):
        for name, changes in _by_task(commit).items():
            commits.setdefault(name, []).append(commit._replace(changes=changes))
    versions = _read_versions(git, (commit for each in commits.values() for commit in each))
    cut_off = _read_cut_off(git)
    return {name: _tell(commits[name], versions, cut_off)[0] for name in sorted(commits)}


class _Kept(NamedTuple):
    """All histories as the cache keeps them, and what they were made from: HEAD, names of people, where they end."""

    source: tuple[str, bytes, list[str]]
    histories: dict[str, History]

    @classmethod
    def load(cls, cache: Cache) -> _Kept:
        """What the cache has."""
        known: Any = cache.value("histories")
        source, facts, packed = known or (("", b"", []), {}, {})
        commits = {name: Commit(name, time, author, subject, []) for name, (time, author, subject) in facts.items()}
        return cls(source, {name: _unpack(one, commits) for name, one in packed.items()})

    def store(self, cache: Cache) -> None:
        """Put it into the cache."""
        entries = (entry for past in self.histories.values() for entry in past.entries)
        facts = {commit.id: (commit.time, commit.author, commit.subject) for commit, *_ in entries if commit}
        packed = {name: _pack(past) for name, past in self.histories.items()}
        cache.store_value("histories", (self.source, facts, packed))

    def grow(self, git: Git, head: str) -> dict[str, History] | None:
        """The histories up to `head`; None when more than the new commits has to be read for that."""
        if not self.histories or not _is_in_a_row(git, self.source[0], head):
            return None
        fresh = _read_histories(git, f"{self.source[0]}..{head}")
        known = {name: self.histories.get(name, History([])) for name in fresh}
        # After a file that could not be read comes what it said before, which is not in here.
        entries = (entry for name in fresh for entry in (*fresh[name].entries, *known[name].entries[:1]))
        if any(entry.is_broken for entry in entries):
            return None
        grown = {name: past._replace(entries=fresh[name].entries + past.entries) for name, past in known.items()}
        return dict(sorted({**self.histories, **grown}.items()))


def _pack(past: History) -> Packed:
    entries = [(entry.commit.id, pack(entry.changed), entry.is_broken) for entry in past.entries if entry.commit]
    return entries, past.is_cut


def _unpack(packed: Packed, commits: Mapping[str, Commit]) -> History:
    entries, is_cut = packed
    return History([Entry(commits[of], unpack(changed), is_broken) for of, changed, is_broken in entries], is_cut)


def _is_in_a_row(git: Git, old: str, new: str) -> bool:
    """Whether `new` came from `old` by commits without a merge among them."""
    try:
        git.read("merge-base", "--is-ancestor", old, new)
    except GitError:
        return False
    return git.read("rev-list", "--count", "--min-parents=2", f"{old}..{new}") == "0"


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
            entries.append(entry._replace(commit=commit._replace(changes=[])))
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


def _read_mailmap(git: Git) -> bytes:
    """The file that says what people are called; Git's answers depend on it."""
    path = Path(git.read("rev-parse", "--show-toplevel"), ".mailmap")
    return path.read_bytes() if path.is_file() else b""


def _read_versions(git: Git, commits: Iterable[Commit]) -> _Versions:
    """What the task said in each version of each file."""
    changes = (change for commit in commits for changes in commit.changes for change in changes)
    files = sorted({(path, blob) for path, *blobs in changes for blob in blobs if blob})
    contents = read_contents(git, [blob for _, blob in files])
    documents = (parse_document(content, path) for content, (path, _) in zip(contents, files, strict=True))
    return dict(zip(files, map(_read_version, documents), strict=True))


def _read_version(document: Document) -> _Version:
    from dagtasks.store.rows import read_row  # large, and not needed where all versions are known

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
