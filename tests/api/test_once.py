"""`Idempotency-Key`: what is asked twice is done once."""

from __future__ import annotations

import stat
import threading
from datetime import timedelta
from typing import Any

import pytest

from dagtasks.api.app import make_app
from dagtasks.api.desk import Server, _utc
from dagtasks.store.project import Project
from tests.api.conftest import Api, Client
from tests.conftest import git

NEW = {"project": "web", "name": "New"}


def ask(api: Api, name: str, body: Any = None, **options: Any) -> Any:
    path = options.pop("path", "/tasks")
    return api.ask("POST", path, json=NEW if body is None else body, headers={"Idempotency-Key": name}, **options)


def count(api: Api) -> int:
    return int(git(api.root, "rev-list", "--count", "HEAD"))


def test_what_is_asked_again_is_answered_as_before(api: Api) -> None:
    first, second = ask(api, "a"), ask(api, "a")
    assert (first.status_code, second.status_code, count(api)) == (201, 201, 2)
    assert first.content == second.content
    for name in ("etag", "location", "dagtasks-commit", "content-type", "cache-control"):
        assert first.headers[name] == second.headers[name]
    assert "idempotency-replayed" not in first.headers
    assert second.headers["idempotency-replayed"] == "true"
    assert ask(api, "b").json()["id"] != first.json()["id"]
    assert count(api) == 3


def test_another_request_under_the_same_name_is_refused(api: Api) -> None:
    ask(api, "a")
    for other in (
        ask(api, "a", {"project": "web", "name": "Other"}),
        ask(api, "a", path="/projects"),
        ask(api, "a", path="/tasks?x=1"),
    ):
        assert (other.status_code, other.headers["content-type"]) == (422, "application/problem+json")
    assert count(api) == 2


def test_names_belong_to_keys(api: Api) -> None:
    assert ask(api, "a", scope="write").json()["id"] != ask(api, "a").json()["id"]
    assert ask(api, "a", scope=None).status_code == 401
    assert ask(api, "a", scope="read").status_code == 403


def test_what_was_refused_may_be_tried_again(api: Api) -> None:
    wrong = {"project": "web", "name": "New", "phase": "later"}
    assert ask(api, "a", wrong).status_code == 404
    api.ask("POST", "/projects/web/phases", json={"key": "later", "name": "Later"})
    assert ask(api, "a", wrong).status_code == 201
    assert ask(api, "a", wrong).headers["idempotency-replayed"] == "true"


@pytest.mark.parametrize("name", ["", "x" * 201, "caf\xe9", "a\tb"])
def test_what_is_no_name_is_refused(name: str, api: Api) -> None:
    answer = api.ask("POST", "/tasks", json=NEW, headers=[(b"Idempotency-Key", name.encode("latin-1"))])
    assert (answer.status_code, count(api)) == (400, 1)


def test_of_many_at_once_one_is_done(api: Api) -> None:
    api.key()
    answers: list[Any] = []
    threads = [threading.Thread(target=lambda: answers.append(ask(api, "a"))) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert count(api) == 2
    codes = {answer.status_code for answer in answers}
    assert 201 in codes
    assert codes <= {201, 409}
    assert len({answer.json()["id"] for answer in answers if answer.status_code == 201}) == 1


def test_it_outlives_the_server_and_is_forgotten_after_a_day(api: Api) -> None:
    first = ask(api, "a").json()["id"]

    def later(hours: float) -> Any:
        server = Server(Project(api.root), lambda _: None, now=lambda: _utc() + timedelta(hours=hours))
        client = Client(api.client.portal, make_app(server))
        headers = {"X-API-Key": api.key(), "Idempotency-Key": "a"}
        return client.request("POST", "/api/v1/tasks", json=NEW, headers=headers)

    assert later(23.9).json()["id"] == first
    assert count(api) == 2
    assert later(24.1).json()["id"] != first
    assert count(api) == 3


def test_a_request_that_was_cut_off_is_not_done_again(api: Api) -> None:
    """As after the death of the server: it is kept that it was begun, and nobody holds it."""
    ask(api, "a")
    (kept,) = (api.root / ".git/dagtasks/replies").glob("*.json")
    assert stat.S_IMODE(kept.stat().st_mode) == 0o600
    text = kept.read_text()
    kept.write_text(text[: text.index('"reply"')] + '"reply": null}')
    answer = ask(api, "a")
    assert (answer.status_code, count(api)) == (409, 2)
    assert "nobody knows" in answer.json()["detail"]


def test_a_run_is_asked_for_once(api: Api) -> None:
    path = "/tasks/web-000002/workflows/check/runs"
    first = ask(api, "a", {"ignore_dependencies": True}, path=path)
    second = ask(api, "a", {"ignore_dependencies": True}, path=path)
    assert (first.status_code, second.status_code, first.json()) == (202, 202, second.json())
    assert len(api.get("/queue").json()["data"]) == 1


def test_what_a_hook_refused_may_be_tried_again(api: Api) -> None:
    hook = api.root / ".git/hooks/commit-msg"
    hook.write_text("#!/bin/sh\necho no ticket is named >&2\nexit 1\n")
    hook.chmod(0o755)
    refused = ask(api, "a")
    assert (refused.status_code, refused.json()["type"]) == (409, "CommitRefused")
    assert "no ticket is named" in refused.json()["detail"]
    hook.unlink()
    assert (ask(api, "a").status_code, count(api)) == (201, 2)


def test_a_fault_is_answered_again(api: Api) -> None:
    lock = api.root / ".git/objects"
    lock.rename(lock.with_name("gone"))
    assert ask(api, "a").status_code == 500
    lock.with_name("gone").rename(lock)
    assert (ask(api, "a").status_code, ask(api, "b").status_code, count(api)) == (500, 201, 2)


def test_other_methods_have_no_need_of_it(api: Api) -> None:
    headers = {"Idempotency-Key": "a", "If-Match": "*"}
    for name in ("X", "Y"):
        assert api.ask("PATCH", "/tasks/web-000001", json={"name": name}, headers=headers).json()["name"] == name
