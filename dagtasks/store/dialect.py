"""What the dialect refuses besides its limits: characters, marks, tabs and `? ` keys; and syntax errors in plain words.

Everything here looks at text or tokens and yields faults; `documents` turns them into problems of a file.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator
from typing import Any, NamedTuple

import yaml
from yaml.tokens import KeyToken, ScalarToken

from dagtasks.store.nodes import EventParser
from dagtasks.store.scalars import shorten

_ORDINARY_ASCII = bytes([*b"\t\n", *range(0x20, 0x7F)])
_BIDI = "\u202a-\u202e\u2066-\u2069"
FORBIDDEN = re.compile(
    rf"\r(?!\n)|[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u2028\u2029{_BIDI}\ud800-\udfff\ufeff\ufffe\uffff]"
)
"""Characters that a file must not hold. A carriage return is let through before a line feed only."""
FORBIDDEN_IN_VALUES = re.compile(FORBIDDEN.pattern.replace(r"\r(?!\n)", r"\r"))
"""Characters that a value must not hold, also not through an escape."""
_MARKER = re.compile(r"^(<{7}|\|{7}|={7}|>{7})(?: (.*?))?\r?$", re.MULTILINE)
_DIRECTIVE = re.compile("^%", re.MULTILINE)
_MAYBE_COMPLEX_KEY = re.compile(r"(?:^|[ \-\[{,:?])\?(?:\s|$)", re.MULTILINE)


class Fault(NamedTuple):
    """Something the dialect refuses; line and column count from 1 (0: not known)."""

    line: int
    column: int
    code: str
    message: str
    hint: str


def fault_at(mark: Any, code: str, message: str, hint: str) -> Fault:
    """A fault at a mark of the parser."""
    return Fault(mark.line + 1, mark.column + 1, code, message, hint)


def character_faults(content: bytes, text: str) -> Iterator[Fault]:
    """Characters that no file may hold, tabs apart."""
    # The translation is a cheap answer for the usual file: nothing but printable ASCII and line feeds.
    if not content.translate(None, _ORDINARY_ASCII):
        return
    for match in FORBIDDEN.finditer(text):
        place = line_and_column(text, match.start())
        yield Fault(*place, "DT107", f"{name_of(match[0])} is not allowed", "delete it")


def conflict_faults(text: str) -> Iterator[Fault]:
    """The marks of an unfinished merge, each with the side that it begins or ends."""
    if not any(mark in text for mark in ("<<<<<<<", ">>>>>>>", "|||||||")):
        return  # a line of `=======` alone may be a heading
    hint = "try `dagtasks resolve`; or keep the side you want, delete the marks and `git add` the file"
    for match in _MARKER.finditer(text):
        line, _ = line_and_column(text, match.start())
        yield Fault(line, 1, "DT106", f"Git conflict mark: {_side_of(match[1], match[2] or '')}", hint)


def directive_faults(text: str) -> Iterator[Fault]:
    """Lines that begin with `%`. They are looked for first of all: the parser compares each `%TAG` with all others."""
    for match in _DIRECTIVE.finditer(text) if "%" in text else ():
        line, _ = line_and_column(text, match.start())
        yield Fault(line, 1, "DT103", "directives (`%...`) are not allowed", "delete the line, or indent it as text")


def _side_of(mark: str, label: str) -> str:
    name = f" ({shorten(label)})" if label else ""
    return {
        "<": f"the lines below are your side{name}",
        "|": f"the lines below are what both sides started from{name}",
        "=": "the lines below are the other side",
        ">": f"the other side{name} ends here",
    }[mark[0]]


def line_and_column(text: str, offset: int) -> tuple[int, int]:
    """The place of a character, both from 1."""
    return text.count("\n", 0, offset) + 1, offset - text.rfind("\n", 0, offset)


def name_of(character: str) -> str:
    """A character that cannot be shown, in words."""
    known = {"\0": "NUL", "\r": "a carriage return without a line feed", "\ufeff": "a byte order mark"}
    name = known.get(character) or unicodedata.name(character, "a control character").lower()
    return f"{name} (U+{ord(character):04X})"


def needs_tokens(text: str) -> bool:
    """Whether there may be a tab or a `? ` key, so that `token_faults` is worth its time."""
    return "\t" in text or ("?" in text and _MAYBE_COMPLEX_KEY.search(text) is not None)


def token_faults(text: str) -> Iterator[Fault]:
    """Tabs outside block text, and keys after `? `: the events do not tell them from their harmless likes."""
    tokens = EventParser(text.encode())
    after_block_text = 0
    try:
        while (token := tokens.get_token()) is not None:
            start, end = token.start_mark, token.end_mark
            if isinstance(token, KeyToken) and text[start.index : end.index] == "?":
                yield Fault(
                    start.line + 1, start.column + 1, "DT103", "`? ` keys are not allowed", "write `key: value`"
                )
            if isinstance(token, ScalarToken) and token.style in ("|", ">"):
                header_end = text.find("\n", start.index)
                yield from _tab_faults(text, after_block_text, header_end if header_end >= 0 else len(text))
                after_block_text = end.index
    except yaml.YAMLError as error:  # the builder has reported it; what follows may well be block text
        yield from _tab_faults(text, after_block_text, _end_of_sound_text(text, error))
        return
    yield from _tab_faults(text, after_block_text, len(text))


def _end_of_sound_text(text: str, error: yaml.YAMLError) -> int:
    in_block_text = "indentation space" in str(getattr(error, "problem", ""))
    mark = getattr(error, "context_mark" if in_block_text else "problem_mark", None)
    line_end = text.find("\n", mark.index) if mark else -1
    return line_end if line_end >= 0 else len(text)


def _tab_faults(text: str, start: int, end: int) -> Iterator[Fault]:
    for match in re.compile("\t+").finditer(text, start, end):
        place = line_and_column(text, match.start())
        yield Fault(*place, "DT107", "a tab is allowed in block text only", "use spaces (or \\t in double quotes)")


def without_tab_errors(faults: list[Fault]) -> list[Fault]:
    """Leaves out the syntax errors that a tab on the same line explains better."""
    lines = {fault.line for fault in faults if fault.code == "DT107"}
    return [fault for fault in faults if not (fault.code == "DT102" and fault.line in lines)]


class _Saying(NamedTuple):
    said: str
    code: str
    message: str
    hint: str


_SAYINGS = [
    _Saying("maximum nesting depth", "DT105", "the file is nested far deeper than 32 levels", "flatten it"),
    _Saying("mapping values are not allowed", "DT102", "a second `:` here", "quote a value that holds `: `, or indent"),
    _Saying("could not find expected ':'", "DT102", "this line has no `:`", "write `key: value`, or indent it as text"),
    _Saying("did not find expected key", "DT102", "a key was expected here", "check the indentation and the quotes"),
    _Saying(
        "did not find expected '-'", "DT102", "an item `- ...` was expected here", "indent it like the items above"
    ),
    _Saying("did not find expected ',' or ']'", "DT102", "a list in brackets is not closed", "add `,` or `]`"),
    _Saying("did not find expected ',' or '}'", "DT102", "a map in braces is not closed", "add `,` or `}`"),
    _Saying("found unexpected end of stream", "DT102", "a quote is not closed", "add the closing quote"),
    _Saying("found unexpected document indicator", "DT102", "a quote is not closed", "add the closing quote"),
    _Saying("found unknown escape", "DT102", "an unknown escape in double quotes", "write \\\\ for a backslash"),
    _Saying("did not find expected hexdecimal", "DT102", "an escape needs hexadecimal digits", "write it as \\u0000"),
    _Saying("invalid Unicode character", "DT107", "half of a character (lone surrogate)", "write the character itself"),
    _Saying("block sequence entries", "DT102", "a list item cannot start here", "put `- ...` on a line of its own"),
    _Saying("mapping keys are not allowed", "DT103", "`? ` keys are not allowed", "write `key: value`"),
    _Saying("comment or line break", "DT102", "text after `|` or `>`", "start the text on the next line"),
    _Saying("indentation space", "DT107", "the first line of block text starts with a tab", "start the text with `|2`"),
    _Saying("indentation indicator", "DT102", "the indentation after `|` or `>` is 1 to 9", "leave the number out"),
    _Saying("while scanning an anchor", "DT103", "anchors are not allowed", "quote the value"),
    _Saying("while scanning an alias", "DT103", "aliases are not allowed", "quote a value that starts with `*`"),
    _Saying("while scanning a tag", "DT103", "tags are not allowed", "quote a value that starts with `!`"),
    _Saying("undefined tag handle", "DT103", "tags are not allowed", "quote a value that starts with `!`"),
    _Saying("directive", "DT103", "directives (`%...`) are not allowed", "quote a value that starts with `%`"),
    _Saying("expected <document start>", "DT102", "this does not belong to the map above", "check the indentation"),
    _Saying("expected node content", "DT102", "a value was expected here", "check brackets and commas"),
    _Saying("cannot start any token", "DT102", "a value cannot start with this character", 'quote the value: "..."'),
]


_TOLD_TOO_LATE = ("end of stream", "document indicator", "expected ':'")
"""Problems that the parser notices at the end of something: where that begins says more."""


def syntax_fault(error: yaml.YAMLError) -> Fault:
    """What the parser said, in plain words where it is known, with its place."""
    mark = getattr(error, "problem_mark", None)
    problem = str(getattr(error, "problem", error))
    said = f"{getattr(error, 'context', None) or ''}: {problem}"
    if any(part in problem for part in _TOLD_TOO_LATE):
        mark = getattr(error, "context_mark", None) or mark
    line, column = (mark.line + 1, mark.column + 1) if mark else (0, 0)
    saying = next((s for s in _SAYINGS if s.said in said), None)
    if saying:
        return Fault(line, column, saying.code, saying.message, saying.hint)
    return Fault(line, column, "DT102", f"this is not YAML: {problem}", "check the line and the one above")
