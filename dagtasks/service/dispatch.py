"""What changed since the last look, and what that starts: the one place that every door asks (hook, watcher, runner).

A look compares the files with the cursor of the work tree, puts what events start into the queue, and only then moves
the cursor; all of it under the lock. So one change gives one set of events, whoever sees it and however often.
"""

from __future__ import annotations

import os
from collections.abc import Collection, Mapping, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from hashlib import sha256
from typing import TYPE_CHECKING, NamedTuple, TypeVar

from dagtasks.errors import LockTimeout, Problem, has_errors
from dagtasks.model.event import Event
from dagtasks.model.summary import PhaseSummary, ProjectSummary, TaskSummary
from dagtasks.model.values import JSON
from dagtasks.planning.changes import find_events, has_changed, keep_last_good
from dagtasks.planning.index import Index, find_different, replace_rows
from dagtasks.service.events import Step, tell
from dagtasks.service.runevents import tell_runs
from dagtasks.store.cursor import Cursor, CursorFile, Mark, find_identity
from dagtasks.store.files import LOCK_SECONDS, WriteError, hold_lock
from dagtasks.store.git import Git
from dagtasks.store.project import Project
from dagtasks.store.queue import Entry, Queue

if TYPE_CHECKING:
    from dagtasks.planning.triggers import Start

R = TypeVar("R", ProjectSummary, PhaseSummary, TaskSummary)
_LOOKED = "looked"


class Look(NamedTuple):
    """What a look found: what happened, and what was queued for it.

    `wrong` are the errors in the files now; `said` tells what commits said of tasks, a line each.
    """

    events: list[Event]
    queued: list[Entry]
    wrong: Sequence[Problem] = ()
    said: Sequence[str] = ()


NOTHING = Look([], [], [])


def look(project: Project, *, seconds: float = LOCK_SECONDS) -> Look:
    """Compare the files with the last look and queue what the events start. The first look of all starts nothing.

    Raises `LockTimeout` when the lock is not got in so many seconds, `WriteError`, outside of Git `ProjectNotFound`.
    """
    with hold_lock(project.lock_path, "look for changes", seconds=seconds):
        _wait_for_git(project)
        index, file = project.load(), CursorFile(project)
        mark, identity = file.find_mark(), find_identity(index)
        wrong = [problem for problem in index.problems if has_errors([problem])]
        if mark and identity and project.recall(_LOOKED) == [identity, mark.id]:
            tell_runs(project)
            return NOTHING._replace(wrong=wrong)
        found = _compare(project, file, index)._replace(wrong=wrong)
        tell_runs(project)
        if identity and (mark := file.find_mark()):
            project.remember(_LOOKED, [identity, mark.id])
        return found


def catch_up(project: Project, *, seconds: float = LOCK_SECONDS) -> Look:
    """Look, give tasks the status that new commits say they have (`Completes: ID`), and look what that starts.

    What a commit changes and what it says are two changes: the second is looked at after the first. Raises as `look`.
    """
    from dagtasks.service.drift import follow_commits

    first, said = look(project, seconds=seconds), []
    with suppress(LockTimeout, WriteError):  # then the next look does it
        said = follow_commits(project)
    if not said:
        return first
    second = look(project, seconds=seconds)
    return Look([*first.events, *second.events], [*first.queued, *second.queued], second.wrong, said)


def _wait_for_git(project: Project) -> None:
    """Files that are being checked out are no edits."""
    from dagtasks.store.writer import Writer

    Writer(project, "look for changes").wait_for_git()


def _compare(project: Project, file: CursorFile, index: Index) -> Look:
    cursor, now = file.read(), _make_mark(project.get_git())
    if cursor is None:
        file.write(Cursor(now, index))
        return NOTHING
    known, before = _follow(project.get_git(), cursor, now)
    after = keep_last_good(before, index)
    events = find_events(before, after)
    tell(project, Step(cursor.mark, now, known, after), events if known is before else find_events(known, after))
    queued = _queue(project, cursor.mark, events, (before, after))
    if events or has_changed(cursor.content, after):
        file.write(Cursor(now, after))
    return Look(events, queued)


def _make_mark(git: Git) -> Mark:
    from dagtasks.store.moves import find_log_size

    return Mark(os.urandom(8).hex(), git.head().commit, find_log_size(git))


# -- what starts nothing --------------------------------------------------------------------------------------------


def _follow(git: Git, cursor: Cursor, now: Mark) -> tuple[Index, Index]:
    """What was there at the last look, with what checkouts have changed since; and that with what runs have, too.

    The same one twice where no run has.
    """
    last, content = cursor.mark, cursor.content
    if (last.head, last.log) == (now.head, now.log):
        return content, content
    from dagtasks.store.moves import find_moved, read_committed

    known = content
    for moved in find_moved(git, last.log, last.head, now.head):
        content = _take(content, read_committed(git, moved), moved.paths)
        known = known if moved.by_runs else content
    return known, content


def pass_over(project: Project, paths: Collection[str] = (), *, run: str | None = None) -> None:
    """Take what these files say now, and what checkouts and runs brought, as seen: it starts nothing.

    What runs changed is told all the same; `run` is the one that wrote the files, where that is known. All else is left
    to a look. The caller holds the lock.
    """
    cursor = (file := CursorFile(project)).read() if project.git else None
    if project.git is None or cursor is None:
        return None
    now = _make_mark(project.git)
    known, content = _follow(project.git, cursor, now)
    after = _take(content, project.load(), paths) if paths else content
    if known is not after:
        tell(project, Step(cursor.mark, now, known, after, run), find_events(known, after))
    # The id stays: what was queued from it may have to be known again.
    return file.write(Cursor(now._replace(id=cursor.mark.id), after))


def pass_over_commit(project: Project, *, seconds: float = LOCK_SECONDS) -> None:
    """Take what the last commit changed as seen: a run made it. Raises `LockTimeout`."""
    listing = project.get_git().read(
        "diff-tree", "-r", "-z", "--root", "--no-commit-id", "--name-only", "--relative", "HEAD"
    )
    with hold_lock(project.lock_path, "look for changes", seconds=seconds):
        pass_over(project, listing.split("\0")[:-1])


def pass_over_checkout(project: Project, *, seconds: float = LOCK_SECONDS) -> None:
    """Take what checkouts brought as seen; where nobody has looked yet, all. Raises `LockTimeout`."""
    with hold_lock(project.lock_path, "look for changes", seconds=seconds):
        if CursorFile(project).find_mark():
            pass_over(project)
        else:
            _compare(project, CursorFile(project), project.load())


def begin(project: Project) -> None:
    """Have the next look compare with what is there now, if nobody has looked yet. Raises `LockTimeout`."""
    if CursorFile(project).find_mark() is None:
        pass_over_checkout(project)
    with project.lock("look at runs"):
        tell_runs(project)


def is_busy(project: Project) -> bool:
    """Whether a rebase, or a merge that is no commit yet, is under way. The mark of a merge outlives its hook."""
    git = project.get_git()
    if any((git.git_dir / name).exists() for name in ("rebase-merge", "rebase-apply")):
        return True
    merging = git.git_dir / "MERGE_HEAD"
    if not merging.exists():
        return False
    parents = git.read("rev-parse", "HEAD^@").split()
    return not set(merging.read_text(errors="replace").split()) <= set(parents)


def _take(index: Index, other: Index, paths: Collection[str]) -> Index:
    """The index with what the other has of the files at these paths; of those that cannot be read what there was."""

    def take(old: Mapping[str, R], new: Mapping[str, R]) -> Mapping[str, R]:
        names = find_different(old, new)
        gone = {name: None for name in names if name in old and old[name].path in paths}
        return replace_rows(
            old, {**gone, **{name: new[name] for name in names if name in new and new[name].path in paths}}
        )

    taken = other._replace(
        projects=take(index.projects, other.projects),
        phases=take(index.phases, other.phases),
        tasks=take(index.tasks, other.tasks),
    )
    return keep_last_good(index, taken)


# -- the queue ------------------------------------------------------------------------------------------------------


def _queue(project: Project, mark: Mark, events: list[Event], between: tuple[Index, Index]) -> list[Entry]:
    if not _may_start(events, between[1]):
        return []
    # The language of expressions is a large import, and most changes start nothing.
    from dagtasks.planning.triggers import find_starts

    starts = find_starts(events, *between)
    return Queue(project.get_git()).add([_make_entry(project, mark, start) for start in starts])


def _may_start(events: list[Event], after: Index) -> bool:
    if events and any(project.triggers for project in after.projects.values()):
        return True
    changed = (after.tasks.get(event.subject) for event in events if event.type.startswith("task."))
    return any(binding.run_on for task in changed if task for binding in task.workflows)


def _make_entry(project: Project, mark: Mark, start: Start) -> Entry:
    from dagtasks.store.runs import make_run_id  # most looks start nothing

    now = datetime.now(UTC)
    work: dict[str, JSON] = {
        "run": make_run_id(now),
        "event": str(start.event.type),
        "subject": start.event.subject,
        "task": start.task,
        "workflow": start.workflow,
        "template": start.template,
        "parameters": {**start.parameters},
        "written": {**start.written},
        "file": start.file,
        "fault": start.fault,
    }
    name = sha256(f"{mark.id} {start.key}".encode("utf-8", "surrogateescape")).hexdigest()[:12]
    return Entry(name, "run", now.isoformat(timespec="milliseconds"), str(project.root), mark.id, work)
