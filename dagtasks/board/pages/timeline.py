"""When tasks were worked on and are due: all of them, or where these are too many, a page for each project."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import date
from functools import partial
from typing import NamedTuple

from dagtasks.board.data import Change
from dagtasks.board.overview import Overview
from dagtasks.board.pages.press import BoardPage, Facts
from dagtasks.board.timelines import Bar, draw_timeline
from dagtasks.board.uris import TIMELINE, root_of, task_uri, timeline_uri
from dagtasks.model.summary import TaskSummary
from dagtasks.model.values import Status

ROWS = 200
"""Rows of a page; beyond that those whose last day is the latest are shown."""


class Part(NamedTuple):
    """A way to the timeline of a project."""

    name: str
    uri: str
    total: int


class Dated(NamedTuple):
    """A task with its days."""

    task: TaskSummary
    begun: date | None
    ended: date | None
    due: date | None

    @property
    def last(self) -> date:
        """The latest day of them; of a task in work, that is yet to come."""
        known = [day for day in (self.begun, self.ended, self.due) if day]
        return date.max if self.begun and not self.ended else max(known)


def timeline_pages(view: Overview) -> Iterator[BoardPage]:
    """The timeline; of many tasks the way to those of the projects."""
    dated = [found for task in view.tasks if (found := _find_days(view, task))]
    if len(dated) <= ROWS:
        yield _page(view, TIMELINE, "Timeline", dated, [])
        return
    groups: dict[str, list[Dated]] = {}
    for each in dated:
        groups.setdefault(each.task.project, []).append(each)
    parts = [Part(view.project_name(key), timeline_uri(key), len(found)) for key, found in sorted(groups.items())]
    yield _page(view, TIMELINE, "Timeline", dated, parts)
    for key, members in groups.items():
        yield _page(view, timeline_uri(key), f"Timeline of {view.project_name(key)}", members, [])


def _page(view: Overview, uri: str, title: str, dated: Sequence[Dated], parts: list[Part]) -> BoardPage:
    return BoardPage(uri, title, "timeline.html", partial(_facts, view, uri, title, dated, parts))


def _facts(view: Overview, uri: str, title: str, dated: Sequence[Dated], parts: list[Part]) -> Facts:
    shown = sorted(sorted(dated, key=lambda each: each.last, reverse=True)[:ROWS], key=_order)
    today = date.fromisoformat((view.data.as_of or "1970-01-01")[:10])
    bars = [_bar(each, root_of(uri)) for each in shown]
    return {
        "moment": view.moment,
        "title": title,
        "parts_of": parts,
        "total": len(dated),
        "left_out": len(dated) - len(shown),
        "drawn": draw_timeline(bars, today) if bars else None,
        "listed": bars,
    }


def _order(each: Dated) -> tuple[date, str]:
    known = [day for day in (each.begun, each.due) if day]
    return min(known, default=date.max), each.task.id


def _bar(each: Dated, root: str) -> Bar:
    task = each.task
    return Bar(task.name, root + task_uri(task.id), str(task.status), each.begun, each.ended, each.due)


def _find_days(view: Overview, task: TaskSummary) -> Dated | None:
    """The days of the task; None when nobody began it and it is never due."""
    changes = view.data.changes.get(task.id, ())
    begun = _first_day(changes, Status.IN_PROGRESS)
    is_stopped = task.status in (Status.COMPLETED, Status.CANCELLED) or (begun and task.status is Status.PLANNED)
    ended = _last_day(changes) if is_stopped else None
    due = date.fromisoformat(task.due) if task.due else None
    return Dated(task, begun or ended, ended, due) if begun or ended or due else None


def _first_day(changes: Sequence[Change], status: Status) -> date | None:
    days = (_day(change) for change in reversed(changes) if change.changed.get("status", ("", ""))[1] == status)
    return next(days, None)


def _last_day(changes: Sequence[Change]) -> date | None:
    """The day of the last change of status."""
    return next((_day(change) for change in changes if "status" in change.changed), None)


def _day(change: Change) -> date:
    return date.fromisoformat(change.at[:10])
