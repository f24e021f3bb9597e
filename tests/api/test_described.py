"""The description of the API: every operation says what it takes and answers, and answers so.

That answers are as they are declared is looked at whenever a test of this folder asks for one (`contract`).
"""

from __future__ import annotations

import re
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from dagtasks.model.names import KEY_PATTERN
from tests.api import contract
from tests.api.conftest import Api, MakeApi

HOOK = {"name": "chat", "url": "http://127.0.0.1:9/", "secret": "whsec_" + "A" * 32}
NEW = {"name": "Later", "key": "later"}
WALK: list[tuple[str, str, Any, int]] = [
    ("GET", "/projects", None, 200),
    ("POST", "/projects", {"name": "Lab", "key": "lab"}, 201),
    ("GET", "/projects/lab", None, 200),
    ("PATCH", "/projects/lab", {"name": "Labs"}, 200),
    ("PUT", "/projects/lab", {"name": "Lab"}, 200),
    ("DELETE", "/projects/lab", None, 200),
    ("POST", "/projects/web/phases", NEW, 201),
    ("GET", "/projects/web/phases", None, 200),
    ("GET", "/projects/web/phases/later", None, 200),
    ("PATCH", "/projects/web/phases/later", {"order": 7}, 200),
    ("PUT", "/projects/web/phases/later", {"name": "Later"}, 200),
    ("DELETE", "/projects/web/phases/later", None, 200),
    ("POST", "/tasks", {"project": "web", "name": "New", "due": "2026-12-31", "metadata": {"a": [1]}}, 201),
    ("GET", "/tasks", None, 200),
    ("PATCH", "/tasks/web-000003", {"priority": "high"}, 200),
    ("PUT", "/tasks/web-000003", {"name": "Three"}, 200),
    ("POST", "/tasks/web-000001/comments", {"text": "Well"}, 201),
    ("GET", "/tasks/web-000001?dependents=true&history=true", None, 200),
    ("GET", "/tasks/web-000002", None, 200),
    ("DELETE", "/tasks/web-000003", None, 200),
    ("GET", "/tasks/web-000002/workflows", None, 200),
    ("GET", "/tasks/web-000002/workflows/check", None, 200),
    (
        "POST",
        "/tasks/web-000002/workflows",
        {"name": "go", "template": "basic_task", "parameters": {"task_name": "x", "task_command": "y"}},
        201,
    ),
    ("PATCH", "/tasks/web-000002/workflows/go", {"parameters": {"task_name": "z"}}, 200),
    (
        "PUT",
        "/tasks/web-000002/workflows/go",
        {"template": "basic_task", "parameters": {"task_name": "x", "task_command": "y"}},
        200,
    ),
    ("DELETE", "/tasks/web-000002/workflows/go", None, 200),
    ("GET", "/templates", None, 200),
    ("POST", "/templates", {"name": "mine"}, 201),
    ("GET", "/templates/mine", None, 200),
    ("GET", "/templates/mine/text", None, 200),
    (
        "PUT",
        "/templates/mine/text",
        {"text": "metadata: {name: mine}\nsteps: [{name: a, script: {source: 'true'}}]\n"},
        200,
    ),
    ("DELETE", "/templates/mine", None, 200),
    ("POST", "/tasks/web-000001/workflows/check/runs", None, 202),
    ("GET", "/queue", None, 200),
    ("GET", "/runs", None, 200),
    ("GET", "/events", None, 200),
    ("GET", "/validate", None, 200),
    ("GET", "/diff?revisions=HEAD~3..HEAD", None, 200),
    ("POST", "/webhooks", HOOK, 201),
    ("GET", "/webhooks", None, 200),
    ("GET", "/webhooks/chat", None, 200),
    ("PATCH", "/webhooks/chat", {"events": ["task.*"]}, 200),
    ("POST", "/webhooks/chat/secrets", None, 201),
    ("DELETE", "/webhooks/chat/secrets", None, 200),
    ("POST", "/webhooks/chat/test", None, 200),
    ("POST", "/webhooks/chat/replay", None, 200),
    ("GET", "/deliveries", None, 200),
    ("DELETE", "/webhooks/chat", None, 200),
]
ELSEWHERE = {"retry_run", "cancel_run", "approve_run", "show_run", "show_logs"}
"""Operations of a run, which `test_running` asks for."""
CHECK = "workflows:\n  check:\n    template: basic_task\n    parameters: {task_name: one, task_command: echo}\n"


@pytest.mark.slow
def test_every_operation_succeeds_as_it_is_declared(make_api: MakeApi) -> None:
    api = make_api({"tasks/web/web-000001.yaml": f"name: One\n\n{CHECK}"})
    done = {walk(api, *step) for step in WALK}
    known = {way["operationId"] for ways in contract.description()["paths"].values() for way in ways.values()}
    assert known - done == ELSEWHERE


def walk(api: Api, method: str, path: str, body: Any, status: int) -> str:
    more: dict[str, Any] = {} if body is None else {"json": body}
    answer = api.ask(method, path, headers={"If-Match": "*"}, **more)
    assert answer.status_code == status, (method, path, answer.text)
    return contract.check(method, f"/api/v1{path.partition('?')[0]}", answer)


def operations() -> list[tuple[str, str, dict[str, Any]]]:
    found = contract.description()["paths"].items()
    return [(method, path, way) for path, ways in found for method, way in ways.items()]


def test_everything_is_named_and_described() -> None:
    document = contract.description()
    names = [way["operationId"] for _, _, way in operations()]
    assert len(set(names)) == len(names) >= 48
    assert all(re.fullmatch(r"[a-z]+(_[a-z]+)*", name) for name in names)
    assert {tag for _, _, way in operations() for tag in way["tags"]} == {tag["name"] for tag in document["tags"]}
    for _, _, way in operations():
        assert way["summary"]
        assert way["description"]
        assert all(parameter.get("description") for parameter in way["parameters"]), way["operationId"]
    for schema in document["components"]["schemas"].values():
        Draft202012Validator.check_schema(schema)
    assert (
        {"bearer", "key"}
        == set(document["components"]["securitySchemes"])
        == {*document["security"][0], *document["security"][1]}
    )


def test_headers_are_declared() -> None:
    for method, path, way in operations():
        headers = {one["name"]: one["required"] for one in way["parameters"] if one["in"] == "header"}
        assert ("Idempotency-Key" in headers) == (method == "post")
        assert ("412" in way["responses"]) == ("If-Match" in headers)
        if method in ("put", "patch"):
            assert headers["If-Match"] is True, path
        if "If-None-Match" in headers:
            assert "content" not in way["responses"]["304"]
            assert way["responses"]["200"]["headers"]["ETag"]["required"]


def test_names_in_addresses_have_a_form(api: Api) -> None:
    forms = {
        one["name"]: one["schema"] for _, path, way in operations() if "/phases" in path for one in way["parameters"]
    }
    assert forms["phase"]["pattern"] == f"^{KEY_PATTERN}$"
    for path in ("/tasks/WEB_1", "/projects/Web", "/projects/web/phases/B", "/runs/x.y", "/webhooks/Chat"):
        answer = api.get(path)
        assert (answer.status_code, answer.json()["title"]) == (404, "Not Found"), path


def test_what_is_said_of_a_task_has_no_etag(api: Api) -> None:
    """It would be that of the comment, and the address is that of the task."""
    answer = api.ask("POST", "/tasks/web-000001/comments", json={"text": "Well"})
    assert answer.headers["location"] == "/api/v1/tasks/web-000001"
    assert "etag" not in answer.headers
