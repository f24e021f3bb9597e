"""What happened between two states of a repository: two indexes in, events out.

- What is new gives `created`, with each field that it has; what is gone gives `deleted`, with each that it had.
- A task that changed gives one event: `task.completed` when that is what its status became, `task.blocked` likewise,
  else `task.updated`. All fields that changed are in that event.
- A new task that is completed or blocked gives that event beside `task.created`: its status became that, too.
- `task.ready` says that a task can be started now and could not before, whatever the reason; it comes beside the other.
- The workflows of a task are subjects of their own: what changes in them is told of them, and not of the task.
- A subject is its id: a file that was moved gives `updated`, with its `path`.
- A file that cannot be read says nothing: its subject stays as it was.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Set
from typing import TypeVar

from dagtasks.model.event import Changed, Event, EventType
from dagtasks.model.summary import BindingSummary, PhaseSummary, ProjectSummary, TaskSummary, TriggerSummary
from dagtasks.model.values import JSON, Status
from dagtasks.planning.index import Index, LazyTasks, find_different, replace_rows

Filed = ProjectSummary | PhaseSummary | TaskSummary
Subject = Filed | BindingSummary
F = TypeVar("F", bound=Filed)
R = TypeVar("R", bound=Subject)
Pairs = dict[str, tuple[R | None, R | None]]
"""What is not the same before and after, by id."""

MANY = 100
"""So many rows are looked at one by one. With more it is quicker to unpack all."""
_NO_FIELDS = {
    ProjectSummary: {"key"},
    PhaseSummary: {"project", "key"},
    TaskSummary: {"id", "project", "workflows"},
    BindingSummary: {"name"},
}
"""Parts of a row that are no fields: they say which subject it is, or are subjects of their own."""
_BECAME = {Status.COMPLETED: EventType.TASK_COMPLETED, Status.BLOCKED: EventType.TASK_BLOCKED}


def find_events(before: Index, after: Index) -> list[Event]:
    """What happened between the two: to projects, phases, tasks and workflows, each sorted by id."""
    after = keep_last_good(before, after)
    tasks = _pair(before.tasks, after.tasks)
    return [
        *_find_lives("project", _pair(before.projects, after.projects)),
        *_find_lives("phase", _pair(before.phases, after.phases)),
        *_find_task_events(before, after, tasks),
        *_find_lives("workflow", _pair_workflows(tasks)),
    ]


def has_changed(before: Index, after: Index) -> bool:
    """Whether a project, a phase or a task is not what it was, be it an event or not."""
    filed = (before.projects, after.projects), (before.phases, after.phases)
    return any(_pair(old, new) for old, new in filed) or bool(_pair(before.tasks, after.tasks))


def keep_last_good(before: Index, after: Index) -> Index:
    """The index `after`, with what `before` has of the files that cannot be read any more."""
    if not after.problems:
        return after
    broken = {(file.kind, f"{file.project}/{file.id}" if file.kind == "phase" else file.id) for file in after.broken}
    # A folder that cannot be read, or that a symlink has replaced, hides all that lies below it.
    wrong = {problem.path for problem in after.problems}

    def keep(kind: str, old: Mapping[str, F], new: Mapping[str, F]) -> Mapping[str, F]:
        lost = (name for name in find_different(old, new) if name in old and name not in new)
        kept = {name: old[name] for name in lost if (kind, name) in broken or _lies_below(old[name].path, wrong)}
        return replace_rows(new, kept) if kept else new

    return after._replace(
        projects=keep("project", before.projects, after.projects),
        phases=keep("phase", before.phases, after.phases),
        tasks=keep("task", before.tasks, after.tasks),
    )


def _lies_below(path: str, folders: set[str]) -> bool:
    parts = path.split("/")
    return any("/".join(parts[:length]) in folders for length in range(1, len(parts)))


def _pair(before: Mapping[str, R], after: Mapping[str, R]) -> Pairs[R]:
    names = find_different(before, after)
    if len(names) > MANY:  # single rows may be dear to find
        before, after = dict(before.items()), dict(after.items())
    pairs = ((name, before.get(name), after.get(name)) for name in sorted(names))
    return {name: (old, new) for name, old, new in pairs if not _is_same(old, new)}


def _is_same(old: Subject | None, new: Subject | None) -> bool:
    """Whether the rows are equal in value and, in what is free in form, also in type: `1` is not `true`."""
    return old is new or (old == new and all(repr(one) == repr(other) for one, other in _free_parts(old, new)))


def _free_parts(old: Subject | None, new: Subject | None) -> Iterator[tuple[object, object]]:
    for part in ("metadata", "workflows", "parameters", "triggers"):
        if one := getattr(old, part, None):
            yield one, getattr(new, part, None)


def _pair_workflows(tasks: Pairs[TaskSummary]) -> Pairs[BindingSummary]:
    pairs: Pairs[BindingSummary] = {}
    for old, new in tasks.values():
        pairs.update(_pair(_bindings(old), _bindings(new)))
    return pairs


def _bindings(task: TaskSummary | None) -> dict[str, BindingSummary]:
    return {f"{task.id}/{binding.name}": binding for binding in task.workflows} if task else {}


# -- events ---------------------------------------------------------------------------------------------------------


def _find_lives(kind: str, pairs: Pairs[R]) -> Iterator[Event]:
    for subject, (old, new) in pairs.items():
        yield from _find_life(kind, subject, old, new)


def _find_life(kind: str, subject: str, old: Subject | None, new: Subject | None) -> Iterator[Event]:
    """That the subject came, changed or went."""
    row, changed = new or old, find_changed(old, new)
    if row and changed:
        word = "created" if old is None else "deleted" if new is None else "updated"
        yield Event(EventType(f"{kind}.{word}"), subject, row.name, changed)


def _find_task_events(before: Index, after: Index, tasks: Pairs[TaskSummary]) -> Iterator[Event]:
    for name in sorted({*tasks, *_find_dependents(after.tasks, tasks.keys())}):
        old, new = before.tasks.get(name), after.tasks.get(name)
        yield from _find_own_events(name, old, new)
        if new and after.is_ready(new) and not (old and before.is_ready(old)):
            yield Event(EventType.TASK_READY, name, new.name, _became_ready(before, old))


def _find_dependents(tasks: Mapping[str, TaskSummary], names: Set[str]) -> Iterator[str]:
    if isinstance(tasks, LazyTasks) and len(names) <= MANY:
        return (task.id for name in names for task in tasks.find_dependents(name))
    return (task.id for task in tasks.values() if not names.isdisjoint(task.depends_on))


def _find_own_events(name: str, old: TaskSummary | None, new: TaskSummary | None) -> Iterator[Event]:
    became = _BECAME.get(new.status) if new and not (old and old.status is new.status) else None
    if not (old and became):
        yield from _find_life("task", name, old, new)
    if new and became:
        yield Event(became, name, new.name, find_changed(old, new) if old else {"status": (None, str(new.status))})


def _became_ready(before: Index, old: TaskSummary | None) -> Changed:
    """What a task that is ready now was before; nothing that it depends on is open now."""
    waited_for = before.open_dependencies(old) if old else []
    ready: Changed = {"ready": (False if old else None, True)}
    return {**ready, "open_dependencies": (list(waited_for), [])} if waited_for else ready


def find_changed(old: Subject | None, new: Subject | None) -> Changed:
    """The fields that differ."""
    before, after = _fields_of(old), _fields_of(new)
    pairs = {field: (before.get(field), after.get(field)) for field in {**before, **after}}
    # As JSON, in which `1` is not `true`.
    return {field: pair for field, pair in pairs.items() if len({json.dumps(v, sort_keys=True) for v in pair}) > 1}


def find_changed_with_workflows(old: TaskSummary | None, new: TaskSummary | None) -> Changed:
    """The fields of the task that differ, and as `workflows.NAME.FIELD` those of its workflows."""
    changed = dict(find_changed(old, new))
    for subject, pair in _pair(_bindings(old), _bindings(new)).items():
        at = f"workflows.{subject.partition('/')[2]}"
        changed |= {f"{at}.{field}": values for field, values in find_changed(*pair).items()}
    return changed


def _fields_of(row: Subject | None) -> dict[str, JSON]:
    """The fields as the file calls them, None for one without a value; maps are one field for each key."""
    found: dict[str, JSON] = {}
    for name, value in row._asdict().items() if row else ():
        if isinstance(value, Mapping):
            found.update({f"{name}.{key}": item for key, item in value.items()})
        else:
            found[name.removesuffix("_digest")] = _plain(value)
    hidden = _NO_FIELDS[type(row)] if row else ()
    return {name: value for name, value in found.items() if name not in hidden}


def _plain(value: object) -> JSON:
    if isinstance(value, tuple):
        return [item.to_json() if isinstance(item, TriggerSummary) else str(item) for item in value] or None
    return value if isinstance(value, int) else str(value) if value else None
