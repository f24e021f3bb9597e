"""Layers of graphs, and their pictures: hand-made ones, and random ones with circles."""

from __future__ import annotations

import itertools
import random
import re

import pytest

from dagtasks.board.graphs import LETTERS, Node, draw_graph, lay_out
from dagtasks.planning.graph import reachable


def layers(names: str, *edges: str) -> list[str]:
    """The layers of a graph whose nodes are letters and whose edges are pairs of them."""
    found = lay_out([*names], [(edge[0], edge[1]) for edge in edges])
    return ["".join(layer) for layer in found.layers]


@pytest.mark.parametrize(("names", "edges", "want"), [
    ("", (), []),
    ("ab", (), ["ab"]),
    ("abc", ("ab", "bc"), ["a", "b", "c"]),
    ("cba", ("ab", "bc"), ["a", "b", "c"]),
    ("abcd", ("ab", "bc", "ac", "ad"), ["a", "bd", "c"]),  # as far to the right as the longest path is
    ("abxy", ("ay", "bx"), ["ab", "yx"]),  # each beside what it depends on, so that no edges cross
])  # fmt: skip
def test_each_stands_behind_what_it_depends_on(names, edges, want):
    assert layers(names, *edges) == want


def test_a_circle_is_drawn_and_its_edges_are_marked():
    found = lay_out([*"abcd"], [("a", "b"), ("b", "c"), ("c", "b"), ("c", "d"), ("d", "d")])
    assert found.circular == {("b", "c"), ("c", "b"), ("d", "d")}
    assert sorted(name for layer in found.layers for name in layer) == [*"abcd"]


@pytest.mark.parametrize("seed", range(60))
def test_random_graphs(seed):
    dice = random.Random(seed)
    names = [f"n{n}" for n in range(dice.randrange(1, 25))]
    edges = [(dice.choice(names), dice.choice(names)) for _ in range(dice.randrange(40))]
    found = lay_out(names, edges)
    assert sorted(name for layer in found.layers for name in layer) == sorted(names)
    after = {name: [v for u, v in edges if u == name] for name in names}
    circular = {(u, v) for u, v in edges if u in reachable(after, [v]) or u == v}
    assert found.circular == circular
    layer = {name: number for number, names in enumerate(found.layers) for name in names}
    assert all(layer[u] < layer[v] for u, v in edges if (u, v) not in circular)
    assert lay_out(names, edges) == found


def test_a_chain_may_be_long():
    names = [str(n) for n in range(5000)]
    assert len(lay_out(names, list(itertools.pairwise(names))).layers) == 5000


def test_the_picture_holds_every_node_and_edge():
    nodes = [
        Node("a", "First & <foremost>", "planned", "t/a.html", is_here=True),
        Node("b", "\x1b\u202e" + "x" * 300, "group"),
    ]
    drawn = draw_graph(nodes, {("a", "b"): 8, ("b", "a"): 1})
    assert '<a href="t/a.html" tabindex="-1"><g class="dt-node dt-is-planned dt-node--here"' in drawn
    assert "First &amp; &lt;foremost&gt;" in drawn
    assert f">{'x' * (LETTERS - 1)}…</text>" in drawn
    assert drawn.count("dt-edge--circular") == 2
    assert drawn.count('stroke-width="4.0"') == 1
    assert drawn.count("<a ") == 1
    assert not {*drawn} & {*"\x1b\u202e"}


def test_places_are_inside_and_do_not_overlap():
    dice = random.Random(3)
    nodes = [Node(str(n), f"Task {n}", "planned", f"t/{n}.html") for n in range(200)]
    edges = {(str(dice.randrange(n)), str(n)): 1 for n in range(1, 200) for _ in range(2)}
    drawn = draw_graph(nodes, edges)
    width, height = map(float, re.search(r'viewBox="0 0 ([\d.]+) ([\d.]+)"', drawn).groups())
    boxes = [(float(x), float(y)) for x, y in re.findall(r"translate\(([\d.]+) ([\d.]+)\)", drawn)]
    assert len(boxes) == 200
    assert all(0 <= x <= width - 184 and 0 <= y <= height - 26 for x, y in boxes)
    for x in {x for x, _ in boxes}:
        column = sorted(y for other, y in boxes if other == x)
        assert all(low - high >= 26 for high, low in itertools.pairwise(column))


def test_a_thousand_nodes_are_no_large_picture():
    dice = random.Random(1)
    nodes = [Node(f"web-{n:06}", f"Do the thing number {n}", "planned", f"../t/web-{n:06}.html") for n in range(1000)]
    edges = {(f"web-{dice.randrange(n):06}", f"web-{n:06}"): 1 for n in range(1, 1000)}
    assert len(draw_graph(nodes, edges)) < 400_000
