"""Graphs as SVG: boxes in layers from left to right, each behind all that it depends on.

Layers by the longest path, then a few sweeps that put each box near its neighbours. A circle is no obstacle: it is cut
open for the layers, and its edges get a colour of their own. A graph says nothing that the list beside it does not say:
it is hidden from screen readers, and the keyboard does not stop in it.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from markupsafe import Markup, escape

from dagtasks.board.printable import clip
from dagtasks.planning.graph import find_groups, order, reverse

BOX, ROW = (184, 26), 36
"""Width and height of a box, as the style sheet has them; the distance from one to the next below it."""
COLUMN = 236
"""The distance from a layer to the next."""
SWEEPS = 4
LETTERS = 24
MARGIN = 4
CIRCULAR = " dt-edge--circular"

Edge = tuple[str, str]


class Node(NamedTuple):
    """A box. `kind` is a class of the style sheet that says how it looks; `uri` is where it leads to, from the page."""

    id: str
    label: str
    kind: str
    uri: str | None = None
    is_here: bool = False


class Layout(NamedTuple):
    """Where each node is: in which layer, and at which row of it. `circular` are the edges that lie in a circle."""

    layers: Sequence[Sequence[str]]
    circular: frozenset[Edge]


def lay_out(ids: Sequence[str], edges: Iterable[Edge]) -> Layout:
    """The layers of the graph. An edge leads from what comes first to what depends on it; both must be among `ids`."""
    after: dict[str, list[str]] = {name: [] for name in ids}
    for first, then in dict.fromkeys(edges):
        after[first].append(then)
    circles = {name: number for number, group in enumerate(find_groups(after)) for name in group}
    circular = frozenset((u, v) for u, nexts in after.items() for v in nexts if circles[u] == circles[v])
    # Within a circle only edges that lead on in the order of the ids count, so none is left of the whole.
    position = {name: at for at, name in enumerate(ids)}
    forward = {
        u: [v for v in nexts if (u, v) not in circular or position[u] < position[v]] for u, nexts in after.items()
    }
    return Layout(_untangle(_find_layers(forward), forward), circular)


def _find_layers(after: Mapping[str, Sequence[str]]) -> list[list[str]]:
    """Each node as far to the right as the longest path to it is. There are no circles."""
    before = reverse(after)
    layer: dict[str, int] = {}
    for name in order(before)[0]:
        layer[name] = max((layer[need] + 1 for need in before[name]), default=0)
    layers: list[list[str]] = [[] for _ in range(max(layer.values(), default=-1) + 1)]
    for name in after:
        layers[layer[name]].append(name)
    return layers


def _untangle(layers: list[list[str]], after: Mapping[str, Sequence[str]]) -> list[list[str]]:
    """The layers, each in the order of where the neighbours of its nodes are."""
    before = reverse(after)
    for sweep in range(SWEEPS):
        neighbours: Mapping[str, Sequence[str]] = before if sweep % 2 == 0 else after
        places = {name: _place(at, len(layer)) for layer in layers for at, name in enumerate(layer)}
        for layer in layers if sweep % 2 == 0 else reversed(layers):
            means = {name: _mean([places[other] for other in neighbours[name]], places[name]) for name in layer}
            layer.sort(key=means.__getitem__)
            places |= {name: _place(at, len(layer)) for at, name in enumerate(layer)}
    return layers


def _place(at: int, size: int) -> float:
    """The height of a row, counted from the middle of its layer."""
    return at - (size - 1) / 2


def _mean(values: Sequence[float], otherwise: float) -> float:
    return sum(values) / len(values) if values else otherwise


def draw_graph(nodes: Sequence[Node], edges: Mapping[Edge, int]) -> Markup:
    """The graph as an SVG that is as large as it needs to be; an edge is the wider the more it stands for."""
    found = lay_out([node.id for node in nodes], edges)
    tallest = max(map(len, found.layers), default=0)
    places = {
        name: (MARGIN + COLUMN * number, MARGIN + ROW * (_place(at, len(layer)) + (tallest - 1) / 2))
        for number, layer in enumerate(found.layers)
        for at, name in enumerate(layer)
    }
    # Edges that look alike are one path.
    paths: dict[str, list[str]] = {}
    for edge, count in edges.items():
        looks = _edge_looks(count, CIRCULAR if edge in found.circular else "")
        paths.setdefault(looks, []).append(_find_path(places[edge[0]], places[edge[1]]))
    drawn = [f'<path class="dt-edge{looks} d="{"".join(parts)}"/>' for looks, parts in paths.items()]
    boxes = [_draw_node(node, *places[node.id]) for node in nodes]
    width = COLUMN * len(found.layers) - (COLUMN - BOX[0]) + 2 * MARGIN
    height = ROW * tallest - (ROW - BOX[1]) + 2 * MARGIN
    size = f'width="{max(width, 0)}" height="{max(height, 0)}" viewBox="0 0 {max(width, 0)} {max(height, 0)}"'
    shapes = "".join([*drawn, *boxes])
    return Markup(  # noqa: S704 - made of escaped parts; `Markup.format` takes ten times as long
        '<div class="dt-wide" tabindex="0" role="group" aria-label="Drawing">'
        f'<svg class="dt-graph" {size} aria-hidden="true">{shapes}</svg></div>'
    )


def _edge_looks(count: int, kind: str) -> str:
    """The end of the class of such an edge, and its width where it is none of the style's."""
    return f'{kind}" stroke-width="{1 + math.log2(count):.1f}"' if count > 1 else f'{kind}"'


def _find_path(start: tuple[float, float], end: tuple[float, float]) -> str:
    x, y, to_x, to_y = start[0] + BOX[0], start[1] + BOX[1] / 2, end[0], end[1] + BOX[1] / 2
    bend = max((to_x - x) / 2, 24)
    return f"M{x:.0f} {y:.0f}C{x + bend:.0f} {y:.0f} {to_x - bend:.0f} {to_y:.0f} {to_x:.0f} {to_y:.0f}"


def _draw_node(node: Node, x: float, y: float) -> str:
    here = " dt-node--here" if node.is_here else ""
    label = clip(node.label, 200)
    short = clip(label, LETTERS)
    title = f"<title>{escape(label)}</title>" if short != label else ""
    group = (
        f'<g class="dt-node dt-is-{escape(node.kind)}{here}" transform="translate({x:.0f} {y:.0f})">'
        f"{title}<rect/><text>{escape(short)}</text></g>"
    )
    return f'<a href="{escape(node.uri)}" tabindex="-1">{group}</a>' if node.uri else group
