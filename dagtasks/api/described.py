"""The description of the API (OpenAPI 3.1): what routes declare, and what is true of all of them beside it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from http import HTTPStatus
from typing import Any

from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from dagtasks.api import things
from dagtasks.api.problems import MEDIA_TYPE

Answers = dict[int | str, dict[str, Any]]
REFERENCE = "#/components/schemas/"
TAGS = {
    "projects": "Projects, with their progress.",
    "phases": "Phases of a project.",
    "tasks": "Tasks, and comments on them.",
    "workflows": "Workflows of a task: templates bound to it.",
    "templates": "Workflow templates.",
    "runs": "Runs, and what waits to be run.",
    "events": "What happened in this clone.",
    "webhooks": "Who is told of what happens.",
    "files": "All files together.",
}


# -- what routes declare of their answers ---------------------------------------------------------------------------


def _header(text: str, *, required: bool = True, **schema: Any) -> dict[str, Any]:
    return {"description": text, "required": required, "schema": {"type": "string", **schema}}


_TAG = _header("the SHA-256 of the file's bytes", pattern='^"[0-9a-f]{64}"$')
_NEW_TAG = _TAG | {"description": "the SHA-256 of the file's new bytes"}
_COMMIT = _header("the id of the commit; without it there was nothing to change", required=False)
_COMMIT["schema"]["pattern"] = "^([0-9a-f]{40}|[0-9a-f]{64})$"
_LOCATION = _header("where it is", format="uri-reference")
_CACHED = _header("the answer may be kept, but not used unasked")


def _told(status: int, text: str, model: type[BaseModel], **headers: Any) -> Answers:
    named = {name.replace("_", "-"): header for name, header in headers.items()}
    content = {"application/json": {"schema": {"$ref": f"{REFERENCE}{model.__name__}"}}}
    return {status: {"description": text, "content": content, **({"headers": named} if named else {})}}


def shown(model: type[BaseModel], *errors: int) -> Answers:
    """As `answers.answer` and `answers.listing` answer; `errors` are those that nothing else tells of."""
    return {**_told(200, "as it is now", model), **{status: {} for status in errors}}


def tagged(model: type[BaseModel]) -> Answers:
    """As `reading.one` answers."""
    headers = {"ETag": _TAG, "Cache-Control": _CACHED}
    same: Answers = {304: {"description": "the client has it already", "headers": headers}}
    return {**_told(200, "as it is now", model, **headers), **same}


def created(model: type[BaseModel]) -> Answers:
    """As `changes.created` answers."""
    return _told(201, "it was made", model, ETag=_NEW_TAG, Location=_LOCATION, Dagtasks_Commit=_COMMIT)


def added(model: type[BaseModel]) -> Answers:
    """As `changes.added` answers."""
    return _told(201, "it was added", model, Location=_LOCATION, Dagtasks_Commit=_COMMIT)


def issued(model: type[BaseModel]) -> Answers:
    """What is made in no file."""
    return _told(201, "it was made", model)


def changed(model: type[BaseModel]) -> Answers:
    """As `changes.changed` answers."""
    return _told(200, "as it is now", model, ETag=_NEW_TAG, Dagtasks_Commit=_COMMIT)


def removed(model: type[BaseModel]) -> Answers:
    """As `changes.removed` answers."""
    return _told(200, "it is gone", model, Dagtasks_Commit=_COMMIT)


def accepted(model: type[BaseModel]) -> Answers:
    """As a run is answered that was asked for."""
    return _told(202, "it waits in the queue, or is being done", model, Location=_LOCATION)


def streamed(model: type[BaseModel]) -> Answers:
    """As a page, or as `Streams.open` answers."""
    answers = shown(model)
    answers[200]["content"]["text/event-stream"] = {"schema": {"type": "string", "description": "server-sent events"}}
    return answers


# -- what is true of all --------------------------------------------------------------------------------------------

_KEYS = {
    "bearer": {"type": "http", "scheme": "bearer", "description": "a key, as `dagtasks keys create` makes it"},
    "key": {"type": "apiKey", "in": "header", "name": "X-API-Key", "description": "the same key"},
}
_ONCE = {
    "name": "Idempotency-Key",
    "in": "header",
    "required": False,
    "description": "a name for the request: sent again under it, it is done once",
    "schema": {"type": "string", "minLength": 1, "maxLength": 200, "pattern": "^[ -~]+$"},
}
_REPLAYED = _header("`true` where this was answered before", required=False, const="true")
_WAIT = _header("seconds until it may be tried again", pattern="^[0-9]+$")
_ASK = _header("how to send a key")
_MEANINGS = {
    400: "a field, parameter, header or query is not allowed",
    401: "no key, or one that is wrong or has expired",
    403: "the key does not allow this, or a page of another site asks",
    404: "there is no such thing",
    408: "the body did not arrive in time",
    409: "the state forbids it",
    412: "it is not what the client has seen any more",
    413: "the body is too large",
    415: "the body is no JSON",
    421: "the server is not reached under that name",
    422: "files that are needed are wrong, or the Idempotency-Key was used for another request",
    428: "If-Match is missing",
    429: "too many wrong keys",
    500: "a fault of the server, or of Git; `id` is found in its log",
    503: "too much is asked at a time, or the lock was not got in time",
}
_HEADERS = {
    401: {"WWW-Authenticate": _ASK},
    429: {"Retry-After": _WAIT},
    500: {"Idempotency-Replayed": _REPLAYED},
    503: {"Retry-After": _WAIT},
}
ALWAYS = (400, 401, 403, 421, 422, 429, 500, 503)
"""What every request can be answered with. 422: each reads the settings, which can be wrong."""


def describe(document: dict[str, Any]) -> dict[str, Any]:
    """The description that FastAPI made of the routes, with what the gate and the handlers of errors answer, too."""
    parts = document["components"]
    own = {name: schema for name, schema in parts["schemas"].items() if not name.endswith("ValidationError")}
    parts["schemas"] = dict(sorted({**own, **_schemas()}.items()))
    parts["responses"] = {f"Problem{status}": _problem(status) for status in _MEANINGS}
    parts["securitySchemes"] = _KEYS
    document["security"] = [{name: []} for name in _KEYS]
    document["tags"] = [{"name": name, "description": text} for name, text in TAGS.items()]
    for path, ways in document["paths"].items():
        for method, operation in ways.items():
            _complete(operation, method, path)
    return document


def _schemas() -> dict[str, Any]:
    """All that answers hold. (Made by the framework for each route, it would take seconds.)"""
    kinds = (one for one in vars(things).values() if isinstance(one, type) and issubclass(one, BaseModel))
    wanted: list[tuple[Any, Any]] = [(kind, "serialization") for kind in kinds if kind is not BaseModel]
    made: dict[str, Any] = models_json_schema(wanted, ref_template=REFERENCE + "{model}")[1]["$defs"]
    return made


def _complete(operation: dict[str, Any], method: str, path: str) -> None:
    parameters, answers = operation.setdefault("parameters", []), operation["responses"]
    for parameter in parameters:
        _tidy(parameter)
    if method == "post":
        parameters.append(_ONCE)
    _describe_success(answers, may_come_again=method == "post")
    _describe_body(operation.get("requestBody", {}), method)
    named = {parameter["name"] for parameter in parameters}
    for status in sorted({*ALWAYS, *_errors_of(method, path, named), *_declared(answers)}):
        answers[str(status)] = {"$ref": f"#/components/responses/Problem{status}"}
    operation["responses"] = dict(sorted(answers.items()))


def _tidy(parameter: dict[str, Any]) -> None:
    """Nothing in an address or a header is null, and what is described needs no second description."""
    schema = parameter["schema"]
    for each in schema.pop("anyOf", ()):
        schema |= each if each != {"type": "null"} else {}
    schema.pop("description", None)
    parameter["required"] = parameter["required"] or parameter["name"] == "If-Match"


def _describe_body(body: dict[str, Any], method: str) -> None:
    if method == "patch":
        body["content"]["application/merge-patch+json"] = body["content"]["application/json"]


def _describe_success(answers: dict[str, Any], *, may_come_again: bool) -> None:
    for status, answer in answers.items():
        if status == "304":
            answer.pop("content", None)
        if status.startswith("2"):
            headers = {**answer.get("headers", {}), **({"Idempotency-Replayed": _REPLAYED} if may_come_again else {})}
            answer |= {"headers": headers} if headers else {}
            answer["description"] = answer["description"].replace("Successful Response", "as it is now")


def _declared(answers: Mapping[str, Any]) -> Iterable[int]:
    """The errors that the route itself says that it answers."""
    return (int(status) for status in answers if int(status) >= 400)


def _errors_of(method: str, path: str, named: set[str]) -> Iterable[int]:
    """What else can come, as one can see by what a request takes."""
    if "{" in path:
        yield 404
    if "If-None-Match" in named:
        yield 409  # others keep changing the file while it is read
    if method != "get":
        yield from (404, 408, 409, 413, 415)
    if "If-Match" in named:
        yield from (412, 428)


def _problem(status: int) -> dict[str, Any]:
    content: dict[str, Any] = {MEDIA_TYPE: {"schema": {"$ref": f"{REFERENCE}ProblemDetails"}}}
    if status == HTTPStatus.UNAUTHORIZED:
        content["text/html"] = {"schema": {"type": "string", "description": "for a browser that looks for a page"}}
    text = f"{HTTPStatus(status).phrase}: {_MEANINGS[status]}"
    headers = _HEADERS.get(status, {})
    return {"description": text, **({"headers": headers} if headers else {}), "content": content}
