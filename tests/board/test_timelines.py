"""Timelines: which tasks have one, where their bars lie, and that nothing is drawn outside."""

from __future__ import annotations

import itertools
import re
from datetime import date, timedelta

import pytest

from dagtasks.board.data import BoardData, Change
from dagtasks.board.overview import Overview
from dagtasks.board.pages.timeline import ROWS, timeline_pages
from dagtasks.board.timelines import NAMES, WIDTH, Bar, draw_timeline
from dagtasks.model.summary import TaskSummary
from dagtasks.model.values import Status
from dagtasks.planning.index import build_index

TODAY = date(2026, 11, 25)


def move(day: int, old: str | None, new: str) -> Change:
    return Change(f"2026-11-{day:02}T10:00:00Z", "ann", f"{day:040}", "edit", {"status": (old, new)})


def row(number: int, status: Status, due: str | None = None, project: str = "web") -> TaskSummary:
    name = f"{project}-{number:06}"
    return TaskSummary(name, project, f"tasks/{project}/{name}.yaml", f"Task {number}", status=status, due=due)


def facts(rows: list[TaskSummary], changes: dict[str, list[Change]]) -> list[dict]:
    data = BoardData(build_index(rows, []), lambda _: "", changes=changes, as_of="2026-11-25T12:00:00Z")
    return [dict(page.facts()) for page in timeline_pages(Overview(data))]


def test_a_task_is_shown_when_it_was_begun_or_is_due():
    rows = [
        row(1, Status.COMPLETED),
        row(2, Status.IN_PROGRESS, "2026-12-01"),
        row(3, Status.PLANNED, "2026-11-20"),
        row(4, Status.PLANNED),
        row(5, Status.COMPLETED),  # nobody said that it was begun
        row(6, Status.PLANNED),  # begun once, and put back
    ]
    changes = {
        "web-000001": [
            move(12, "in_progress", "completed"),
            move(10, "planned", "in_progress"),
            move(1, None, "planned"),
        ],
        "web-000002": [move(15, None, "in_progress")],
        "web-000005": [move(9, "planned", "completed"), move(1, None, "planned")],
        "web-000006": [move(8, "in_progress", "planned"), move(7, "planned", "in_progress")],
    }
    [found] = facts(rows, changes)
    days = {bar.name: (bar.begun and bar.begun.day, bar.ended and bar.ended.day, bar.due) for bar in found["listed"]}
    assert days == {
        "Task 6": (7, 8, None),
        "Task 5": (9, 9, None),
        "Task 1": (10, 12, None),
        "Task 2": (15, None, date(2026, 12, 1)),
        "Task 3": (None, None, date(2026, 11, 20)),
    }
    assert list(days) == ["Task 6", "Task 5", "Task 1", "Task 2", "Task 3"]


def test_of_too_many_the_latest_are_shown_and_projects_have_their_own():
    rows = [
        row(n, Status.PLANNED, f"20{10 + n // 300}-01-{1 + n % 28:02}", "web" if n % 2 else "api") for n in range(450)
    ]
    first, *others = facts(rows, {})
    assert (first["total"], first["left_out"], len(first["listed"])) == (450, 450 - ROWS, ROWS)
    assert min(bar.due for bar in first["listed"]) >= date(2010, 1, 14)
    assert {bar.name for bar in first["listed"]} >= {f"Task {n}" for n in range(300, 450)}
    assert [(part.name, part.uri, part.total) for part in first["parts_of"]] == [
        ("api", "timeline/api.html", 225),
        ("web", "timeline/web.html", 225),
    ]
    assert [each["total"] for each in others] == [225, 225]


def test_nothing_is_said_without_days():
    [found] = facts([row(1, Status.PLANNED)], {})
    assert (found["drawn"], found["listed"]) == (None, [])


@pytest.mark.parametrize("length", [0, 1, 30, 400, 9000])
def test_everything_lies_inside_and_dates_can_be_read(length: int):
    begun = TODAY - timedelta(days=length)
    bars = [
        Bar("a<b", "t/a.html", "completed", begun, TODAY, begun),
        Bar("b", "t/b.html", "in_progress", begun, None, TODAY),
        Bar("c", "t/c.html", "planned", None, None, TODAY),
    ]
    drawn = str(draw_timeline(bars, TODAY))
    spans = re.findall(r'<rect class="dt-span[^>]* x="([\d.]+)" y="\d+" width="([\d.]+)"', drawn)
    assert len(spans) == 2
    assert all(float(x) >= NAMES and float(x) + float(width) <= WIDTH + 0.2 for x, width in spans)
    places = [float(x) for x in re.findall(r'dt-date" x="([\d.]+)"', drawn)]
    assert len(places) <= 13
    assert all(b - a > 30 for a, b in itertools.pairwise(places))
    assert "a&lt;b" in drawn
    assert drawn.count("dt-due-mark") == 3


def test_what_was_done_too_late_is_marked():
    late = Bar("a", "t/a.html", "completed", TODAY, TODAY, TODAY - timedelta(days=1))
    assert "dt-due--late" in draw_timeline([late], TODAY)
    assert "dt-due--late" not in draw_timeline([late._replace(due=TODAY)], TODAY)
