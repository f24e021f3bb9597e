"""Webhooks over HTTP: who is told, with which secret, and what became of it."""

from __future__ import annotations

import pytest

from dagtasks.service.postman import look_and_deliver
from dagtasks.store.project import Project
from dagtasks.webhooks.signing import is_secret
from tests.api.conftest import Api
from tests.webhooks.receiver import Receiver, receiving


@pytest.fixture
def receiver(monkeypatch: pytest.MonkeyPatch) -> Receiver:
    monkeypatch.setenv("DAGTASKS_ALLOW_HOSTS", "127.0.0.1")
    with receiving() as found:
        yield found


def test_a_webhook_is_made_changed_and_removed(api: Api, receiver: Receiver) -> None:
    form = {"name": "chat", "url": f"{receiver.url}/chat", "events": ["task.*"], "project": "web"}
    made = api.ask("POST", "/webhooks", json=form)
    assert (made.status_code, made.headers["location"]) == (201, "/api/v1/webhooks/chat")
    assert is_secret(made.json()["secret"])
    assert made.headers["dagtasks-commit"]
    assert "secret" not in (api.root / "config/webhooks.yaml").read_text()
    shown = api.get("/webhooks/chat")
    assert shown.headers["etag"] == made.headers["etag"]
    assert {key: shown.json()[key] for key in ("events", "project", "enabled", "secrets", "state")} == {
        "events": ["task.*"],
        "project": "web",
        "enabled": True,
        "secrets": 1,
        "state": "ready",
    }
    assert "secret" not in shown.json()
    assert [row["name"] for row in api.get("/webhooks").json()["data"]] == ["chat"]
    assert api.ask("PATCH", "/webhooks/chat", json={"enabled": False}).status_code == 428
    changed = api.change("PATCH", "/webhooks/chat", {"enabled": False, "project": None})
    assert (changed.json()["enabled"], changed.json()["project"], changed.json()["state"]) == (False, None, "disabled")
    assert api.change("DELETE", "/webhooks/chat").status_code == 200
    assert api.get("/webhooks/chat").status_code == 404


@pytest.mark.parametrize(
    "form",
    [
        {"url": "ftp://x.example/"},
        {"url": "https://me:pw@x.example/"},
        {"url": "https://x.example:99999999/"},
        {"events": ["task.nothing"]},
        {"project": "nope"},
        {"secret": "whsec_short"},
        {"enabled": "yes"},
        {"name": "../x"},
        {"name": ""},
    ],
)
def test_what_makes_no_sense_is_refused_and_nothing_is_written(api: Api, form: dict[str, object]) -> None:
    answer = api.ask("POST", "/webhooks", json={"name": "chat", "url": "https://x.example/", **form})
    assert answer.status_code == 400, answer.text
    assert answer.json()["field"] == next(iter(form))
    assert not (api.root / "config/webhooks.yaml").exists()


def test_secrets_are_exchanged_one_after_the_other(api: Api, receiver: Receiver) -> None:
    first = api.ask("POST", "/webhooks", json={"name": "chat", "url": f"{receiver.url}/chat"}).json()["secret"]
    second = api.ask("POST", "/webhooks/chat/secrets").json()
    assert (second["secrets"], is_secret(second["secret"]), second["secret"] != first) == (2, True, True)
    assert api.ask("POST", "/webhooks/chat/test").json()["result"] == "200"
    assert [receiver.got[-1].is_signed_by(secret) for secret in (first, second["secret"])] == [True, True]
    assert api.ask("DELETE", "/webhooks/chat/secrets").json()["secrets"] == 1
    api.ask("POST", "/webhooks/chat/test")
    assert [receiver.got[-1].is_signed_by(secret) for secret in (first, second["secret"])] == [False, True]


def test_what_happened_is_listed_and_sent_again(api: Api, receiver: Receiver) -> None:
    receiver.answers = lambda _got: (500, {}, b"no")
    api.ask("POST", "/webhooks", json={"name": "chat", "url": f"{receiver.url}/chat"})
    assert api.ask("POST", "/webhooks/chat/test").json()["result"].startswith("500")
    assert api.get("/deliveries?webhook=nope").status_code == 404
    assert api.get("/deliveries?webhook=chat").json() == {"data": [], "next": None}
    assert api.get("/deliveries?state=lost").status_code == 400
    api.ask("POST", "/tasks", json={"project": "web", "name": "New"})
    look_and_deliver(Project(api.root), lambda _sent: None)
    seen = {state: api.get(f"/deliveries?state={state}").json()["data"] for state in ("waiting", "delivered", "dead")}
    assert {state: {row["state"] for row in rows} for state, rows in seen.items()} == {
        "waiting": {"waiting"},
        "delivered": set(),
        "dead": set(),
    }
    assert api.ask("POST", "/webhooks/chat/replay", json={"events": ["evt_0"]}).status_code == 404
    assert api.ask("POST", "/webhooks/chat/replay").json()["data"] == []


def test_only_an_administrator_has_others_told(api: Api) -> None:
    for method, path in (("POST", "/webhooks"), ("POST", "/webhooks/chat/secrets"), ("POST", "/webhooks/chat/test")):
        for scope in ("read", "write", "run"):
            assert api.ask(method, path, scope=scope, json={}).status_code == 403
