"""The cursor of a work tree: what its files said at the last look, and where HEAD stood.

One file, replaced at once. It names the fields of its rows, so that another version of dagtasks can read it. One that
is missing, damaged or of another form is as if nobody had looked yet.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from contextlib import suppress
from hashlib import sha256
from typing import Any, NamedTuple

from dagtasks.model.summary import BindingSummary, PhaseSummary, ProjectSummary, TaskSummary, TriggerSummary
from dagtasks.model.values import Priority, Status
from dagtasks.planning.index import Index
from dagtasks.store.cache import find_local
from dagtasks.store.files import write_file
from dagtasks.store.project import Project
from dagtasks.store.snapshot import Tasks

FORM = 1
"""Counted up whenever an older version could not read what a newer one writes."""
_KINDS: tuple[type[Any], ...] = (ProjectSummary, PhaseSummary, TaskSummary, BindingSummary, TriggerSummary)
_HEAD_BYTES = 4096


class Mark(NamedTuple):
    """What the first line says. `id` is another one after each look that found something; `head` is a commit.

    `log` is how long the log of HEAD was.
    """

    id: str
    head: str | None
    log: int


class Cursor(NamedTuple):
    """What was there at the last look: projects, phases and tasks."""

    mark: Mark
    content: Index


class Memory:
    """A cursor that a process keeps from one look to the next, with the first line of the file that it is in."""

    line = b""
    cursor: Cursor | None = None


class CursorFile:
    """The cursor of the project's work tree. With a memory the file is read only when another process wrote it."""

    def __init__(self, project: Project, memory: Memory | None = None) -> None:
        self._path = find_local(project.root, project.get_git(), "cursor")
        self._memory = memory or Memory()

    def find_mark(self) -> Mark | None:
        """The first line, without reading the rest; None when nobody has looked yet."""
        with suppress(OSError, *_DAMAGED):
            return _read_mark(self._read_line())
        return None

    def _read_line(self) -> bytes:
        with self._path.open("rb") as file:
            return file.readline(_HEAD_BYTES).removesuffix(b"\n")

    def read(self) -> Cursor | None:
        """The cursor; None when nobody has looked yet."""
        with suppress(OSError, *_DAMAGED):
            if self._memory.line and self._memory.line == self._read_line():
                return self._memory.cursor
            first, _, body = self._path.read_bytes().partition(b"\n")
            if json.loads(first)["sha256"] == sha256(body).hexdigest():
                self._keep(first, Cursor(_read_mark(first), _read_index(json.loads(body))))
                return self._memory.cursor
        return None

    def write(self, cursor: Cursor) -> None:
        """Put the cursor there; it is on disk then. Raises `WriteError`."""
        # As ASCII: file names may hold bytes that are no UTF-8.
        body = json.dumps(_to_json(cursor.content), separators=(",", ":")).encode()
        head = {"form": FORM, **cursor.mark._asdict(), "sha256": sha256(body).hexdigest()}
        line = json.dumps(head).encode()
        write_file(self._path, line + b"\n" + body)
        self._keep(line, cursor)

    def _keep(self, line: bytes, cursor: Cursor) -> None:
        self._memory.line, self._memory.cursor = line, cursor


_DAMAGED = (ValueError, TypeError, LookupError, AttributeError, RecursionError)


def _read_mark(line: bytes) -> Mark:
    data = json.loads(line)
    if data["form"] != FORM:
        raise ValueError(f"form {data['form']}")
    return Mark(data["id"], data["head"], data["log"])


def _to_json(index: Index) -> dict[str, Any]:
    return {
        "fields": [kind._fields for kind in _KINDS],
        "rows": [[*index.projects.values()], [*index.phases.values()], [*index.tasks.values()]],
    }


def _read_index(data: Mapping[str, Any]) -> Index:
    projects, phases, tasks, bindings, triggers = data["fields"]
    rows = data["rows"]
    return Index(
        projects={row.key: row for row in _rows(ProjectSummary, projects, rows[0], triggers)},
        phases={row.id: row for row in _rows(PhaseSummary, phases, rows[1])},
        tasks={row.id: row for row in _rows(TaskSummary, tasks, rows[2], bindings)},
    )


def _rows(kind: type[Any], names: list[str], rows: Iterable[list[Any]], inner: list[str] | None = None) -> list[Any]:
    """Rows whose values are in the order of the names."""
    restored = [(place, _RESTORED[name]) for place, name in enumerate(names) if name in _RESTORED]
    found = []
    for row in rows:
        for place, restore in restored:
            row[place] = restore(row[place], inner or [])
        found.append(row)
    if tuple(names) == kind._fields:
        return [*map(kind._make, found)]
    known = kind._fields
    return [kind(**{name: value for name, value in zip(names, row, strict=True) if name in known}) for row in found]


def _tuple(value: Any, _inner: list[str]) -> Any:
    return tuple(value)


_STATUSES: Mapping[str, Status] = {status.value: status for status in Status}
_PRIORITIES: Mapping[str, Priority] = {priority.value: priority for priority in Priority}
_RESTORED: Mapping[str, Any] = {
    "status": lambda value, _: _STATUSES[value],
    "priority": lambda value, _: _PRIORITIES[value],
    "labels": _tuple,
    "depends_on": _tuple,
    "run_on": _tuple,
    "gates": lambda value, _: {status: tuple(names) for status, names in value.items()},
    "triggers": lambda value, inner: tuple(_rows(TriggerSummary, inner, value)),
    "workflows": lambda value, inner: tuple(_rows(BindingSummary, inner, value)) if value else (),
}
"""What JSON does not keep of a field: words and tuples."""


def find_identity(index: Index) -> str | None:
    """Stands for what the files say; None where it would take as long as to compare them."""
    if not isinstance(index.tasks, Tasks):
        return None
    others = (index.projects, index.phases, index.broken, [problem.path for problem in index.problems])
    return f"{index.tasks.content_id()} {sha256(repr(others).encode('utf-8', 'replace')).hexdigest()}"
