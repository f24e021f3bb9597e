from __future__ import annotations

from typing import Any

import pytest

from dagtasks.engine.http import decode_body, make_auth, make_outgoing, parse_json
from dagtasks.engine.masking import Masker
from dagtasks.outbound import Answer, OutboundError, check_headers
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
        ("text/plain; charset=utf-16le", b"a\0", "a"),
        ("text/plain; charset=rot13", b"a", "a"),
        ("text/plain; charset=undefined", b"a", "a"),
        ("text/plain; charset=idna", b"a\xff", "a\ufffd"),
        ("text/plain; charset=unicode-escape", b"\\x41", "\\x41"),
        ('text/plain; charset="-PunyCode."', b"abc-bcd", "abc-bcd"),
        ("text/plain; charset*=us-ascii''utf%00", b"a", "a"),
    ],
)
def test_text_of_an_answer(content_type: str, body: bytes, text: str) -> None:
    assert decode_body(Answer(200, {"content-type": content_type}, body, "")) == text


@pytest.mark.parametrize(
    ("text", "value"), [('{"a": 1}', {"a": 1}), ("7", 7), ("", None), ("{", None), ("NaN", None), ("[" * 100_000, None)]
)
def test_json_of_an_answer(text: str, value: object) -> None:
    assert parse_json(text) == value


@pytest.mark.parametrize(
    "fields",
    [{"body": "\ud800"}, {"form": {"a": "\ud800"}}, {"json": "\ud800", "has_json": True}, {"query": {"a": "\ud800"}}],
)
def test_half_a_character_is_not_sent(fields: dict[str, Any]) -> None:
    with pytest.raises(OutboundError) as caught:
        make_outgoing(ApiRequest("s", 1, "https://a.example/", **fields))
    assert caught.value.code == "bad_body"


AUTHS: list[tuple[dict[str, Any], dict[str, str]]] = [
    ({"bearer": "t0ken"}, {"Authorization": "Bearer t0ken"}),
    (
        {"bearer": None, "basic": {"user": "ann", "password": "p:w"}, "header": None},
        {"Authorization": "Basic YW5uOnA6dw=="},
    ),
    ({"basic": {"user": "", "password": "é"}}, {"Authorization": "Basic OsOp"}),
    ({"header": {"name": "X-API-Key", "value": "k"}}, {"X-API-Key": "k"}),
]


@pytest.mark.parametrize(("auth", "headers"), AUTHS)
def test_auth(auth: dict[str, Any], headers: dict[str, str]) -> None:
    assert make_auth(auth) == headers
    check_headers(make_auth(auth))


BAD_AUTHS: list[tuple[dict[str, Any], str]] = [
    ({"bearer": ""}, r"auth\.bearer has no text"),
    ({"bearer": " \n"}, r"auth\.bearer has no text"),
    ({"bearer": 12345678}, r"auth\.bearer has no text"),
    ({"basic": {"user": "a", "password": None}}, r"auth\.basic\.password has no text"),
    ({"basic": {"user": "a:secret", "password": "p"}}, "must not hold a colon"),
    ({"header": {"name": "X-A", "value": ""}}, r"auth\.header\.value has no text"),
]


@pytest.mark.parametrize(("auth", "message"), BAD_AUTHS)
def test_auth_without_a_usable_value(auth: dict[str, Any], message: str) -> None:
    with pytest.raises(OutboundError, match=message) as caught:
        make_auth(auth)
    assert caught.value.code == "bad_auth"
    assert "secret" not in caught.value.message
    assert "12345678" not in caught.value.message


@pytest.mark.parametrize("value", ["s3cret\r\nX-Other: 1", "s3cret\n", "s3crét"])
def test_a_secret_that_no_header_can_hold_is_not_shown(value: str) -> None:
    with pytest.raises(OutboundError) as caught:
        check_headers(make_auth({"header": {"name": "X-A", "value": value}}))
    assert caught.value.code == "bad_header"
    assert "s3cr" not in caught.value.message


def test_a_login_that_comes_back_is_masked() -> None:
    sent = make_auth({"basic": {"user": "ann", "password": "correct horse"}})["Authorization"]
    assert Masker(["correct horse"]).mask_text(f"you sent {sent}!") in (
        "you sent Basic YW5uO***!",
        "you sent Basic YW5uOm***!",
    )


def test_auth_is_a_header_of_the_request() -> None:
    request = ApiRequest("s", 1, "https://a.example/", headers={"X-A": "1"}, auth={"bearer": "t0ken"})
    assert make_outgoing(request).headers == {"X-A": "1", "Authorization": "Bearer t0ken"}
    assert "t0ken" not in f"{request} {make_outgoing(request)}"


@pytest.mark.parametrize("name", ["Authorization", "authorization"])
def test_auth_beside_the_same_header(name: str) -> None:
    request = ApiRequest("s", 1, "https://a.example/", headers={name: "mine"}, auth={"bearer": "t0ken"})
    with pytest.raises(OutboundError, match="by `headers` and by `auth`") as caught:
        make_outgoing(request)
    assert caught.value.code == "bad_auth"
