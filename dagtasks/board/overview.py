"""The data of the board, arranged as pages need it: by status, project and phase, in the order in which it is shown."""

from __future__ import annotations

import hashlib
import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, fields
from functools import cached_property
from typing import NamedTuple

from dagtasks.board.data import BoardData
from dagtasks.board.taskindex import TaskIndex, make_task_index
from dagtasks.board.uris import task_uri
from dagtasks.errors import Problem, Severity
from dagtasks.model.run import RunRecord
from dagtasks.model.summary import BrokenFile, PhaseSummary, ProjectSummary, TaskSummary
from dagtasks.model.values import Priority, Status

COLUMNS = (Status.PLANNED, Status.IN_PROGRESS, Status.BLOCKED, Status.COMPLETED, Status.CANCELLED)
"""The statuses in the order of the board."""
SHOWN_LABELS = 3
HUES = 8
_URGENCY = {priority: -rank for rank, priority in enumerate(Priority)}


class Share(NamedTuple):
    """The part of a progress bar that a status takes: `start` and `width` in percent."""

    status: Status
    tasks: int
    start: float
    width: float


class Progress(NamedTuple):
    """How far a set of tasks is. Cancelled tasks count for nothing; `percent` is of those that are left."""

    total: int
    done: int
    percent: int
    shares: tuple[Share, ...]
    ready: int
    waiting: int


class Person(NamedTuple):
    """Who a task is assigned to, as a round mark: up to two letters and one of `HUES` colours."""

    name: str
    initials: str
    hue: int
    is_agent: bool


@dataclass(frozen=True, repr=False)
class Card:
    """A task in short. `open_needs` of `needs` dependencies are open; `unblocks` tasks depend on this one."""

    task: TaskSummary
    uri: str
    project: str
    phase: str
    person: Person | None
    labels: tuple[str, ...]
    more_labels: int
    needs: int
    open_needs: int
    unblocks: int
    is_ready: bool
    is_overdue: bool

    def __repr__(self) -> str:
        return self._said

    @cached_property
    def _said(self) -> str:
        # A card stands on many pages, and each asks for what it says.
        return f"Card{tuple(getattr(self, each.name) for each in fields(self))!r}"


class BrokenCard(NamedTuple):
    """A file that cannot be read, with everything that is wrong in it."""

    file: BrokenFile
    uri: str | None
    problems: tuple[Problem, ...]


class Moment(NamedTuple):
    """The commit that the board shows, and when it was made."""

    commit: str | None
    at: str | None


def urgency(task: TaskSummary) -> tuple[int, str, str]:
    """The order within a column: most urgent first, then the earliest due, then by id."""
    return _URGENCY[task.priority], task.due or "9999", task.id


def make_person(name: str) -> Person:
    """The mark of a user, or of an agent (`agent:<name>`)."""
    own = name.removeprefix("agent:")
    words = re.findall(r"\w+", own) or ["?"]
    letters = words[0][:2] if len(words) == 1 else words[0][0] + words[-1][0]
    hue = hashlib.blake2b(name.encode("utf-8", "replace"), digest_size=1).digest()[0] % HUES
    return Person(name, letters.upper(), hue, is_agent=own != name)


@dataclass(frozen=True)
class Overview:
    """`BoardData` with its groupings; each is worked out once."""

    data: BoardData

    @property
    def moment(self) -> Moment:
        """What the board shows."""
        return Moment(self.data.commit, self.data.as_of)

    @cached_property
    def tasks(self) -> list[TaskSummary]:
        """All tasks, most urgent first."""
        return sorted(self.data.index.tasks.values(), key=urgency)

    @cached_property
    def by_status(self) -> Mapping[Status, list[TaskSummary]]:
        """The tasks of each status, most urgent first."""
        groups: dict[Status, list[TaskSummary]] = {status: [] for status in COLUMNS}
        for task in self.tasks:
            groups[task.status].append(task)
        return groups

    @cached_property
    def by_project(self) -> Mapping[str, list[TaskSummary]]:
        """The tasks of each project that has any, in the order of the board's columns."""
        groups: dict[str, list[TaskSummary]] = defaultdict(list)
        for status in COLUMNS:
            for task in self.by_status[status]:
                groups[task.project].append(task)
        return groups

    @cached_property
    def by_phase(self) -> Mapping[tuple[str, str | None], list[TaskSummary]]:
        """The tasks by project and phase (None: in no phase, or in one that does not exist)."""
        groups: dict[tuple[str, str | None], list[TaskSummary]] = defaultdict(list)
        for tasks in self.by_project.values():
            for task in tasks:
                groups[task.project, task.phase if self._has_phase(task) else None].append(task)
        return groups

    def _has_phase(self, task: TaskSummary) -> bool:
        return f"{task.project}/{task.phase}" in self.data.index.phases

    @cached_property
    def projects(self) -> list[ProjectSummary]:
        """The projects, by name."""
        return sorted(self.data.index.projects.values(), key=lambda project: (project.name.casefold(), project.key))

    @cached_property
    def phases(self) -> Mapping[str, list[PhaseSummary]]:
        """The phases of each project, in their order."""
        groups: dict[str, list[PhaseSummary]] = defaultdict(list)
        for phase in sorted(self.data.index.phases.values(), key=lambda phase: (phase.order, phase.key)):
            groups[phase.project].append(phase)
        return groups

    @cached_property
    def ready(self) -> list[TaskSummary]:
        """What can be started now, most urgent first."""
        return [task for task in self.by_status[Status.PLANNED] if self.data.index.is_ready(task)]

    @cached_property
    def runs(self) -> list[RunRecord]:
        """The runs that were not started by another run, newest first."""
        own = [run for run in self.data.runs if run.parent is None]
        return sorted(own, key=lambda run: (run.started_at, run.id), reverse=True)

    @cached_property
    def run_ids(self) -> frozenset[str]:
        """The ids of all runs, child runs too."""
        return frozenset(run.id for run in self.data.runs)

    @cached_property
    def runs_by_task(self) -> Mapping[str, list[RunRecord]]:
        """The runs of each task that has any, newest first."""
        groups: dict[str, list[RunRecord]] = defaultdict(list)
        for run in self.runs:
            if run.task:
                groups[run.task].append(run)
        return groups

    @cached_property
    def bound(self) -> Mapping[str, list[TaskSummary]]:
        """The tasks that bind each template, by the template's name."""
        groups: dict[str, list[TaskSummary]] = defaultdict(list)
        for task in self.tasks:
            for name in sorted({binding.template for binding in task.workflows}):
                groups[name].append(task)
        return groups

    @cached_property
    def problems(self) -> Mapping[str, list[Problem]]:
        """What is wrong in each file, by its path; records of runs that cannot be read come last."""
        groups: dict[str, list[Problem]] = defaultdict(list)
        for problem in (*self.data.problems, *self.data.run_problems):
            groups[problem.path].append(problem)
        return groups

    @cached_property
    def errors(self) -> list[Problem]:
        """The problems that make `validate` fail."""
        return [problem for problem in self.data.problems if problem.severity is Severity.ERROR]

    @cached_property
    def broken_tasks(self) -> Mapping[str, BrokenFile]:
        """The task files that cannot be read, by the id that their names give (of two the first by path)."""
        files = [file for file in self.data.index.broken if file.kind == "task"]
        known = self.data.index.tasks
        return {file.id: file for file in reversed(files) if file.id not in known}

    @cached_property
    def task_paths(self) -> Mapping[str, dict[str, str]]:
        """The paths of the task files of each project by their ids, also of those that cannot be read."""
        groups: dict[str, dict[str, str]] = defaultdict(dict)
        for task in self.data.index.tasks.values():
            groups[task.project][task.id] = task.path
        for file in self.data.index.broken:
            if file.kind == "task":
                groups[file.project or ""][file.id] = file.path
        return groups

    def broken_cards(self, project: str | None = None) -> list[BrokenCard]:
        """The files that cannot be read: all, or those of a project."""
        files = self.data.index.broken
        return [self.broken_card(file) for file in files if project is None or file.project == project]

    def broken_card(self, file: BrokenFile) -> BrokenCard:
        """The card of a file that cannot be read."""
        has_page = self.broken_tasks.get(file.id) == file
        return BrokenCard(file, task_uri(file.id) if has_page else None, tuple(self.problems.get(file.path, ())))

    def find_task_uri(self, task_id: str) -> str | None:
        """The page of the task of that id, broken or not; None when there is no such task."""
        known = task_id in self.data.index.tasks or task_id in self.broken_tasks
        return task_uri(task_id) if known else None

    def project_name(self, key: str) -> str:
        """What the project is called; its key when its file is missing or broken."""
        project = self.data.index.projects.get(key)
        return project.name if project else key

    def phase_name(self, task: TaskSummary) -> str:
        """What the task's phase is called; its key when there is no such phase, empty without one."""
        phase = self.data.index.phases.get(f"{task.project}/{task.phase}")
        return phase.name if phase else task.phase or ""

    def is_overdue(self, task: TaskSummary) -> bool:
        """Whether the task is open and was due before the day of the commit."""
        today = (self.data.as_of or "")[:10]
        return bool(task.due and today and task.due < today and task.status.is_open)

    def card(self, task: TaskSummary) -> Card:
        """The task in short."""
        if task.id not in self._cards:
            self._cards[task.id] = self._make_card(task)
        return self._cards[task.id]

    @cached_property
    def _cards(self) -> dict[str, Card]:
        return {}

    def _make_card(self, task: TaskSummary) -> Card:
        index = self.data.index
        return Card(
            task=task,
            uri=task_uri(task.id),
            project=self.project_name(task.project),
            phase=self.phase_name(task),
            person=make_person(task.assignee) if task.assignee else None,
            labels=task.labels[:SHOWN_LABELS],
            more_labels=max(0, len(task.labels) - SHOWN_LABELS),
            needs=len(task.depends_on),
            open_needs=len(index.open_dependencies(task)),
            unblocks=len(index.dependents.get(task.id, ())),
            is_ready=index.is_ready(task),
            is_overdue=self.is_overdue(task),
        )

    def cards(self, tasks: Iterable[TaskSummary]) -> list[Card]:
        """The tasks in short."""
        return [self.card(task) for task in tasks]

    @cached_property
    def task_index(self) -> TaskIndex:
        """All tasks, for the queries that the board's page answers."""
        return make_task_index(self)

    def progress(self, tasks: Sequence[TaskSummary]) -> Progress:
        """How far these tasks are."""
        counts = Counter(task.status for task in tasks)
        total = len(tasks) - counts[Status.CANCELLED]
        done = counts[Status.COMPLETED]
        return Progress(
            total=total,
            done=done,
            percent=100 * done // total if total else 0,
            shares=_shares(counts, total),
            ready=sum(self.data.index.is_ready(task) for task in tasks),
            waiting=sum(self.data.index.is_waiting(task) for task in tasks),
        )


_BAR = (Status.COMPLETED, Status.IN_PROGRESS, Status.BLOCKED, Status.PLANNED)


def _shares(counts: Mapping[Status, int], total: int) -> tuple[Share, ...]:
    shares = []
    before = 0
    for status in _BAR:
        if tasks := counts[status]:
            shares.append(Share(status, tasks, round(100 * before / total, 2), round(100 * tasks / total, 2)))
            before += tasks
    return tuple(shares)
