"""Edits of a file in place: the smallest splice of its text, proven to change what was asked for and nothing else.

Each function takes a document and returns the changed one (or the same object when there is nothing to change). The
result has been parsed again: its values differ from the old ones exactly at the location, and all text outside the
splices is as it was. What cannot be done that way raises `Conflict`; the file is then for a person to edit.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple, NoReturn

from dagtasks.errors import Conflict, InvalidInput, InvalidProject, Loc
from dagtasks.store.documents import Document, parse_document
from dagtasks.store.emitter import (
    STEP,
    block_lines,
    entry_lines,
    flow_text,
    has_block_text,
    is_block_text,
    is_same,
    item_lines,
    on_one_line,
    scalar_text,
)
from dagtasks.store.nodes import Entry, Node, compose, locate, scalars

_ABSENT = object()
_ALONE_IN_FLOW = re.compile(r"[ ]*(,?)[ ]*(?:#.*)?\r?$", re.MULTILINE)
_COMMA = re.compile(r"[ ]*,[ ]*")
_BLOCK_HEADER = re.compile(r"[|>][-+1-9]*")


class _Splice(NamedTuple):
    start: int
    end: int
    text: str


def set_value(doc: Document, loc: Loc, value: Any, *, order: Sequence[str] = ()) -> Document:
    """Writes a value: scalar, text, list or map. None empties the key (`key:`), as do [] and {} at the top level.

    An absent key is added, at the top level where `order` says, in a sorted map at its place, else at the end; the
    maps above it are made when they are empty or absent. Comments are kept, or the edit is refused.
    """
    _require_readable(doc)
    if len(loc) == 1 and value in ([], (), {}):
        value = None
    old = _value_at(doc.data, loc)
    if is_same(old, value) or (old is _ABSENT and value is None):
        return doc
    if old is _ABSENT:
        return _add_entry(doc, loc, value, order)
    return _change_parts(doc, loc, old, value) or _Editor(doc, loc).replace(value)


def set_items(doc: Document, loc: Loc, items: Sequence[Any], *, order: Sequence[str] = ()) -> Document:
    """As `set_value`, for a list whose order says nothing: items that are there stay where they stand."""
    _require_readable(doc)
    old = _value_at(doc.data, loc)
    if isinstance(old, list) and any(is_same(item, other) for item in old for other in items):
        return _with_items(doc, loc, old, items)
    return set_value(doc, loc, list(items), order=order)


def remove_key(doc: Document, loc: Loc) -> Document:
    """Removes a key with its value and the comment beside it. Without its last key a map is empty (`key:`)."""
    _require_readable(doc)
    if _value_at(doc.data, loc) is _ABSENT:
        return doc
    return _Editor(doc, loc[:-1], loc[-1:]).remove_entry(loc[-1])


def add_item(doc: Document, loc: Loc, value: Any, *, order: Sequence[str] = ()) -> Document:
    """Adds an item to a list that does not hold it: at its sorted place when the list is sorted, else at the end.

    An empty or absent list is made.
    """
    _require_readable(doc)
    items = _value_at(doc.data, loc)
    if items is _ABSENT or items is None:
        return set_value(doc, loc, [value], order=order)
    if not isinstance(items, list):
        _refuse(doc, loc, "it is not a list")
    if any(is_same(item, value) for item in items):
        return doc
    return _Editor(doc, loc).add_item(items, value)


def remove_item(doc: Document, loc: Loc, value: Any) -> Document:
    """Removes every item of a list that equals the value. Without its last item a list is empty (`key:`)."""
    _require_readable(doc)
    items = _value_at(doc.data, loc)
    if not isinstance(items, list):
        return doc
    found = next((index for index, item in enumerate(items) if is_same(item, value)), None)
    if found is None:
        return doc
    return remove_item(_Editor(doc, loc, (found,)).remove_entry(found), loc, value)


def quote_value(doc: Document, loc: Loc) -> Document:
    """Turns a plain scalar into text by quoting it as it is written: `1.10` into `"1.10"`, `no` into `"no"`."""
    _require_readable(doc)
    place = locate(compose(doc.text), loc)
    text = place.value.value
    if not place.is_exact or place.value.style or not text:
        return doc
    splice = _Splice(place.value.start, place.value.end, scalar_text(text, style='"'))
    return _proven(doc, [splice], _with_value(doc.data, loc, text), loc)


def _require_readable(doc: Document) -> None:
    if doc.data is None:
        raise InvalidProject(f"{doc.path} cannot be edited", hint="mend the file first", problems=doc.problems)


def _refuse(doc: Document, loc: Loc, reason: str) -> NoReturn:
    name = ".".join(map(str, loc)) or "the top"
    raise Conflict(f"{doc.path}: {name} cannot be changed in place: {reason}", hint="edit the file by hand")


# --- values, before and after ------------------------------------------------------------------------------------


def _value_at(data: Any, loc: Loc) -> Any:
    for step in loc:
        if not _has(data, step):
            return _ABSENT
        data = data[step]
    return data


def _has(data: Any, step: str | int) -> bool:
    if isinstance(data, list):
        return isinstance(step, int) and 0 <= step < len(data)
    return isinstance(data, dict) and step in data


def _changed(data: Any, loc: Loc, change: Callable[[Any], Any]) -> Any:
    """A copy of the data where the value at `loc` went through `change`."""
    return _with(data, loc[0], _changed(data[loc[0]], loc[1:], change)) if loc else change(data)


def _with_value(data: Any, loc: Loc, value: Any) -> Any:
    return _changed(data, loc[:-1], lambda parent: _with(parent, loc[-1], value))


def _with(parent: Any, step: Any, value: Any) -> Any:
    copy = list(parent) if isinstance(parent, list) else dict(parent)
    copy[step] = value
    return copy


def _without(data: Any, loc: Loc, step: str | int) -> Any:
    def drop(parent: Any) -> Any:
        if isinstance(parent, list):
            rest: Any = [item for index, item in enumerate(parent) if index != step]
        else:
            rest = {name: value for name, value in parent.items() if name != step}
        return rest or None

    return _changed(data, loc, drop)


def _proven(doc: Document, splices: list[_Splice], expected: Any, loc: Loc) -> Document:
    """The document with the splices (in the order of the text), if it then holds what is expected."""
    text = doc.text
    for splice in reversed(splices):
        text = text[: splice.start] + splice.text + text[splice.end :]
    result = parse_document(text.encode(), doc.path)
    if result.problems:
        _refuse(doc, loc, result.problems[0].message)
    if not is_same(result.data, expected):
        _refuse(doc, loc, "something else in the file would change")
    return result


# --- what is made of smaller edits -------------------------------------------------------------------------------


def _add_entry(doc: Document, loc: Loc, value: Any, order: Sequence[str]) -> Document:
    parent, name = loc[:-1], loc[-1]
    inside = _value_at(doc.data, parent)
    if not isinstance(name, str):
        raise InvalidInput(f"{doc.path}: there is no item {name}", hint="add it to the list")
    if inside is _ABSENT or inside is None or (inside == {} and parent):
        return set_value(doc, parent, {name: value}, order=order)
    if not isinstance(inside, dict):
        _refuse(doc, parent, "it is not a map")
    return _Editor(doc, parent, (name,)).add_key(name, value, () if parent else order)


def _change_parts(doc: Document, loc: Loc, old: Any, value: Any) -> Document | None:
    """The list or map changed item by item, so that comments and order stay; None if that does not lead there."""
    if not old or not value:
        return None
    if isinstance(old, dict) and isinstance(value, Mapping):
        return _change_keys(doc, loc, old, value)
    if isinstance(old, list) and isinstance(value, list | tuple):
        return _change_items(doc, loc, old, value)
    return None


def _change_keys(doc: Document, loc: Loc, old: dict[str, Any], value: Mapping[str, Any]) -> Document | None:
    if not old.keys() & value.keys():
        return None
    for name in value:
        if name in old or value[name] is not None:
            doc = set_value(doc, (*loc, name), value[name])
    for name in old.keys() - value.keys():
        doc = remove_key(doc, (*loc, name))
    return doc if is_same(_value_at(doc.data, loc), value) else None


def _change_items(doc: Document, loc: Loc, old: list[Any], value: Sequence[Any]) -> Document | None:
    if not any(is_same(item, other) for item in old for other in value):
        return None
    doc = _with_items(doc, loc, old, value)
    return doc if is_same(_value_at(doc.data, loc), value) else None


def _with_items(doc: Document, loc: Loc, old: Sequence[Any], items: Sequence[Any]) -> Document:
    for item in items:
        doc = add_item(doc, loc, item)
    for item in old:
        if not any(is_same(item, other) for other in items):
            doc = remove_item(doc, loc, item)
    return doc


# --- splices -----------------------------------------------------------------------------------------------------


class _Editor:
    """Makes the splices for one change at, or directly `below`, a location that exists."""

    def __init__(self, doc: Document, loc: Loc, below: Loc = ()) -> None:
        self._doc = doc
        self._loc = loc
        self._target = loc + below
        self._text = doc.text
        self._newline = "\r\n" if "\r\n" in self._text else "\n"
        path = [compose(self._text)]
        for step in loc:
            self._entry = _found(path[-1], step)
            path.append(self._entry.value)
        self._node = path[-1]
        self._parent = path[-2] if loc else path[0]
        self._in_flow = any(node.style in ("[", "{") for node in path[:-1])

    # replace

    def replace(self, value: Any) -> Document:
        expected = _with_value(self._doc.data, self._loc, value)
        if self._in_flow or self._is_below_a_comment():
            return self._prove([self._replacement_at_its_place(value)], expected)
        return _in_block_text_or_quotes(value, lambda text: self._prove(self._block_replacement(text), expected))

    def _is_below_a_comment(self) -> bool:
        """Whether it is a scalar on a line of its own, with a comment between it and its key."""
        is_written = self._node.style in ("", "'", '"') and self._node.end > self._node.start
        return is_written and "#" in self._text[self._head() : self._node.start]

    def _replacement_at_its_place(self, value: Any) -> _Splice:
        node = self._node
        self._keep_comments(node.start, node.end)
        text = flow_text(value, style=node.style if node.style in ("'", '"') else "", in_flow=self._in_flow)
        if node.end > node.start:
            return _Splice(node.start, node.end, text)
        return self._filling(text)

    def _filling(self, text: str) -> _Splice:
        """The text behind a key in braces, which may lack its colon while it has no value: `{a, b: 1}`."""
        after_key = self._entry.key.end if self._entry.key else self._node.start
        if self._text[after_key:].lstrip().startswith(":"):
            return _Splice(self._head(), self._head(), " " + text)
        return _Splice(after_key, after_key, ": " + text)

    def _block_replacement(self, value: Any) -> list[_Splice]:
        node, head = self._node, self._head()
        suffix, lines = self._rendered(value)
        head_end, body_start = node.end, self._line_end(node.end)
        if node.style in ("|", ">"):
            head_end = node.start + len(_BLOCK_HEADER.match(self._text, node.start)[0])  # type: ignore[index]
            body_start = self._line_end(node.start)
        elif node.is_block and "\n" in self._text[head : node.start]:
            head_end, body_start = head, self._line_end(head)
        self._keep_comments(head, head_end)
        body_end = max(body_start, len(self._text[: node.end].rstrip("\r\n")))
        self._keep_comments(body_start, body_end)
        beside = self._text[head_end:body_start], self._text[body_end : self._line_end(body_end)]
        if body_end > body_start and all("#" in rest for rest in beside):
            _refuse(self._doc, self._target, "two comments would stand beside it")
        body = _Splice(body_start, body_end, self._below(lines))
        if body.end == len(self._text) and lines and _ends_line(value):
            body = body._replace(text=body.text + self._newline)
        return [self._head_splice(head, head_end, suffix), body]

    def _head_splice(self, head: int, head_end: int, suffix: str) -> _Splice:
        gap = self._text[head : self._node.start]
        if suffix and gap and not gap.strip(" ") and head_end > head:
            return _Splice(self._node.start, head_end, suffix[1:])
        return _Splice(head, head_end, suffix)

    def _rendered(self, value: Any) -> tuple[str, list[str]]:
        node = self._node
        column = self._parent.column
        if value is None and self._entry.key is None:
            return " null", []
        if node.style in ("[", "{") and isinstance(value, Mapping | list | tuple):
            return " " + flow_text(value), []
        return block_lines(value, column, self._body_column(value), style=node.style)

    def _body_column(self, value: Any) -> int:
        """The column of the lines below: where they are now, if the new value may stand there."""
        node, column = self._node, self._parent.column
        least = column if isinstance(value, list | tuple) and self._entry.key else column + 1
        now = -1
        if node.is_block:
            now = node.column
        elif node.style == "|" and isinstance(value, str):
            now = self._indentation_below(node)
        return now if least <= now <= column + 9 else column + STEP

    def _indentation_below(self, node: Node) -> int:
        lines = self._text[node.start : node.end].split("\n")[1:]
        written = next((line for line in lines if line.strip()), "")
        return len(written) - len(written.lstrip(" "))

    # add

    def add_key(self, name: str, value: Any, order: Sequence[str]) -> Document:
        names = [entry.name or "" for entry in self._node.entries]
        index = _index_for(name, names, order)
        expected = _with_value(self._doc.data, (*self._loc, name), value)
        if self._node.style == "{":
            text = f"{scalar_text(name, in_flow=True)}: {flow_text(value, in_flow=True)}"
            return self._prove([self._flow_addition(index, text)], expected)
        column = self._node.column
        return self._add_block(index, value, expected, lambda value: entry_lines(name, value, column))

    def add_item(self, items: list[Any], value: Any) -> Document:
        index = _sorted_index(value, items)
        changed = [*items[:index], value, *items[index:]]
        expected = _changed(self._doc.data, self._loc, lambda _: changed)
        if self._node.style == "[":
            return self._prove([self._flow_addition(index, flow_text(value, in_flow=True))], expected)
        return self._add_block(index, value, expected, lambda value: item_lines(value, self._node.column))

    def _add_block(self, index: int, value: Any, expected: Any, make: Callable[[Any], list[str]]) -> Document:
        def add(value: Any) -> Document:
            return self._prove([self._block_addition(index, make(value), value)], expected)

        return _in_block_text_or_quotes(value, add)

    def _flow_addition(self, index: int, text: str) -> _Splice:
        entries = self._node.entries
        if not entries:
            return _Splice(self._node.start + 1, self._node.start + 1, text)
        if index == 0:
            return _Splice(entries[0].start, entries[0].start, text + ", ")
        after = entries[index - 1].value.end
        return _Splice(after, after, ", " + text)

    def _block_addition(self, index: int, lines: list[str], value: Any) -> _Splice:
        blank = "" if self._loc else self._newline
        if index == 0:
            return self._addition_on_top(lines, blank)
        after = self._end_of_entry(self._node.entries[index - 1])
        above = self._text_at_the_end(self._node.entries[index - 1].value)
        if above and after == len(self._text):
            _refuse(self._doc, self._target, "the text above it ends the file without a line end")
        # Another empty line would become part of text that is kept with those below it (`|+`).
        gap = "" if "+" in above else blank
        text = gap + self._below(lines)
        if after == len(self._text):
            return _Splice(after, after, text + (self._newline if _ends_line(value) else ""))
        return _Splice(after, after, text + (blank if not self._is_blank_after(after) else ""))

    def _addition_on_top(self, lines: list[str], blank: str) -> _Splice:
        start = self._start_of_entry(0)
        if not self._owns_line(start):
            text = self._newline.join(lines).lstrip(" ") + self._newline + " " * self._node.column
            return _Splice(start, start, text)
        line = self._above_comments(self._line_start(start))
        return _Splice(line, line, self._newline.join(lines) + self._newline + blank)

    # remove

    def remove_entry(self, step: str | int) -> Document:
        entries = self._node.entries
        index = entries.index(_found(self._node, step))
        expected = _without(self._doc.data, self._loc, step)
        if len(entries) == 1 and not self._leaves_header(index):
            if not self._loc:
                _refuse(self._doc, self._target, "the file would be empty")
            return self.replace(None)
        splice = self._block_removal(index) if self._node.is_block else self._flow_removal(index)
        return self._prove([splice], expected)

    def _leaves_header(self, index: int) -> bool:
        """Whether the lines of the only entry can go and `key:` stays on its own line."""
        return bool(self._loc) and self._node.is_block and self._owns_line(self._start_of_entry(index))

    def _flow_removal(self, index: int) -> _Splice:
        entries = self._node.entries
        start, end = entries[index].start, entries[index].value.end
        lines = _ALONE_IN_FLOW.match(self._text, end)
        if self._owns_line(start) and lines and (lines[1] or index == len(entries) - 1):
            return _Splice(self._line_start(start), self._next_line(end), "")
        comma = _COMMA.match(self._text, end)
        if index and "#" not in self._text[(before := entries[index - 1].value.end) : start]:
            return _Splice(before, end, "")
        if comma or index == len(entries) - 1:
            return _Splice(start, comma.end() if comma else end, "")
        self._keep_comments(end, entries[index + 1].start)
        return _Splice(start, entries[index + 1].start, "")

    def _block_removal(self, index: int) -> _Splice:
        start, entries = self._start_of_entry(index), self._node.entries
        if not self._owns_line(start):
            end = self._start_of_entry(index + 1)
            self._keep_comments(entries[index].value.end, end)
            return _Splice(start, end, "")
        start, end = self._line_start(start), self._next_line(self._end_of_entry(entries[index]))
        above = self._text_at_the_end(entries[index - 1].value) if index else ""
        if "+" in above:
            end = self._behind_blank_lines(end)
        elif not self._loc:
            start, end = self._with_blank_line(start, end)
        if end == len(self._text) and not self._text.endswith("\n") and not above:
            start = self._line_end(self._line_start(start - 1))
        return _Splice(start, end, "")

    def _behind_blank_lines(self, line: int) -> int:
        while line < len(self._text) and not self._text[line : self._line_end(line)].strip():
            line = self._next_line(line)
        return line

    def _with_blank_line(self, start: int, end: int) -> tuple[int, int]:
        """The lines with one of the two blank lines around them, if there are two (or the file begins or ends)."""
        before = self._line_start(start - 1) if start else 0
        is_blank_before = start == 0 or not self._text[before:start].strip()
        if is_blank_before and end < len(self._text) and not self._text[end : self._line_end(end)].strip():
            return start, self._next_line(end)
        return (before, end) if is_blank_before and end == len(self._text) else (start, end)

    # places in the text

    def _text_at_the_end(self, node: Node) -> str:
        """What stands behind the key of the block text that the node ends with, `|+` for example; "" if it is none."""
        while node.is_block and node.entries:
            node = node.entries[-1].value
        return _BLOCK_HEADER.match(self._text, node.start)[0] if node.style in ("|", ">") else ""  # type: ignore[index]

    def _head(self) -> int:
        """The offset behind the `:` or the dash of the entry."""
        if self._entry.key is None:
            return self._dash_of(self._parent, self._parent.entries.index(self._entry)) + 1
        colon = self._text.find(":", self._entry.key.end)
        if colon < 0 or self._text[self._entry.key.end : colon].strip():
            _refuse(self._doc, self._target, "its `:` was not found")
        return colon + 1

    def _dash_of(self, node: Node, index: int) -> int:
        if index == 0:
            return node.start
        line = self._line_start(node.entries[index].value.start)
        while not (self._text.startswith("-", line + node.column) and self._owns_line(line + node.column)):
            line = self._line_start(line - 1)
        return line + node.column

    def _start_of_entry(self, index: int) -> int:
        entry = self._node.entries[index]
        return entry.key.start if entry.key else self._dash_of(self._node, index)

    def _end_of_entry(self, entry: Entry) -> int:
        """The end of its last line, with the comments below that are indented deeper than the entry."""
        end = line_end = self._line_end(entry.value.end)
        while (line := self._next_line(line_end)) > line_end:
            line_end = self._line_end(line)
            written = self._text[line:line_end].strip(" ")
            indentation = self._text.find(written, line) - line
            if written and not (written.startswith("#") and indentation > self._node.column):
                break
            end = line_end if written else end
        return end

    def _line_start(self, offset: int) -> int:
        return self._text.rfind("\n", 0, offset) + 1

    def _line_end(self, offset: int) -> int:
        end = self._text.find("\n", offset)
        if end < 0:
            return len(self._text)
        return end - 1 if self._text.startswith("\r\n", end - 1) and end > offset else end

    def _next_line(self, offset: int) -> int:
        return self._text.find("\n", offset) + 1 or len(self._text)

    def _owns_line(self, offset: int) -> bool:
        return not self._text[self._line_start(offset) : offset].strip()

    def _is_blank_after(self, line_end: int) -> bool:
        line = self._next_line(line_end)
        return not self._text[line : self._line_end(line)].strip()

    def _above_comments(self, line: int) -> int:
        """The first of the comment lines right above; the line itself when those are the head of the file."""
        first = line
        while first and self._text[(above := self._line_start(first - 1)) : first].lstrip(" ").startswith("#"):
            first = above
        return first or line

    def _below(self, lines: list[str]) -> str:
        return "".join(self._newline + line for line in lines)

    def _keep_comments(self, start: int, end: int) -> None:
        """Refuses an edit that would delete a comment between these offsets."""
        inside = [node for node in scalars(self._node) if node.start < end and node.end > start]
        for node in sorted(inside, key=lambda node: node.start):
            self._refuse_comment(start, node.start)
            if node.style in ("|", ">") and node.start >= start:
                self._refuse_comment(node.start, min(self._line_end(node.start), end))
            start = max(start, node.end)
        self._refuse_comment(start, end)

    def _refuse_comment(self, start: int, end: int) -> None:
        if "#" in self._text[start:end]:
            _refuse(self._doc, self._target, "a comment would be lost")

    def _prove(self, splices: list[_Splice], expected: Any) -> Document:
        return _proven(self._doc, splices, expected, self._target)


def _in_block_text_or_quotes(value: Any, edit: Callable[[Any], Document]) -> Document:
    """Block text would swallow what stands deeper below it, comments for example; there it is written in quotes."""
    try:
        return edit(value)
    except Conflict:
        if not has_block_text(value):
            raise
    return edit(on_one_line(value))


def _found(node: Node, step: str | int) -> Entry:
    entry = node.find(step)
    if entry is None:
        raise LookupError(f"there is no {step!r} here")
    return entry


def _index_for(name: str, names: list[str], order: Sequence[str]) -> int:
    if name in order:
        before = set(order[: order.index(name)])
        return max((index + 1 for index, other in enumerate(names) if other in before), default=0)
    return len(names) if order else _sorted_index(name, names)


def _sorted_index(value: Any, items: Sequence[Any]) -> int:
    texts = [item for item in items if isinstance(item, str)]
    if isinstance(value, str) and len(texts) == len(items) and texts == sorted(texts):
        return bisect_right(texts, value)
    return len(items)


def _ends_line(value: Any) -> bool:
    """Whether the last thing written is block text that ends with a line feed, which the file must then have."""
    if isinstance(value, Mapping):
        return bool(value) and _ends_line(list(value.values())[-1])
    if isinstance(value, list | tuple):
        return bool(value) and _ends_line(value[-1])
    return isinstance(value, str) and is_block_text(value) and value.endswith("\n")
