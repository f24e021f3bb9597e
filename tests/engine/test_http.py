from __future__ import annotations

from typing import Any

import pytest

from dagtasks.engine.http import decode_body, make_outgoing, parse_json
from dagtasks.outbound import Answer
from dagtasks.planning.plan import ApiRequest

BODIES: list[tuple[dict[str, Any], bytes, str | None]] = [
    ({}, b"", None),
    ({"json": {"a": [1, None, "é"]}, "has_json": True}, '{"a": [1, null, "é"]}'.encode(), "application/json"),
    ({"json": None, "has_json": True}, b"null", "application/json"),
    ({"form": {"a": "x y&z", "é": "1"}}, b"a=x+y%26z&%C3%A9=1", "application/x-www-form-urlencoded"),
    ({"body": "é"}, "é".encode(), None),
]


@pytest.mark.parametrize(("fields", "body", "content_type"), BODIES)
def test_body_and_its_type(fields: dict[str, Any], body: bytes, content_type: str | None) -> None:
    outgoing = make_outgoing(ApiRequest("s", 1, "https://a.example/", **fields))
    assert (outgoing.body, outgoing.headers.get("Content-Type")) == (body, content_type)


def test_a_type_that_is_given_stays() -> None:
    request = ApiRequest("s", 1, "https://a.example/", headers={"content-type": "x/y"}, json=1, has_json=True)
    assert make_outgoing(request).headers == {"content-type": "x/y"}


QUERIES = [
    ("https://a.example/p", {}, "https://a.example/p"),
    ("https://a.example/p?x=a%20b", {}, "https://a.example/p?x=a%20b"),
    ("https://a.example/p?x=1", {"y": "a b&c", "z": ""}, "https://a.example/p?x=1&y=a+b%26c&z="),
]


@pytest.mark.parametrize(("url", "query", "wanted"), QUERIES)
def test_query(url: str, query: dict[str, str], wanted: str) -> None:
    assert make_outgoing(ApiRequest("s", 1, url, query=query)).url == wanted


@pytest.mark.parametrize(("follow", "redirects"), [(True, 5), (False, 0)])
def test_redirects_are_the_templates_choice(follow: bool, redirects: int) -> None:
    request = ApiRequest("s", 1, "https://a.example/", method="post", follow_redirects=follow)
    assert (make_outgoing(request).redirects, make_outgoing(request).method) == (redirects, "POST")


@pytest.mark.parametrize(
    ("content_type", "body", "text"),
    [
        ("text/plain", "é".encode(), "é"),
        ("text/plain; charset=iso-8859-1", b"\xe9", "é"),
        ("text/plain; charset=nonsense", "é".encode(), "é"),
        ("", b"a\xff", "a\ufffd"),
    ],
)
def test_text_of_an_answer(content_type: str, body: bytes, text: str) -> None:
    assert decode_body(Answer(200, {"content-type": content_type}, body, "")) == text


@pytest.mark.parametrize(
    ("text", "value"), [('{"a": 1}', {"a": 1}), ("7", 7), ("", None), ("{", None), ("NaN", None), ("[" * 100_000, None)]
)
def test_json_of_an_answer(text: str, value: object) -> None:
    assert parse_json(text) == value
