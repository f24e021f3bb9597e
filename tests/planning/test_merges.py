"""Edits that a merge lost, found from what changed alone."""

from __future__ import annotations

import pytest

from dagtasks.planning.merges import BlobChange, Changes, LostEdit, find_lost_edits

GONE, EDITED, NEW = BlobChange("1", None), BlobChange("1", "2"), BlobChange(None, "3")
TASK, OTHER, MOVED = "tasks/web/web-000001.yaml", "tasks/web/web-000002.yaml", "tasks/web/deeper/web-000001.yaml"

# name -> ours, theirs, the merge, what was lost
CASES: dict[str, tuple[Changes, Changes, Changes, list[LostEdit]]] = {
    "put into a new task": (
        {TASK: GONE, OTHER: NEW},
        {TASK: EDITED},
        {TASK: GONE, OTHER: BlobChange(None, "4")},
        [LostEdit(TASK, 0, (OTHER,))],
    ),
    "the other way round": (
        {TASK: EDITED},
        {TASK: GONE, OTHER: NEW},
        {TASK: GONE, OTHER: BlobChange(None, "4")},
        [LostEdit(TASK, 1, (OTHER,))],
    ),
    "left deleted": ({TASK: GONE, OTHER: NEW}, {TASK: EDITED}, {TASK: GONE, OTHER: NEW}, [LostEdit(TASK, 0, ())]),
    "the new task is gone, too": ({TASK: GONE, OTHER: NEW}, {TASK: EDITED}, {TASK: GONE, OTHER: BlobChange(None, None)}, [LostEdit(TASK, 0, ())]),
    "kept": ({TASK: GONE}, {TASK: EDITED}, {TASK: EDITED}, []),
    "kept as it was": ({TASK: GONE}, {TASK: EDITED}, {}, []),
    "moved": ({TASK: GONE, MOVED: NEW}, {TASK: EDITED}, {TASK: GONE, MOVED: BlobChange(None, "4")}, []),
    "deleted on both sides": ({TASK: GONE, OTHER: NEW}, {TASK: GONE}, {TASK: GONE, OTHER: NEW}, []),
    "not edited": ({TASK: GONE, OTHER: NEW}, {}, {TASK: GONE, OTHER: NEW}, []),
}  # fmt: skip


@pytest.mark.parametrize(("ours", "theirs", "merged", "lost"), CASES.values(), ids=CASES)
def test_lost_edits(ours: Changes, theirs: Changes, merged: Changes, lost: list[LostEdit]) -> None:
    assert list(find_lost_edits(ours, theirs, merged)) == lost
