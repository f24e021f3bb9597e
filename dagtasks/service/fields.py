"""`field=value` as people write it on the command line: what it changes, checked against the fields there are."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Literal, NamedTuple

from dagtasks.errors import InvalidInput, Loc
from dagtasks.model.names import choose_from
from dagtasks.model.values import Priority, Status

FieldKind = Literal["text", "status", "priority", "integer", "flag", "list", "map"]
Fields = Mapping[str, FieldKind]

TASK_FIELDS: Fields = {
    "name": "text",
    "status": "status",
    "priority": "priority",
    "assignee": "text",
    "phase": "text",
    "due": "text",
    "labels": "list",
    "depends_on": "list",
    "description": "text",
    "metadata": "map",
}
PHASE_FIELDS: Fields = {"name": "text", "description": "text", "order": "integer"}
PROJECT_FIELDS: Fields = {"name": "text", "description": "text", "metadata": "map"}

_CHANGE = re.compile(r"(?P<field>[^=+-]+(?:-[^=+-]+)*)(?P<op>\+=|-=|=)(?P<value>.*)", re.DOTALL)


class Edit(NamedTuple):
    """One change of a document: set the value at a place (None empties it), add or remove an item, drop a key."""

    op: Literal["set", "add", "remove", "drop"]
    loc: Loc
    value: Any


def parse_edits(texts: Iterable[str], known: Fields) -> list[Edit]:
    """The edits that `field=value`, `list+=item`, `list-=item`, `metadata.key=value` and `field=` say.

    Raises `InvalidInput` naming all allowed fields or values.
    """
    return [edit for text in texts for edit in _parse_edit(text, known)]


class Replacement(NamedTuple):
    """All fields of a thing, by name: those that are not there become empty."""

    fields: Mapping[str, Any]


Changes = Sequence[str] | Mapping[str, Any] | Replacement
"""What is to change: `field=value` as people type it, the fields of a merge patch (RFC 7396), or everything."""


def read_changes(changes: Changes, known: Fields, before: Mapping[str, Any]) -> list[Edit]:
    """The edits that the changes say; `before` are the maps that the document has now, for patches of them.

    Raises `InvalidInput` naming all allowed fields or values.
    """
    if isinstance(changes, Replacement):
        return [_set(field, changes.fields.get(field), known) for field in known]
    if not isinstance(changes, Mapping):
        return parse_edits(changes, known)
    return [edit for field, value in changes.items() for edit in _patch(field, value, known, before)]


def _patch(field: str, value: Any, known: Fields, before: Mapping[str, Any]) -> list[Edit]:
    whole = _set(field, value, known)
    if known[field] == "map" and value is not None:
        return [*_patch_map(field, value, before.get(field) or {})]
    return [whole]


def _set(field: str, value: Any, known: Fields) -> Edit:
    if field not in known:
        raise InvalidInput(f"there is no field {field!r}", hint=choose_from(field, known))
    kind = known[field]
    if value is None or value in ("", [], (), {}):
        return Edit("set", (field,), None)
    if not _holds(kind, value):
        what = f"{_KINDS[kind][1]}, and not {json.dumps(value, ensure_ascii=False)[:60]}"
        raise InvalidInput(f"{field} is {what}", field=field)
    if kind == "list":
        return Edit("set", (field,), sorted(set(value)))
    return Edit("set", (field,), check_word(kind, value) if isinstance(value, str) else value)


_KINDS: Mapping[FieldKind, tuple[type, str]] = {
    "text": (str, "text"),
    "status": (str, "text"),
    "priority": (str, "text"),
    "integer": (int, "a whole number"),
    "flag": (bool, "true or false"),
    "list": (list, "a list of texts"),
    "map": (dict, "a map"),
}


def _holds(kind: FieldKind, value: Any) -> bool:
    if kind == "list":
        return isinstance(value, list | tuple) and all(isinstance(item, str) for item in value)
    return isinstance(value, _KINDS[kind][0]) and isinstance(value, bool) is (kind == "flag")


def _patch_map(field: str, patch: Mapping[str, Any], before: Mapping[str, Any]) -> Iterator[Edit]:
    for key, value in patch.items():
        if value is not None:
            yield Edit("set", (field, key), merge_patch(before.get(key), value))
        elif key in before:
            yield Edit("drop", (field, key), None)


def merge_patch(target: Any, patch: Any) -> Any:
    """What the target becomes by the patch, as RFC 7396 says: null takes a key out, and lists are replaced whole."""
    if not isinstance(patch, Mapping):
        return patch
    kept = {**target} if isinstance(target, Mapping) else {}
    merged = {key: merge_patch(kept.get(key), value) for key, value in patch.items() if value is not None}
    return {key: value for key, value in {**kept, **merged}.items() if patch.get(key, "") is not None}


def describe(edits: Iterable[Edit]) -> str:
    """The edits in one line, as it stands in messages and commits."""
    return ", ".join(_describe(edit) for edit in edits)


def _describe(edit: Edit) -> str:
    name = ".".join(map(str, edit.loc))
    if edit.op in ("add", "remove"):
        return f"{name} {'+' if edit.op == 'add' else '-'}= {edit.value}"
    if edit.value is None:
        return f"{name} {'removed' if edit.op == 'drop' else 'emptied'}"
    text = str(edit.value)
    return f"{name} = {text}" if len(text) <= 60 and "\n" not in text else f"{name} changed"


def _parse_edit(text: str, known: Fields) -> list[Edit]:
    match = _CHANGE.fullmatch(text)
    if not match:
        raise InvalidInput(f"{text!r} is not field=value", hint=f"fields: {', '.join(known)}")
    field, _, rest = match["field"].partition(".")
    if field not in known:
        raise InvalidInput(f"there is no field {field!r}", hint=choose_from(field, known))
    kind = known[field]
    if rest and kind != "map":
        raise InvalidInput(f"{field} is no map, so it has no {rest!r}")
    loc: Loc = (field, *rest.split(".")) if rest else (field,)
    if match["op"] != "=":
        return _parse_items(match["op"], loc, kind, match["value"])
    if rest and not match["value"]:
        return [Edit("drop", loc, None)]
    return [Edit("set", loc, _parse_field(field, kind, match["value"], has_key=bool(rest)))]


def _parse_items(op: str, loc: Loc, kind: FieldKind, text: str) -> list[Edit]:
    if kind not in ("list", "map") or (kind == "map" and len(loc) == 1):
        raise InvalidInput(f"{'.'.join(map(str, loc))} is no list, so {op} does not fit it", hint="use =")
    items = split_items(text)
    if not items:
        raise InvalidInput(f"{'.'.join(map(str, loc))}{op} needs an item")
    return [Edit("add" if op == "+=" else "remove", loc, item) for item in items]


def _parse_field(field: str, kind: FieldKind, text: str, *, has_key: bool) -> Any:
    if not text:
        return None
    if kind == "map":
        value = parse_value(text)
        if not has_key and not isinstance(value, dict):
            raise InvalidInput(f"{field} is a map", hint=f"set one key ({field}.KEY=VALUE) or give a JSON map")
        return value
    if kind == "list":
        return sorted(set(split_items(text))) or None
    if kind == "integer":
        return parse_integer(field, text)
    if kind == "flag":
        return _parse_flag(field, text)
    return check_word(kind, text)


def _parse_flag(field: str, text: str) -> bool:
    if text not in ("true", "false"):
        raise InvalidInput(f"{field} is true or false, not {text!r}", field=field)
    return text == "true"


def check_word(kind: str, text: str) -> str:
    """The text, if it is a word that a field of this kind can have. Raises `InvalidInput` listing the words."""
    words: Mapping[str, Sequence[str]] = {"status": list(Status), "priority": list(Priority)}
    if kind in words and text not in words[kind]:
        raise InvalidInput(f"there is no {kind} {text!r}", hint=f"there is: {', '.join(words[kind])}", field=kind)
    return text


def parse_integer(field: str, text: str) -> int:
    """The whole number. Raises `InvalidInput`."""
    if not re.fullmatch(r"-?\d{1,9}", text):
        raise InvalidInput(f"{field} is a whole number, not {text!r}")
    return int(text)


def split_items(text: str) -> list[str]:
    """The items between commas, without blanks round them and without empty ones."""
    return [item.strip() for item in text.split(",") if item.strip()]


def parse_value(text: str) -> Any:
    """true, false, whole numbers and JSON lists and maps as what they are; everything else is text."""
    if text in ("true", "false") or re.fullmatch(r"-?(0|[1-9]\d{0,17})", text) or text[:1] in ("[", "{"):
        try:
            return json.loads(text)
        except ValueError:
            return text
    return text


def parse_pairs(pairs: Iterable[str]) -> dict[str, Any]:
    """`KEY=VALUE` pairs as a map of typed values (see `parse_value`). Raises `InvalidInput`."""
    parsed: dict[str, Any] = {}
    for pair in pairs:
        key, equals, value = pair.partition("=")
        if not equals or not key:
            raise InvalidInput(f"{pair!r} is not KEY=VALUE")
        parsed[key] = parse_value(value)
    return parsed
