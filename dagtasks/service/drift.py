"""Drift: giving tasks the status that commits say they have, and finding those whose status is doubtful."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, NamedTuple

from dagtasks.errors import DagtasksError, LockTimeout
from dagtasks.model.summary import TaskSummary
from dagtasks.model.values import Status
from dagtasks.planning.drift import Stale, Wish, find_stale, find_wishes
from dagtasks.planning.graph import order
from dagtasks.planning.index import Index
from dagtasks.service.views import Listing
from dagtasks.store.files import WriteError
from dagtasks.store.origin import find_default_branch
from dagtasks.store.project import Project
from dagtasks.store.trailers import (
    TrailerMark,
    find_following,
    find_mentions,
    read_mark,
    read_trailers,
    write_mark,
)

MOST = 200
"""Tasks that are changed at a time: what is merged from others could name any number."""


# -- what commits say -----------------------------------------------------------------------------------------------


class Applied(NamedTuple):
    """What is to be told, a line each, and the statuses that were given."""

    lines: list[str]
    given: Mapping[str, str]


def follow_commits(project: Project) -> list[str]:
    """Give tasks the status that trailers of new commits of the default branch say, and tell what was done.

    The first look of all takes what there is as known, and so does `begin`. Nothing is looked at twice.
    Raises `ProjectNotFound` outside of Git, `LockTimeout` and `WriteError`: then the next look does it.
    """
    git = project.get_git()
    head, mark = git.head(), read_mark(git)
    if head.commit is None or (mark and mark.commit == head.commit) or head.branch != find_default_branch(git):
        return []
    applied = apply_trailers(project, mark.commit, head.commit, mark.given) if mark else Applied([], {})
    write_mark(git, TrailerMark(head.commit, applied.given))
    return applied.lines


def begin(project: Project) -> None:
    """Have the next look begin with what comes to the default branch from now on, if nobody has looked yet."""
    git = project.git
    if git is None or read_mark(git):
        return
    branch = find_default_branch(git)
    if tip := branch and git.find_commit(f"refs/heads/{branch}"):
        write_mark(git, TrailerMark(tip, {}))


def apply_trailers(project: Project, since: str, until: str, given: Mapping[str, str]) -> Applied:
    """Give tasks the status that the trailers between two commits say; what somebody set later stays.

    `given` are statuses that were given so before, and may not be committed yet.
    """
    wishes = find_wishes(read_trailers(project.get_git(), since, until))
    index = project.load() if wishes else None
    lines: list[str] = []
    done = dict(given)
    for wish in _sort(wishes[-MOST:], index):
        task = index.tasks.get(wish.task) if index else None
        if task and task.status is wish.status:
            done[task.id] = str(task.status)  # maybe we gave it, and were stopped before that was kept
        else:
            lines.append(_grant(project, task, wish, done))
    if len(wishes) > MOST:
        lines.append(f"{len(wishes) - MOST} more tasks are named in trailers, and were left as they are")
    return Applied(lines, done)


def _sort(wishes: list[Wish], index: Index | None) -> list[Wish]:
    """Each after those of the tasks that its task depends on: one commit may complete both."""
    tasks = index.tasks if index else {}
    by_task = {wish.task: wish for wish in wishes}
    needs = {name: tasks[name].depends_on if name in tasks else () for name in by_task}
    first, circular = order({name: [need for need in found if need in by_task] for name, found in needs.items()})
    return [by_task[name] for name in (*first, *circular)]


def _grant(project: Project, task: TaskSummary | None, wish: Wish, given: dict[str, str]) -> str:
    """Do what the commit says, and tell it; or why not."""
    from dagtasks.service import tasks  # every commit looks for trailers, and nearly none has any
    from dagtasks.service.saving import WriteSettings

    by = f"commit {wish.commit[:10]}"
    try:
        if reason := _why_not(project, task, wish, given):
            return f"{wish.task}: not {wish.status}, as {by} says: {reason}"
        change = tasks.change(project, wish.task, [f"status={wish.status}"], WriteSettings()).change
    except (LockTimeout, WriteError):
        raise
    except DagtasksError as error:
        return f"{wish.task}: not {wish.status}, as {by} says: {error.message}"
    given[wish.task] = str(wish.status)
    return f"{change.message}, as {by} says"


def _why_not(project: Project, task: TaskSummary | None, wish: Wish, given: Mapping[str, str]) -> str:
    """Why the task stays as it is: there is none, or somebody has given it another status since."""
    from dagtasks.store.history import read_history  # GitPython; only few commits say anything of tasks

    if task is None:
        return "there is no such task"
    later = find_following(project.get_git(), wish.commit, "HEAD")
    for entry in read_history(project, task).entries:
        if "status" in entry.changed and entry.commit is None and given.get(task.id) != task.status:
            return f"it was set to {task.status}, and that is not committed"
        if "status" in entry.changed and entry.commit and entry.commit.id in later:
            return f"commit {entry.commit.id[:10]} has set it to {task.status} since"
    return ""


# -- what is doubtful -----------------------------------------------------------------------------------------------


def list_stale(project: Project, now: datetime, days: int) -> Listing:
    """The tasks whose status is doubtful: in progress without a commit for so many days, or against their dependencies.

    Outside of Git nothing is idle.
    """
    index = project.load()
    running = [task for task in index.tasks.values() if task.status is Status.IN_PROGRESS]
    found = find_stale(index, _find_active(project, running), now, days)
    return Listing([_to_json(stale) for stale in found], index.problems)


def _find_active(project: Project, running: list[TaskSummary]) -> dict[str, datetime]:
    """When a commit named each task or changed its file last; those whose file is being edited are left out."""
    if project.git is None or not running:
        return {}
    edited = set(project.git.changed_paths(*(task.path for task in running)))
    histories = project.histories()
    names = [task.id for task in running if task.path not in edited and task.id in histories]
    found = find_mentions(project.git, names)
    for name in names:
        for entry in histories[name].entries[:1]:
            at = datetime.fromisoformat(entry.commit.time) if entry.commit else datetime.now(UTC)
            found[name] = max(at, found.get(name, at))
    return found


def _to_json(stale: Stale) -> dict[str, Any]:
    task = stale.task
    fields = {"id": task.id, "name": task.name, "status": task.status, "assignee": task.assignee}
    return {**fields, "why": stale.why, "reason": stale.reason, "days": stale.days}
