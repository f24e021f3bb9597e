"""What a template says about one parameter (03 section 2.3), and the words that no parameter may be called."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import Annotated, Any, Self

from pydantic import BaseModel, ConfigDict, Field, JsonValue, field_validator, model_validator
from pydantic_core import PydanticCustomError

from dagtasks.model.fields import Text, refuse_misread
from dagtasks.model.values import JSON, Ambiguous

PATTERN_LIMIT = 200
PARAMETER_NAME = r"[A-Za-z_][A-Za-z0-9_-]*"

ROOTS = frozenset(
    {
        "params",
        "steps",
        "task",
        "project",
        "phase",
        "run",
        "trigger",
        "item",
        "item_index",
        "matrix",
        "secrets",
        "response",
    }
)
"""The first words of a path in an expression; any other bare name is a parameter."""

KEYWORDS = frozenset({"true", "false", "null", "in"})
"""Words that the grammar of expressions keeps for itself."""


class ParameterType(StrEnum):
    """The types of a parameter, by their JSON Schema names."""

    STRING = "string"
    INTEGER = "integer"
    NUMBER = "number"
    BOOLEAN = "boolean"
    ARRAY = "array"
    OBJECT = "object"

    def holds(self, value: JSON) -> bool:
        """Whether the value is of this type. `true` is no integer, `3.0` is none either; every integer is a number."""
        if self is ParameterType.INTEGER or self is ParameterType.NUMBER:
            return not isinstance(value, bool) and isinstance(value, _NUMERIC[self])
        return isinstance(value, _PYTHON[self]) and not isinstance(value, Ambiguous)


_NUMERIC: Mapping[ParameterType, tuple[type, ...]] = {
    ParameterType.INTEGER: (int,),
    ParameterType.NUMBER: (int, float),
}
_PYTHON: Mapping[ParameterType, tuple[type, ...]] = {
    ParameterType.STRING: (str,),
    ParameterType.BOOLEAN: (bool,),
    ParameterType.ARRAY: (list, tuple),
    ParameterType.OBJECT: (Mapping,),
}
_SCALAR = frozenset(
    {ParameterType.STRING, ParameterType.INTEGER, ParameterType.NUMBER, ParameterType.BOOLEAN},
)
_NUMBERS = frozenset(_NUMERIC)
_SIZED = frozenset({ParameterType.STRING, ParameterType.ARRAY})
_RULES: tuple[tuple[str, frozenset[ParameterType]], ...] = (
    ("enum", _SCALAR),
    ("pattern", frozenset({ParameterType.STRING})),
    ("minimum", _NUMBERS),
    ("maximum", _NUMBERS),
    ("min_length", _SIZED),
    ("max_length", _SIZED),
    ("items", frozenset({ParameterType.ARRAY})),
    ("properties", frozenset({ParameterType.OBJECT})),
)

Bound = Annotated[float, Field(strict=True, allow_inf_nan=False)]
Length = Annotated[int, Field(strict=True, ge=0)]


class ParameterSpec(BaseModel):
    """One parameter. Lengths count characters or items; `items` and `properties` say what a list or map holds."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    type: ParameterType = Field(description="string, integer, number, boolean, array or object.")
    description: Text = Field(default="", description="What it is for.")
    required: bool = Field(default=False, strict=True, description="Whether a value must be given.")
    default: JsonValue = Field(default=None, description="The value when none is given; may hold `${...}`.")
    enum: list[JsonValue] | None = Field(default=None, min_length=1, description="The only values allowed.")
    pattern: Annotated[Text, Field(max_length=PATTERN_LIMIT)] | None = Field(
        default=None, description="A regular expression (RE2) that the whole text must match."
    )
    minimum: Bound | None = Field(default=None, description="The least number allowed.")
    maximum: Bound | None = Field(default=None, description="The greatest number allowed.")
    min_length: Length | None = Field(default=None, description="The least number of characters or items.")
    max_length: Length | None = Field(default=None, description="The greatest number of characters or items.")
    items: ParameterSpec | None = Field(default=None, description="What each item of a list must be.")
    properties: dict[Text, ParameterSpec] | None = Field(
        default=None, description="The keys that a map may have, and what each must be."
    )
    sensitive: bool = Field(default=False, strict=True, description="Whether the value is kept out of records.")
    deprecated: bool = Field(default=False, strict=True, description="Whether its use gives a warning.")

    @property
    def is_optional(self) -> bool:
        """Whether it may be left out and is `null` then."""
        return not self.required and self.default is None

    @model_validator(mode="before")
    @classmethod
    def _drop_empty(cls, data: Any) -> Any:
        if isinstance(data, dict):
            return {key: value for key, value in data.items() if value is not None}
        return data

    @field_validator("default", "enum", mode="before")
    @classmethod
    def _refuse_misread(cls, value: Any) -> Any:
        for item in value if isinstance(value, list) else [value]:
            refuse_misread(item)
        return value

    @field_validator("pattern")
    @classmethod
    def _compile(cls, pattern: str | None) -> str | None:
        if pattern is not None and (fault := find_pattern_fault(pattern)):
            raise PydanticCustomError("pattern", "is not a regular expression: {fault}", {"fault": fault})
        return pattern

    @model_validator(mode="after")
    def _check_rules(self) -> Self:
        for rule, types in _RULES:
            if getattr(self, rule) is not None and self.type not in types:
                context = {"rule": rule, "types": ", ".join(sorted(types)), "type": str(self.type)}
                raise PydanticCustomError("rule", "`{rule}` is only for {types}, not for {type}", context)
        _check_order("minimum", self.minimum, self.maximum)
        _check_order("min_length", self.min_length, self.max_length)
        return self

    @model_validator(mode="after")
    def _check_values(self) -> Self:
        for value in self.enum or ():
            if not self.type.holds(value):
                raise _wrong_type("an item of `enum`", self.type)
        if self.default is not None and not has_expression(self.default) and not self.type.holds(self.default):
            raise _wrong_type("`default`", self.type)
        return self


def has_expression(value: JSON) -> bool:
    """Whether some text in the value holds `${`, so that its type is known only after it was rendered."""
    if isinstance(value, str):
        return "${" in value
    if isinstance(value, Mapping):
        return any(has_expression(item) for item in value.values())
    return isinstance(value, list) and any(has_expression(item) for item in value)


def find_pattern_fault(pattern: str) -> str:
    """Why RE2 cannot use the regular expression; empty when it can."""
    import re2  # costs 15 ms, and only templates with a pattern need it

    options = re2.Options()
    options.log_errors = False
    try:
        re2.compile(pattern, options)
    except re2.error as error:
        reason = error.args[0]
        return reason.decode(errors="replace") if isinstance(reason, bytes) else str(reason)
    return ""


def _check_order(name: str, least: float | None, greatest: float | None) -> None:
    if least is not None and greatest is not None and least > greatest:
        raise PydanticCustomError("order", "`{name}` is greater than its maximum", {"name": name})


def _wrong_type(what: str, wanted: ParameterType) -> PydanticCustomError:
    return PydanticCustomError("type_of", "{what} is not of type {type}", {"what": what, "type": str(wanted)})
