"""All tasks in one script for the browser: what queries ask for and what cards show, column by column.

Each column has a place for every task, in the order of `ids`. Numbers point into the lists of the same document; where
a task may have no value, 0 stands for none and the others count from 1.
"""

from __future__ import annotations

import json
import re
from collections.abc import Hashable, Iterable, Iterator, Mapping, Sequence
from hashlib import blake2b
from itertools import pairwise
from typing import TYPE_CHECKING, NamedTuple, TypeVar

from dagtasks.model.summary import TaskSummary
from dagtasks.model.values import JSON, Priority, Status
from dagtasks.planning.query import metadata_texts

if TYPE_CHECKING:
    from dagtasks.board.overview import Overview

T = TypeVar("T", bound=Hashable)
Columns = Mapping[str, object]

_UNSAFE = re.compile("[<>&\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff\ufeff]")
"""What could end a script, is no text of a file, or shows other text than there is."""


class TaskIndex(NamedTuple):
    """The script and its address, which is another when a byte of it is. It sets `dagtasksTasks` and does no more."""

    uri: str
    text: str


def make_task_index(view: Overview) -> TaskIndex:
    """The index of all tasks of the board."""
    data = json.dumps(_columns(view), ensure_ascii=False, separators=(",", ":"))
    text = f"self.dagtasksTasks={_UNSAFE.sub(_escape, data)};\n"
    return TaskIndex(f"assets/dagtasks/tasks-{blake2b(text.encode(), digest_size=4).hexdigest()}.js", text)


def _escape(match: re.Match[str]) -> str:
    return f"\\u{ord(match[0]):04x}"


def _columns(view: Overview) -> Columns:
    index = view.data.index
    tasks = list(index.tasks.values())
    cards = view.cards(tasks)
    phased = (phase.project for phase in index.phases.values())
    projects = _number([*index.projects, *phased, *(task.project for task in tasks)])
    phases = _number([*index.phases, *(_phase_id(task) for task in tasks if task.phase)])
    people = _number(sorted({card.person for card in cards if card.person}))
    labels = _number(sorted({label for task in tasks for label in task.labels}))
    sets = _number(tuple(labels[label] for label in task.labels) for task in tasks)
    days = _number(sorted({task.due for task in tasks if task.due}))
    return {
        "statuses": list(Status),
        "priorities": list(Priority),
        "projects": [[key, view.project_name(key), int(key in index.projects)] for key in projects],
        "phases": [_phase(view, projects, name) for name in phases],
        "people": list(people),
        "labels": list(labels),
        "sets": list(sets),
        "days": list(days),
        "broken": [[file.id, file.project, file.path] for file in index.broken_tasks],
        "ids": [task.id for task in tasks],
        "names": [task.name for task in tasks],
        "status": _digits(list(Status).index(task.status) for task in tasks),
        "priority": _digits(list(Priority).index(task.priority) for task in tasks),
        "project": [projects[task.project] for task in tasks],
        "phase": [phases[_phase_id(task)] + 1 if task.phase else 0 for task in tasks],
        "assignee": [people[card.person] + 1 if card.person else 0 for card in cards],
        "set": [sets[tuple(labels[label] for label in task.labels)] for task in tasks],
        "due": [days[task.due] + 1 if task.due else 0 for task in tasks],
        "needs": [card.needs for card in cards],
        "open": [card.open_needs for card in cards],
        "metadata": _metadata(tasks),
    }


def _number(values: Iterable[T]) -> dict[T, int]:
    return {value: number for number, value in enumerate(dict.fromkeys(values))}


def _digits(numbers: Iterable[int]) -> str:
    return "".join(map(str, numbers))


def _phase_id(task: TaskSummary) -> str:
    return f"{task.project}/{task.phase}"


def _phase(view: Overview, projects: Mapping[str, int], name: str) -> list[object]:
    """The phase's project, key, name and order; no order when there is no such phase."""
    project, _, key = name.partition("/")
    known = view.data.index.phases.get(name)
    return [projects[project], key, known.name if known else key, known.order if known else None]


def _metadata(tasks: Sequence[TaskSummary]) -> list[object]:
    """For each path: which tasks have it (as the steps from one to the next), and by which texts it is found."""
    found: dict[str, list[tuple[int, list[str]]]] = {}
    for number, task in enumerate(tasks):
        for path, texts in _walk(task.metadata, ""):
            found.setdefault(path, []).append((number, texts))
    return [[path, *_column(found[path])] for path in sorted(found)]


def _walk(values: Mapping[str, JSON], before: str) -> Iterator[tuple[str, list[str]]]:
    for key, value in values.items():
        if "." in key:
            continue  # no query leads there
        if isinstance(value, dict):
            yield from _walk(value, f"{before}{key}.")
        elif texts := metadata_texts(value):
            yield before + key, texts


def _column(entries: Sequence[tuple[int, list[str]]]) -> tuple[list[int], list[str | list[str]]]:
    steps = [later[0] - earlier[0] for earlier, later in pairwise([(0, []), *entries])]
    return steps, [texts[0] if len(texts) == 1 else texts for _, texts in entries]
