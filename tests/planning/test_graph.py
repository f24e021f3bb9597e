from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from dagtasks.planning.graph import find_cycles, order, reachable, reverse

GRAPHS = st.dictionaries(st.sampled_from("abcdefgh"), st.lists(st.sampled_from("abcdefghz"), max_size=4), max_size=8)


def test_order_keeps_what_is_free_in_the_given_order() -> None:
    assert order({"c": [], "a": ["b"], "b": []}) == (["c", "b", "a"], [])


def test_cycles_are_paths_whose_last_node_depends_on_the_first() -> None:
    graph = {"a": ["b"], "b": ["c"], "c": ["a", "b"], "d": ["a"], "e": ["e"], "f": []}
    assert find_cycles(graph) == [["a", "b", "c"], ["e"]]


def test_a_long_chain_does_not_recurse() -> None:
    graph = {str(n): [str(n + 1)] for n in range(20_000)} | {"20000": ["0"]}
    assert len(find_cycles(graph)[0]) == 20_001


@given(GRAPHS)
def test_every_node_is_placed_after_its_needs_or_stands_behind_a_cycle(graph: dict[str, list[str]]) -> None:
    placed, stuck = order(graph)
    assert sorted([*placed, *stuck]) == sorted(graph)
    for position, node in enumerate(placed):
        assert all(need in placed[:position] for need in graph[node] if need in graph)
    assert bool(stuck) == bool(find_cycles(graph))


@given(GRAPHS)
def test_found_cycles_are_real_and_disjoint(graph: dict[str, list[str]]) -> None:
    seen: set[str] = set()
    for cycle in find_cycles(graph):
        for node, need in zip(cycle, [*cycle[1:], cycle[0]], strict=True):
            assert need in graph[node]
        assert seen.isdisjoint(cycle)
        seen.update(cycle)


@given(GRAPHS)
def test_reachable_agrees_with_walking_backwards(graph: dict[str, list[str]]) -> None:
    back = reverse(graph)
    for node in graph:
        for other in reachable(graph, [node]):
            assert node in reachable(back, [other])
