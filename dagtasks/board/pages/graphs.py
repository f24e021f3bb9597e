"""Dependencies as graphs: round one task, of a project, and of everything."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import partial
from typing import NamedTuple

from markupsafe import Markup

from dagtasks.board.graphs import Edge, Node, draw_graph
from dagtasks.board.overview import Overview
from dagtasks.board.pages.press import BoardPage, Facts
from dagtasks.board.uris import GRAPH, graph_uri, root_of, task_uri
from dagtasks.model.summary import TaskSummary

AROUND, DEPTH = 40, 2
"""Tasks round a task that its graph shows at most, and over how many edges."""
FULL = 300
"""With more tasks that have dependencies than this, a graph is drawn of phases, which lead to their own."""


class Link(NamedTuple):
    """Something that a thing depends on, and by how many dependencies."""

    name: str
    uri: str
    times: int = 1


class Need(NamedTuple):
    """A row of the list beside a graph: a thing and what it depends on."""

    name: str
    uri: str
    needs: list[Link]


class Group(NamedTuple):
    """The tasks of a phase as one box; those of a project in no phase are one, too (`phase` None)."""

    project: str
    phase: str | None


class Picture(NamedTuple):
    """What a graph is drawn of."""

    nodes: list[Node]
    edges: list[Edge]


def find_around(view: Overview, task: TaskSummary) -> Picture:
    """The task, what it depends on and what depends on it, over at most `DEPTH` edges, the nearest first."""
    tasks, dependents = view.data.index.tasks, view.data.index.dependents
    near = {task.id: None}
    before, after = [task.id], [task.id]
    for _ in range(DEPTH):
        before = [need for name in before for need in tasks[name].depends_on if need in tasks]
        after = [other for name in after for other in dependents.get(name, ())]
        near |= dict.fromkeys([*before, *after][: AROUND - len(near) + 1])
    found = [tasks[name] for name in near][:AROUND]
    return Picture([_node(each, "../", is_here=each is task) for each in found], _edges(found))


def draw(picture: Picture) -> Markup | None:
    """The graph; None when there is nothing beside one node."""
    return draw_graph(picture.nodes, dict.fromkeys(picture.edges, 1)) if len(picture.nodes) > 1 else None


def _node(task: TaskSummary, root: str, *, is_here: bool = False) -> Node:
    return Node(task.id, task.name, str(task.status), root + task_uri(task.id), is_here)


def _edges(tasks: Iterable[TaskSummary]) -> list[Edge]:
    """The dependencies among these tasks, each from what comes first."""
    known = {task.id: task for task in tasks}
    return [(need, task.id) for task in known.values() for need in task.depends_on if need in known]


# -- pages ----------------------------------------------------------------------------------------------------------


def graph_pages(view: Overview) -> Iterator[BoardPage]:
    """The graph of everything; where that is too much for one picture it is one of phases, and each has its own."""
    linked = _find_linked(view.tasks)
    if len(linked) <= FULL:
        yield _tasks_page(GRAPH, "Dependencies", linked)
        return
    groups: dict[Group, list[TaskSummary]] = {}
    for task in linked:
        groups.setdefault(_group(view, task), []).append(task)
    yield BoardPage(GRAPH, "Dependencies", "graph.html", partial(_groups_facts, view, linked, groups))
    for group, tasks in groups.items():
        yield _tasks_page(graph_uri(*group), f"Dependencies of {_name(view, group)}", tasks)


def _find_linked(tasks: Iterable[TaskSummary]) -> list[TaskSummary]:
    """Those of the tasks that depend on one of them, or that one of them depends on."""
    tasks = [*tasks]
    ends = {name for edge in _edges(tasks) for name in edge}
    return [task for task in tasks if task.id in ends]


def _group(view: Overview, task: TaskSummary) -> Group:
    return Group(task.project, task.phase if f"{task.project}/{task.phase}" in view.data.index.phases else None)


def _tasks_page(uri: str, title: str, tasks: Sequence[TaskSummary]) -> BoardPage:
    # Of too many the most urgent ones are drawn.
    drawn = _find_linked(tasks[:FULL])
    picture = Picture([_node(task, root_of(uri)) for task in drawn], _edges(drawn))
    facts = partial(_tasks_facts, title, len(tasks), drawn, picture)
    return BoardPage(uri, title, "graph.html", facts, lambda: {"graph": draw(picture)})


def _tasks_facts(title: str, total: int, drawn: Sequence[TaskSummary], picture: Picture) -> Facts:
    known = {task.id: task for task in drawn}
    needs = [[known[name] for name in task.depends_on if name in known] for task in drawn]
    listed = [
        Need(task.name, task_uri(task.id), [Link(need.name, task_uri(need.id)) for need in found])
        for task, found in zip(drawn, needs, strict=True)
        if found
    ]
    return {"title": title, "total": total, "left_out": total - len(drawn), "picture": picture, "listed": listed}


def _groups_facts(view: Overview, tasks: Sequence[TaskSummary], groups: Mapping[Group, Sequence[TaskSummary]]) -> Facts:
    of = {task.id: group for group, members in groups.items() for task in members}
    links = Counter((of[first], of[then]) for first, then in _edges(tasks))
    shown = sorted(groups, key=lambda group: (-len(groups[group]), _key(group)))[:FULL]
    names = {each: f"{_name(view, each)} ({len(groups[each])})" for each in shown}
    nodes = [Node(_key(each), name, "group", graph_uri(*each)) for each, name in names.items()]
    between = {ends: count for ends, count in links.items() if ends[0] != ends[1] and names.keys() >= {*ends}}
    edges = {(_key(first), _key(then)): count for (first, then), count in between.items()}
    needs: dict[Group, list[Link]] = {}
    for (first, then), count in between.items():
        needs.setdefault(then, []).append(Link(_name(view, first), graph_uri(*first), count))
    return {
        "title": "Dependencies",
        "total": len(tasks),
        "left_out": 0,
        "graph": draw_graph(nodes, edges),
        "listed": [Need(_name(view, group), graph_uri(*group), needs.get(group, [])) for group in shown],
    }


def _key(group: Group) -> str:
    return f"{group.project}/{group.phase or ''}"


def _name(view: Overview, group: Group) -> str:
    phase = view.data.index.phases.get(f"{group.project}/{group.phase}")
    project = view.project_name(group.project)
    return f"{phase.name} - {project}" if phase else project
