"""What a template may say about a parameter."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from dagtasks.model.fields import findings_of
from dagtasks.model.parameter import ParameterSpec
from dagtasks.model.values import Ambiguous

GOOD = [
    {"type": "string"},
    {"type": "string", "required": True, "description": "d", "sensitive": True, "deprecated": True},
    {"type": "string", "default": "x", "enum": ["x", "y"], "pattern": "x|y", "min_length": 1, "max_length": 1},
    {"type": "string", "default": None},
    {"type": "integer", "default": "${n}", "minimum": 1, "maximum": 1},
    {"type": "integer", "default": 3, "enum": [1, 2, 3]},
    {"type": "number", "default": 3, "minimum": -0.5},
    {"type": "boolean", "default": False, "enum": [False]},
    {"type": "array", "default": [], "items": {"type": "array", "items": {"type": "integer"}}, "max_length": 0},
    {"type": "object", "default": {"k": "${x}"}, "properties": {"k": {"type": "string", "required": True}}},
]

BAD = [
    ({}, (), "`type` is required"),
    ({"type": "str"}, ("type",), "'str' is not a type; allowed: string, integer"),
    ({"type": "string", "defualt": "x"}, ("defualt",), "unknown key"),
    ({"type": "string", "default": 3}, (), "`default` is not of type string"),
    ({"type": "integer", "default": True}, (), "`default` is not of type integer"),
    ({"type": "integer", "default": 3.0}, (), "`default` is not of type integer"),
    ({"type": "array", "default": "a"}, (), "`default` is not of type array"),
    ({"type": "string", "default": Ambiguous("no")}, ("default",), "text"),
    ({"type": "string", "enum": ["a", 3]}, (), "an item of `enum` is not of type string"),
    ({"type": "string", "enum": []}, ("enum",), "has 0 items, and needs 1"),
    ({"type": "array", "enum": [[1]]}, (), "`enum` is only for"),
    ({"type": "string", "pattern": "("}, ("pattern",), "not a regular expression"),
    ({"type": "string", "pattern": "(?=x)"}, ("pattern",), "not a regular expression"),
    ({"type": "string", "pattern": "x" * 201}, ("pattern",), "200"),
    ({"type": "integer", "pattern": "x"}, (), "`pattern` is only for string, not for integer"),
    ({"type": "string", "minimum": 1}, (), "`minimum` is only for integer, number"),
    ({"type": "integer", "minimum": "1"}, ("minimum",), "must be a number"),
    ({"type": "integer", "minimum": 2, "maximum": 1}, (), "greater than its maximum"),
    ({"type": "string", "min_length": 2, "max_length": 1}, (), "greater than its maximum"),
    ({"type": "string", "min_length": -1}, ("min_length",), "must be at least 0"),
    ({"type": "integer", "max_length": 1}, (), "`max_length` is only for"),
    ({"type": "string", "items": {"type": "string"}}, (), "`items` is only for array"),
    ({"type": "array", "properties": {}}, (), "`properties` is only for object"),
    ({"type": "array", "items": {"type": "x"}}, ("items", "type"), "is not a type"),
    ({"type": "object", "properties": {"k": {"type": "integer", "pattern": "x"}}}, ("properties", "k"), "only for"),
    ({"type": "string", "required": "yes"}, ("required",), "true or false"),
]


@pytest.mark.parametrize("data", GOOD)
def test_good(data):
    spec = ParameterSpec.model_validate(data)
    assert spec.default == data.get("default")


@pytest.mark.parametrize(("data", "loc", "message"), BAD)
def test_bad(data, loc, message):
    with pytest.raises(ValidationError) as caught:
        ParameterSpec.model_validate(data)
    [finding] = findings_of(caught.value)
    assert finding.loc == loc
    assert message in finding.message


def test_a_bad_pattern_writes_nothing_to_the_terminal(capfd):
    with pytest.raises(ValidationError):
        ParameterSpec.model_validate({"type": "string", "pattern": "("})
    assert capfd.readouterr() == ("", "")
