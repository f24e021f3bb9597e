"""Answers: JSON, with the ETag of the file that a resource is kept in and the commit that a change made."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from starlette.responses import Response

from dagtasks.errors import Problem, Severity

COMMIT_HEADER = "Dagtasks-Commit"


def to_bytes(document: object) -> bytes:
    """The document as JSON. A file name that is no UTF-8 is escaped."""
    text = json.dumps(document, ensure_ascii=False, default=str, separators=(",", ":"))
    try:
        return text.encode()
    except UnicodeEncodeError:
        return json.dumps(document, default=str, separators=(",", ":")).encode()


def answer(
    data: object, *, status: int = 200, digest: str | None = None, headers: Mapping[str, str] | None = None
) -> Response:
    """The resource itself; `digest` is the SHA-256 of its file."""
    tag = {"ETag": etag(digest)} if digest else {}
    return Response(to_bytes(data), status, {**tag, **(headers or {})}, "application/json")


def listing(
    data: Sequence[Any], following: str | None = None, *, problems: Sequence[Problem] = (), **more: Any
) -> Response:
    """A page of a list, and the cursor of the next one; errors in files are told beside it."""
    errors = [problem.to_json() for problem in problems if problem.severity is Severity.ERROR]
    return answer({"data": data, "next": following, **more, **({"problems": errors} if errors else {})})


def etag(digest: str) -> str:
    """The ETag for the digest of a file."""
    return f'"{digest}"'


def parse_tags(header: str) -> set[str]:
    """The digests that an `If-Match` or `If-None-Match` header names; a weak tag counts as none. `*` stands for all."""
    tags = (tag.strip() for tag in header.split(","))
    return {tag if tag == "*" else tag[1:-1] for tag in tags if tag == "*" or (tag[:1] == tag[-1:] == '"' and tag[1:])}
