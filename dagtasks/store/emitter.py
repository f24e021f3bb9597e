"""How values are written: the form of new files, and the pieces that edits put into existing ones.

What YAML 1.1 or 1.2 could misread is quoted, text of several lines is written as `|`, nothing is ever wrapped.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from typing import Any

from dagtasks.errors import InvalidInput
from dagtasks.store.dialect import FORBIDDEN_IN_VALUES, name_of
from dagtasks.store.documents import parse_document
from dagtasks.store.scalars import fits_64_bits, is_text_everywhere, shorten

STEP = 2
"""Columns that a level is indented by."""

SORTED_LISTS = frozenset({"labels", "depends_on"})
SORTED_MAPS = frozenset({"metadata"})
"""The top-level keys whose items (whose keys) new files hold in sorted order: additions then merge clean."""

_INDICATORS = frozenset("-?:,[]{}#&*!|>'\"%@`")


def make_document(data: Mapping[str, Any], order: Sequence[str]) -> bytes:
    """A new file: every key of `order` in that order (an absent one empty), then the others, a blank line between.

    Empty lists and maps at the top are written as nothing. Raises `InvalidInput` for values that no file may hold.
    """
    names = [*order, *(name for name in data if name not in order)]
    values = {name: _in_order(name, data.get(name)) for name in names}
    entries = ["\n".join(entry_lines(name, value, 0)) for name, value in values.items()]
    content = ("\n\n".join(entries) + "\n").encode()
    read = parse_document(content, "new file")
    if read.problems:
        raise InvalidInput(f"this cannot be kept in a file: {read.problems[0].message}", hint=read.problems[0].hint)
    if not is_same(read.data, values):
        raise InvalidInput("this cannot be kept in a file: it would be read differently", hint="simplify the values")
    return content


def entry_lines(name: str, value: Any, column: int) -> list[str]:
    """The lines of `name: value`, the first of them at `column`."""
    suffix, lines = block_lines(value, column, column + STEP)
    return [" " * column + scalar_text(name) + ":" + suffix, *lines]


def item_lines(value: Any, column: int) -> list[str]:
    """The lines of `- value`, with the dash at `column`."""
    if value and isinstance(value, Mapping | list | tuple):
        first, *others = _collection_lines(value, column + STEP)
        return [" " * column + "- " + first[column + STEP :], *others]
    suffix, lines = block_lines(value, column, column + STEP)
    return [" " * column + "-" + (suffix or " null"), *lines]


def block_lines(value: Any, column: int, body: int, *, style: str = "") -> tuple[str, list[str]]:
    """What follows `key:` or `-` (that stand at `column`): the rest of the line, and the lines below at column `body`.

    `style` is the quote that the value had before; it is kept where it can be.
    """
    if value is None:
        return "", []
    if value and isinstance(value, Mapping | list | tuple):
        return "", _collection_lines(value, body)
    if isinstance(value, str) and is_block_text(value):
        return _block_text(value, column, body)
    return " " + flow_text(value, style=style), []


def flow_text(value: Any, *, style: str = "", in_flow: bool = False) -> str:
    """The value on one line; `in_flow` when it stands inside brackets or braces."""
    if isinstance(value, Mapping):
        pairs = (f"{scalar_text(k, in_flow=True)}: {flow_text(v, in_flow=True)}" for k, v in value.items())
        return "{" + ", ".join(pairs) + "}"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(flow_text(item, in_flow=True) for item in value) + "]"
    return scalar_text(value, style=style, in_flow=in_flow)


def scalar_text(value: Any, *, style: str = "", in_flow: bool = False) -> str:
    """A scalar on one line, quoted where readers could disagree; `style` is the quote to prefer.

    Raises `InvalidInput` for forbidden characters, for integers over 64 bits and for numbers that are not finite.
    """
    match value:
        case None:
            return "null"
        case bool():
            return "true" if value else "false"
        case int() if fits_64_bits(value):
            return str(int(value))
        case float() if math.isfinite(value):
            return _float_text(value)
        case str():
            return _text(str(value), style, in_flow=in_flow)
    hint = "use text, a whole number of 64 bits, a finite number, true or false"
    raise InvalidInput(f"{shorten(repr(value))} cannot be written to a file", hint=hint)


class OneLine(str):
    """Text that is written on one line, in quotes, however many lines it has."""

    __slots__ = ()


def on_one_line(value: Any) -> Any:
    """The value with all its text as `OneLine`."""
    if isinstance(value, Mapping):
        return {key: on_one_line(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [on_one_line(inner) for inner in value]
    return OneLine(value) if isinstance(value, str) else value


def has_block_text(value: Any) -> bool:
    """Whether some of the value is written as `|`."""
    if isinstance(value, Mapping | list | tuple):
        return any(map(has_block_text, value.values() if isinstance(value, Mapping) else value))
    return isinstance(value, str) and is_block_text(value)


def is_block_text(text: str) -> bool:
    """Whether the text is written as `|`: several lines, and none at its end that is empty or blank.

    Those would swallow the gap, or be taken for one.
    """
    last = text.removesuffix("\n").rpartition("\n")[2]
    return "\n" in text and bool(last.strip(" \t")) and not isinstance(text, OneLine)


def is_same(one: Any, other: Any) -> bool:
    """Whether two values are equal in type too: 1, 1.0, true and "1" are four values."""
    if isinstance(one, Mapping) and isinstance(other, Mapping):
        return one.keys() == other.keys() and all(is_same(one[key], other[key]) for key in one)
    if isinstance(one, list | tuple) and isinstance(other, list | tuple):
        return len(one) == len(other) and all(map(is_same, one, other))
    return _kind(one) is _kind(other) and bool(one == other)


def _kind(value: Any) -> type:
    return str if isinstance(value, str) else type(value)


def _in_order(name: str, value: Any) -> Any:
    if value in ([], (), {}):
        return None
    if name in SORTED_LISTS and isinstance(value, list | tuple):
        return sorted(value, key=str)
    return _sorted_keys(value) if name in SORTED_MAPS else value


def _sorted_keys(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _sorted_keys(value[key]) for key in sorted(value)}
    return value


def _collection_lines(value: Mapping[str, Any] | Sequence[Any], column: int) -> list[str]:
    if isinstance(value, Mapping):
        return [line for name, inner in value.items() for line in entry_lines(name, inner, column)]
    return [line for item in value for line in item_lines(item, column)]


def _block_text(text: str, column: int, body: int) -> tuple[str, list[str]]:
    _check(text)
    lines = text.split("\n")
    chomping = "" if text.endswith("\n") else "-"
    if not chomping:
        lines.pop()
    first = next(line for line in lines if line)
    indentation = str(body - column) if first[0] in " \t" else ""
    return f" |{indentation}{chomping}", [" " * body + line if line else "" for line in lines]


def _text(text: str, style: str, *, in_flow: bool) -> str:
    _check(text)
    can_be_single = "\n" not in text and "\t" not in text
    if style == '"':
        return _double_quoted(text)
    if style == "'" and can_be_single:
        return _single_quoted(text)
    if _is_plain(text, in_flow=in_flow):
        return text
    if can_be_single and ('"' in text or "\\" in text):
        return _single_quoted(text)
    return _double_quoted(text)


def _double_quoted(text: str) -> str:
    return json.dumps(text, ensure_ascii=False)


def _single_quoted(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"


def _is_plain(text: str, *, in_flow: bool) -> bool:
    if not text or text != text.strip() or text[0] in _INDICATORS or text.endswith(":"):
        return False
    if any(part in text for part in ("\n", "\t", ": ", " #")) or text.startswith("..."):
        return False
    if in_flow and any(character in ",[]{}:" for character in text):
        return False
    return is_text_everywhere(text)


def _check(text: str) -> None:
    found = FORBIDDEN_IN_VALUES.search(text)
    if found:
        raise InvalidInput(f"the text holds {name_of(found[0])}", hint="leave the character out")


def _float_text(number: float) -> str:
    text = repr(number)
    mantissa, e, exponent = text.partition("e")
    # YAML 1.1 takes 1e+16 for text: it wants a point.
    return f"{mantissa}.0e{exponent}" if e and "." not in mantissa else text
