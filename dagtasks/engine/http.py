"""Api steps: one HTTP request, made in this process through the outbound guard."""

from __future__ import annotations

import codecs
import json
from base64 import b64encode
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from email.message import Message
from typing import Any, NoReturn
from urllib.parse import urlencode

from dagtasks.model.run import Failure
from dagtasks.model.values import JSON
from dagtasks.outbound import MAX_REDIRECTS, Answer, OutboundClient, OutboundError, Outgoing, parse_url, retry_after
from dagtasks.planning.plan import ApiRequest

Condition = Callable[[str, Mapping[str, JSON]], bool]
"""Whether a `success_condition` holds for `response` (status, headers, body, json)."""


NO_CHARSETS = frozenset({"idna", "punycode", "undefined", "unicode-escape", "raw-unicode-escape"})
"""Codecs of Python that are none of the web. `punycode` takes half a minute for 200 KB."""


@dataclass(frozen=True, slots=True)
class ApiResult:
    """What an api step got. `json` is None when the body is no JSON; `failure` says why it counts as failed.

    `retry_after` is how many seconds the answer asks to wait before another try.
    """

    status_code: int
    headers: Mapping[str, str]
    body: str
    json: JSON
    failure: Failure | None = None
    retry_after: float | None = None


async def call(request: ApiRequest, client: OutboundClient, holds: Condition, now: Callable[[], datetime]) -> ApiResult:
    """The result of the request, whatever its status. Raises `OutboundError` when there is no answer."""
    answer = await client.send(make_outgoing(request))
    body = decode_body(answer)
    value = parse_json(body)
    return ApiResult(
        status_code=answer.status,
        headers=answer.headers,
        body=body,
        json=value,
        failure=_find_failure(request, answer, {"body": body, "json": value}, holds),
        retry_after=retry_after(answer.headers, now()),
    )


def make_auth(auth: Mapping[str, Any]) -> dict[str, str]:
    """The header for an `auth` whose values are known: {bearer: token}, {basic: {user, password}} or
    {header: {name, value}}; a key that is None counts as absent.

    Raises `OutboundError`, never with a value in its message.
    """
    if (token := auth.get("bearer")) is not None:
        return {"Authorization": f"Bearer {_given(token, 'bearer')}"}
    if (basic := auth.get("basic")) is not None:
        return {"Authorization": f"Basic {_basic(basic)}"}
    own = auth["header"]
    return {str(own["name"]): _given(own["value"], "header.value")}


def _basic(login: Mapping[str, Any]) -> str:
    user, password = str(login["user"]), _given(login["password"], "basic.password")
    if ":" in user:
        raise OutboundError("bad_auth", "auth.basic.user must not hold a colon: there the password would begin")
    return b64encode(f"{user}:{password}".encode()).decode("ascii")


def _given(value: object, name: str) -> str:
    if not isinstance(value, str) or not value.strip():
        raise OutboundError("bad_auth", f"auth.{name} has no text to send")
    return value


def make_outgoing(request: ApiRequest) -> Outgoing:
    """The request as it goes over the wire. Raises `OutboundError` when it cannot be written in UTF-8."""
    try:
        return _make_outgoing(request)
    except UnicodeEncodeError:
        raise OutboundError("bad_body", "a part of the request holds half a character, which cannot be sent") from None


def _make_outgoing(request: ApiRequest) -> Outgoing:
    body, content_type = _make_body(request)
    return Outgoing(
        url=_add_query(request.url, request.query),
        method=request.method.upper(),
        headers=_make_headers(request, content_type),
        body=body,
        timeout=request.timeout,
        max_response=request.max_response,
        redirects=MAX_REDIRECTS if request.follow_redirects else 0,
        verify_tls=request.verify_tls,
    )


def _make_headers(request: ApiRequest, content_type: str) -> dict[str, str]:
    given = {name.lower() for name in request.headers}
    auth = make_auth(request.auth) if request.auth else {}
    for name in auth:
        if name.lower() in given:
            raise OutboundError("bad_auth", f"the header {name} is given twice, by `headers` and by `auth`")
    usual = {"Content-Type": content_type} if content_type and "content-type" not in given else {}
    return {**request.headers, **usual, **auth}


def decode_body(answer: Answer) -> str:
    """The body as text, in the charset that the answer names (UTF-8 when it names none)."""
    header = Message()
    header["Content-Type"] = answer.headers.get("content-type", "")
    try:
        charset = codecs.lookup(header.get_content_charset("utf-8")).name
        return answer.body.decode("utf-8" if charset in NO_CHARSETS else charset, "replace")
    except (LookupError, ValueError):
        return answer.body.decode("utf-8", "replace")


def parse_json(text: str) -> JSON:
    """The value that the text holds as JSON, or None."""
    try:
        value: JSON = json.loads(text, parse_constant=_refuse_constant)
    except (ValueError, RecursionError):
        return None
    return value


def _add_query(url: str, query: Mapping[str, str]) -> str:
    return str(parse_url(url).copy_merge_params(dict(query))) if query else url


def _make_body(request: ApiRequest) -> tuple[bytes, str]:
    if request.has_json:
        return json.dumps(request.json, ensure_ascii=False).encode(), "application/json"
    if request.form is not None:
        return urlencode(dict(request.form)).encode("ascii"), "application/x-www-form-urlencoded"
    return (request.body or "").encode(), ""


def _find_failure(request: ApiRequest, answer: Answer, body: Mapping[str, Any], holds: Condition) -> Failure | None:
    if not any(low <= answer.status <= high for low, high in request.success_status):
        return Failure("http_status", f"the answer has status {answer.status}")
    condition = request.success_condition
    response = {"status": answer.status, "headers": dict(answer.headers), **body}
    if condition is not None and not holds(condition, response):
        return Failure("success_condition", f"the answer does not meet the condition: {condition}")
    return None


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is no JSON")
