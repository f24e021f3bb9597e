"""Graphs of names: order, cycles, and what depends on what. Linear in nodes plus edges."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Mapping

Graph = Mapping[str, Iterable[str]]
"""Each node with the nodes that it depends on. Edges to unknown nodes do not count."""


def order(graph: Graph) -> tuple[list[str], list[str]]:
    """The nodes, each after all that it depends on, and those that stand in or behind a cycle.

    Nodes that are free at the same time keep the order in which the graph gives them.
    """
    missing = {node: sum(1 for need in set(needs) if need in graph) for node, needs in graph.items()}
    dependents = reverse(graph)
    ready = deque(node for node, count in missing.items() if not count)
    done: list[str] = []
    while ready:
        node = ready.popleft()
        done.append(node)
        for dependent in dependents[node]:
            missing[dependent] -= 1
            if not missing[dependent]:
                ready.append(dependent)
    placed = set(done)
    return done, [node for node in graph if node not in placed]


def reverse(graph: Graph) -> dict[str, list[str]]:
    """Each node with the nodes that depend on it."""
    dependents: dict[str, list[str]] = {node: [] for node in graph}
    for node, needs in graph.items():
        for need in dict.fromkeys(needs):
            if need in dependents:
                dependents[need].append(node)
    return dependents


def find_cycles(graph: Graph) -> list[list[str]]:
    """A shortest cycle for each group of nodes that reach one another; each node depends on the one after it."""
    _, left = order(graph)
    inside = set(left)
    edges = {node: [need for need in graph[node] if need in inside] for node in left}
    found = []
    for group in find_groups(edges):
        start = min(group)
        if len(group) > 1 or start in edges[start]:
            found.append(_shortest_cycle(edges, start, set(group)))
    return sorted(found)


def find_groups(edges: Mapping[str, list[str]]) -> list[list[str]]:
    """The nodes in groups that reach one another; one that stands in no cycle is a group alone. Edges lead to nodes."""
    # Kosaraju: walk backwards in the order in which a forward walk ends.
    back = reverse(edges)
    seen = set[str]()
    ended = [node for start in edges for node in _walk(edges, start, seen)]
    seen = set()
    groups = (_walk(back, start, seen) for start in reversed(ended))
    return [group for group in groups if group]


def _walk(edges: Mapping[str, list[str]], start: str, seen: set[str]) -> list[str]:
    """The nodes not seen before that can be reached from `start`, each after those that it leads to."""
    if start in seen:
        return []
    seen.add(start)
    ended, path = [], [(start, iter(edges[start]))]
    while path:
        node, needs = path[-1]
        need = next((n for n in needs if n not in seen), None)
        if need is None:
            ended.append(node)
            path.pop()
        else:
            seen.add(need)
            path.append((need, iter(edges[need])))
    return ended


def _shortest_cycle(edges: Mapping[str, list[str]], start: str, group: set[str]) -> list[str]:
    came_from: dict[str, str] = {}
    waiting = deque([start])
    while waiting:
        node = waiting.popleft()
        for need in edges[node]:
            if need == start:
                return _path_back(came_from, node)
            if need in group and need not in came_from:
                came_from[need] = node
                waiting.append(need)
    raise AssertionError(f"{start} stands in no cycle")


def _path_back(came_from: Mapping[str, str], node: str) -> list[str]:
    path = [node]
    while path[-1] in came_from:
        path.append(came_from[path[-1]])
    return path[::-1]


def reachable(graph: Graph, start: Iterable[str]) -> set[str]:
    """All nodes that can be reached from the given ones along the edges, without the given ones themselves."""
    found = set[str]()
    waiting = [need for node in start for need in graph.get(node, ())]
    while waiting:
        node = waiting.pop()
        if node not in found and node in graph:
            found.add(node)
            waiting.extend(graph[node])
    return found
