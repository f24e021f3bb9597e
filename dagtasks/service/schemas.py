"""JSON Schemas of the files, made from the models."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, get_args

from pydantic import BaseModel

from dagtasks.model.project import Phase, Project
from dagtasks.model.task import Task
from dagtasks.model.template import Template
from dagtasks.model.webhook import Webhooks
from dagtasks.settings import SETTINGS, SecretKind

DIALECT = "https://json-schema.org/draft/2020-12/schema"
_TYPES = {
    "string": "string",
    "url": "string",
    "integer": "integer",
    "boolean": "boolean",
    "duration": "string",
    "list": "array",
}


def _of_model(model: type[BaseModel]) -> dict[str, Any]:
    schema = model.model_json_schema(by_alias=True)
    return {"$schema": DIALECT, **_with_empty(schema), "title": f"dagtasks {model.__name__.lower()}"}


_MAPS = ("properties", "patternProperties", "$defs")
"""Words below which stand schemas by names of our own, which may be words of JSON Schema."""


def _with_empty(schema: Any) -> Any:
    """Let every property be empty, too: an empty value is as if the key were not there."""
    if isinstance(schema, list):
        return [_with_empty(item) for item in schema]
    if not isinstance(schema, dict):
        return schema
    changed = {key: _with_empty(value) for key, value in schema.items() if key not in _MAPS}
    for word in _MAPS:
        if word in schema:
            changed[word] = {name: _with_empty(inside) for name, inside in schema[word].items()}
    if "patternProperties" in changed:
        changed.setdefault("additionalProperties", False)
    optional = changed.get("properties", {}).keys() - set(changed.get("required", ()))
    for name in optional:
        changed["properties"][name] = _or_nothing(changed["properties"][name])
    return changed


def _or_nothing(schema: dict[str, Any]) -> dict[str, Any]:
    if not schema or {"type": "null"} in schema.get("anyOf", ()) or "null" in schema.get("type", ()):
        return schema
    return {"anyOf": [schema, {"type": "null"}]}


def _template() -> dict[str, Any]:
    """The schema of templates. What a step must have may come from `defaults`, so no editor asks for it."""
    schema = _of_model(Template)
    parts = schema["$defs"]
    for name in ("Container", "Script", "Api"):
        parts[name] = {key: value for key, value in parts[name].items() if key not in ("required", "oneOf")}
        parts["Defaults"]["properties"][name.lower()] = _or_nothing({"$ref": f"#/$defs/{name}"})
    return schema


def _settings() -> dict[str, Any]:
    root: dict[str, Any] = {"$schema": DIALECT, "title": "dagtasks settings", "type": "object", "properties": {}}
    for setting in SETTINGS:
        *groups, name = setting.name.split(".")
        inside = root
        for group in groups:
            inside = inside["properties"].setdefault(group, {"type": "object", "properties": {}})
        inside["properties"][name] = {"type": [_TYPES[setting.kind], "null"], "description": setting.meaning}
        if setting.choices and setting.kind == "list":
            inside["properties"][name]["items"] = {"enum": [*setting.choices]}
        elif setting.choices:
            inside["properties"][name]["enum"] = [*setting.choices, None]
    root["properties"]["secrets"] = {
        "type": ["object", "null"],
        "description": "Where secrets come from, by name. For the operator of a machine only.",
        "additionalProperties": {"anyOf": [_source_of_secret(kind) for kind in get_args(SecretKind)]},
    }
    return root


def _source_of_secret(kind: SecretKind) -> dict[str, Any]:
    place = {"type": "array", "items": {"type": "string"}, "minItems": 1} if kind == "command" else {"type": "string"}
    return {"type": "object", "properties": {kind: place}, "required": [kind], "additionalProperties": False}


SCHEMAS: Mapping[str, Callable[[], dict[str, Any]]] = {
    "task": lambda: _of_model(Task),
    "project": lambda: _of_model(Project),
    "phase": lambda: _of_model(Phase),
    "template": _template,
    "settings": _settings,
    "webhooks": lambda: _of_model(Webhooks),
}
