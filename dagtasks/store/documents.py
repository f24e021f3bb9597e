"""Reads one YAML file of the strict dialect: values, or problems with line and column - never half of a file.

Limits hold on the stream of events, before any object is built from it (PyYAML's own composer recurses without
bound). The C parser makes this fast; without libyaml it is about ten times slower and gives the same answers.
"""

from __future__ import annotations

import errno
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from hashlib import sha256
from itertools import islice
from pathlib import Path
from typing import Any

import yaml
from yaml.events import (
    CollectionEndEvent,
    CollectionStartEvent,
    DocumentStartEvent,
    Event,
    MappingEndEvent,
    MappingStartEvent,
    ScalarEvent,
    SequenceEndEvent,
    SequenceStartEvent,
    StreamEndEvent,
)

from dagtasks.errors import MAX_PROBLEMS, Finding, Loc, Problem
from dagtasks.store.dialect import (
    FORBIDDEN_IN_VALUES,
    Fault,
    character_faults,
    conflict_faults,
    directive_faults,
    fault_at,
    line_and_column,
    name_of,
    needs_tokens,
    syntax_fault,
    token_faults,
    without_tab_errors,
)
from dagtasks.store.files import MAX_BYTES, read_file
from dagtasks.store.nodes import EventParser, Node, Place, compose, locate, place_in_scalar
from dagtasks.store.scalars import WORDS, UnfitNumber, resolve, shorten

MAX_DEPTH = 32
MAX_NODES = 20_000

CODES: dict[str, str] = {
    "DT101": "The file cannot be read as text: it is missing, unreadable, not a regular file (symbolic links are "
    "refused), starts with a byte order mark or is not UTF-8. Save it as UTF-8 without a byte order mark.",
    "DT102": "The text is not YAML. The message names the place where the reader gave up; the mistake is there or "
    "shortly before, most often a missing quote, a missing `:` or a wrong indentation.",
    "DT103": "The file uses a feature of YAML that dagtasks refuses, because readers disagree about it or because it "
    "can hide or multiply data: anchors, aliases, merge keys, tags, directives and `? ` keys. Write the value itself.",
    "DT104": "A key is written twice in one map. Readers disagree about which one counts. Keep one of them.",
    "DT105": "The file is larger than 1 MiB, nested deeper than 32 levels or holds more than 20,000 keys and values. "
    "Split it, or keep long material in a file of its own.",
    "DT106": "The file holds the marks that Git leaves when it cannot merge. `dagtasks resolve` merges field by field. "
    "Where it leaves marks, both sides changed that field: keep the side you want (or both), delete the lines that "
    "start with <<<<<<<, |||||||, ======= and >>>>>>>, then `git add` the file.",
    "DT107": "The file holds a character that cannot be seen or that changes how the rest is shown: a control "
    "character, a tab outside block text, a text direction override. Delete it; use spaces to indent.",
    "DT108": "A file holds exactly one map with one key a line. It must not be empty, be a list or a single value, be "
    "written in braces, or hold a second document after `---`.",
    "DT109": "A number is infinite, not a number, or too large to be kept exactly. Quote it if it is meant as text.",
    "DT110": "Keys are text. One that YAML reads as a number, true, false or nothing needs quotes.",
}
"""What each code of this module means and what to do about it."""

_BOM = b"\xef\xbb\xbf"
_UTF16_MARKS = (b"\xff\xfe", b"\xfe\xff")


class _Unreadable(Exception):
    """Nothing more can be read from the file; the fault says why."""

    def __init__(self, fault: Fault | None = None) -> None:
        super().__init__(fault)
        self.fault = fault


@dataclass(frozen=True, slots=True)
class Document:
    """One file as it was read: its bytes, and its values or the problems that hide them.

    `data` is None exactly when there are problems. `path` is relative to the repository, with `/`. A file that was
    refused for its size, or that could not be opened, has empty content.
    """

    path: str
    content: bytes
    data: dict[str, Any] | None
    problems: tuple[Problem, ...] = ()

    @property
    def sha256(self) -> str:
        """The digest of the bytes, in hexadecimal."""
        return sha256(self.content).hexdigest()

    @property
    def text(self) -> str:
        """The content as text, line endings kept."""
        return self.content.decode()

    @property
    def holds_nothing(self) -> bool:
        """Whether there are only comments in it, which is a problem for all but settings."""
        lines = (line.strip() for line in self.content.splitlines())
        is_empty = bool(self.problems) and self.problems[0].code == "DT108"
        return is_empty and not any(line and not line.startswith(b"#") for line in lines)

    def problem(self, finding: Finding) -> Problem:
        """The finding with the line and column of its place."""
        return self.problems_for([finding])[0]

    def problems_for(self, findings: Iterable[Finding]) -> list[Problem]:
        """The findings with line and column, in their order; the document is composed once for all of them."""
        findings = list(findings)
        if not findings:
            return []
        if self.data is None:
            return [_placed(self.path, finding, 0, 0) for finding in findings]
        text = self.text
        root = compose(text)
        return [_placed(self.path, finding, *_position(root, text, finding)) for finding in findings]

    def source_of(self, loc: Loc) -> str:
        """What is written at a location, quotes and all: `1.10` where the value is the number 1.1; "" if nothing is."""
        if self.data is None:
            return ""
        text = self.text
        place = locate(compose(text), loc)
        return text[place.value.start : place.value.end] if place.is_exact else ""


def read_document(file: Path, path: str) -> Document:
    """The document in a file. Never raises for what the file is or holds: `problems` say it.

    The last part of the path is not followed when it is a symbolic link, and at most 1 MiB is read.
    """
    try:
        return parse_document(read_file(file), path)
    except OSError as error:
        return _refused(path, "DT101", *_reason(error))


def read_plain(file: Path, path: str) -> tuple[str, list[Problem]]:
    """The text of a file that is not YAML, or "" and why it cannot be read: the same limits, the same characters."""
    try:
        content = read_file(file)
    except OSError as error:
        return "", list(_refused(path, "DT101", *_reason(error)).problems)
    if len(content) > MAX_BYTES:
        return "", list(_too_large(path).problems)
    try:
        text = content.removeprefix(_BOM).decode()
    except UnicodeDecodeError as error:
        return "", [Problem(path, *_not_utf8(content, error))]
    problems = [Problem(path, *fault) for fault in _some(character_faults(content, text))]
    return ("" if problems else text), problems


def _too_large(path: str) -> Document:
    return _refused(path, "DT105", "the file is larger than 1 MiB", "split it or move long text elsewhere")


def parse_document(content: bytes, path: str) -> Document:
    """The document in these bytes."""
    if len(content) > MAX_BYTES:
        return _too_large(path)
    data, faults = _parse(content)
    problems = tuple(Problem(path, *fault) for fault in sorted(set(faults))[:MAX_PROBLEMS])
    return Document(path, content, None if problems else data, problems)


def _refused(path: str, code: str, message: str, hint: str) -> Document:
    return Document(path, b"", None, (Problem(path, 0, 0, code, message, hint),))


def _reason(error: OSError) -> tuple[str, str]:
    if error.errno == errno.ELOOP:
        return "this is a symbolic link", "put a copy of the file in its place"
    return f"the file cannot be read: {error.strerror}", "check that it exists and that you may read it"


def _placed(path: str, finding: Finding, line: int, column: int) -> Problem:
    return Problem(path, line, column, finding.code, finding.message, finding.hint, finding.severity)


def _position(root: Node, text: str, finding: Finding) -> tuple[int, int]:
    place = locate(root, finding.loc)
    node = place.value
    if finding.offset is not None and place.is_exact and not finding.on_key:
        line, column = place_in_scalar(text, node, finding.offset)
        return line + 1, column + 1
    if _shows_at_key(place, finding) and place.entry and place.entry.key:
        node = place.entry.key
    return node.line + 1, node.column + 1


def _shows_at_key(place: Place, finding: Finding) -> bool:
    return finding.on_key or not place.is_exact or place.value.is_block


def _parse(content: bytes) -> tuple[dict[str, Any] | None, list[Fault]]:
    faults = list(_encoding_faults(content))
    try:
        text = content.removeprefix(_BOM).decode()
    except UnicodeDecodeError as error:
        return None, [*faults, _not_utf8(content, error)]
    looks = (character_faults(content, text), conflict_faults(text), directive_faults(text))
    if unfit := [fault for look in looks for fault in _some(look)]:
        return None, faults + unfit
    data = _Builder(content.removeprefix(_BOM), faults).build()
    if needs_tokens(text) and not _is_given_up(faults):
        faults = without_tab_errors([*faults, *_some(token_faults(text))])
    return data, faults


def _is_given_up(faults: list[Fault]) -> bool:
    return len(faults) >= MAX_PROBLEMS or any(fault.code == "DT105" for fault in faults)


def _some(faults: Iterator[Fault]) -> Iterator[Fault]:
    """As many as are shown: each place costs a look at the text before it."""
    return islice(faults, MAX_PROBLEMS)


def _encoding_faults(content: bytes) -> Iterator[Fault]:
    if content.startswith(_BOM):
        yield Fault(1, 1, "DT101", "the file starts with a byte order mark", "save it as UTF-8 without BOM")


def _not_utf8(content: bytes, error: UnicodeDecodeError) -> Fault:
    if content.startswith(_UTF16_MARKS):
        return Fault(1, 1, "DT101", "the file is UTF-16", "save it as UTF-8")
    before = content[: error.start].removeprefix(_BOM).decode()
    line, column = line_and_column(before, len(before))
    message = f"byte 0x{content[error.start]:02X} is not UTF-8"
    return Fault(line, column, "DT101", message, "save the file as UTF-8")


class _Builder:
    """Builds the values from the stream of events, noting faults and going on where that makes sense."""

    def __init__(self, content: bytes, faults: list[Fault]) -> None:
        self._next = EventParser(content).get_event
        self._faults = faults
        self._left = MAX_NODES
        self._depth = 0

    def build(self) -> dict[str, Any] | None:
        try:
            return self._stream()
        except _Unreadable as stop:
            if stop.fault:
                self._faults.append(stop.fault)
        except yaml.YAMLError as error:
            self._faults.append(syntax_fault(error))
        return None

    def _stream(self) -> dict[str, Any] | None:
        self._next()
        start = self._next()
        if not isinstance(start, DocumentStartEvent):
            raise _Unreadable(Fault(1, 1, "DT108", "the file is empty", "write at least `name: ...`"))
        data = self._top(self._next())
        self._next()
        end = self._next()
        if not isinstance(end, StreamEndEvent):
            hint = "keep one document in a file; delete `---` or move the rest to its own file"
            self._refuse(end, "DT108", "a second document starts here", hint)
        return data

    def _top(self, event: Any) -> dict[str, Any]:
        if isinstance(event, MappingStartEvent) and not event.flow_style:
            return self._value(event)  # type: ignore[no-any-return]
        if isinstance(event, ScalarEvent) and event.value == "" and event.style == "":
            message, hint = "the file is empty", "write at least `name: ...`"
        elif isinstance(event, MappingStartEvent):
            message, hint = "the file is written in braces", "write one `key: value` a line"
        else:
            message, hint = "the file is not a map", "write one `key: value` a line"
        raise _Unreadable(fault_at(event.start_mark, "DT108", message, hint))

    def _value(self, event: Any) -> Any:
        kind = event.__class__
        if kind is ScalarEvent:
            return self._scalar(event)
        if kind is MappingStartEvent:
            self._enter(event)
            value: Any = self._map()
        elif kind is SequenceStartEvent:
            self._enter(event)
            value = self._list()
        else:
            return self._refuse(
                event, "DT103", f"aliases (`*{shorten(event.anchor)}`) are not allowed", "write the value"
            )
        self._depth -= 1
        return value

    def _scalar(self, event: Any) -> Any:
        if event.tag is not None or event.anchor is not None:
            self._refuse_properties(event)
        text = event.value
        if not event.style:
            # The two tests of `resolve` that nearly all text ends at are repeated here: calls cost.
            if text not in WORDS and text[0] > "9":
                return text
            return self._plain(event, text)
        if event.style == '"' and FORBIDDEN_IN_VALUES.search(text):
            self._refuse_characters(event, text)
        return text

    def _plain(self, event: Any, text: str) -> Any:
        try:
            return resolve(text)
        except UnfitNumber as error:
            return self._refuse(event, "DT109", str(error), "quote it if it is meant as text")

    def _list(self) -> list[Any]:
        values: list[Any] = []
        while (event := self._next()).__class__ is not SequenceEndEvent:
            self._left -= 1
            if self._left < 0:
                raise _too_many(event)
            values.append(self._value(event))
        return values

    def _map(self) -> dict[str, Any]:
        data: dict[str, Any] = {}
        marks: dict[str, Any] = {}
        while (event := self._next()).__class__ is not MappingEndEvent:
            self._left -= 2
            if self._left < 0:
                raise _too_many(event)
            key = self._key(event)
            if key in marks:
                message = f"the key {shorten(key)!r} is already written on line {marks[key].line + 1}"
                self._refuse(event, "DT104", message, "keep one of the two")
            marks[key] = event.start_mark
            data[key] = self._value(self._next())
        return data

    def _key(self, event: Any) -> str:
        if event.__class__ is not ScalarEvent:
            return self._wrong_key(event)
        key = self._scalar(event)
        return key if key.__class__ is str else self._odd_key(event, key)

    def _odd_key(self, event: Any, key: Any) -> str:
        text: str = event.value
        if text == "<<":
            self._refuse(event, "DT103", "merge keys (`<<`) are not allowed", "write the keys out")
        elif not isinstance(key, str):
            self._refuse(event, "DT110", f"the key {shorten(text)!r} is not text", f'quote it: "{shorten(text)}"')
        return text

    def _wrong_key(self, event: Any) -> str:
        if isinstance(event, CollectionStartEvent):
            self._refuse(event, "DT103", "a list or map cannot be a key", "use text as the key")
            self._skip(event)
        else:
            self._value(event)
        return f"\0{event.start_mark.index}"  # a name that no key has: the file is refused anyway

    def _skip(self, event: Event) -> None:
        depth = 0
        while True:
            self._left -= 1
            if self._left < 0:
                raise _too_many(event)
            depth += isinstance(event, CollectionStartEvent) - isinstance(event, CollectionEndEvent)
            if depth + self._depth > MAX_DEPTH:
                raise _too_deep(event)
            if depth == 0:
                return
            event = self._next()

    def _enter(self, event: Any) -> None:
        if event.tag is not None or event.anchor is not None:
            self._refuse_properties(event)
        self._depth += 1
        if self._depth > MAX_DEPTH:
            raise _too_deep(event)

    def _refuse(self, event: Any, code: str, message: str, hint: str) -> None:
        self._faults.append(fault_at(event.start_mark, code, message, hint))
        if len(self._faults) >= MAX_PROBLEMS:
            raise _Unreadable

    def _refuse_properties(self, event: Any) -> None:
        if event.anchor is not None:
            self._refuse(event, "DT103", f"anchors (`&{shorten(event.anchor)}`) are not allowed", "delete the anchor")
        if event.tag is not None:
            self._refuse(event, "DT103", f"tags (`{_short_tag(event.tag)}`) are not allowed", "delete the tag")

    def _refuse_characters(self, event: Any, text: str) -> None:
        for character in dict.fromkeys(FORBIDDEN_IN_VALUES.findall(text)):
            self._refuse(event, "DT107", f"{name_of(character)} is not allowed, also not escaped", "delete it")


def _too_deep(event: Event) -> _Unreadable:
    message = f"the file is nested deeper than {MAX_DEPTH} levels"
    return _Unreadable(fault_at(event.start_mark, "DT105", message, "flatten it"))


def _too_many(event: Event) -> _Unreadable:
    message = f"the file holds more than {MAX_NODES} keys and values"
    return _Unreadable(fault_at(event.start_mark, "DT105", message, "split it"))


def _short_tag(tag: str) -> str:
    return shorten(tag.replace("tag:yaml.org,2002:", "!!"))
