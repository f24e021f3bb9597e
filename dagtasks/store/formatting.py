"""The canonical form of a file that is there: order of keys, gaps between them, sorted lists. Words stay as written.

Lines are moved with the comments that belong to them, and the result is proven to say the same; what cannot be done
that way is refused with the reason.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NoReturn, TypeVar

from dagtasks.errors import Conflict, InvalidProject
from dagtasks.store.blocks import (
    Block,
    Lines,
    Unclear,
    first_column,
    read_items,
    split_map,
    split_scalar,
    split_start,
    text_at_the_end,
)
from dagtasks.store.documents import Document, parse_document
from dagtasks.store.emitter import SORTED_LISTS, SORTED_MAPS, STEP, is_same

T = TypeVar("T")


def format_document(doc: Document, order: Sequence[str]) -> Document:
    """The document in canonical form: every key of `order` in that order (an absent one empty), then the others.

    The same object when it is canonical already. Raises `InvalidProject` when it cannot be read, and `Conflict` when
    it is written in a way that cannot be moved about.
    """
    if doc.data is None:
        raise InvalidProject(f"{doc.path} cannot be read", hint="mend the file first", problems=doc.problems)
    newline = "\r\n" if "\r\n" in doc.text else "\n"
    try:
        lines = _format(doc.text.removesuffix(newline).split(newline), doc.data, order)
    except Unclear as error:
        _refuse(doc, str(error))
    content = (newline.join(lines) + newline).encode()
    return doc if content == doc.content else _proven(doc, content, order)


def _refuse(doc: Document, reason: str) -> NoReturn:
    raise Conflict(f"{doc.path} cannot be brought into canonical form: {reason}", hint="edit the file by hand")


def _proven(doc: Document, content: bytes, order: Sequence[str]) -> Document:
    result = parse_document(content, doc.path)
    if result.problems:
        _refuse(doc, result.problems[0].message)
    data: Mapping[str, Any] = doc.data or {}
    expected = {name: _in_order(name, data.get(name)) for name in (*order, *data)}
    if not is_same(result.data, expected):
        _refuse(doc, "it would say something else then")
    return result


def _in_order(name: str, value: Any) -> Any:
    if name in SORTED_LISTS and isinstance(value, list):
        return sorted(value, key=str) or None
    return value


def _format(lines: Sequence[str], data: Mapping[str, Any], order: Sequence[str]) -> list[str]:
    start, body = split_start(tuple(lines))
    split = split_map(body, 0)
    head, blocks = _without_head(split.blocks)
    found = dict(_paired(data, blocks))
    parts = [head] if head else []
    for name in (*order, *(name for name in data if name not in order)):
        block = found.get(name) or Block(name, (), (f"{name}:",))
        parts.append([*_trimmed(block.lead), *_formatted(name, block.lines, data.get(name))])
    tail = _trimmed(split.tail)
    return [*map(str.rstrip, start), *_with_gaps([*parts, tail] if tail else parts)]


def _without_head(blocks: Sequence[Block]) -> tuple[list[str], list[Block]]:
    """The comments at the top of the file that an empty line sets apart from the first key, and the blocks."""
    first, *others = blocks
    gap = next((place for place in range(len(first.lead), 0, -1) if not first.lead[place - 1].strip()), 0)
    return _trimmed(first.lead[:gap]), [first._replace(lead=first.lead[gap:]), *others]


def _trimmed(lines: Sequence[str]) -> list[str]:
    """The lines without blanks and the empty ones at both ends, of several empty ones one."""
    kept: list[str] = []
    for line in map(str.strip, lines):
        if line or (kept and kept[-1]):
            kept.append(line)
    return kept[:-1] if kept and not kept[-1] else kept


def _with_gaps(parts: Sequence[Sequence[str]]) -> list[str]:
    lines: list[str] = []
    last: Sequence[str] = ()
    for part in parts:
        # Of text that keeps its empty lines (`|+`) another would be a part.
        if lines and lines[-1] and "+" not in text_at_the_end(last):
            lines.append("")
        lines += part
        last = part
    return lines


def _formatted(name: str, lines: Lines, value: Any) -> Sequence[str]:
    if len(lines) == 1:
        lines = (lines[0].rstrip(),)
    if name in SORTED_LISTS and isinstance(value, list):
        return _sorted_list(lines, value)
    return _sorted_map(lines, value) if name in SORTED_MAPS else lines


def _sorted_list(lines: Lines, values: Sequence[Any]) -> list[str]:
    written, below = _joined(lines)
    found = read_items(written)
    items = found.at_column(STEP)
    pairs = sorted(_paired(map(str, values), items.blocks), key=lambda pair: pair[0])
    body = [line for _, item in pairs for line in (*_comments(item.lead, STEP), *item.lines)]
    return [found.head, *body, *_comments((*items.tail, *below), STEP)]


def _joined(lines: Lines) -> tuple[Lines, Lines]:
    """A list in brackets over several lines as one line, and the comments below; other lists as they are."""
    value = split_scalar(lines[0]).value
    if value.endswith("]") and first_column(lines[1:]) is None:
        return lines[:1], lines[1:]
    if not value.startswith("[") or any("#" in line for line in lines[:-1]):
        return lines, ()
    return (" ".join([lines[0].rstrip(), *(line.strip() for line in lines[1:] if line.strip())]),), ()


def _sorted_map(lines: Lines, value: Any) -> Sequence[str]:
    """The map with its keys sorted, those of the maps in it too; in braces it stays as it is."""
    column = first_column(lines[1:])
    if not isinstance(value, dict) or column is None or split_scalar(lines[0]).value:
        return lines
    split = split_map(lines[1:], column)
    pairs = sorted(_paired(value.items(), split.blocks), key=lambda pair: pair[0][0])
    body = [
        line
        for (_, inner), block in pairs
        for line in (*_comments(block.lead, column), *_sorted_map(block.lines, inner))
    ]  # fmt: skip
    return [lines[0].rstrip(), *body, *_comments(split.tail, column)]


def _paired(values: Iterable[T], blocks: Sequence[Block]) -> list[tuple[T, Block]]:
    """Each value with the lines that say it."""
    known = list(values)
    if len(known) != len(blocks):
        raise Unclear("its lines cannot be told apart")
    return list(zip(known, blocks, strict=True))


def _comments(lines: Lines, column: int) -> list[str]:
    return [" " * column + line.strip() for line in lines if line.strip()]
