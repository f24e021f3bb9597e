"""What Git knows of the past: the latest changes of all tasks, and statistics."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial
from typing import NamedTuple

from markupsafe import Markup

from dagtasks.board.charts import Series, draw_area, draw_bars
from dagtasks.board.data import Change
from dagtasks.board.overview import Overview
from dagtasks.board.pages.press import BoardPage, Facts
from dagtasks.board.statistics import Span, Week, measure
from dagtasks.board.uris import CHANGES, STATISTICS
from dagtasks.planning.wording import describe_fields

COMMITS = 100
TASKS = 12
"""Tasks of one commit that the list of changes names."""
FIELDS = 12
AGEING = 50


class Past(NamedTuple):
    """A change in words; `edits` are fields with what happened to them. `word` says all when there are none."""

    change: Change
    word: str
    edits: list[tuple[str, str]]


class Touched(NamedTuple):
    """A task that a commit changed; `uri` None: the task is gone."""

    id: str
    name: str
    uri: str | None
    past: Past


class CommitView(NamedTuple):
    """A commit with the tasks that it changed; `more` others are not named. `anchor` is the id of its place."""

    anchor: str
    change: Change
    tasks: list[Touched]
    more: int


class Figure(NamedTuple):
    """A time with its name and what it is; None when no task tells it."""

    name: str
    about: str
    span: Span | None


def make_past(change: Change) -> Past:
    """The change in words."""
    old, new = change.changed.get("name", ("", ""))
    word = "unreadable" if change.is_broken else "created" if old is None else "deleted" if new is None else ""
    edits = [] if word else [*describe_fields(change.changed)][:FIELDS]
    return Past(change, word or ("" if edits else "reformatted"), edits)


def past_pages(view: Overview) -> Iterator[BoardPage]:
    """The latest changes, and the statistics."""
    yield BoardPage(CHANGES, "Changes", "changes.html", partial(_changes_facts, view))
    yield BoardPage(STATISTICS, "Statistics", "statistics.html", partial(_statistics_facts, view))


def _changes_facts(view: Overview) -> Facts:
    latest = latest_commits(view)
    shown = [commit_view(view, each) for each in latest[:COMMITS]]
    return {"moment": view.moment, "commits": shown, "total": len(latest), "is_shallow": view.data.is_shallow}


def latest_commits(view: Overview) -> list[list[tuple[str, Change]]]:
    """The commits that changed tasks, the newest first, each as these tasks' ids with what was changed in them."""
    commits: dict[str, list[tuple[str, Change]]] = {}
    for name, changes in view.data.changes.items():
        for change in changes:
            commits.setdefault(change.commit, []).append((name, change))
    order = view.data.order

    def age(changes: list[tuple[str, Change]]) -> tuple[str, int, str]:
        change = changes[0][1]
        return change.at, order.get(change.commit, -1), change.commit

    return sorted(commits.values(), key=age, reverse=True)


def commit_view(view: Overview, changes: Sequence[tuple[str, Change]]) -> CommitView:
    """A commit with the tasks that it changed."""
    touched = [_touched(view, name, change) for name, change in changes[:TASKS]]
    return CommitView(f"dt-c-{changes[0][1].commit[:10]}", changes[0][1], touched, len(changes) - len(touched))


def _touched(view: Overview, name: str, change: Change) -> Touched:
    task = view.data.index.tasks.get(name)
    called = task.name if task else next((new or old for old, new in [change.changed.get("name", ("", ""))]), "")
    return Touched(name, str(called or ""), view.find_task_uri(name), make_past(change))


def _statistics_facts(view: Overview) -> Facts:
    found = measure(view.data.changes, view.tasks, view.data.as_of or "1970-01-01T00:00:00+00:00")
    spans = [
        Figure("Cycle time", "from the first start of a task to its completion", found.cycle),
        Figure("Lead time", "from the creation of a task to its completion", found.lead),
    ]
    return {
        "moment": view.moment,
        "is_shallow": view.data.is_shallow,
        "weeks": found.weeks,
        "throughput": _draw_throughput(found.weeks),
        "burndown": _draw_burndown(found.weeks),
        "spans": [figure for figure in spans if figure.span],
        "ageing": found.ageing[:AGEING],
        "more_ageing": max(0, len(found.ageing) - AGEING),
    }


def _draw_throughput(weeks: Sequence[Week]) -> Markup:
    series = [
        Series("created", [week.created for week in weeks]),
        Series("completed", [week.completed for week in weeks]),
    ]
    return draw_bars(series, [_day(week) for week in weeks])


def _draw_burndown(weeks: Sequence[Week]) -> Markup:
    return draw_area(Series("open", [week.open for week in weeks]), [_day(week) for week in weeks])


def _day(week: Week) -> str:
    return f"{week.monday:%m-%d}"
