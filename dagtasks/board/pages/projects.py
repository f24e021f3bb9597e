"""The pages of projects and of their phases."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial
from typing import NamedTuple

from dagtasks.board.newtask import make_new_task
from dagtasks.board.overview import Card, Overview, Progress
from dagtasks.board.pages.paging import PER_PAGE
from dagtasks.board.pages.press import BoardPage, Facts
from dagtasks.board.uris import list_uri, phase_uri, project_uri
from dagtasks.model.summary import PhaseSummary, TaskSummary


class Part(NamedTuple):
    """A project or a phase with how far it is."""

    name: str
    uri: str
    progress: Progress


class Group(NamedTuple):
    """The tasks of a phase on its project's page; `total` may be more than `tasks`."""

    name: str
    uri: str | None
    total: int
    tasks: Sequence[Card]


def project_part(view: Overview, key: str) -> Part:
    """The project with how far it is."""
    return Part(view.project_name(key), project_uri(key), view.progress(view.by_project.get(key, [])))


def phase_parts(view: Overview, project: str) -> list[Part]:
    """The phases of the project with how far each is."""
    return [_phase_part(view, phase) for phase in view.phases.get(project, [])]


def _phase_part(view: Overview, phase: PhaseSummary) -> Part:
    tasks = view.by_phase.get((phase.project, phase.key), [])
    return Part(phase.name, phase_uri(phase.project, phase.key), view.progress(tasks))


def project_pages(view: Overview) -> Iterator[BoardPage]:
    """A page for each project (a folder with tasks counts, even when its own file is missing or broken) and phase."""
    for key in sorted({*view.data.index.projects, *view.by_project}):
        yield BoardPage(project_uri(key), view.project_name(key), "project.html", partial(_project_facts, view, key))
    for phase in view.data.index.phases.values():
        title = f"{phase.name} - {view.project_name(phase.project)}"
        yield BoardPage(phase_uri(phase.project, phase.key), title, "project.html", partial(_phase_facts, view, phase))


def _project_facts(view: Overview, key: str) -> Facts:
    project = view.data.index.projects.get(key)
    tasks = view.by_project.get(key, [])
    return {
        "what": "Project",
        "key": key,
        "path": project.path if project else None,
        "new": make_new_task(view, key),
        "name": view.project_name(key),
        "parent": None,
        "description": project.description if project else "",
        "metadata": list(project.metadata.items())[:100] if project else [],
        "found": view.problems.get(project.path, []) if project else [],
        "progress": view.progress(tasks),
        "broken": view.broken_cards(key),
        "phases": phase_parts(view, key),
        "groups": _groups(view, key),
        "total": len(tasks),
        "more": len(tasks) > PER_PAGE,
        "all_uri": list_uri(f"project-{key}"),
    }


def _groups(view: Overview, project: str) -> list[Group]:
    """The tasks of a project by phase, `PER_PAGE` of them in all."""
    phases = view.phases.get(project, [])
    parts = [(phase.name, phase_uri(project, phase.key), view.by_phase.get((project, phase.key))) for phase in phases]
    loose = view.by_phase.get((project, None))
    groups = []
    room = PER_PAGE
    for name, uri, tasks in [*parts, ("Tasks without a phase" if parts else "Tasks", None, loose)]:
        if tasks and room:
            groups.append(_group(view, name, uri, tasks[:room], len(tasks)))
            room -= len(groups[-1].tasks)
    return groups


def _group(view: Overview, name: str, uri: str | None, tasks: Sequence[TaskSummary], total: int) -> Group:
    return Group(name, uri, total, view.cards(tasks))


def _phase_facts(view: Overview, phase: PhaseSummary) -> Facts:
    tasks = view.by_phase.get((phase.project, phase.key), [])
    group = _group(view, "Tasks", None, tasks[:PER_PAGE], len(tasks))
    return {
        "what": "Phase",
        "key": phase.id,
        "path": phase.path,
        "new": make_new_task(view, phase.project, phase.key),
        "name": phase.name,
        "parent": project_part(view, phase.project),
        "description": phase.description,
        "metadata": [],
        "found": view.problems.get(phase.path, []),
        "progress": view.progress(tasks),
        "broken": [],
        "phases": [],
        "groups": [group] if tasks else [],
        "total": len(tasks),
        "more": len(tasks) > PER_PAGE,
        "all_uri": list_uri(f"phase-{phase.project}-{phase.key}"),
    }
