"""What plain PyYAML, and nothing of ours, sees in a file: values, comments, and where things stand."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any, NamedTuple

import yaml

Loc = tuple[str | int, ...]


def values(text: str) -> Any:
    """All of a file, scalars as text, maps as lists of pairs: so order counts, too."""
    return _bare(yaml.compose(text, Loader=yaml.SafeLoader))


def _bare(node: Any) -> Any:
    if isinstance(node, yaml.MappingNode):
        return {"map": [(key.value, _bare(value)) for key, value in node.value]}
    if isinstance(node, yaml.SequenceNode):
        return [_bare(value) for value in node.value]
    return (node.tag, node.value)


def value_at(text: str, loc: Loc) -> Any:
    """The value there, as PyYAML's own SafeLoader makes it."""
    data = yaml.safe_load(text)
    for step in loc:
        data = data[step]
    return data


class Span(NamedTuple):
    """Where something stands, in characters: it and its key from `start` to `end`, the value from `value`.

    `before` is the end of the last word before it, `after` the start of the first one behind it.
    """

    start: int
    value: int
    end: int
    before: int
    after: int
    is_block_text: bool


def span(text: str, loc: Loc) -> Span:
    """Where the entry at `loc` stands."""
    node: Any = yaml.compose(text, Loader=yaml.SafeLoader)
    key = None
    for step in loc:
        if isinstance(node, yaml.MappingNode):
            key, node = next(pair for pair in node.value if pair[0].value == step)
        else:
            key, node = None, node.value[step]  # type: ignore[index]
    words = list(_words(text))
    first = key.start_mark.index if key else _dash_of(text, node)
    last = max([leaf.end_mark.index for leaf in _leaves(node)] + [first])
    before = len(text[: max((end for start, end in words if end <= first and start < first), default=0)].rstrip())
    after = min((start for start, end in words if start >= last and (start, end) != (first, last)), default=len(text))
    is_block_text = any(leaf.style in ("|", ">") for leaf in _leaves(node) if isinstance(leaf, yaml.ScalarNode))
    return Span(first, node.start_mark.index, last, before, after, is_block_text)


def _dash_of(text: str, node: Any) -> int:
    """Where the item begins: at its dash; in brackets at itself."""
    dash = node.start_mark.index
    for token in yaml.scan(text, Loader=yaml.SafeLoader):
        if token.start_mark.index >= node.start_mark.index:
            break
        if isinstance(token, yaml.BlockEntryToken):
            dash = token.start_mark.index
        elif not isinstance(token, yaml.BlockSequenceStartToken | yaml.BlockMappingStartToken):
            dash = node.start_mark.index
    return dash


def _leaves(node: Any) -> Iterator[Any]:
    if isinstance(node, yaml.MappingNode) and not node.flow_style:
        for key, value in node.value:
            yield key
            yield from _leaves(value)
    elif isinstance(node, yaml.SequenceNode) and not node.flow_style:
        for value in node.value:
            yield from _leaves(value)
    else:
        yield node


def _words(text: str) -> Iterator[tuple[int, int]]:
    """The scalars, and the brackets and braces, by start and end."""
    for token in yaml.scan(text, Loader=yaml.SafeLoader):
        if isinstance(
            token,
            yaml.ScalarToken
            | yaml.FlowSequenceStartToken
            | yaml.FlowSequenceEndToken
            | yaml.FlowMappingStartToken
            | yaml.FlowMappingEndToken,
        ):
            yield token.start_mark.index, token.end_mark.index


def comments(text: str) -> list[str]:
    """All comments in their order: what follows a # outside of scalars."""
    return [found.rstrip() for _, found in placed_comments(text)]


def placed_comments(text: str) -> list[tuple[int, str]]:
    """The comments, each with where it begins."""
    bare = list(text)
    for token in yaml.scan(text, Loader=yaml.SafeLoader):
        if isinstance(token, yaml.ScalarToken):
            start, end = token.start_mark.index, token.end_mark.index
            if token.style in ("|", ">"):
                start = text.find("\n", start) if "\n" in text[start:] else end
            bare[start:end] = ["\n" if c == "\n" else "x" for c in text[start:end]]
    return [(found.start(), found[0]) for found in re.finditer("#.*", "".join(bare))]


def common(one: str, other: str) -> tuple[int, int]:
    """How many characters two texts share at their beginning and at their end."""
    shorter = min(len(one), len(other))
    start = next((n for n in range(shorter) if one[n] != other[n]), shorter)
    end = next((n for n in range(shorter) if one[-1 - n] != other[-1 - n]), shorter)
    return start, end


def is_insertion(old: str, new: str) -> bool:
    """Whether the new text is the old one with one piece put in somewhere."""
    return len(new) >= len(old) and sum(common(old, new)) >= len(old)
