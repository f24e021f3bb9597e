"""What changed between two commits, or since one."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from dagtasks.errors import InvalidInput, Problem
from dagtasks.model.event import Event
from dagtasks.planning.changes import find_events
from dagtasks.planning.index import Index
from dagtasks.store.around import read_task
from dagtasks.store.project import Project
from dagtasks.store.trees import Tree


class Diff(NamedTuple):
    """What happened from the commit `before` to the commit `after` (None: to the files as they are now).

    Problems of a commit's files have the revision and a colon before their path. `old` is what there was before.
    """

    before: str
    after: str | None
    events: list[Event]
    problems: list[Problem]
    old: Index


class _Side(NamedTuple):
    source: Tree | Project
    content: Index

    def read_descriptions(self, tasks: Iterable[str]) -> dict[str, str]:
        """The descriptions of those of the tasks that are there and have one."""
        rows = (self.content.tasks[task] for task in tasks if task in self.content.tasks)
        described = [row for row in rows if row.description_digest]
        documents = self.source.read_documents([row.path for row in described])
        return {row.id: read_task(document).description for row, document in zip(described, documents, strict=True)}


def compare(project: Project, revisions: str) -> Diff:
    """What happened from A to B, for `A..B`, or since B left A, for `A...B`, or from A until now, for `A`.

    A side left out is HEAD. Raises `InvalidInput` when there is no such commit.
    """
    first, second = _parse(project, revisions)
    old = project.at(first)
    new = project.at(second) if second else None
    before, after = _Side(old, old.load()), _Side(new or project, (new or project).load())
    events = _with_descriptions(find_events(before.content, after.content), before, after)
    problems = _find_problems({first: before.content, second: after.content})
    return Diff(project.get_commit(first), new.commit if new else None, events, problems, before.content)


def _parse(project: Project, revisions: str) -> tuple[str, str | None]:
    dots = "..." if "..." in revisions else ".."
    first, between, second = revisions.partition(dots)
    first, second = first or "HEAD", second or "HEAD"
    if dots == "...":
        return _find_base(project, first, second), second
    return first, second if between else None


def _find_base(project: Project, first: str, second: str) -> str:
    """The last commit that both come from."""
    base = project.get_git().find("merge-base", project.get_commit(first), project.get_commit(second))
    if base is None:
        hint = f"from one to the other: {first}..{second}; a shallow clone may lack it: git fetch --unshallow"
        raise InvalidInput(f"{first} and {second} have no commit in common", hint=hint)
    return base


def _with_descriptions(events: list[Event], before: _Side, after: _Side) -> list[Event]:
    """The events, with the texts of tasks where they have only digests."""
    changed = [event.subject for event in events if _has_text(event)]
    old, new = before.read_descriptions(changed), after.read_descriptions(changed)
    return [
        event._replace(changed={**event.changed, "description": (old.get(event.subject), new.get(event.subject))})
        if _has_text(event)
        else event
        for event in events
    ]


def _has_text(event: Event) -> bool:
    return event.type.startswith("task.") and "description" in event.changed


def _find_problems(sides: dict[str | None, Index]) -> list[Problem]:
    """The problems of both sides; what both have is told once."""
    found: dict[Problem, Problem] = {}
    for revision, index in sides.items():
        for problem in index.problems:
            found[problem] = problem._replace(path=f"{revision}:{problem.path}") if revision else problem
    return list(found.values())
