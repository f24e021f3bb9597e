"""What stands on the first page, the board with its columns, and the page of problems."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from itertools import islice
from typing import NamedTuple

from dagtasks.board.newtask import propose_tasks
from dagtasks.board.overview import COLUMNS, Card, Overview, Person
from dagtasks.board.pages.press import BoardPage, Facts
from dagtasks.board.pages.projects import Part, phase_parts, project_part
from dagtasks.board.pages.runs import run_rows
from dagtasks.board.scripts import ON_BOARD, asset_uri
from dagtasks.board.uris import BOARD, HOME, MISSING, PROBLEMS, SETTINGS, list_uri
from dagtasks.errors import Problem, Severity
from dagtasks.model.summary import TaskSummary
from dagtasks.model.values import Status
from dagtasks.planning.query import SORTS

PER_COLUMN = 40
"""Cards of a column; beyond that the column leads to the list of its status."""
PROJECTS = 60
PHASES = 12
READY = 10
RUNS = 8
PROBLEM_FILES = 200

VIEWS = (
    ("All", "#"),
    ("Ready", "#q=is:ready"),
    ("Blocked", "#q=is:blocked"),
    ("Overdue", "#q=is:overdue"),
    ("Urgent", "#q=priority:high,critical+is:open"),
    ("By phase", "#group=phase"),
    ("By assignee", "#q=is:open&group=assignee"),
)
"""Views of the board that it leads to, as its addresses say them. Any other is made by looking at it."""
KEYS = (
    (("/",), "write a query"),
    (("j", "k"), "next, previous card (or arrows)"),
    (("h", "l"), "column to the left, to the right"),
    (("Enter",), "open the task"),
    (("Space",), "look at it here"),
    (("g", "b"), "the whole board"),
    (("?",), "this help"),
    (("Esc",), "close"),
)
WORDS_OF_QUERIES = (
    ("status:planned,blocked", "one or the other"),
    ("-label:bug", "all but these"),
    ('@ann  @"Chen Li"', "of this assignee"),
    ("priority:high phase:build", "both"),
    ("is:ready", "also waiting, blocked, overdue, open, invalid"),
    ("due:<2026-12-31", "due before that day"),
    ("metadata.team:core", "with this value"),
    ('login "sign in"', "in the name or id"),
)
SAMPLE = Card(
    TaskSummary("id", "project", "", "Task", due="2026-12-31"),
    BOARD,
    "project",
    "phase",
    Person("person", "P", 0, is_agent=False),
    labels=("label",),
    more_labels=1,
    needs=1,
    open_needs=1,
    unblocks=0,
    is_ready=True,
    is_overdue=False,
)
"""A card with all that a card can have: the page makes its own by filling copies of it, or leaving things out."""


class Column(NamedTuple):
    """A column of the board; `total` tasks have its status."""

    status: Status
    total: int
    cards: list[Card]
    uri: str


class ProblemFile(NamedTuple):
    """A file, or a record of a run, with what is wrong in it; `uri` is its task's page."""

    path: str
    uri: str | None
    problems: list[Problem]
    is_file: bool


class ProjectCard(NamedTuple):
    """A project with its first phases."""

    name: str
    uri: str
    about: str
    progress: object
    phases: list[Part]


def home_page(view: Overview) -> BoardPage:
    """What stands below the hand-written text of the first page: projects, what is ready, the latest runs."""
    return BoardPage(HOME, "Home", "home.html", partial(_home_facts, view))


def _home_facts(view: Overview) -> Facts:
    projects = [_project_card(view, project.key) for project in view.projects[:PROJECTS]]
    return {
        "moment": view.moment,
        "projects": projects,
        "more_projects": max(0, len(view.projects) - PROJECTS),
        "ready": view.cards(view.ready[:READY]),
        "more_ready": max(0, len(view.ready) - READY),
        "runs": run_rows(view, view.runs[:RUNS]),
        "broken": view.broken_cards(),
        "problems": sum(problem.severity is not Severity.NOTE for problem in view.data.problems),
    }


def _project_card(view: Overview, key: str) -> ProjectCard:
    part = project_part(view, key)
    about = view.data.index.projects[key].description
    return ProjectCard(part.name, part.uri, about, part.progress, phase_parts(view, key)[:PHASES])


def board_pages(view: Overview) -> Iterator[BoardPage]:
    """The board, and the page of problems."""
    yield BoardPage(BOARD, "Board", "board.html", partial(_board_facts, view))
    yield BoardPage(PROBLEMS, "Problems", "problems.html", partial(_problems_facts, view))


def missing_page() -> BoardPage:
    """What stands where there is no page: a server shows it at any address."""
    return BoardPage(MISSING, "There is no such page", "missing.html", dict)


def settings_page() -> BoardPage:
    """What a site has that can be changed where it is served: its script fills it."""
    return BoardPage(SETTINGS, "Settings", "settings.html", dict)


def _board_facts(view: Overview) -> Facts:
    broken = view.broken_cards()
    return {
        "moment": view.moment,
        "limit": PER_COLUMN,
        "total": len(view.tasks),
        "ready": len(view.ready),
        "broken": broken[:PER_COLUMN],
        "total_broken": len(broken),
        "columns": [_column(view, status) for status in COLUMNS],
        "new": propose_tasks(view),
        "scripts": [view.task_index.uri, *map(asset_uri, ON_BOARD)],
        "sorts": tuple(SORTS),
        "views": VIEWS,
        "keys": KEYS,
        "words_of_queries": WORDS_OF_QUERIES,
        "sample": SAMPLE,
    }


def _column(view: Overview, status: Status) -> Column:
    tasks = view.by_status[status]
    return Column(status, len(tasks), view.cards(tasks[:PER_COLUMN]), list_uri(status))


def _problems_facts(view: Overview) -> Facts:
    uris = {task.path: view.find_task_uri(task.id) for task in view.tasks}
    uris |= {file.path: view.find_task_uri(file.id) for file in view.broken_tasks.values()}
    records = {problem.path for problem in view.data.run_problems}
    shown = islice(view.problems.items(), PROBLEM_FILES)
    return {
        "moment": view.moment,
        "total": sum(map(len, view.problems.values())),
        "has_records": bool(view.data.run_problems),
        "files": len(view.problems),
        "groups": [ProblemFile(path, uris.get(path), found, path not in records) for path, found in shown],
    }
