"""The nodes of a YAML document and where each is written. Composed only when a place is asked for: an error, an edit.

Offsets count characters of the decoded text. `compose` is for documents that the loader has accepted: it trusts
their depth and size.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple

import yaml
from yaml.events import (
    MappingEndEvent,
    ScalarEvent,
    SequenceEndEvent,
    SequenceStartEvent,
)

from dagtasks.errors import Loc

if TYPE_CHECKING:

    class EventParser:
        """The part of PyYAML's parsers that is used here; their stubs are untyped."""

        def __init__(self, stream: bytes) -> None: ...

        def get_event(self) -> Any:
            """The next event; None at the end."""

        def get_token(self) -> Any:
            """The next token; None at the end."""

elif yaml.__with_libyaml__:
    from yaml.cyaml import CParser as EventParser
else:
    EventParser = yaml.SafeLoader

_ESCAPE = re.compile(r"\\(?:x..|u.{4}|U.{8}|.)|.", re.DOTALL)


@dataclass(slots=True)
class Node:
    """A scalar, list or map of the document: its text is `[start, end)`.

    `style` is "" (plain), ' or " (quoted), | or > (block text), "[" or "{" (flow), "-" or ":" (block collection).
    The `end` of a block collection is where its last value ends, without the comments that follow.
    """

    style: str
    start: int
    end: int
    line: int
    column: int
    value: str = ""
    entries: list[Entry] = field(default_factory=list)
    _by_name: dict[str, Entry] | None = field(default=None, init=False, repr=False, compare=False)

    @property
    def is_map(self) -> bool:
        """Whether the node is a map, block or flow."""
        return self.style in ("{", ":")

    @property
    def is_list(self) -> bool:
        """Whether the node is a list, block or flow."""
        return self.style in ("[", "-")

    @property
    def is_block(self) -> bool:
        """Whether the node is a list or map written over indented lines."""
        return self.style in ("-", ":")

    def find(self, step: str | int) -> Entry | None:
        """The entry of that key or list position, or None."""
        if isinstance(step, int):
            return self.entries[step] if self.is_list and 0 <= step < len(self.entries) else None
        if not self.is_map:
            return None
        if self._by_name is None:
            # Where thousands of places are asked for in one map, a search for each would take minutes.
            self._by_name = {str(entry.name): entry for entry in self.entries}
        return self._by_name.get(step)


class Entry(NamedTuple):
    """A key of a map with its value, or an item of a list (which has no key)."""

    key: Node | None
    value: Node

    @property
    def name(self) -> str | None:
        """The key as text; None for an item of a list."""
        return self.key.value if self.key else None

    @property
    def start(self) -> int:
        """Where the entry begins: at its key, or at the item itself (not at its dash)."""
        return self.key.start if self.key else self.value.start


class Place(NamedTuple):
    """What a location leads to: the entry there (None: the top), and whether all of the way was found."""

    entry: Entry | None
    value: Node
    is_exact: bool


def compose(text: str) -> Node:
    """The top node of a document that the loader has accepted."""
    return _Composer(text).compose()


def locate(root: Node, loc: Loc) -> Place:
    """What is at `loc`, or at the longest part of it that exists."""
    place = Place(None, root, is_exact=True)
    for step in loc:
        entry = place.value.find(step)
        if entry is None:
            return place._replace(is_exact=False)
        place = Place(entry, entry.value, is_exact=True)
    return place


def scalars(node: Node) -> Iterator[Node]:
    """Every scalar below the node, keys too, as written."""
    if not node.is_map and not node.is_list:
        yield node
    for entry in node.entries:
        if entry.key:
            yield entry.key
        yield from scalars(entry.value)


def place_in_scalar(text: str, node: Node, offset: int) -> tuple[int, int]:
    """The line and column (from 0) of a character of a scalar's value.

    Exact for one-line scalars and `|` text; in folded text, where lines were joined, the scalar's own place.
    """
    if node.style == "|":
        return _place_in_literal(text, node, offset)
    source = text[node.start : node.end]
    if node.style == ">" or "\n" in source:
        return node.line, node.column
    return node.line, node.column + _width_before(source, node.style, offset)


def _width_before(source: str, style: str, offset: int) -> int:
    if style == "'":
        return 1 + len(source[1:-1].replace("''", "\0")[:offset].replace("\0", "''"))
    if style == '"':
        return 1 + sum(len(piece) for piece in _ESCAPE.findall(source[1:-1])[:offset])
    return offset


def _place_in_literal(text: str, node: Node, offset: int) -> tuple[int, int]:
    before = node.value[:offset]
    line = before.count("\n")
    source = text[node.start : node.end].split("\n")[line + 1 : line + 2]
    written = node.value.split("\n")[line]
    indent = len(source[0].rstrip("\r")) - len(written) if source else 0
    return node.line + 1 + line, max(indent, 0) + len(before) - (before.rfind("\n") + 1)


class _Composer:
    """Turns the events of one document into nodes."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._next = EventParser(text.encode()).get_event

    def compose(self) -> Node:
        self._next()
        self._next()
        return self._node(self._next())

    def _node(self, event: Any) -> Node:
        if isinstance(event, ScalarEvent):
            return self._scalar(event)
        if isinstance(event, SequenceStartEvent):
            node = _node_at(event, "[" if event.flow_style else "-")
            self._fill(node, SequenceEndEvent)
        else:
            node = _node_at(event, "{" if event.flow_style else ":")
            self._fill(node, MappingEndEvent)
        return node

    def _scalar(self, event: Any) -> Node:
        node = _node_at(event, event.style or "")
        node.value = event.value
        if node.style in ("|", ">"):
            node.end = _end_of_block_text(self._text, node)
        return node

    def _fill(self, node: Node, end: type) -> None:
        event = self._next()
        while not isinstance(event, end):
            first = self._node(event)
            node.entries.append(Entry(first, self._node(self._next())) if node.is_map else Entry(None, first))
            event = self._next()
        last: Any = event
        node.end = node.entries[-1].value.end if node.is_block else last.end_mark.index


def _end_of_block_text(text: str, node: Node) -> int:
    """Where the last line ends; the empty lines after it belong to the text only when it says so (`|+`)."""
    source = text[node.start : node.end]
    if "+" in source.partition("\n")[0].partition("#")[0]:
        return node.start + len(source.removesuffix("\n").removesuffix("\r"))
    return node.start + len(source.rstrip("\r\n"))


def _node_at(event: Any, style: str) -> Node:
    start = event.start_mark
    return Node(style, start.index, event.end_mark.index, start.line, start.column)
