"""The gate: what no route is ever asked about."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Callable, Iterator
from datetime import UTC, datetime
from typing import Any

import httpx
import pytest
from fastapi import FastAPI
from fastapi.routing import APIRoute
from starlette.responses import Response

from dagtasks.api.app import make_app, make_routes
from dagtasks.api.bodies import read_body
from dagtasks.api.desk import Server
from dagtasks.api.gate import GUESSES, REQUESTS, Gate, Guesses, needed_scope
from dagtasks.api.problems import Refusal
from dagtasks.service import keys
from dagtasks.service.keys import Scope
from dagtasks.store.project import Project
from tests.api.conftest import Api, Client, MakeApi, make_key

FIELDS = {"type", "title", "status", "detail"}


def routes(app: FastAPI) -> Iterator[tuple[str, str]]:
    """Every method and path of the application, however it came there."""
    for route in flat(app.routes):
        for method in sorted(getattr(route, "methods", None) or {"GET"}):
            yield method, re.sub(r"\{[^}]*\}", "x", route.path)


def flat(found: Any) -> Iterator[Any]:
    for route in found:
        inner = getattr(route, "routes", None) or getattr(getattr(route, "original_router", None), "routes", None)
        yield from flat(inner) if inner and not hasattr(route, "path") else [route]


def all_routes(api: Api) -> list[tuple[str, str]]:
    found = list(routes(make_routes(Server(Project(api.root), lambda _: None))))
    assert len(found) >= 15
    return found


def assert_problem(response: Any, status: int) -> None:
    assert response.status_code == status, response.text
    assert response.headers["content-type"] == "application/problem+json"
    assert response.json().keys() >= FIELDS
    assert response.json()["status"] == status


def test_every_route_wants_a_key(api: Api) -> None:
    for method, path in [*all_routes(api), ("GET", "/"), ("GET", "/docs"), ("OPTIONS", "/api/v1/tasks"), ("PUT", "/x")]:
        for headers in ({}, {"Authorization": "Bearer dgt_x"}, {"Authorization": "Basic eDp5"}):
            if method == "HEAD":
                assert api.client.request(method, path, headers=headers).status_code == 401
                continue
            answer = api.client.request(method, path, headers=headers)
            assert answer.status_code in (401, 429), (method, path)
            assert answer.headers["cache-control"] == "no-store"


def test_what_changes_something_wants_more_than_a_key_that_reads(api: Api) -> None:
    for method, path in all_routes(api):
        needed = needed_scope(method, path)
        assert (needed is Scope.READ) == (method in ("GET", "HEAD"))
        for scope in ("read", "write", "run"):
            key = api.key(scope)
            answer = api.client.request(method, path, headers={"X-API-Key": key}, json={} if method != "GET" else None)
            allowed = needed is Scope.READ or scope == needed
            assert (answer.status_code != 403) == allowed, (method, path, scope)


def test_runs_want_a_key_that_runs(api: Api) -> None:
    paths = ["/tasks/x/workflows/y/runs", "/runs/x/cancel", "/runs/x/retry", "/runs/x/approve"]
    assert {needed_scope("POST", f"/api/v1{path}") for path in paths} == {Scope.RUN}
    others = ["/tasks", "/runs/x/y/cancel", "/runs/x", "/tasks/runs/x", "/tasks/x/workflows/runs"]
    assert {needed_scope("POST", f"/api/v1{path}") for path in others[:4]} == {Scope.WRITE}


def test_a_key_is_taken_from_headers_and_from_no_address(api: Api) -> None:
    key = api.key()
    for headers in ({"Authorization": f"bearer {key}"}, {"X-API-Key": key}):
        assert api.client.get("/api/v1/tasks", headers=headers).status_code == 200
    assert_problem(api.client.get(f"/api/v1/tasks?key={key}"), 400)
    assert_problem(api.client.get(f"/api/v1/tasks/{key}", headers={"X-API-Key": key}), 400)
    assert_problem(api.client.get("/api/v1/tasks", headers={"Cookie": f"key={key}"}), 401)
    assert_problem(api.client.get("/api/v1/tasks", headers={"X-API-Key": key, "Authorization": "Bearer other"}), 400)


def test_a_key_that_was_revoked_lets_nobody_in_from_then_on(api: Api) -> None:
    key = api.key("read")
    assert api.get("/tasks", scope="read").status_code == 200
    keys.revoke(Project(api.root), "read of Bo <bo@example.org>", datetime.now(UTC))
    assert_problem(api.client.get("/api/v1/tasks", headers={"X-API-Key": key}), 401)


HOSTS = [
    ("127.0.0.1:8321", 200),
    ("127.0.0.1", 200),
    ("localhost:1", 200),
    ("LOCALHOST.", 200),
    ("[::1]:8321", 200),
    ("tasks.example.org", 200),
    ("evil.example.org", 421),
    ("127.0.0.1.evil.example.org", 421),
    ("127.0.0.1@evil.example.org", 421),
    ("evil.example.org/127.0.0.1", 421),
    ("0.0.0.0", 421),
    ("127.0.0.1:8321:1", 421),
    ("", 421),
]


def test_it_is_reached_under_its_own_names_only(make_api: MakeApi) -> None:
    api = make_api(hosts=("Tasks.example.org",))
    for host, status in HOSTS:
        assert api.get("/projects", headers={"Host": host}).status_code == status, host


ORIGINS = [
    ("http://127.0.0.1:8321", 200),
    ("https://127.0.0.1:8321", 200),
    ("http://127.0.0.1:8322", 403),
    ("http://127.0.0.1", 403),
    ("http://evil.example.org", 403),
    ("null", 403),
    ("file://", 403),
    ("", 403),
]


def test_pages_of_other_sites_are_refused(api: Api) -> None:
    for origin, status in ORIGINS:
        answer = api.get("/projects", headers={"Origin": origin})
        assert answer.status_code == status, origin
        assert not {name for name in answer.headers if name.startswith("access-control")}


def test_wrong_keys_are_slowed_down_and_right_ones_are_not(api: Api) -> None:
    wrong = {"X-API-Key": "dgt_" + "0" * 36}
    answers = [api.client.get("/api/v1/tasks", headers=wrong) for _ in range(GUESSES + 2)]
    assert [answer.status_code for answer in answers] == [401] * GUESSES + [429] * 2
    assert 1 <= int(answers[-1].headers["retry-after"]) <= 61
    assert api.get("/tasks").status_code == 200
    assert_problem(api.client.get("/api/v1/tasks"), 401)


def test_guesses_are_forgotten_in_time_and_do_not_pile_up() -> None:
    now = [0.0]
    guesses = Guesses(lambda: now[0])
    waits = [guesses.count("a") for _ in range(GUESSES + 1)]
    assert waits == [0.0] * GUESSES + [60.0]
    assert guesses.count("b") == 0.0
    now[0] = 60.0
    assert guesses.count("a") == 0.0
    for number in range(5000):
        guesses.count(f"address {number}")
    assert guesses.count("a") == 0.0


JSON = {"Content-Type": "application/json"}
NESTED = b'{"key": "x", "name": "x", "metadata": {"k": ' + b"[" * 30 + b"%s" + b"]" * 30 + b"}}"
BODIES: list[tuple[bytes, dict[str, str], int]] = [
    (b'{"name": "x"', {}, 400),
    (b"", {}, 400),
    (b'{"key": "x", "name": "a", "name": "b"}', {}, 400),
    (b'{"key": "x", "name": "a", "metadata": {"k": 1, "k": 1}}', {}, 400),
    (b'{"key": "x", "name": "x", "metadata": {"k": 1e400}}', {}, 400),
    (b'{"key": "x", "name": "x", "metadata": {"k": NaN}}', {}, 400),
    (b'{"key": "x", "name": "x", "metadata": {"k": "\\ud800"}}', {}, 400),
    (b'{"key": "x", "name": "x", "metadata": {"\\udfff": 1}}', {}, 400),
    (b'{"key": "x", "name": "\xff"}', {}, 400),
    (b'\xef\xbb\xbf{"key": "x", "name": "x"}', {}, 400),
    (NESTED % b"[]", {}, 400),
    (b"[" * 100_000 + b"]" * 100_000, {}, 400),
    (b'{"key": "x", "name": "x", "metadata": {"k": ' + b"9" * 5000 + b"}}", {}, 400),
    (b'{"key": "x", "name": "' + b"x" * 1024 * 1024 + b'"}', {}, 413),
    (b'{"key": "x", "name": "x"}', {"Content-Type": "text/plain"}, 415),
    (b'{"key": "x", "name": "x"}', {"Content-Type": "application/x-www-form-urlencoded"}, 415),
    (b'{"key": "x", "name": "x"}', {"Content-Type": "application/json; charset=utf-16"}, 415),
    (b'{"key": "x", "name": "x"}', {"Content-Encoding": "gzip"}, 415),
]


def test_a_body_is_small_json_that_can_be_read_in_one_way(api: Api) -> None:
    for body, headers, status in BODIES:
        given = {"Content-Type": "application/json", **headers}
        assert_problem(api.ask("POST", "/projects", content=body, headers=given), status)
        assert not (api.root / "tasks/x").exists()
    told = [api.ask("POST", "/projects", content=body, headers=JSON).text for body, headers, _ in BODIES if not headers]
    assert not [text for text in told if "body" not in text]


def test_a_body_of_unknown_length_is_counted_while_it_arrives(api: Api) -> None:
    sent = []

    async def pieces() -> AsyncIterator[bytes]:
        for _ in range(64):
            sent.append(1)
            yield b" " * 64 * 1024

    answer = api.ask("POST", "/projects", content=pieces(), headers={"Content-Type": "application/json"})
    assert_problem(answer, 413)
    assert len(sent) < 20


def test_a_body_that_says_itself_that_it_is_too_large_is_not_waited_for(api: Api) -> None:
    headers = {"Content-Type": "application/json", "Content-Length": "99999999"}
    assert_problem(api.ask("POST", "/projects", content=b"{}", headers=headers), 413)


def test_more_requests_than_can_be_answered_at_a_time_are_told_to_come_again() -> None:
    async def run() -> tuple[int, dict[str, str], set[int]]:
        all_there, go, came = asyncio.Event(), asyncio.Event(), []

        async def app(scope: Any, receive: Any, send: Any) -> None:
            came.append(scope)
            if len(came) == REQUESTS:
                all_there.set()
            await go.wait()
            await Response("done")(scope, receive, send)

        person = keys.parse_person("Bo <bo@example.org>")
        transport = httpx.ASGITransport(Gate(app, lambda _: keys.Grant("1", person, frozenset())))
        headers = {"Authorization": "Bearer x"}
        async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1", headers=headers) as client:
            waiting = [asyncio.create_task(client.get("/")) for _ in range(REQUESTS)]
            await all_there.wait()
            refused = await client.get("/")
            go.set()
            return refused.status_code, dict(refused.headers), {(await one).status_code for one in waiting}

    status, headers, others = asyncio.run(run())
    assert (status, headers["retry-after"], others) == (503, "1", {200})


def test_a_slow_body_has_a_deadline() -> None:
    async def never() -> Any:
        await asyncio.sleep(3600)

    with pytest.raises(Refusal, match="did not arrive") as refused:
        asyncio.run(read_body(never, seconds=0.01))
    assert refused.value.status == 408


def test_a_key_that_may_not_is_refused_before_the_body_is_read(api: Api) -> None:
    assert_problem(api.ask("POST", "/projects", content=b"{" * 9, scope="read"), 403)


def test_what_is_not_there_is_a_problem_too(api: Api) -> None:
    for path in ("/nope", "/tasks/", "/projects/a/b/c", "/projects/..%2f..%2fetc", "/tasks/%2e%2e/x"):
        assert_problem(api.get(path), 404)


def test_an_address_that_cannot_be_printed_is_refused(api: Api) -> None:
    for path in ("/tasks/%00", "/projects/a%0ab", "/templates/%1b[31m"):
        assert_problem(api.get(path), 400)


def test_a_wrong_method_says_which_are_right(api: Api) -> None:
    answer = api.ask("PUT", "/projects", json={})
    assert_problem(answer, 405)
    assert answer.headers["allow"] == "GET, POST"
    assert api.ask("POST", "/tasks/x", json={}).headers["allow"] == "DELETE, GET, PATCH, PUT"
    assert api.ask("POST", "/openapi.json", json={}).headers["allow"] == "GET"


def test_websockets_are_refused(api: Api) -> None:
    sent: list[Any] = []

    async def send(message: Any) -> None:
        sent.append(message)

    async def receive() -> Any:
        return {"type": "websocket.connect"}

    api.client.portal.call(api.client.app, {"type": "websocket", "path": "/api/v1/tasks", "headers": []}, receive, send)
    assert sent == [{"type": "websocket.close", "code": 1008}]


def test_a_fault_of_ours_tells_an_id_and_nothing_else(api: Api, caplog: pytest.LogCaptureFixture) -> None:
    def fail() -> datetime:
        raise RuntimeError("a secret place")

    key, app = api.key(), make_app(Server(Project(api.root), lambda _: None, now=fail))
    answer = Client(api.client.portal, app).get("/api/v1/tasks", headers={"X-API-Key": key})
    assert_problem(answer, 500)
    assert "secret" not in answer.text
    assert answer.json()["id"] in caplog.text
    assert "a secret place" in caplog.text


def test_openapi_says_what_there_is(api: Api) -> None:
    document = api.get("/openapi.json").json()
    assert document["openapi"].startswith("3.1")
    listed = {(method.upper(), path) for path, ways in document["paths"].items() for method in ways}
    app = make_routes(Server(Project(api.root), lambda _: None))
    real = {(m, r.path) for r in flat(app.routes) if isinstance(r, APIRoute) and r.include_in_schema for m in r.methods}
    assert listed == real
    assert all(
        way.get("summary") and way.get("description") for ways in document["paths"].values() for way in ways.values()
    )


def test_keys_of_other_repositories_open_nothing(make_api: MakeApi, project: Callable[..., Project]) -> None:
    api, other = make_api(), project(name="other")
    answer = api.client.get("/api/v1/tasks", headers={"X-API-Key": make_key(other.root, "admin")})
    assert_problem(answer, 401)
