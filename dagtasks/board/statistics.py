"""What the past of the tasks adds up to: how much is done each week, how long a task takes, what has stopped moving.

All of it is counted from status changes in Git, in days of UTC, up to the commit that the board shows.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import date, datetime, timedelta
from typing import NamedTuple

from dagtasks.board.data import Change
from dagtasks.model.summary import TaskSummary
from dagtasks.model.values import Status

WEEKS = 26
FEWEST = 12
"""So many weeks are shown at most and at least, the current one with them."""
_DONE = (str(Status.COMPLETED), str(Status.CANCELLED))


class Week(NamedTuple):
    """A week that begins on a Monday; `open` tasks were neither completed nor cancelled at its end."""

    monday: date
    created: int
    completed: int
    open: int


class Span(NamedTuple):
    """How many days something took: half of so many `tasks` at most `median`, of 100 tasks 85 at most `most`."""

    tasks: int
    median: float
    most: float


class Ageing(NamedTuple):
    """An open task, and for how many days it has its status."""

    task: TaskSummary
    days: int


class Statistics(NamedTuple):
    """`cycle` is the time from the first start of a task to its completion, `lead` that from its creation.

    The tasks of `ageing` are in progress or blocked, those that have been so for the longest time first.
    """

    weeks: Sequence[Week]
    cycle: Span | None
    lead: Span | None
    ageing: Sequence[Ageing]


class _Move(NamedTuple):
    """That a task got another status; None: there was no task before, or none after."""

    at: datetime
    old: str | None
    new: str | None


def measure(changes: Mapping[str, Sequence[Change]], tasks: Iterable[TaskSummary], as_of: str) -> Statistics:
    """The statistics of these histories (by task, newest first) at a moment (ISO 8601, UTC)."""
    now = datetime.fromisoformat(as_of)
    moves = {name: [*_find_moves(past)] for name, past in changes.items()}
    return Statistics(
        weeks=_count_weeks(moves.values(), now.date()),
        cycle=_measure_span(_find_span(each, str(Status.IN_PROGRESS)) for each in moves.values()),
        lead=_measure_span(_find_span(each, None) for each in moves.values()),
        ageing=_find_ageing(moves, tasks, now),
    )


def _find_moves(past: Sequence[Change]) -> Iterator[_Move]:
    """The changes of status, the oldest first."""
    for change in reversed(past):
        if "status" in change.changed:
            old, new = change.changed["status"]
            yield _Move(datetime.fromisoformat(change.at), _text(old), _text(new))


def _text(value: object) -> str | None:
    return None if value is None else str(value)


# -- weeks ----------------------------------------------------------------------------------------------------------


def _count_weeks(moves: Iterable[Sequence[_Move]], today: date) -> list[Week]:
    created, completed, opened = Counter[date](), Counter[date](), Counter[date]()
    for each in moves:
        for move in each:
            monday = _monday(min(move.at.date(), today))
            created[monday] += move.old is None
            completed[monday] += move.new == Status.COMPLETED
            opened[monday] += _is_open(move.new) - _is_open(move.old)
    if not created:
        return []
    this = _monday(today)
    first = min(max(min(created), this - timedelta(weeks=WEEKS - 1)), this - timedelta(weeks=FEWEST - 1))
    still_open = sum(count for monday, count in opened.items() if monday < first)
    weeks = []
    for monday in (first + timedelta(weeks=number) for number in range((this - first).days // 7 + 1)):
        still_open += opened[monday]
        weeks.append(Week(monday, created[monday], completed[monday], still_open))
    return weeks


def _monday(day: date) -> date:
    return day - timedelta(days=day.weekday())


def _is_open(status: str | None) -> bool:
    return status is not None and status not in _DONE


# -- times ----------------------------------------------------------------------------------------------------------


def _find_span(moves: Sequence[_Move], start: str | None) -> float | None:
    """The days from the first start (a status; None: the creation) to the completion of a task that is completed."""
    if not moves or moves[-1].new != Status.COMPLETED:
        return None
    begun = next((move.at for move in moves if (move.old if start is None else move.new) == start), None)
    return max((moves[-1].at - begun).total_seconds(), 0) / 86400 if begun else None


def _measure_span(days: Iterable[float | None]) -> Span | None:
    known = sorted(span for span in days if span is not None)
    if not known:
        return None
    return Span(len(known), _pick(known, 50), _pick(known, 85))


def _pick(known: Sequence[float], percent: int) -> float:
    """The least value that so many percent of all do not exceed (nearest rank)."""
    return known[-(-len(known) * percent // 100) - 1]


def _find_ageing(moves: Mapping[str, Sequence[_Move]], tasks: Iterable[TaskSummary], now: datetime) -> list[Ageing]:
    running = [task for task in tasks if task.status in (Status.IN_PROGRESS, Status.BLOCKED)]
    # A status that is not committed yet has no age.
    since = {task.id: move.at for task in running for move in moves.get(task.id, ())[-1:] if move.new == task.status}
    aged = [Ageing(task, max((now - since[task.id]).days, 0)) for task in running if task.id in since]
    return sorted(aged, key=lambda each: (-each.days, each.task.id))
