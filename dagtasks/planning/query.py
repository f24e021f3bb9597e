"""The query language of lists, board and API (09): `status:blocked label:api,ui -label:bug @ann "free text"`.

Commas mean or, blanks mean and, `-` negates, quotes keep blanks. Unknown keys and values are errors.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from datetime import date
from operator import attrgetter
from typing import Any, NamedTuple

from dagtasks.errors import InvalidInput
from dagtasks.model.names import choose_from
from dagtasks.model.summary import TaskSummary
from dagtasks.model.values import Priority, Status
from dagtasks.planning.index import Index

Test = Callable[[TaskSummary], bool]

STATES = ("ready", "waiting", "blocked", "overdue", "open", "invalid")
KEYS = ("status", "priority", "project", "phase", "assignee", "label", "due", "is", "id", "metadata.<key>")
LONGEST_VALUE = 200
"""Characters of a value of metadata that can be asked for: the board carries these texts to the browser."""

# Not compiled here: most lists have no query.
_WORD = r'(?:[^\s"]|"(?:[^"\\]|\\.)*")+'
_PART = r'(?:[^,"]|"(?:[^"\\]|\\.)*")+'
_DUE = r"(<=|>=|<|>|=)?(\d{4}-\d{2}-\d{2})"


class Query(NamedTuple):
    """A parsed query. `wants_broken`: it asks for the files that cannot be read (`is:invalid`)."""

    tests: tuple[Test, ...]
    wants_broken: bool = False

    def matches(self, task: TaskSummary) -> bool:
        """Whether the task is asked for."""
        return all(test(task) for test in self.tests)


def parse_query(text: str, index: Index, today: date) -> Query:
    """The query that the text says. Raises `InvalidInput` for what no task of the index could ever be."""
    if '"' in text and '"' in re.sub(_WORD, "", text):
        raise InvalidInput(f"a quote is not closed in the query {text!r}")
    words = re.findall(_WORD, text) if text else []
    tests = [_parse_word(word, index, today) for word in words]
    return Query(tuple(tests), wants_broken="is:invalid" in words)


def sort_tasks(tasks: Iterable[TaskSummary], by: str, index: Index) -> list[TaskSummary]:
    """The tasks by a field, the least first (`-field`: last); tasks without a value come at the end of either order.

    Raises `InvalidInput` for a field that cannot be sorted by.
    """
    field = by.removeprefix("-")
    if field not in SORTS:
        raise InvalidInput(f"tasks cannot be sorted by {by!r}", hint=f"there is: {', '.join(SORTS)}")
    ordered = sorted(tasks, key=attrgetter("id"))
    if field == "id":
        return ordered[::-1] if by.startswith("-") else ordered
    keys = [(SORTS[field](task, index), task) for task in ordered]
    known = sorted((pair for pair in keys if pair[0] is not None), key=lambda pair: pair[0], reverse=by.startswith("-"))
    return [task for _, task in known] + [task for key, task in keys if key is None]


def _phase_key(task: TaskSummary, index: Index) -> Any:
    phase = index.phases.get(f"{task.project}/{task.phase}")
    return (task.project, phase.order, phase.key) if phase else None


SORTS: dict[str, Callable[[TaskSummary, Index], Any]] = {
    "id": lambda task, _: task.id,
    "name": lambda task, _: task.name.casefold(),
    "status": lambda task, _: list(Status).index(task.status),
    "priority": lambda task, _: list(Priority).index(task.priority),
    "due": lambda task, _: task.due,
    "assignee": lambda task, _: task.assignee,
    "phase": _phase_key,
}


def _parse_word(word: str, index: Index, today: date) -> Test:
    bare = word.lstrip("-") or word[-1:]
    if bare != word:
        test = _parse_word(bare, index, today)
        return test if (len(word) - len(bare)) % 2 == 0 else lambda task: not test(task)
    if word.startswith("@"):
        return _parse_term("assignee", word[1:], index, today)
    key, colon, values = word.partition(":")
    if not colon or word.startswith('"'):
        return _free_text(_unquote(word))
    return _parse_term(key, values, index, today)


def _parse_term(key: str, text: str, index: Index, today: date) -> Test:
    values = [_unquote(part) for part in re.findall(_PART, text)]
    if not values:
        raise InvalidInput(f"the query has no value after {key!r}")
    if key.startswith("metadata."):
        return _metadata(key.removeprefix("metadata."), values)
    if key not in _TERMS:
        raise InvalidInput(f"a query has no key {key!r}", hint=choose_from(key, KEYS))
    return _TERMS[key](values, index, today)


def _free_text(words: str) -> Test:
    wanted = words.casefold()
    return lambda task: wanted in task.name.casefold() or wanted in task.id


def _metadata(key: str, values: list[str]) -> Test:
    path = key.split(".")
    wanted = set(values)

    def test(task: TaskSummary) -> bool:
        found: object = task.metadata
        for part in path:
            found = found.get(part) if isinstance(found, dict) else None
        return not wanted.isdisjoint(metadata_texts(found))

    return test


def metadata_texts(value: object) -> list[str]:
    """The texts by which a query finds a value of metadata: its own, or those of its items.

    Maps, lists in lists and texts of more than `LONGEST_VALUE` characters cannot be asked for.
    """
    items = value if isinstance(value, list) else [value]
    texts = (_as_text(item) for item in items if not isinstance(item, dict | list | None))
    return [text for text in texts if len(text) <= LONGEST_VALUE]


def _as_text(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _check(key: str, values: Iterable[str], known: Iterable[str]) -> set[str]:
    allowed = set(known)
    for value in values:
        if value not in allowed:
            raise InvalidInput(f"no task has {key} {value!r}", hint=choose_from(value, allowed))
    return set(values)


def _status(values: list[str], _index: Index, _today: date) -> Test:
    wanted = _check("status", values, Status)
    return lambda task: task.status in wanted


def _priority(values: list[str], _index: Index, _today: date) -> Test:
    wanted = _check("priority", values, Priority)
    return lambda task: task.priority in wanted


def _project(values: list[str], index: Index, _today: date) -> Test:
    wanted = _check("project", values, index.projects)
    return lambda task: task.project in wanted


def _phase(values: list[str], index: Index, _today: date) -> Test:
    known = {phase.key for phase in index.phases.values()} | index.phases.keys()
    wanted = _check("phase", values, known)
    return lambda task: task.phase in wanted or f"{task.project}/{task.phase}" in wanted


def _assignee(values: list[str], index: Index, _today: date) -> Test:
    wanted = _check("assignee", values, {task.assignee for task in index.tasks.values() if task.assignee})
    return lambda task: task.assignee in wanted


def _label(values: list[str], index: Index, _today: date) -> Test:
    wanted = _check("label", values, {label for task in index.tasks.values() for label in task.labels})
    return lambda task: not wanted.isdisjoint(task.labels)


def _id(values: list[str], index: Index, _today: date) -> Test:
    wanted = {index.get_task(value).id for value in values}
    return lambda task: task.id in wanted


def _due(values: list[str], _index: Index, _today: date) -> Test:
    matches = [re.fullmatch(_DUE, value) for value in values]
    if not all(matches):
        raise InvalidInput(f"{','.join(values)!r} is no date to compare with", hint="write due:<2026-12-31")
    pairs = [(match[1] or "=", match[2]) for match in matches if match]
    return lambda task: any(_compare(task.due, sign, day) for sign, day in pairs)


def _compare(due: str | None, sign: str, day: str) -> bool:
    if due is None:
        return False
    return {"<": due < day, "<=": due <= day, ">": due > day, ">=": due >= day, "=": due == day}[sign]


def _is(values: list[str], index: Index, today: date) -> Test:
    _check("state", values, STATES)
    tests: dict[str, Test] = {
        "ready": index.is_ready,
        "waiting": index.is_waiting,
        "blocked": lambda task: task.status is Status.BLOCKED or index.is_waiting(task),
        "overdue": lambda task: is_overdue(task, today),
        "open": lambda task: task.status.is_open,
        "invalid": lambda _task: False,
    }
    return lambda task: any(tests[value](task) for value in values)


def is_overdue(task: TaskSummary, today: date) -> bool:
    """Whether the task is open and its day has passed."""
    return task.status.is_open and task.due is not None and task.due < today.isoformat()


def _unquote(text: str) -> str:
    return re.sub(r'"((?:[^"\\]|\\.)*)"', lambda match: re.sub(r"\\(.)", r"\1", match[1]), text)


_TERMS: dict[str, Callable[[list[str], Index, date], Test]] = {
    "status": _status,
    "priority": _priority,
    "project": _project,
    "phase": _phase,
    "assignee": _assignee,
    "label": _label,
    "id": _id,
    "due": _due,
    "is": _is,
}
