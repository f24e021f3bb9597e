"""Field types of the files: text that YAML cannot misread, keys, dates; and pydantic's errors as findings."""

from __future__ import annotations

import re
from datetime import date
from itertools import islice
from typing import Annotated, Any

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationError,
    WithJsonSchema,
    model_validator,
)
from pydantic_core import ErrorDetails, PydanticCustomError

from dagtasks.errors import MAX_PROBLEMS, Finding, Loc, Severity
from dagtasks.model.names import KEY_PATTERN, did_you_mean
from dagtasks.model.values import NAME_LIMIT, TEXT_LIMIT, Ambiguous

CODES = {
    "DT120": "A required key is missing or empty. Add it with a value.",
    "DT121": "A value has the wrong type, for instance a list where one text is wanted. The message says what fits.",
    "DT122": "A value is not one of the allowed ones. The message lists them.",
    "DT123": "A text is too long, has a line break where one line is wanted, or does not have the form that the "
    "field needs. Shorten or rewrite it.",
    "DT124": "A value without quotes that YAML reads as a number, a boolean, a date or nothing stands where text is "
    "wanted (`no`, `012`, `1.10`, `12:30`). Put it in quotes.",
    "DT125": "A key that dagtasks does not know; it is kept and has no effect. Often a typing mistake: the message "
    "names the nearest key. Data of your own belongs under `metadata`.",
}


def refuse_misread(value: Any) -> Any:
    """The value, unless it is a plain scalar that YAML 1.1 would not read as text."""
    if isinstance(value, Ambiguous):
        raise PydanticCustomError("misread", "{value} can be read as something other than text", {"value": str(value)})
    return value


def _refuse_lines(value: str) -> str:
    if "\n" in value or "\r" in value:
        raise PydanticCustomError("one_line", "must be one line")
    return value


def _parse_date(value: Any) -> Any:
    try:
        return date.fromisoformat(value).isoformat() if len(value) == 10 else _refuse_date(value)
    except (ValueError, TypeError):
        return _refuse_date(value)


def _refuse_date(value: Any) -> Any:
    raise PydanticCustomError("due", "{value} is not a date; write it as 2026-12-31", {"value": repr(value)})


def as_schema(pattern: str, **more: int) -> WithJsonSchema:
    """What the JSON Schema says of a text of that form: pydantic leaves it out where another check comes before it."""
    return WithJsonSchema({"type": "string", "pattern": f"^{pattern}$", **more})


Text = Annotated[str, BeforeValidator(refuse_misread), Field(strict=True, max_length=TEXT_LIMIT)]
"""Text of up to 64 KiB."""
Line = Annotated[Text, AfterValidator(_refuse_lines), Field(min_length=1, max_length=500)]
"""One line of up to 500 characters."""
Label = Annotated[Text, AfterValidator(_refuse_lines), Field(min_length=1, max_length=64)]
Assignee = Annotated[Text, AfterValidator(_refuse_lines), Field(min_length=1, max_length=NAME_LIMIT)]
Key = Annotated[Text, Field(pattern=rf"^{KEY_PATTERN}$"), as_schema(KEY_PATTERN)]
"""The name of a phase, workflow or template."""
TaskId = Annotated[Text, Field(max_length=64)]
Date = Annotated[str, BeforeValidator(_parse_date)]
"""A calendar date as text, `2026-12-31`."""


class FileModel(BaseModel):
    """Base of what a file says: an empty value is as if not given; unknown keys are kept."""

    model_config = ConfigDict(frozen=True, extra="allow", hide_input_in_errors=True)

    @model_validator(mode="before")
    @classmethod
    def _drop_empty(cls, data: Any) -> Any:
        if isinstance(data, dict):
            return {key: value for key, value in data.items() if value is not None}
        return data


def find_unknown_keys(model: FileModel, at: Loc = ()) -> list[Finding]:
    """A warning for each key that the model does not know (as many as are shown), with the nearest key that it does."""
    known = [field.alias or name for name, field in type(model).model_fields.items()]
    return [
        Finding(
            (*at, key),
            "DT125",
            f"unknown key {key!r}",
            did_you_mean(key, known),
            Severity.WARNING,
            on_key=True,
        )
        for key in islice(model.model_extra or {}, MAX_PROBLEMS)
    ]


def findings_of(error: ValidationError) -> list[Finding]:
    """What pydantic found, in the words of dagtasks."""
    return [_finding(details) for details in error.errors(include_url=False)]


def _finding(details: ErrorDetails) -> Finding:
    loc = tuple(part for part in details["loc"] if part != "[key]")
    name = _name(loc)
    kind, context, given = details["type"], details.get("ctx", {}), details.get("input")
    on_key = details["loc"][-1:] == ("[key]",)
    if kind == "missing":
        return Finding(loc[:-1], "DT120", f"`{name}` is required", f"add `{name}:` with a value")
    if kind == "misread" or (kind == "string_type" and isinstance(given, bool | int | float)):
        return Finding(loc, "DT124", f"`{name}` is text, and this value is not read as text everywhere", "quote it")
    if kind == "enum" or kind == "literal_error":
        return Finding(loc, "DT122", f"{given!r} is not a {name}; allowed: {_allowed(context)}", _near(given, context))
    if kind in _WRONG_TYPE:
        return Finding(loc, "DT121", f"`{name}` must be {_WRONG_TYPE[kind]}", on_key=on_key)
    message = str(details["msg"]).removeprefix("Value error, ")
    if kind == "extra_forbidden":
        return Finding(loc, "DT125", f"unknown key {name!r}", on_key=True)
    if limit := _LIMITS.get(kind):
        return Finding(loc, "DT123", f"`{name}` {limit.format(**context)}", on_key=on_key)
    if kind == "string_pattern_mismatch":
        message = f"{given!r} does not have the form {context.get('pattern', '').strip('^$')}"
    return Finding(loc, "DT123", f"`{name}`: {message}", on_key=on_key)


def _name(loc: Loc) -> str:
    if loc and isinstance(loc[-1], int):
        return f"{_name(loc[:-1])} item {loc[-1] + 1}"
    return str(loc[-1]) if loc else "the file"


_WRONG_TYPE = {
    "string_type": "text",
    "list_type": "a list",
    "tuple_type": "a list",
    "dict_type": "a map",
    "mapping_type": "a map",
    "model_type": "a map",
    "int_type": "a whole number",
    "int_parsing": "a whole number",
    "int_from_float": "a whole number",
    "float_type": "a number",
    "bool_type": "true or false",
    "bool_parsing": "true or false",
}


_LIMITS = {
    "too_long": "has {actual_length} items, and can have {max_length}",
    "too_short": "has {actual_length} items, and needs {min_length}",
    "greater_than_equal": "must be at least {ge}",
    "less_than_equal": "must be at most {le}",
    "greater_than": "must be more than {gt}",
    "less_than": "must be less than {lt}",
    "string_too_long": "has more than {max_length} characters",
    "string_too_short": "must not be empty",
}


def _allowed(context: Any) -> str:
    return re.sub(r"'| or (?=[^,]*$)", lambda m: ", " if "or" in m[0] else "", str(context.get("expected", "")))


def _near(given: Any, context: Any) -> str:
    return did_you_mean(str(given), _allowed(context).split(", "))
