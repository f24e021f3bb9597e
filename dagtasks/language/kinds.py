"""What kinds of value there are, and what is known of a value before anything runs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Literal

from dagtasks.model.parameter import ParameterSpec
from dagtasks.model.values import JSON

KindName = Literal["any", "null", "boolean", "integer", "number", "string", "array", "object"]
TEXT_KINDS = frozenset({"string", "boolean", "integer", "number"})
"""The kinds that can stand inside a text."""

_ARTICLES = {"any": "any value", "null": "null", "array": "a list", "object": "a map", "integer": "an integer"}


@dataclass(frozen=True, slots=True)
class Kind:
    """What is known of a value. `fields` None: the keys of the map are not known; `nullable`: it may be null."""

    name: KindName = "any"
    nullable: bool = False
    items: Kind | None = None
    fields: Mapping[str, Kind] | None = None

    def __str__(self) -> str:
        return describe(self.name)

    def or_null(self) -> Kind:
        """The same, but it may be null."""
        return replace(self, nullable=True)


ANY = Kind()
NULL = Kind("null", nullable=True)
BOOLEAN = Kind("boolean")
INTEGER = Kind("integer")
NUMBER = Kind("number")
STRING = Kind("string")
ARRAY = Kind("array")
OBJECT = Kind("object")
STRINGS = Kind("array", items=STRING)


def describe(name: KindName) -> str:
    """The kind with its article, for messages."""
    return _ARTICLES.get(name, f"a {name}")


def kind_name(value: object) -> KindName:
    """The kind of a value; raises `TypeError` for what JSON cannot hold."""
    if value is None:
        return "null"
    for python, name in _PYTHON:
        if isinstance(value, python):
            return name
    raise TypeError(f"{type(value).__name__} is not a value of JSON")


_PYTHON: tuple[tuple[type | tuple[type, ...], KindName], ...] = (
    (str, "string"),
    (bool, "boolean"),
    (int, "integer"),
    (float, "number"),
    ((list, tuple), "array"),
    (Mapping, "object"),
)


def kind_of(value: JSON) -> Kind:
    """What is known of a value that is at hand; keys and items are left open."""
    return NULL if value is None else Kind(kind_name(value))


def object_of(fields: Mapping[str, Kind]) -> Kind:
    """A map that has just these keys."""
    return Kind("object", fields=fields)


def array_of(items: Kind) -> Kind:
    """A list of such items."""
    return Kind("array", items=items)


def parameter_kind(spec: ParameterSpec) -> Kind:
    """What is known of the value of a parameter."""
    items = replace(parameter_kind(spec.items), nullable=False) if spec.items else None
    fields = {key: _property_kind(part) for key, part in spec.properties.items()} if spec.properties else None
    return Kind(spec.type.value, spec.is_optional, items, fields)


def _property_kind(spec: ParameterSpec) -> Kind:
    return replace(parameter_kind(spec), nullable=not spec.required)


def common_kind(kinds: list[Kind]) -> Kind:
    """What is known of a value that is one of these."""
    names = {kind.name for kind in kinds} - {"null"}
    nullable = any(kind.nullable for kind in kinds)
    if len(names) == 1:
        return replace(next(kind for kind in kinds if kind.name in names), nullable=nullable)
    return Kind("number", nullable) if names == {"integer", "number"} else ANY
