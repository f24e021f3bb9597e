"""All projects, phases, tasks and templates of a repository, and what is wrong between them."""

from __future__ import annotations

from abc import abstractmethod
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence, Set
from functools import cached_property
from typing import Any, NamedTuple, TypeVar, cast

from dagtasks.errors import NotFound, Problem
from dagtasks.model.names import choose_from
from dagtasks.model.summary import BrokenFile, PhaseSummary, ProjectSummary, TaskSummary, TemplateSummary
from dagtasks.model.values import Status
from dagtasks.planning import graph, ready

T = TypeVar("T")
R = TypeVar("R", ProjectSummary, PhaseSummary, TaskSummary, TemplateSummary)
Row = ProjectSummary | PhaseSummary | TaskSummary | TemplateSummary | BrokenFile


class LazyTasks(Mapping[str, TaskSummary]):
    """Tasks by id, whose rows are made when they are asked for; what would walk through all has a short way."""

    @abstractmethod
    def find_dependents(self, name: str) -> list[TaskSummary]:
        """The tasks that depend on the one of that name."""

    @abstractmethod
    def find_different(self, other: Any) -> set[str]:
        """The ids of tasks that may not be the same in the other ones of this kind; of all others that is sure."""

    @abstractmethod
    def replace(self, rows: Mapping[str, TaskSummary | None]) -> LazyTasks:
        """The same with other rows for these ids, and without those that have None."""


def find_different(one: Mapping[str, T], other: Mapping[str, T]) -> Set[str]:
    """The ids of rows that may not be the same in both."""
    if isinstance(one, LazyTasks) and isinstance(other, LazyTasks):
        return one.find_different(other)
    return one.keys() | other.keys()


def replace_rows(rows: Mapping[str, T], others: Mapping[str, Any]) -> Mapping[str, T]:
    """The rows with others for some ids, and without those that have None; in the order of ids."""
    if isinstance(rows, LazyTasks):
        return cast("Mapping[str, T]", rows.replace(others))
    after = {**rows, **others}
    return {name: row for name in sorted(after) if (row := after[name]) is not None}


class _Parts(NamedTuple):
    projects: Mapping[str, ProjectSummary] = {}
    phases: Mapping[str, PhaseSummary] = {}
    tasks: Mapping[str, TaskSummary] = {}
    templates: Mapping[str, TemplateSummary] = {}
    broken: tuple[BrokenFile, ...] = ()
    problems: tuple[Problem, ...] = ()


class Index(_Parts):
    """What a repository holds. Phases are keyed as `project/key`, all else by key, id or name, in sorted order.

    `tasks` may be a map that makes its rows when they are asked for: whoever needs a few of many does not walk
    through all.
    """

    @cached_property
    def dependents(self) -> Mapping[str, list[str]]:
        """Each task's id with the ids of the tasks that depend on it."""
        return graph.reverse({task.id: task.depends_on for task in self.tasks.values()})

    @property
    def edges(self) -> Mapping[str, Sequence[str]]:
        """Each task's id with the ids that it depends on; they are looked up when somebody asks for them."""
        return _Edges(self.tasks)

    @cached_property
    def unblocks(self) -> Mapping[str, int]:
        """How many open tasks depend directly on each task that any depends on."""
        waiting = (task for task in self.tasks.values() if task.status.is_open)
        return Counter(need for task in waiting for need in set(task.depends_on))

    @property
    def broken_tasks(self) -> list[BrokenFile]:
        """The files that should be tasks and cannot be read."""
        return [file for file in self.broken if file.kind == "task"]

    @cached_property
    def startable(self) -> Sequence[ready.Start]:
        """What can be started now, best first."""
        return sorted(ready.make_start(task, self.unblocks) for task in self.tasks.values() if self.is_ready(task))

    def open_dependencies(self, task: TaskSummary) -> list[str]:
        """The ids that the task depends on and that are neither completed nor cancelled (nor known)."""
        return [need for need in task.depends_on if self._is_open(need)]

    def _is_open(self, name: str) -> bool:
        task = self.tasks.get(name)
        return task is None or task.status.is_open

    def is_ready(self, task: TaskSummary) -> bool:
        """Whether the task is planned and nothing that it depends on is open."""
        return task.status is Status.PLANNED and not self.open_dependencies(task)

    def is_waiting(self, task: TaskSummary) -> bool:
        """Whether the task is planned and something that it depends on is open."""
        return task.status is Status.PLANNED and bool(self.open_dependencies(task))

    def get_project(self, key: str) -> ProjectSummary:
        """The project of that key; raises `NotFound` with near names."""
        return _get(self.projects, key, "project")

    def get_phase(self, key: str) -> PhaseSummary:
        """The phase called `project/key`; raises `NotFound` with near names."""
        return _get(self.phases, key, "phase")

    def get_task(self, text: str) -> TaskSummary:
        """The task whose id, part of the id after the dash, or unique beginning of either is given.

        Raises `NotFound` with near ids, or with all that fit when the beginning is not unique.
        """
        if text in self.tasks:
            return self.tasks[text]
        found = [task for task in self.tasks.values() if _begins(task.id, text)] if text else []
        exact = [task for task in found if task.id.partition("-")[2] == text] or found
        if len(exact) == 1:
            return exact[0]
        if exact:
            raise NotFound(f"{text!r} fits {len(exact)} tasks", hint="say more of the id: " + _listing(exact))
        raise NotFound(f"there is no task {text!r}", hint=self._task_hint(text))

    def _task_hint(self, text: str) -> str:
        broken = next((file for file in self.broken_tasks if _begins(file.id, text)), None)
        if broken:
            return f"its file {broken.path} cannot be read: see `dagtasks validate`"
        return choose_from(text, self.tasks)


class _Edges(Mapping[str, Sequence[str]]):
    def __init__(self, tasks: Mapping[str, TaskSummary]) -> None:
        self._tasks = tasks

    def __getitem__(self, name: str) -> Sequence[str]:
        return self._tasks[name].depends_on

    def __iter__(self) -> Iterator[str]:
        return iter(self._tasks)

    def __len__(self) -> int:
        return len(self._tasks)


def build_index(rows: Iterable[Row], problems: Iterable[Problem]) -> Index:
    """The index of the rows, each kind sorted. Of two tasks with one id the first by path stays."""
    kinds: dict[type, list[Row]] = {}
    for row in rows:
        kinds.setdefault(type(row), []).append(row)
    return Index(
        projects=_by(kinds, ProjectSummary, lambda row: row.key),
        phases=_by(kinds, PhaseSummary, lambda row: row.id),
        tasks=_by(kinds, TaskSummary, lambda row: row.id),
        templates=_by(kinds, TemplateSummary, lambda row: row.name),
        broken=tuple(sorted(_only(kinds, BrokenFile), key=lambda row: row.path)),
        problems=tuple(sorted(problems)),
    )


def _only(kinds: Mapping[type, list[Row]], kind: type[T]) -> list[T]:
    return [row for row in kinds.get(kind, ()) if isinstance(row, kind)]


def _by(kinds: Mapping[type, list[Row]], kind: type[R], key: Callable[[R], str]) -> dict[str, R]:
    found: dict[str, R] = {}
    for row in _only(kinds, kind):
        other = found.setdefault(key(row), row)
        if row.path < other.path:
            found[key(row)] = row
    return {name: found[name] for name in sorted(found)}


def _begins(task_id: str, text: str) -> bool:
    return task_id.startswith(text) or task_id.partition("-")[2].startswith(text)


def _listing(tasks: Sequence[TaskSummary]) -> str:
    more = f" and {len(tasks) - 20} more" if len(tasks) > 20 else ""
    return ", ".join(task.id for task in tasks[:20]) + more


def _get(known: Mapping[str, T], name: str, kind: str) -> T:
    if name not in known:
        raise NotFound(f"there is no {kind} {name!r}", hint=choose_from(name, known))
    return known[name]
