"""Where tasks and what is done drift apart: what commits say of tasks, and tasks whose status is doubtful."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime
from typing import NamedTuple

from dagtasks.model.names import TASK_ID_PATTERN
from dagtasks.model.summary import TaskSummary
from dagtasks.model.values import Status
from dagtasks.planning.index import Index

MEANINGS = {"starts": Status.IN_PROGRESS, "completes": Status.COMPLETED, "blocks": Status.BLOCKED}
"""The trailers of commits that say something of tasks, in small letters."""


class Wish(NamedTuple):
    """That a commit says which status a task has."""

    task: str
    status: Status
    commit: str


def find_wishes(commits: Iterable[tuple[str, str]]) -> list[Wish]:
    """What the trailers of commits (id and trailers, the oldest first) say; of several for a task the last counts."""
    every = (wish for commit, trailers in commits for wish in _read_trailers(commit, trailers))
    last: dict[str, Wish] = {}
    for wish in every:
        last.pop(wish.task, None)
        last[wish.task] = wish
    return list(last.values())


def _read_trailers(commit: str, trailers: str) -> Iterator[Wish]:
    for line in trailers.splitlines():
        key, _, value = line.partition(":")
        status = MEANINGS.get(key.strip().lower())
        if status:
            names = re.split(r"[\s,]+", value.strip())
            yield from (Wish(name, status, commit) for name in names if re.fullmatch(TASK_ID_PATTERN, name))


class Stale(NamedTuple):
    """A task whose status is doubtful, and why: `idle`, `unblocked` or `unfinished`.

    `days`: since when nothing happened, for one that is idle.
    """

    task: TaskSummary
    why: str
    reason: str
    days: int | None = None


def find_stale(index: Index, active: Mapping[str, datetime], now: datetime, days: int) -> list[Stale]:
    """The tasks whose status is doubtful; those that are idle for longest first, then by id.

    `active` says when something was last done for each task that is in progress, as far as Git knows.
    """
    found = [stale for task in index.tasks.values() if (stale := _judge(index, task, active.get(task.id), now))]
    wanted = [stale for stale in found if stale.days is None or stale.days >= days]
    return sorted(wanted, key=lambda stale: (-(stale.days or 0), stale.task.id))


def _judge(index: Index, task: TaskSummary, last: datetime | None, now: datetime) -> Stale | None:
    needs = index.open_dependencies(task)
    if task.status is Status.IN_PROGRESS and last:
        days = max((now - last).days, 0)
        return Stale(task, "idle", f"in progress, and no commit for {days} day{'s' * (days != 1)}", days)
    if task.status is Status.BLOCKED and task.depends_on and not needs:
        return Stale(task, "unblocked", "blocked, and all that it depends on has ended")
    if task.status is Status.COMPLETED and needs:
        return Stale(task, "unfinished", f"completed, and depends on open tasks: {', '.join(needs)}")
    return None
