"""What is kept of a file that was read: plain values that go through `marshal` into the cache, and back as rows.

`marshal` reads ten thousand rows in the time in which JSON reads three thousand. It trusts its input, so the cache
seals what it keeps.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from dagtasks.errors import Problem, Severity
from dagtasks.model.summary import (
    BindingSummary,
    BrokenFile,
    CallSummary,
    PhaseSummary,
    ProjectSummary,
    ReadSummary,
    TaskSummary,
    TemplateSummary,
    TextSummary,
    TriggerSummary,
)
from dagtasks.model.values import Ambiguous, Priority, Status
from dagtasks.planning.index import Row

Key = tuple[int, int, int, int]
"""A file's size, mtime and ctime in nanoseconds, and inode: while all four stay, so do its bytes."""

_KINDS: tuple[type[Row], ...] = (ProjectSummary, PhaseSummary, TaskSummary, TemplateSummary, BrokenFile)
_PROJECT, _TASK, _TEMPLATE = map(_KINDS.index, (ProjectSummary, TaskSummary, TemplateSummary))
ROW_FIELDS = tuple(kind._fields for kind in (ProjectSummary, PhaseSummary, TaskSummary, TriggerSummary, BindingSummary))
"""The fields of packed rows, in their order: of projects, phases and tasks, and of what lies within them."""
_STATUSES: Mapping[str, Status] = {status.value: status for status in Status}
_PRIORITIES: Mapping[str, Priority] = {priority.value: priority for priority in Priority}

Packed = tuple[Any, ...]
Details = dict[str, Any]
"""What no row holds of a task, packed."""


class Record(NamedTuple):
    """What a file gave. `key` None: the file was too young to trust its key, so its bytes decide next time.

    `digest` stands for path and content together. `row` None: the file is none of our business.
    """

    key: Key | None
    digest: bytes
    row: Packed | None
    problems: tuple[Packed, ...]


_PLAIN = frozenset({str, int, float, bool, type(None)})
"""Most values are of these types; not calling a function for each of them makes packing four times faster."""


def pack(value: Any) -> Any:
    """The value with plain types only, as `marshal` takes them. Text that YAML could misread becomes bytes."""
    if value.__class__ in _PLAIN:
        return value
    if isinstance(value, dict):
        return {str(key): item if item.__class__ in _PLAIN else pack(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        items = [item if item.__class__ in _PLAIN else pack(item) for item in value]
        return items if isinstance(value, list) else tuple(items)
    return value.encode() if isinstance(value, Ambiguous) else str(value)


def unpack(value: Any) -> Any:
    """The value that was packed, but for named tuples and words, which come back as plain ones."""
    if value.__class__ in _PLAIN:
        return value
    if isinstance(value, dict):
        return {key: unpack(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        items = [unpack(item) for item in value]
        return items if isinstance(value, list) else tuple(items)
    return Ambiguous(value.decode())


def _holds_bytes(value: Any) -> bool:
    items = value.values() if isinstance(value, dict) else value if isinstance(value, list | tuple) else ()
    return isinstance(value, bytes) or any(item.__class__ not in _PLAIN and _holds_bytes(item) for item in items)


def pack_row(row: Row) -> Packed:
    """The row as plain values; it is marked when it holds text that `unpack` has to restore."""
    values = pack(row)
    return _KINDS.index(type(row)), _holds_bytes(values), values


def unpack_row(packed: Packed) -> Any:
    """The row that was packed."""
    kind, is_marked, values = packed
    if is_marked:
        values = unpack(values)
    if kind == _TASK:
        return _task(values)
    if kind == _PROJECT:
        return _project(values)
    return _template(values) if kind == _TEMPLATE else _KINDS[kind](*values)


def translate(packed: Packed, fields: Sequence[Sequence[str]]) -> Packed:
    """The row of a project, a phase or a task in which the fields were not `ROW_FIELDS` but these."""
    kind, is_marked, values = packed
    row: Any = _rename(values, fields[kind], _KINDS[kind])
    *_, triggers, bindings = fields
    if kind == _PROJECT:
        row = row._replace(triggers=[_rename(trigger, triggers, TriggerSummary) for trigger in row.triggers])
    if kind == _TASK:
        row = row._replace(workflows=[_rename(binding, bindings, BindingSummary) for binding in row.workflows])
    return kind, is_marked, tuple(row)


def _rename(values: Packed, fields: Sequence[str], kind: Any) -> Any:
    """Values of these fields as a row of the kind, without those that it does not know."""
    return kind(**{name: value for name, value in zip(fields, values, strict=True) if name in kind._fields})


def _project(values: Packed) -> ProjectSummary:
    *plain, triggers = values
    return ProjectSummary._make([*plain, tuple([TriggerSummary(*trigger) for trigger in triggers])])


def _template(values: Packed) -> TemplateSummary:
    *plain, calls, texts, reads = values
    lists = (
        tuple([CallSummary(*call) for call in calls]),
        tuple([TextSummary(*text) for text in texts]),
        tuple([ReadSummary(*read) for read in reads]),
    )
    return TemplateSummary._make([*plain, *lists])


def _task(values: Packed) -> TaskSummary:
    name, project, path, title, status, priority, assignee, phase, due, labels, needs, metadata, bindings, digest = (
        values
    )
    bound = tuple([BindingSummary(*binding) for binding in bindings]) if bindings else ()
    words = _STATUSES[status], _PRIORITIES[priority]
    return TaskSummary(name, project, path, title, *words, assignee, phase, due, labels, needs, metadata, bound, digest)


def unpack_problem(packed: Packed) -> Problem:
    """The problem that was packed."""
    path, line, column, code, message, hint, severity = packed
    return Problem(path, line, column, code, message, hint, Severity(severity))
