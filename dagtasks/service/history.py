"""What Git knows of the past of a task."""

from __future__ import annotations

from typing import Any

from dagtasks.model.summary import TaskSummary
from dagtasks.store.history import Commit, Entry, read_history
from dagtasks.store.project import Project


def describe(project: Project, task: TaskSummary) -> dict[str, Any]:
    """`created` and `updated` (commit, time and author; None when Git does not know) and `history`, newest first.

    `shallow` says that the clone has not the whole history. Raises `ProjectNotFound` outside of Git.
    """
    found = read_history(project, task)
    commits = [entry.commit for entry in found.entries if entry.commit]
    return {
        "created": _stamp(commits[-1]) if commits and not found.is_cut else None,
        "updated": _stamp(commits[0]) if commits else None,
        "history": [_to_json(entry) for entry in found.entries],
        "shallow": found.is_cut,
    }


def _stamp(commit: Commit) -> dict[str, str]:
    return {"time": commit.time, "author": commit.author, "commit": commit.id}


def _to_json(entry: Entry) -> dict[str, Any]:
    """The entry; of one that is not committed, what could be said of a commit is None."""
    stamp = _stamp(entry.commit) if entry.commit else dict.fromkeys(("time", "author", "commit"))
    subject = entry.commit.subject if entry.commit else None
    changed = {field: list(pair) for field, pair in entry.changed.items()}
    return {**stamp, "subject": subject, "changed": changed, **({"invalid": True} if entry.is_broken else {})}
