"""Where each page of the board lies, relative to the root of the site. Flat files: they work from disk as well."""

from __future__ import annotations

import hashlib
import re

HOME = "index.html"
BOARD = "board.html"
RUNS = "runs.html"
TEMPLATES = "templates.html"
PROBLEMS = "problems.html"
GRAPH = "graph.html"
TIMELINE = "timeline.html"
CHANGES = "changes.html"
STATISTICS = "statistics.html"
DIFFERENCE = "diff.html"
ALL_TASKS = "list/all/1.html"
FEED = "feed.xml"
MISSING = "404.html"
SETTINGS = "dagtasks/settings.html"
"""Only a site that is served has it, in a folder where nobody's own pages are."""

PARTS = {
    HOME: "Home",
    BOARD: "Board",
    ALL_TASKS: "Tasks",
    GRAPH: "Dependencies",
    TIMELINE: "Timeline",
    RUNS: "Runs",
    TEMPLATES: "Templates",
    CHANGES: "Changes",
    STATISTICS: "Statistics",
    DIFFERENCE: "Difference",
}
"""The parts of the board by their first pages, in the order in which every page leads to them.

The difference is there when somebody asked for one.
"""
_FOLDERS = {
    "t": ALL_TASKS,
    "list": ALL_TASKS,
    "g": GRAPH,
    "timeline": TIMELINE,
    "r": RUNS,
    "runs": RUNS,
    "templates": TEMPLATES,
}

LONGEST_NAME = 100


def file_name(name: str) -> str:
    """A file name for any text: the text itself when it is safe, else one that no other text has.

    Names of broken files and ids of fetched run records are not checked by any schema.
    """
    if re.fullmatch(rf"[a-z0-9_][a-z0-9._-]{{0,{LONGEST_NAME - 1}}}", name):
        return name
    digest = hashlib.blake2b(name.encode("utf-8", "surrogatepass"), digest_size=8).hexdigest()
    return re.sub(r"[^a-z0-9_-]+", "-", name.lower())[:40].strip("-") + "~" + digest


def task_uri(task_id: str) -> str:
    """The page of a task, broken or not."""
    return f"t/{file_name(task_id)}.html"


def project_uri(key: str) -> str:
    """The page of a project."""
    return f"p/{file_name(key)}.html"


def phase_uri(project: str, key: str) -> str:
    """The page of a phase."""
    return f"p/{file_name(project)}/{file_name(key)}.html"


def graph_uri(project: str, phase: str | None) -> str:
    """The graph of the tasks of a phase, or of those of a project in no phase."""
    return f"g/{file_name(project)}/{file_name(phase)}.html" if phase else f"g/{file_name(project)}.html"


def timeline_uri(project: str) -> str:
    """The timeline of a project."""
    return f"timeline/{file_name(project)}.html"


def template_uri(name: str) -> str:
    """The page of a workflow template."""
    return f"templates/{file_name(name)}.html"


def run_uri(run_id: str) -> str:
    """The page of a run."""
    return f"r/{file_name(run_id)}.html"


def runs_uri(number: int) -> str:
    """A page of the list of runs; the first is the entry of the navigation."""
    return RUNS if number == 1 else f"runs/{number}.html"


def list_uri(slug: str, number: int = 1) -> str:
    """A page of a list of tasks. Slugs: `all`, a status, `project-<key>`, `phase-<project>-<key>`."""
    return f"list/{slug}/{number}.html"


def part_of(uri: str) -> str:
    """The first page of the part that the page belongs to; of projects, phases and problems that is the home page."""
    return uri if uri in PARTS else _FOLDERS.get(uri.partition("/")[0], HOME)


def root_of(uri: str) -> str:
    """The way from that page to the root of the site: `../` for each folder it lies in."""
    return "../" * uri.count("/")
