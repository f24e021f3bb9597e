"""What went wrong, as a client gets it: problem details of RFC 9457, with the codes and hints of the command line."""

from __future__ import annotations

import logging
import re
import secrets
from collections.abc import Mapping, Sequence
from http import HTTPStatus
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.routing import APIRoute
from starlette.exceptions import HTTPException
from starlette.responses import Response

from dagtasks.api.answers import to_bytes
from dagtasks.errors import DagtasksError

LOG = logging.getLogger("dagtasks.api")
MEDIA_TYPE = "application/problem+json"


class Refusal(Exception):
    """A request that is refused for what it is, and not for what the files say."""

    def __init__(self, status: int, detail: str, *, hint: str = "", headers: Mapping[str, str] | None = None) -> None:
        super().__init__(detail)
        self.status = status
        self.detail = detail
        self.hint = hint
        self.headers = dict(headers or {})


def refusal_response(refusal: Refusal) -> Response:
    """The answer to a request that is refused."""
    title = HTTPStatus(refusal.status).phrase
    document = {"type": "about:blank", "title": title, "status": refusal.status, "detail": refusal.detail}
    hint = {"hint": refusal.hint} if refusal.hint else {}
    return _response(refusal.status, {**document, **hint}, refusal.headers)


def error_response(error: DagtasksError) -> Response:
    """The answer where a command would have ended with this error."""
    document = error_document(error)
    return _response(document["status"], document, {"Retry-After": "5"} if document["status"] == 503 else {})


def error_document(error: DagtasksError) -> dict[str, Any]:
    """The error as a problem document; code, file, line and column are those of its first problem."""
    kind = type(error).__name__
    title = re.sub(r"(?<!^)(?=[A-Z])", " ", kind).capitalize()
    status = error.status if error.status >= 400 else 500  # an error all the same
    document: dict[str, Any] = {"type": kind, "title": title, "status": status, "detail": error.message}
    if error.hint:
        document["hint"] = error.hint
    if error.field:
        document["field"] = error.field
    if error.faults:
        document["errors"] = [fault._asdict() for fault in error.faults]
    if error.problems:
        first = error.problems[0]
        place = {"code": first.code, "file": first.path, "line": first.line, "column": first.column}
        document |= {**place, "problems": [problem.to_json() for problem in error.problems]}
    return document


def bug_response(error: BaseException) -> Response:
    """The answer to what nobody foresaw: nothing but an id, under which the log says what it was."""
    name = secrets.token_hex(8)
    LOG.error("error %s", name, exc_info=error)
    document = {"type": "about:blank", "title": "Internal server error", "status": 500}
    return _response(
        500, {**document, "detail": f"error {name}; the log of the server says what it was", "id": name}, {}
    )


def _response(status: int, document: Mapping[str, Any], headers: Mapping[str, str]) -> Response:
    return Response(to_bytes(document), status, headers, MEDIA_TYPE)


def add_handlers(app: FastAPI, routes: Sequence[APIRoute]) -> None:
    """Have every error of the routes answered in the one form."""

    async def on_error(_: Request, error: Exception) -> Response:
        return error_response(error) if isinstance(error, DagtasksError) else bug_response(error)

    async def on_refusal(_: Request, error: Exception) -> Response:
        return refusal_response(error) if isinstance(error, Refusal) else bug_response(error)

    async def on_http(request: Request, error: Exception) -> Response:
        if not isinstance(error, HTTPException):
            return bug_response(error)
        return refusal_response(_from_http(request.url.path, error, routes))

    async def on_invalid(request: Request, error: Exception) -> Response:
        if not isinstance(error, RequestValidationError):
            return bug_response(error)
        if any(fault["loc"][0] == "path" for fault in error.errors()):
            return refusal_response(_nothing_at(request.url.path))
        return _invalid_response(error)

    async def on_bug(_: Request, error: Exception) -> Response:
        return bug_response(error)

    app.add_exception_handler(DagtasksError, on_error)
    app.add_exception_handler(Refusal, on_refusal)
    app.add_exception_handler(HTTPException, on_http)
    app.add_exception_handler(RequestValidationError, on_invalid)
    app.add_exception_handler(Exception, on_bug)


def _from_http(path: str, error: HTTPException, routes: Sequence[APIRoute]) -> Refusal:
    if error.status_code == 404:
        return _nothing_at(path)
    if error.status_code == 405:
        # The framework knows the first of several routes at an address only.
        ways = sorted({method for route in routes if route.path_regex.match(path) for method in route.methods or ()})
        return Refusal(405, f"{path} takes {', '.join(ways) or 'GET'}", headers={"Allow": ", ".join(ways) or "GET"})
    return Refusal(error.status_code, str(error.detail), headers=error.headers)


def _nothing_at(path: str) -> Refusal:
    return Refusal(404, f"there is nothing at {path}", hint="all there is: /api/v1/openapi.json")


def _invalid_response(error: RequestValidationError) -> Response:
    """What is wrong with a request's own form: the first field stands for itself, all of them are listed."""
    faults = [{"field": _field(fault["loc"]), "message": fault["msg"]} for fault in error.errors()]
    first = faults[0]
    document = {"type": "InvalidInput", "title": "Invalid input", "status": 400, "field": first["field"]}
    detail = f"{first['field'] or 'the body'}: {first['message']}"
    return _response(400, {**document, "detail": detail, "errors": faults}, {})


def _field(loc: tuple[str | int, ...]) -> str:
    return ".".join(map(str, loc[1:]))
