"""A file of the dialect as blocks of lines: a key or an item with everything that belongs to it, comments too.

Nothing is interpreted that need not be: blocks can be moved, compared and kept byte for byte. Standard library only,
because the merge driver starts once for each file. What is written in an unusual way raises `Unclear`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

Lines = tuple[str, ...]
"""Lines without their line ends."""

MAX_DEPTH = 32
"""Levels that the dialect allows."""

# Each part ends at a character that it cannot hold itself, so that no line costs more than its length.
_KEY = re.compile(
    r"""([ ]*)("(?:[^"\\]|\\.)*"[ ]*|'(?:[^']|'')*'[ ]* # in quotes
    |(?:[\w./$]|[-?](?=\S))(?:[^:\#]|:(?=\S)|(?<=\S)\#)*):(?=[ \t]|$)""",
    re.VERBOSE,
)
_ITEM = re.compile(r"( *)-(?=[ \t]|$)")
_QUOTED = re.compile(r""""(?:[^"\\]|\\.)*"|'(?:[^']|'')*'""", re.DOTALL)
_AFTER_QUOTES = re.compile(r"\s*(?:#.*|:(?:\s.*)?)?\Z", re.DOTALL)
_COMMENT = re.compile(r"(?:^|[ \t])#")
_FLOW_PART = re.compile(
    r""""(?:[^"\\]|\\.)*"|'(?:[^']|'')*'|\#[^\n]*|[\[\]{},]|[^\s"'\[\]{},\#][^\s\[\]{},]*|\s+|["']""", re.DOTALL
)
_TEXT = re.compile(r"[ ]([|>][-+1-9]{0,2})[ ]*(?:#.*)?\Z")
_START = re.compile(r"---[ ]*(?:#.*)?\Z")
_BEFORE_KEY = re.compile(r" *(?:- +)*")
_WORDS_OF_YAML = frozenset(("y", "n", "yes", "no", "on", "off", "true", "false", "null"))
_SURELY_TEXT = re.compile(r"[A-Za-z][\w./@+-]*")


class Unclear(Exception):
    """The lines are written in a way that cannot be taken apart safely; the message says what is in the way."""


class Block(NamedTuple):
    """A key or an item: the empty lines and comments above it, and its own lines."""

    name: str
    lead: Lines
    lines: Lines


class Blocks(NamedTuple):
    """What a map or a list consists of, and the comments and empty lines below the last of them."""

    blocks: tuple[Block, ...]
    tail: Lines = ()

    @property
    def names(self) -> list[str]:
        """The names in their order."""
        return [block.name for block in self.blocks]

    @property
    def by_name(self) -> dict[str, Block]:
        """The blocks by their names."""
        return {block.name: block for block in self.blocks}


class Scalar(NamedTuple):
    """A line in its parts: `key:` (or nothing), blanks, the value as written, the comment with the blanks before it."""

    head: str
    gap: str = ""
    value: str = ""
    comment: str = ""

    @property
    def line(self) -> str:
        """The parts put together."""
        return self.head + self.gap + self.value + self.comment


class Items(NamedTuple):
    """A list: its first line without the items, where its dashes stand (None: in brackets or empty), its items."""

    head: str
    column: int | None
    items: Blocks

    def at_column(self, column: int) -> Blocks:
        """The items one a line, with the dash at that column."""
        cut = self.column
        blocks = (
            block._replace(lines=(" " * column + (f"- {block.lines[0]}" if cut is None else block.lines[0][cut:]),))
            for block in self.items.blocks
        )
        return Blocks(tuple(blocks), self.items.tail)


def split_start(lines: Lines) -> tuple[Lines, Lines]:
    """The line that begins the document (`---`), if there is one, and the others."""
    end = 1 if lines and _START.match(lines[0]) else 0
    return lines[:end], lines[end:]


def split_map(lines: Sequence[str], column: int) -> Blocks:
    """The entries of a map whose keys stand at `column`. Raises `Unclear`."""
    collected = _Collector()
    for line in lines:
        if _is_remark(line, column if collected.is_open else -1) or line == "...":
            collected.remark(line)
        elif _indentation(line) > column or (collected.is_open and _goes_on(line, column)):
            collected.belong(line)
        else:
            collected.begin(_key_of(line, column), line)
    return collected.finish(_check_entry)


def split_list(lines: Sequence[str], column: int) -> Blocks:
    """The items of a list whose dashes stand at `column`, each named by what it says. Raises `Unclear`."""
    collected = _Collector()
    for line in lines:
        # An item of one line has nothing below it, so a comment there is one, however deep it stands.
        if _is_remark(line, -1):
            collected.remark(line)
        elif _is_item(line, column):
            collected.begin(meaning(line[column + 1 :]), line)
        elif _indentation(line) > column:
            collected.belong(line)
        else:
            raise Unclear("a line among the items is none")
    return collected.finish(_check_item)


def read_items(lines: Lines) -> Items:
    """The list of one-line items under (or beside) a key; no lines: an empty one.

    Raises `Unclear` when it is something else, or is written in an unusual way.
    """
    if not lines:
        return Items("", None, Blocks(()))
    head, below = split_scalar(lines[0]), lines[1:]
    first = head.head + head.comment
    if head.value:
        if below:
            raise Unclear("a value over several lines")
        return Items(first, None, Blocks(tuple(Block(meaning(item), (), (item,)) for item in split_flow(head.value))))
    column = first_column(below)
    if column is None:
        return Items(first, None, Blocks((), below))
    if not is_list(below):
        raise Unclear("it is no list")
    return Items(first, column, split_list(below, column))


def split_flow(value: str) -> list[str]:
    """The items of a list in brackets that holds nothing but scalars. Raises `Unclear`."""
    if not (value.startswith("[") and value.endswith("]")):
        raise Unclear("it is no list in brackets")
    parts = _FLOW_PART.findall(value[1:-1])
    if any(part in tuple("[]{}\"'") or part[0] == "#" for part in parts):
        raise Unclear("the list in brackets holds more than words")
    items = [item.strip() for item in _between_commas(parts)]
    if items and not items[-1]:
        items.pop()
    if not all(items) or any(item[0] in "|>&*!?%@`-" or ": " in item or item[-1] == ":" for item in items):
        raise Unclear("the list in brackets holds more than words")
    if len(set(map(meaning, items))) < len(items):
        raise Unclear("an item is written twice")
    return items


def _between_commas(parts: Iterable[str]) -> list[str]:
    items = [""]
    for part in parts:
        if part == ",":
            items.append("")
        else:
            items[-1] += part
    return items


def text_at_the_end(lines: Sequence[str]) -> str:
    """What began the block text that the lines end with, as `|-`; "" if they end with none. Of `|+` gaps are a part."""
    text = _BlockText()
    for line in lines:
        text.follow(line)
    return text.header


def first_column(lines: Sequence[str]) -> int | None:
    """The column of the first line that says something; None if none does."""
    return next((_indentation(line) for line in lines if not _is_remark(line, -1)), None)


def is_list(lines: Sequence[str]) -> bool:
    """Whether the first line that says something begins an item."""
    return next((_ITEM.match(line) is not None for line in lines if not _is_remark(line, -1)), False)


def split_scalar(line: str) -> Scalar:
    """The parts of a line `key: value  # comment`, or of a value alone."""
    match = _KEY.match(line)
    head = match[0] if match else ""
    rest = line[len(head) :]
    gap = rest[: len(rest) - len(rest.lstrip(" \t"))]
    value = split_value(rest)
    if not value:
        return Scalar(head, comment=rest.rstrip())
    return Scalar(head, gap, value, rest[len(gap) + len(value) :].rstrip())


def meaning(written: str) -> str:
    """What a scalar says, for comparing: `ui` and `"ui"` are the same, `1` and `"1"` are not."""
    value = split_value(written)
    if value[:1] in ("'", '"') and value[-1:] == value[:1]:
        inside = value[1:-1]
        is_word = _SURELY_TEXT.fullmatch(inside) and inside.lower() not in _WORDS_OF_YAML
        return inside if is_word else value
    return value


def split_value(written: str) -> str:
    """The value alone, without the blanks and the comment beside it. A `key:` in it is part of the value."""
    stripped = written.strip(" \t")
    quoted = _QUOTED.match(stripped)
    if quoted:
        return quoted[0]
    comment = _COMMENT.search(stripped)
    return (stripped[: comment.start()] if comment else stripped).strip(" \t")


def _check_entry(block: Block) -> None:
    """Refuse an entry whose value may go on in what was taken for the next one."""
    head = split_scalar(block.lines[0]).head
    text = "\n".join([block.lines[0][len(head) :], *block.lines[1:]]).strip()
    if text[:1] in ("'", '"'):
        quoted = _QUOTED.match(text)
        if not quoted or not _AFTER_QUOTES.match(text, quoted.end()):
            raise Unclear(f"the quotes of {block.name} are not closed")
    elif text[:1] in ("[", "{") and not _is_balanced(text):
        raise Unclear(f"the brackets of {block.name} are not closed")
    elif text[:1] in tuple("&*!%@`"):
        raise Unclear(f"{block.name} holds what the dialect refuses")


def _is_balanced(text: str) -> bool:
    depth = 0
    for part in _FLOW_PART.findall(text):
        if part in ("'", '"'):
            return False
        depth += (part in ("[", "{")) - (part in ("]", "}"))
        if part[0] == "#" and depth == 0:
            break
    return depth == 0


def _check_item(block: Block) -> None:
    text = block.lines[0].lstrip(" ")[1:].strip()
    is_quoted = text[:1] in ("'", '"')
    if len(block.lines) > 1 or not block.name or text[:1] in tuple("|>[{&*!?%@`") or _ITEM.match(text):
        raise Unclear("an item is more than a word")
    if _KEY.match(text) or (is_quoted and not _QUOTED.match(text)):
        raise Unclear("an item is more than a word")


def _indentation(line: str) -> int:
    return len(line) - len(line.lstrip(" "))


def _is_item(line: str, column: int) -> bool:
    return _indentation(line) == column and _ITEM.match(line) is not None


def _goes_on(line: str, column: int) -> bool:
    """Whether a line at the column of the keys belongs to the key above: an item, or the end of what is in brackets."""
    return _is_item(line, column) or line[column : column + 1] in ("]", "}")


def _is_remark(line: str, column: int) -> bool:
    """Whether it is an empty line, or a comment that does not stand below (deeper than) `column`; -1: anywhere."""
    text = line.strip(" ")
    return not text or (text[0] == "#" and (column < 0 or _indentation(line) <= column))


def _key_of(line: str, column: int) -> str:
    match = _KEY.match(line)
    if not match or len(match[1]) != column:
        raise Unclear(f"{line.strip()[:40]!r} is no key at its place")
    return meaning(match[2])


class _BlockText:
    """Follows lines, and knows what began the block text that the last of them stands in: `|+`; "": it is in none."""

    def __init__(self) -> None:
        self.header = ""
        self._column = 0

    def follow(self, line: str) -> None:
        if not line.strip(" ") or (self.header and _indentation(line) > self._column):
            return
        found = None if line.lstrip(" ").startswith("#") else _TEXT.search(line)
        self.header = found[1] if found else ""
        # Text stands deeper than its key, which may stand beside dashes, or than the last dash itself.
        start = _BEFORE_KEY.match(line)
        end = start.end() if start else 0
        self._column = end if line[end : end + 1] not in ("|", ">") else line.rfind("-", 0, end)


class _Collector:
    """Gathers lines to blocks. Remarks wait until it is known whether they stand inside a block or above the next."""

    def __init__(self) -> None:
        self._blocks: list[tuple[str, list[str], list[str]]] = []
        self._waiting: list[str] = []
        self._text = _BlockText()
        self._is_ended = False

    @property
    def is_open(self) -> bool:
        """Whether there is a block that a line may belong to: one has begun, and the document has not ended."""
        return bool(self._blocks) and not self._is_ended

    def remark(self, line: str) -> None:
        if line.strip(" "):
            self._text = _BlockText()
        if self._text.header and (line or "+" in self._text.header):
            # Of text that says so (`|+`) empty lines are a part, of other text blanks that stand deeper than it.
            self.belong(line)
        else:
            self._waiting.append(line)
            self._is_ended |= line == "..."

    def belong(self, line: str) -> None:
        if not self.is_open:
            raise Unclear("a line belongs to nothing")
        self._text.follow(line)
        self._blocks[-1][2].extend([*self._waiting, line])
        self._waiting = []

    def begin(self, name: str, line: str) -> None:
        if self._is_ended:
            raise Unclear("a second document follows")
        self._text = _BlockText()
        self._text.follow(line)
        self._blocks.append((name, self._waiting, [line]))
        self._waiting = []

    def finish(self, check: Callable[[Block], None]) -> Blocks:
        blocks = tuple(Block(name, tuple(lead), tuple(lines)) for name, lead, lines in self._blocks)
        if len({block.name for block in blocks}) < len(blocks):
            raise Unclear("something is written twice")
        for block in blocks:
            check(block)
        return Blocks(blocks, tuple(self._waiting))
