"""The steps of a template as a picture: Mermaid or DOT, with the states of a run when there is one."""

from __future__ import annotations

import itertools
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from dagtasks.model.template import Step, Template
from dagtasks.model.values import JSON
from dagtasks.planning import graph
from dagtasks.planning.steps import edges, find_uses

COLOURS = {
    "succeeded": "#d3f0d6",
    "failed": "#f8d0d0",
    "errored": "#f8d0d0",
    "timed_out": "#f8d0d0",
    "cancelled": "#e4e4e4",
    "omitted": "#e4e4e4",
    "skipped": "#f4f4f4",
    "waiting": "#fdeec2",
    "running": "#d4e5fa",
    "retry_wait": "#d4e5fa",
}
"""What a state is drawn on."""


@dataclass(frozen=True, slots=True)
class Node:
    """A step: its name, its kind, what it is about in a few words, and how it went."""

    name: str
    kind: str
    about: str = ""
    state: str = ""
    is_last: bool = False


@dataclass(frozen=True, slots=True)
class Drawing:
    """The steps of a template, and which waits for which: each edge leads from the earlier to the later."""

    name: str
    nodes: tuple[Node, ...]
    edges: tuple[tuple[str, str], ...] = ()

    def to_json(self) -> dict[str, JSON]:
        """The picture as data."""
        return {
            "name": self.name,
            "steps": [
                {
                    "name": node.name,
                    "kind": node.kind,
                    "about": node.about,
                    "state": node.state or None,
                    "finally": node.is_last,
                }
                for node in self.nodes
            ],
            "edges": [[before, after] for before, after in self.edges],
        }


def make_drawing(template: Template, states: Mapping[str, str]) -> Drawing:
    """The picture of the template; `states` are those of a run's steps, by name.

    An edge that follows from others is left out. The steps of `finally` follow one another.
    """
    needs = _reduce(edges(template, find_uses(template)))
    nodes = [_node(step, states, is_last=place >= len(template.steps)) for place, step in enumerate(template.all_steps)]
    found = [(need, name) for name, before in needs.items() for need in before]
    last = [step.name for step in template.finally_]
    ends = [step.name for step in template.steps if step.name not in {need for need, _ in found}]
    found += [(end, last[0]) for end in ends if last]
    found += itertools.pairwise(last)
    return Drawing(template.metadata.name, tuple(nodes), tuple(found))


def _reduce(needs: Mapping[str, tuple[str, ...]]) -> dict[str, list[str]]:
    """The edges without those that follow from others. Sets of steps are the bits of a number: most wait for all."""
    order, _ = graph.order(needs)
    bits = {name: 1 << place for place, name in enumerate(order)}
    below: dict[str, int] = {}
    kept: dict[str, list[str]] = {}
    for name in order:
        further = 0
        for need in needs[name]:
            further |= below[need]
        kept[name] = [need for need in needs[name] if not further & bits[need]]
        below[name] = further | sum(bits[need] for need in kept[name])
    return kept


def _node(step: Step, states: Mapping[str, str], *, is_last: bool) -> Node:
    marks = []
    if step.workflow:
        marks.append(step.workflow.template)
    if step.foreach is not None or step.matrix:
        marks.append("for each")
    if step.if_ is not None:
        marks.append("if")
    return Node(step.name, step.kind, ", ".join(marks), states.get(step.name, ""), is_last)


def _label(node: Node) -> str:
    about = f"{node.kind}: {node.about}" if node.about else node.kind
    return " ".join([f"{node.name} ({about})", *([node.state] if node.state else [])])


def to_mermaid(drawing: Drawing) -> str:
    """The picture as a Mermaid flowchart. Text is data: whatever could be syntax is written as an entity."""
    ids = {node.name: f"s{place}" for place, node in enumerate(drawing.nodes)}
    lines = ["flowchart TD"]
    for node in drawing.nodes:
        begin, end = _SHAPES.get(node.kind, ("[", "]"))
        style = f":::{node.state}" if node.state in COLOURS else ""
        lines.append(f'  {ids[node.name]}{begin}"{_escape_mermaid(_label(node))}"{end}{style}')
    lines += [f"  {ids[before]} --> {ids[after]}" for before, after in drawing.edges]
    used = dict.fromkeys(node.state for node in drawing.nodes if node.state in COLOURS)
    lines += [f"  classDef {state} fill:{COLOURS[state]}" for state in used]
    return "\n".join(lines)


_SHAPES = {"workflow": ("[[", "]]"), "approval": ("{{", "}}"), "api": ("([", "])")}


def _escape_mermaid(text: str) -> str:
    return re.sub(r"[^A-Za-z0-9 _.,:()-]", lambda found: f"#{ord(found[0])};", text)


def to_dot(drawing: Drawing) -> str:
    """The picture in the language of Graphviz."""
    lines = [f"digraph {_quote(drawing.name)} {{", "  node [shape=box, style=filled, fillcolor=white];"]
    for node in drawing.nodes:
        colour = f", fillcolor={_quote(COLOURS[node.state])}" if node.state in COLOURS else ""
        lines.append(f"  {_quote(node.name)} [label={_quote(_label(node))}{colour}];")
    lines += [f"  {_quote(before)} -> {_quote(after)};" for before, after in drawing.edges]
    return "\n".join([*lines, "}"])


def _quote(text: str) -> str:
    flat = "".join(character if character.isprintable() else " " for character in text)
    return '"' + flat.replace("\\", "\\\\").replace('"', '\\"') + '"'


FORMS: Mapping[str, Callable[[Drawing], str]] = {"mermaid": to_mermaid, "dot": to_dot}
"""The languages that a picture can be written in."""
