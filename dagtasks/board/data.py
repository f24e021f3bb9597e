"""Everything that the board is made from. The renderers see this and nothing else: no disk, no Git, no clock."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from dagtasks.board.forge import Forge
from dagtasks.errors import Problem
from dagtasks.model.event import Changed, Event
from dagtasks.model.run import RunRecord
from dagtasks.planning.index import Index


class Comment(NamedTuple):
    """A comment on a task; `at` is an ISO 8601 time, `text` Markdown."""

    author: str
    at: str
    text: str


class Change(NamedTuple):
    """What a commit changed in a task; `at` is an ISO 8601 time. `is_broken`: its file could not be read after it."""

    at: str
    author: str
    commit: str
    subject: str
    changed: Changed
    is_broken: bool = False


class Compared(NamedTuple):
    """What happened since the commit `before`, of which `old` is the index; `revisions` are the words that asked."""

    revisions: str
    before: str
    old: Index
    events: Sequence[Event]


@dataclass(frozen=True)
class BoardData:
    """What one commit (or the files as they are) says.

    `read_description` gives what no row of the index holds of the task with that id. `templates` holds the parsed files
    by template name; one that cannot be read is absent. `as_of` is the commit's time (ISO 8601, UTC): the only "now"
    that a page knows, so that the same commit gives the same bytes. `changes` holds the past of each task by its id,
    the newest first, also of tasks that are gone; `is_shallow`: the clone lacks the older ones. `address` is where the
    site is published, if that is known. `problems` are those of files; `run_problems` those of records of runs
    that cannot be read. `is_past`: somebody asked for this very commit. `order` is the place of commits that may be of
    one second.
    """

    index: Index
    read_description: Callable[[str], str]
    templates: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    runs: Sequence[RunRecord] = ()
    problems: Sequence[Problem] = ()
    run_problems: Sequence[Problem] = ()
    comments: Mapping[str, Sequence[Comment]] = field(default_factory=dict)
    changes: Mapping[str, Sequence[Change]] = field(default_factory=dict)
    order: Mapping[str, int] = field(default_factory=dict)
    is_shallow: bool = False
    is_past: bool = False
    compared: Compared | None = None
    address: str = ""
    commit: str | None = None
    as_of: str | None = None
    forge: Forge = field(default_factory=Forge)
