"""What a merge of Git lost without a word: the edit of a task on one side that the other side deleted.

Git takes a deleted file and a similar new one for a rename and puts the edit into the new file. Pure: it looks at
which blobs changed between the common base, both sides and the merge.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import NamedTuple

CODES = {
    "DT401": "A merge put an edit into the wrong task: one side deleted a task, the other side edited it, and Git took "
    "a similar new task for the deleted one under a new name. Both files are named. Decide whether the deleted task "
    "is wanted after all, and take the edit out of the other file.",
    "DT402": "A merge dropped the edit of a task: one side edited it, the other deleted it, and the merge left it "
    "deleted. If that was not meant, bring the file back as the message says.",
    "DT403": "The merges could not be compared with what they come from, because this clone is shallow. Fetch the "
    "whole history (`git fetch --unshallow`, or `fetch-depth: 0` in a workflow of a forge).",
}


class BlobChange(NamedTuple):
    """The ids of a file's content before and after; None: the file is not there."""

    before: str | None
    after: str | None


Changes = Mapping[str, BlobChange]
"""The files that differ between two commits, by path."""


class LostEdit(NamedTuple):
    """A task file that one side deleted and the other edited. `deleted_by` counts the parents of the merge from 0.

    `into` are the new files of the side that deleted it whose content the merge changed.
    """

    path: str
    deleted_by: int
    into: tuple[str, ...]


def find_lost_edits(ours: Changes, theirs: Changes, merged: Changes) -> Iterator[LostEdit]:
    """The edits that are missing in the merge; all three are what changed since the common base."""
    for side, (deleting, editing) in enumerate(((ours, theirs), (theirs, ours))):
        moved = {_id_of(path) for path, change in deleting.items() if change.before is None}
        for path, change in sorted(deleting.items()):
            is_gone = change.after is None and path in merged and merged[path].after is None
            if is_gone and _is_edit(editing.get(path)) and _id_of(path) not in moved:
                yield LostEdit(path, side, tuple(_changed_by_merge(deleting, merged)))


def _is_edit(change: BlobChange | None) -> bool:
    return change is not None and change.before is not None and change.after is not None


def _changed_by_merge(side: Changes, merged: Changes) -> Iterator[str]:
    for path, change in sorted(side.items()):
        if change.before is None and path in merged and merged[path].after not in (None, change.after):
            yield path


def _id_of(path: str) -> str:
    return path.rpartition("/")[2]
