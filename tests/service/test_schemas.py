"""JSON Schemas for editors."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from dagtasks.model.template import STEP_KINDS
from dagtasks.service.checks import make_schema, validate
from dagtasks.store.project import Project
from tests.conftest import write_files

TEMPLATE = make_schema("template")


def part(name: str) -> dict[str, Any]:
    found: dict[str, Any] = TEMPLATE["$defs"][name]
    return found


def find_references(schema: Any) -> list[str]:
    if isinstance(schema, list):
        return [name for item in schema for name in find_references(item)]
    if not isinstance(schema, dict):
        return []
    own = [schema["$ref"]] if isinstance(schema.get("$ref"), str) else []
    return own + [name for item in schema.values() for name in find_references(item)]


@pytest.mark.parametrize("kind", ["task", "project", "phase", "template", "settings", "webhooks"])
def test_every_reference_leads_somewhere(kind: str) -> None:
    schema = make_schema(kind)
    assert schema["$schema"] == "https://json-schema.org/draft/2020-12/schema"
    names = {name.removeprefix("#/$defs/") for name in find_references(schema)}
    assert names <= schema.get("$defs", {}).keys()


def test_unknown_keys_are_refused_everywhere() -> None:
    models = {name: schema for name, schema in TEMPLATE["$defs"].items() if "properties" in schema}
    assert [name for name, schema in models.items() if schema.get("additionalProperties") is not False] == []
    assert TEMPLATE["additionalProperties"] is False


def test_a_step_has_one_kind() -> None:
    assert part("Step")["oneOf"] == [{"required": [kind]} for kind in STEP_KINDS]
    assert [rule["required"] for rule in part("Mount")["oneOf"]] == [["repo"], ["cache"], ["artifact"], ["secret"]]


@pytest.mark.parametrize(
    ("schema", "right", "wrong"),
    [
        (part("Step")["properties"]["name"], "build-it", "build it"),
        (part("Metadata")["properties"]["name"], "build_it", "Build"),
        (part("Metadata")["properties"]["version"]["anyOf"][0], "1.2.3-rc.1", "1.2"),
        (TEMPLATE["properties"]["timeout"]["anyOf"][0], "1h30m", "30"),
        (TEMPLATE["properties"]["secrets"]["anyOf"][0]["items"], "TOKEN", "a-b"),
        (make_schema("task")["properties"]["phase"]["anyOf"][0], "build", "Build"),
    ],
)
def test_forms_are_told(schema: dict[str, Any], right: str, wrong: str) -> None:
    assert re.search(schema["pattern"], right)
    assert not re.search(schema["pattern"], wrong)


def test_names_of_the_users_own_have_a_form() -> None:
    parameters = TEMPLATE["properties"]["parameters"]["anyOf"][0]
    [(pattern, inside)] = parameters["patternProperties"].items()
    assert re.search(pattern, "task_name")
    assert not re.search(pattern, "task name")
    assert (inside, parameters["additionalProperties"]) == ({"$ref": "#/$defs/ParameterSpec"}, False)


def test_defaults_hold_what_steps_hold_and_nothing_is_required_of_either() -> None:
    properties = part("Defaults")["properties"]
    assert properties["container"]["anyOf"][0] == {"$ref": "#/$defs/Container"}
    assert not {"required", "oneOf"} & (part("Container").keys() | part("Script").keys() | part("Api").keys())


def test_every_optional_key_may_be_empty_and_keys_may_be_called_like_words_of_the_schema() -> None:
    properties = part("ParameterSpec")["properties"]["properties"]
    assert {"type": "null"} in properties["anyOf"]
    assert properties["anyOf"][0]["additionalProperties"] == {"$ref": "#/$defs/ParameterSpec"}


def test_updates_name_the_fields_that_a_run_can_set() -> None:
    update = part("Updates")["properties"]["on_success"]["anyOf"][0]
    assert update["properties"].keys() == {"status", "priority", "assignee"}
    assert [*update["patternProperties"]] == ["^metadata\\."]


def test_the_schema_of_webhooks_lists_all_that_can_be_told(tmp_path: Path) -> None:
    events = make_schema("webhooks")["$defs"]["Webhook"]["properties"]["events"]["anyOf"][0]["items"]["enum"]
    assert {"*", "task.completed", "task.*", "*.created", "run.failed"} <= {*events}
    webhook = {"url": "https://ci.example.com/x", "events": events}
    write_files(tmp_path, {"config/webhooks.yaml": yaml.safe_dump({"webhooks": {"ci": webhook}})})
    assert validate(Project(tmp_path)) == []
