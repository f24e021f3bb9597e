"""Holding answers against the description of the API: what comes is declared, and holds nothing that is not."""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path
from typing import Any

import httpx
from jsonschema import Draft202012Validator

from dagtasks.api.app import make_routes
from dagtasks.api.desk import Server
from dagtasks.store.project import Project


@cache
def description() -> dict[str, Any]:
    return make_routes(Server(Project(Path("/nowhere")), lambda _: None)).openapi()


def close(schema: Any) -> Any:
    """The schema, with nothing allowed that it does not name: else a field that nobody declared would pass."""
    if isinstance(schema, list):
        return [close(item) for item in schema]
    if not isinstance(schema, dict):
        return schema
    closed = {key: close(value) for key, value in schema.items()}
    if "properties" in schema and "additionalProperties" not in schema and isinstance(schema["properties"], dict):
        closed["additionalProperties"] = False
    return closed


@cache
def validator(reference: str) -> Draft202012Validator:
    return Draft202012Validator({"$ref": reference, "components": close(description()["components"])})


@cache
def patterns() -> list[tuple[re.Pattern[str], str]]:
    """The addresses of operations; one without a name comes before one with a name in its place."""
    paths = sorted(description()["paths"], key=lambda path: path.count("{"))
    return [(re.compile(re.sub(r"\\{\w+\\}", "[^/]+", re.escape(path))), path) for path in paths]


def find(method: str, path: str) -> tuple[str, dict[str, Any]] | None:
    """The operation, by its id, that the request is for."""
    for pattern, template in patterns():
        way = description()["paths"][template].get(method.lower())
        if pattern.fullmatch(path) and way:
            return way["operationId"], way
    return None


def check(method: str, path: str, answer: httpx.Response) -> str:
    """The id of the operation, when the answer is as it is declared."""
    if method == "HEAD" or not path.startswith("/api/v1/"):
        return ""
    found = find(method, path)
    if found is None:
        if answer.status_code >= 400:
            check_content(
                answer, {"application/problem+json": {"schema": {"$ref": "#/components/schemas/ProblemDetails"}}}
            )
        return ""
    name, way = found
    declared = way["responses"].get(str(answer.status_code))
    assert declared, f"{name} answered {answer.status_code}, which is not declared: {answer.text[:300]}"
    if "$ref" in declared:
        declared = description()["components"]["responses"][declared["$ref"].rpartition("/")[2]]
    for header, rule in declared.get("headers", {}).items():
        value = answer.headers.get(header)
        assert value is not None or not rule["required"], f"{name}: {answer.status_code} without {header}"
        if value is not None:
            Draft202012Validator(rule["schema"]).validate(value)
    told = {"etag", "location", "dagtasks-commit", "retry-after", "idempotency-replayed", "www-authenticate"}
    extra = told & set(answer.headers) - {header.lower() for header in declared.get("headers", {})}
    assert not extra, f"{name}: {answer.status_code} with {extra}"
    check_content(answer, declared.get("content", {}))
    return name


def check_content(answer: httpx.Response, content: dict[str, Any]) -> None:
    if not content:
        assert answer.content == b""
        return
    kind = answer.headers["content-type"].partition(";")[0]
    assert kind in content, f"{answer.status_code} as {kind}: {answer.text[:300]}"
    if "$ref" in content[kind]["schema"]:
        validator(content[kind]["schema"]["$ref"]).validate(answer.json())
