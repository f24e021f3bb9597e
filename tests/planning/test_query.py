from __future__ import annotations

from datetime import date

import pytest

from dagtasks.errors import InvalidInput
from dagtasks.model.summary import PhaseSummary, ProjectSummary, TaskSummary
from dagtasks.model.values import Priority, Status
from dagtasks.planning.index import Index
from dagtasks.planning.query import parse_query, sort_tasks

TODAY = date(2026, 11, 23)
TASKS = [
    TaskSummary("web-000001", "web", "p1", "Build the form", phase="build", labels=("api", "ui"), assignee="ann"),
    TaskSummary("web-000002", "web", "p2", "Fix a bug", Status.BLOCKED, Priority.CRITICAL, labels=("bug",)),
    TaskSummary("web-000003", "web", "p3", "Wait", depends_on=("web-000001",), due="2026-11-22"),
    TaskSummary("ops-000004", "ops", "p4", "Done", Status.COMPLETED, due="2026-01-01", assignee="agent:x"),
    TaskSummary(
        "ops-000005",
        "ops",
        "p5",
        "Data",
        labels=('6" pipe',),
        metadata={"team": "core", "n": 3, "tags": ["a b", "c", ["d"]], "on": True, "map": {"k": 1.50}, "x": "y" * 201},
    ),
]
INDEX = Index(
    projects={"web": ProjectSummary("web", "Web", ""), "ops": ProjectSummary("ops", "Ops", "")},
    phases={"web/build": PhaseSummary("web", "build", "Build", "")},
    tasks={task.id: task for task in TASKS},
)


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ("", "12345"),
        ("status:blocked", "2"),
        ("status:blocked,completed", "24"),
        ("-status:blocked,completed", "135"),
        ("label:api,bug", "12"),
        ("label:ui -label:bug", "1"),
        ("@ann", "1"),
        ("@agent:x", "4"),
        ("assignee:ann,agent:x", "14"),
        ("priority:critical", "2"),
        ("project:web phase:build", "1"),
        ("phase:web/build", "1"),
        ("is:ready", "15"),
        ("is:waiting", "3"),
        ("is:blocked", "23"),
        ("is:overdue", "3"),
        ("is:open -is:ready", "23"),
        ("due:<2026-11-22", "4"),
        ("due:<=2026-11-22", "34"),
        ("due:2026-11-22", "3"),
        ("due:>2026-01-01", "3"),
        ("metadata.team:core", "5"),
        ("metadata.n:3", "5"),
        ('metadata.tags:"a b"', "5"),
        ("metadata.on:true", "5"),
        ("metadata.none:x", ""),
        ("metadata.map.k:1.5", "5"),
        ("metadata.map:\"{'k': 1.5}\"", ""),
        ("metadata.tags:\"['d']\"", ""),
        ("metadata.x:" + "y" * 201, ""),
        (r'label:"6\" pipe"', "5"),
        ('"the form"', "1"),
        ("the form", "1"),
        ("FORM", "1"),
        ("id:000002", "2"),
        ("000002", "2"),
        ("is:invalid", ""),
        ("--label:bug", "2"),
        ("-" * 3001 + "label:bug", "1345"),
        ("--", ""),
        ("---", "12345"),
    ],
)
def test_query_finds(query: str, found: str) -> None:
    parsed = parse_query(query, INDEX, TODAY)
    assert "".join(task.id[-1] for task in TASKS if parsed.matches(task)) == found


@pytest.mark.parametrize(
    ("query", "message", "hint"),
    [
        ("status:doing", "no task has status 'doing'", "there is: blocked, cancelled"),
        ("statsu:blocked", "a query has no key 'statsu'", "status"),
        ("label:apii", "no task has label 'apii'", "api"),
        ("@anne", "no task has assignee 'anne'", "ann"),
        ("phase:nope", "no task has phase 'nope'", "build"),
        ("due:tomorrow", "'tomorrow' is no date", "due:<2026-12-31"),
        ("is:late", "no task has state 'late'", "overdue"),
        ("label:", "no value after 'label'", ""),
        ('"open', "a quote is not closed", ""),
        (r'"open\"', "a quote is not closed", ""),
    ],
)
def test_what_no_task_could_be_is_an_error(query: str, message: str, hint: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        parse_query(query, INDEX, TODAY)
    assert message in caught.value.message
    assert hint in caught.value.hint


@pytest.mark.parametrize(
    ("by", "order"),
    [
        ("id", "45123"),
        ("-id", "32154"),
        ("name", "15423"),
        ("priority", "45132"),
        ("-priority", "24513"),
        ("status", "51342"),
        ("due", "43512"),
        ("-due", "34512"),
        ("assignee", "41523"),
        ("phase", "14523"),
    ],
)
def test_sorted(by: str, order: str) -> None:
    assert "".join(task.id[-1] for task in sort_tasks(TASKS, by, INDEX)) == order
