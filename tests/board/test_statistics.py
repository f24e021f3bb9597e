"""Numbers counted from the past of tasks, against ones that were worked out by hand."""

from __future__ import annotations

import random
from datetime import UTC, date, datetime, timedelta

from dagtasks.board.data import Change
from dagtasks.board.statistics import FEWEST, WEEKS, Span, measure
from dagtasks.model.summary import TaskSummary
from dagtasks.model.values import Status

AS_OF = "2026-11-25T12:00:00Z"  # a Wednesday


def past(*moves: tuple[str, str | None, str | None]) -> list[Change]:
    """The changes of status at these times (in November), as they come: the newest first."""
    changes = [
        Change(f"2026-{at}:00Z", "ann", f"{n:040}", "edit", {"status": (old, new)})
        for n, (at, old, new) in enumerate(moves)
    ]
    return changes[::-1]


def task(name: str, status: Status) -> TaskSummary:
    return TaskSummary(name, "web", f"tasks/web/{name}.yaml", name, status=status)


def test_weeks_count_what_came_what_was_done_and_what_is_open():
    changes = {
        "web-1": past(("11-09T08:00", None, "planned"), ("11-18T08:00", "planned", "completed")),
        "web-2": past(("11-15T23:59", None, "planned"), ("11-16T00:00", "planned", "cancelled")),
        "web-3": past(("11-16T00:00", None, "in_progress"), ("11-23T00:00", "in_progress", None)),
        "web-4": past(("11-24T00:00", None, "completed"), ("11-25T00:00", "completed", "planned")),
    }
    weeks = measure(changes, [], AS_OF).weeks
    assert [tuple(week)[1:] for week in weeks[:-3]] == [(0, 0, 0)] * (FEWEST - 3)
    assert [tuple(week) for week in weeks[-3:]] == [
        (date(2026, 11, 9), 2, 0, 2),
        (date(2026, 11, 16), 1, 1, 1),
        (date(2026, 11, 23), 1, 1, 1),
    ]


def test_a_long_past_is_counted_but_not_shown():
    early = Change("2020-01-01T00:00:00Z", "ann", "0" * 40, "edit", {"status": (None, "planned")})
    weeks = measure({"web-1": [early]}, [], AS_OF).weeks
    assert len(weeks) == WEEKS
    assert weeks[-1].monday == date(2026, 11, 23)
    assert {tuple(week)[1:] for week in weeks} == {(0, 0, 1)}


def test_a_commit_of_a_clock_that_is_ahead_counts_for_this_week():
    change = Change("2031-01-01T00:00:00Z", "ann", "0" * 40, "edit", {"status": (None, "planned")})
    assert tuple(measure({"web-1": [change]}, [], AS_OF).weeks[-1]) == (date(2026, 11, 23), 1, 0, 1)


def test_times_are_from_the_first_start_and_from_the_creation_to_the_end():
    changes = {
        f"web-{n}": past(
            ("11-02T00:00", None, "planned"),
            ("11-03T00:00", "planned", "in_progress"),
            ("11-04T00:00", "in_progress", "planned"),
            (f"11-{4 + n:02}T00:00", "planned", "completed"),
        )
        for n in range(1, 11)
    }
    changes["web-open"] = past(("11-02T00:00", None, "in_progress"))
    changes["web-again"] = past(("11-02T00:00", None, "completed"), ("11-03T00:00", "completed", "planned"))
    found = measure(changes, [], AS_OF)
    # Of ten values the fifth and the ninth: done 5 and 9 days after the 4th.
    assert found.cycle == Span(10, 6.0, 10.0)
    assert found.lead == Span(10, 7.0, 11.0)


def test_a_task_that_was_never_started_has_a_lead_time_only():
    found = measure(
        {"web-1": past(("11-02T00:00", None, "planned"), ("11-04T12:00", "planned", "completed"))}, [], AS_OF
    )
    assert (found.cycle, found.lead) == (None, Span(1, 2.5, 2.5))


def test_what_stands_still_is_named_the_oldest_first():
    tasks = [
        task("web-a", Status.IN_PROGRESS),
        task("web-b", Status.BLOCKED),
        task("web-c", Status.PLANNED),
        task("web-d", Status.IN_PROGRESS),  # not committed yet: Git says it is planned
    ]
    changes = {
        "web-a": past(("11-02T00:00", None, "planned"), ("11-20T00:00", "planned", "in_progress")),
        "web-b": past(("11-02T13:00", None, "blocked")),
        "web-c": past(("11-01T00:00", None, "planned")),
        "web-d": past(("11-01T00:00", None, "planned")),
    }
    assert [(each.task.id, each.days) for each in measure(changes, tasks, AS_OF).ageing] == [
        ("web-b", 22),
        ("web-a", 5),
    ]


def test_nothing_has_no_numbers():
    assert not any(measure({}, [], AS_OF))


def test_open_tasks_are_those_that_came_and_did_not_go():
    """Whatever happens: at the end so many are open as the last status of each says."""
    dice = random.Random(1)
    statuses = [str(status) for status in Status]
    for _ in range(50):
        changes = {}
        for n in range(20):
            at = datetime(2026, 1, 1, tzinfo=UTC) + timedelta(hours=dice.randrange(7000))
            old: str | None = None
            moves = []
            for _ in range(dice.randrange(1, 5)):
                new = dice.choice(statuses)
                moves.append(Change(f"{at:%Y-%m-%dT%H:%M:%SZ}", "ann", f"{n:040}", "x", {"status": (old, new)}))
                old, at = new, at + timedelta(hours=dice.randrange(300))
            changes[f"web-{n}"] = moves[::-1]
        weeks = measure(changes, [], AS_OF).weeks
        last = [each[0].changed["status"][1] for each in changes.values()]
        assert weeks[-1].open == sum(status not in ("completed", "cancelled") for status in last)
        if len(weeks) < WEEKS:
            assert sum(week.created for week in weeks) == len(changes)
