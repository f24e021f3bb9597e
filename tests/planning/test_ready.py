from __future__ import annotations

from dagtasks.model.summary import TaskSummary
from dagtasks.model.values import Priority, Status
from dagtasks.planning.index import Index
from dagtasks.planning.ready import explain, next_tasks

TASKS = [
    TaskSummary("w-1", "w", "", "low", priority=Priority.LOW),
    TaskSummary("w-2", "w", "", "critical", priority=Priority.CRITICAL, assignee="bo"),
    TaskSummary("w-3", "w", "", "high, one waits", priority=Priority.HIGH),
    TaskSummary("w-4", "w", "", "high, due", priority=Priority.HIGH, due="2026-01-01"),
    TaskSummary("w-5", "w", "", "high", priority=Priority.HIGH),
    TaskSummary("w-6", "w", "", "waits", depends_on=("w-3", "w-9")),
    TaskSummary("w-7", "w", "", "begun", Status.IN_PROGRESS),
    TaskSummary("w-8", "w", "", "done", Status.COMPLETED, depends_on=("w-5",)),
]
INDEX = Index(tasks={task.id: task for task in TASKS})


def test_priority_then_what_waits_then_due_then_id() -> None:
    assert [(task.id, unblocked) for task, unblocked in next_tasks(INDEX)] == [
        *(("w-2", 0), ("w-3", 1), ("w-4", 0), ("w-5", 0), ("w-1", 0))
    ]


def test_an_assignee_gets_what_is_his_or_nobodys() -> None:
    assert "w-2" not in [task.id for task, _ in next_tasks(INDEX, "ann")]
    assert next(next_tasks(INDEX, "bo"))[0].id == "w-2"


def test_every_other_open_task_has_a_reason() -> None:
    reasons = {task.id: reason for task, reason in explain(INDEX)}
    assert reasons == {"w-6": "waits for w-3 (planned), w-9 (no such task)", "w-7": "is in_progress"}
