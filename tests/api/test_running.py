"""Running: what is asked is queued, and a runner does it."""

from __future__ import annotations

import json
import stat
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from dagtasks.service import requests
from dagtasks.store.project import Project
from dagtasks.store.queue import Queue
from dagtasks.triggers.runner import work
from tests.api.conftest import Api, MakeApi
from tests.conftest import git

ASK = """\
metadata: {name: ask}
parameters: {word: {type: string, default: hello}}
steps:
  - {name: say, script: {source: 'echo "$WORD"', env: {WORD: "${params.word}"}}}
  - name: sure
    depends_on: [say]
    approval: {message: Sure?, approvers: [bo@example.org], parameters: {where: {type: string, required: true}}}
  - {name: done, depends_on: [sure], script: {source: 'echo done'}}
"""
SECRET = """\
metadata: {name: secret}
secrets: [TOKEN]
steps: [{name: say, script: {source: 'echo x', env: {TOKEN: "${secrets.TOKEN}"}}}]
"""
FAIL = """\
metadata: {name: fail}
parameters: {code: {type: integer, default: 1}}
steps: [{name: say, script: {source: 'exit "$CODE"', env: {CODE: "${params.code}"}}}]
"""
TASK = "name: Four\n\nworkflows:\n" + "".join(
    f"  {name}:\n    template: {name}\n" for name in ("ask", "secret", "fail")
)
MORE = {
    "tasks/web/web-000004.yaml": TASK,
    "templates/ask.yaml": ASK,
    "templates/secret.yaml": SECRET,
    "templates/fail.yaml": FAIL,
}
ASK_RUN, CHECK = "/tasks/web-000004/workflows/ask/runs", "/tasks/web-000002/workflows/check/runs"


@pytest.fixture
def api(make_api: MakeApi, monkeypatch: pytest.MonkeyPatch) -> Api:
    monkeypatch.setenv("DAGTASKS_ENGINE", "local")
    monkeypatch.setenv("DAGTASKS_SECRET_TOKEN", "correct-horse")
    return make_api(MORE)


def run_queue(api: Api) -> list[str]:
    """Be the runner; the states of the runs that it did."""
    return [str(record.status) for record in work(Project(api.root))]


def start(api: Api, path: str, **body: Any) -> dict[str, Any]:
    answer = api.ask("POST", path, scope="run", **({"json": body} if body else {}))
    assert answer.status_code == 202, answer.text
    assert answer.headers["location"] == f"/api/v1/runs/{answer.json()['id']}"
    return answer.json()  # type: ignore[no-any-return]


def test_a_run_is_queued_and_a_runner_is_started(api: Api) -> None:
    asked = start(api, ASK_RUN, parameters={"word": "it's ${params.word} @/etc/passwd"})
    assert (asked["status"], asked["task"], asked["workflow"], asked["actor"]) == (
        "queued",
        "web-000004",
        "ask",
        "bo@example.org",
    )
    assert api.runners == [api.root]
    assert api.get(f"/runs/{asked['id']}").json() == asked
    assert [entry["run"] for entry in api.get("/queue").json()["data"]] == [asked["id"]]
    assert run_queue(api) == ["waiting"]
    shown = api.get(f"/runs/{asked['id']}").json()
    assert (shown["status"], shown["trigger"], shown["actor"]) == ("waiting", "api", "bo@example.org")
    assert shown["parameters"] == {"word": "it's ${params.word} @/etc/passwd"}
    assert shown["origin"]["by"] == "bo@example.org"
    texts = [line["text"] for line in api.get(f"/runs/{asked['id']}/logs?step=say").json()["data"]]
    assert texts == ["it's ${params.word} @/etc/passwd"]
    assert api.get("/queue").json()["data"] == []
    assert [run["id"] for run in api.get("/runs?status=waiting").json()["data"]] == [asked["id"]]


def test_what_waits_in_the_queue_is_nobody_elses_business(api: Api) -> None:
    start(api, ASK_RUN, parameters={"word": "private"})
    (entry,) = (api.root / ".git/dagtasks/queue").glob("*.json")
    assert stat.S_IMODE(entry.stat().st_mode) == 0o600


def test_an_approval_is_answered_and_the_run_goes_on(api: Api) -> None:
    run = start(api, ASK_RUN)["id"]
    run_queue(api)
    path = f"/runs/{run}/approve"
    for body, status in (
        ({"step": "nope"}, 404),
        ({"step": "say"}, 409),
        ({"step": "sure"}, 400),
        ({"step": "sure", "parameters": {"where": 1}}, 400),
        ({}, 400),
    ):
        assert api.ask("POST", path, json=body).status_code == status, body
    answer = api.ask("POST", path, scope="run", json={"step": "sure", "parameters": {"where": "here"}})
    assert answer.status_code == 202
    assert run_queue(api) == ["succeeded"]
    shown = api.get(f"/runs/{run}").json()
    step = next(step for step in shown["steps"] if step["name"] == "sure")
    assert "bo@example.org" in json.dumps(step)
    assert api.get("/queue").json()["data"] == []
    assert api.ask("POST", path, json={"step": "sure", "parameters": {"where": "x"}}).status_code == 409


def test_an_approval_is_rejected(api: Api) -> None:
    run = start(api, ASK_RUN)["id"]
    run_queue(api)
    api.ask("POST", f"/runs/{run}/approve", json={"step": "sure", "approved": False, "reason": "no"})
    assert run_queue(api) == ["failed"]


def test_who_is_no_approver_is_refused(make_api: MakeApi, api: Api) -> None:
    from tests.api.conftest import make_key

    run = start(api, ASK_RUN)["id"]
    run_queue(api)
    key = make_key(api.root, "run", "Eve <eve@example.org>")
    body = {"step": "sure", "parameters": {"where": "x"}}
    answer = api.ask("POST", f"/runs/{run}/approve", scope=None, headers={"X-API-Key": key}, json=body)
    assert (answer.status_code, "eve@example.org" in answer.json()["detail"]) == (409, True)


def test_a_run_is_cancelled_where_it_is(api: Api) -> None:
    queued = start(api, ASK_RUN)["id"]
    assert api.ask("POST", f"/runs/{queued}/cancel", scope="run").json()["status"] == "cancelled"
    assert run_queue(api) == []
    assert api.get(f"/runs/{queued}").json()["status"] == "cancelled"
    waiting = start(api, ASK_RUN)["id"]
    run_queue(api)
    assert api.ask("POST", f"/runs/{waiting}/cancel").status_code == 202
    assert run_queue(api) == ["cancelled"]
    assert api.ask("POST", f"/runs/{waiting}/cancel").status_code == 409
    assert api.ask("POST", "/runs/nope/cancel").status_code == 404


def test_a_run_that_a_runner_has_just_taken_is_still_there(api: Api) -> None:
    """Until its record is written, which takes the time of planning it."""
    run = start(api, ASK_RUN)["id"]
    (entry,) = (api.root / ".git/dagtasks/queue").glob("*.json")
    entry.write_text(entry.read_text().replace('"tries": 0', '"tries": 1'))
    assert api.get(f"/runs/{run}").json()["status"] == "queued"
    with Queue(Project(api.root).get_git()).hold():  # as that runner
        assert api.ask("POST", f"/runs/{run}/cancel").status_code == 409
    assert api.ask("POST", f"/runs/{run}/cancel").json()["status"] == "cancelled"


def test_of_two_requests_to_end_a_run_one_does_it(api: Api) -> None:
    run = start(api, ASK_RUN)["id"]
    run_queue(api)
    for _ in range(2):
        assert api.ask("POST", f"/runs/{run}/cancel").status_code == 202
    assert run_queue(api) == ["cancelled", "cancelled"]
    journal = (api.root / f".git/dagtasks/runs/{run}/events.jsonl").read_text()
    assert journal.count('"run.finished"') == 1
    assert api.get("/queue").json()["data"] == []
    assert api.get(f"/runs/{run}").json()["status"] == "cancelled"


def test_taking_what_goes_on_with_a_run_out_of_the_queue_leaves_its_record(api: Api, cli: Any) -> None:
    run = start(api, ASK_RUN)["id"]
    run_queue(api)
    api.ask("POST", f"/runs/{run}/cancel")
    (entry,) = api.get("/queue").json()["data"]
    assert cli(api.root, "queue", "cancel", entry["id"]).code == 0
    assert api.get(f"/runs/{run}").json()["status"] == "waiting"
    assert len(api.get(f"/runs/{run}").json()["steps"]) == 3


def test_a_run_is_tried_again_with_other_parameters(api: Api) -> None:
    first = start(api, "/tasks/web-000004/workflows/fail/runs")["id"]
    assert api.ask("POST", f"/runs/{first}/retry").status_code in (404, 409)
    assert run_queue(api) == ["failed"]
    for body, status in (
        ({"parameters": {"code": "x"}}, 400),
        ({"from_step": "nope"}, 404),
        ({"step": "say"}, 400),
        ({"parameters": {"nope": 1}}, 400),
    ):
        assert api.ask("POST", f"/runs/{first}/retry", json=body).status_code == status, body
    again = start(api, f"/runs/{first}/retry", parameters={"code": 0})
    assert (again["retry_of"], again["status"], api.get(f"/runs/{again['id']}").json()) == (first, "queued", again)
    assert run_queue(api) == ["succeeded"]
    shown = api.get(f"/runs/{again['id']}").json()
    assert (shown["retry_of"], shown["parameters"]) == (first, {"code": 0})
    current = start(api, f"/runs/{first}/retry", parameters={"code": 0}, current=True, everything=True)
    assert run_queue(api) == ["succeeded"]
    assert api.get(f"/runs/{current['id']}").json()["status"] == "succeeded"


WRONG = [
    ("/tasks/web-zzzzzz/workflows/x/runs", {}, 404),
    ("/tasks/web-000004/workflows/nope/runs", {}, 404),
    (CHECK, {}, 409),  # it depends on an open task
    (ASK_RUN, {"parameters": {"word": 1}}, 400),
    (ASK_RUN, {"parameters": {"nope": "x"}}, 400),
    (ASK_RUN, {"engine": "local"}, 400),
    (ASK_RUN, {"parameters": []}, 400),
    ("/tasks/web-000004/workflows/secret/runs", {}, 409),  # it gets a secret
]


def test_what_cannot_be_run_is_refused_when_it_is_asked(api: Api) -> None:
    for path, body, status in WRONG:
        answer = api.ask("POST", path, json=body)
        assert answer.status_code == status, (path, body, answer.text)
    assert api.get("/queue").json()["data"] == []
    assert api.runners == []
    assert start(api, CHECK, ignore_dependencies=True)["status"] == "queued"


def test_what_gets_a_secret_runs_once_it_is_approved(api: Api, cli: Any) -> None:
    assert cli(api.root, "trust", "approve", "secret", "--yes").code == 0
    start(api, "/tasks/web-000004/workflows/secret/runs")
    assert run_queue(api) == ["succeeded"]
    start(api, "/tasks/web-000004/workflows/secret/runs")
    (api.root / "templates/secret.yaml").write_text(SECRET.replace("echo x", "echo y"))
    assert run_queue(api) == ["skipped"]


def test_what_has_become_wrong_meanwhile_is_told_by_the_record(api: Api) -> None:
    run = start(api, ASK_RUN)["id"]
    (api.root / "templates/ask.yaml").write_text("steps: [\n")
    assert run_queue(api) == ["errored"]
    shown = api.get(f"/runs/{run}").json()
    assert (shown["status"], bool(shown["error"]["message"])) == ("errored", True)


def test_an_entry_that_has_begun_already_is_not_begun_anew(api: Api) -> None:
    """As after the death of a runner: the record is there, and the entry still is."""
    run = start(api, "/tasks/web-000004/workflows/fail/runs")["id"]
    (file,) = (api.root / ".git/dagtasks/queue").glob("*.json")
    content = file.read_bytes()
    assert run_queue(api) == ["failed"]
    file.parent.mkdir(exist_ok=True)
    file.write_bytes(content)
    assert run_queue(api) == ["failed"]
    assert [one["id"] for one in api.get("/runs").json()["data"]] == [run]


def test_a_fault_of_the_runner_tells_an_id_and_the_run_is_not_lost(
    api: Api, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    from dagtasks.api.app import make_app
    from dagtasks.api.desk import Server
    from tests.api.conftest import Client

    def fail(_: Project) -> None:
        raise RuntimeError("a secret place")

    client = Client(api.client.portal, make_app(Server(Project(api.root), fail)))
    answer = client.request("POST", f"/api/v1{ASK_RUN}", headers={"X-API-Key": api.key()})
    assert (answer.status_code, "secret" in answer.text) == (500, False)
    assert answer.json()["id"] in caplog.text
    assert run_queue(api) == ["waiting"]


# -- streams --------------------------------------------------------------------------------------------------------


def events(text: str) -> list[tuple[str, Any]]:
    blocks = [block for block in text.split("\n\n") if block and not block.startswith(":")]
    pairs = [dict(line.split(": ", 1) for line in block.split("\n")) for block in blocks]
    return [(pair["event"], json.loads(pair["data"])) for pair in pairs]


STREAM = {"Accept": "text/event-stream"}


def test_logs_are_streamed_until_the_run_has_ended(api: Api) -> None:
    run = start(api, "/tasks/web-000004/workflows/fail/runs", parameters={"code": 0})["id"]
    run_queue(api)
    answer = api.get(f"/runs/{run}/logs", headers=STREAM, scope="read")
    assert answer.headers["content-type"].startswith("text/event-stream")
    *lines, (name, ended) = events(answer.text)
    assert (name, ended["id"], ended["status"]) == ("end", run, "succeeded")
    assert all(name == "line" for name, _ in lines)
    assert api.get("/runs/nope/logs", headers=STREAM).status_code == 404
    assert api.get(f"/runs/{run}/logs?step=nope", headers=STREAM).status_code == 404
    assert api.client.get(f"/api/v1/runs/{run}/logs", headers=STREAM).status_code == 401


def test_who_asks_for_the_logs_of_a_run_that_is_queued_waits_for_it(api: Api) -> None:
    run = start(api, ASK_RUN, parameters={"word": "soon"})["id"]
    assert api.get(f"/runs/{run}/logs").json() == {"data": [], "next": None}
    assert api.get(f"/runs/{run}/logs?step=say").json()["data"] == []
    reader = requests.read_logs(Project(api.root), run, "say")
    assert (reader.read(), reader.record.status) == ([], "queued")
    run_queue(api)
    assert [line["text"] for line in reader.read()] == ["soon"]
    assert reader.record.status == "waiting"
    again = start(api, "/tasks/web-000004/workflows/fail/runs")["id"]
    with ThreadPoolExecutor() as pool:
        answer = pool.submit(api.get, f"/runs/{again}/logs", headers=STREAM)
        run_queue(api)
        assert [name for name, _ in events(answer.result().text)] == ["end"]


def test_events_are_kept_and_can_be_asked_for_again(api: Api) -> None:
    run_queue(api)  # the first look
    api.change("PATCH", "/tasks/web-000003", {"priority": "high"})
    run_queue(api)
    listed = api.get("/events").json()["data"]
    assert [event["subject"] for event in listed] == ["web-000003"]
    last = listed[-1]["id"]
    assert api.get(f"/events?after={last}").json() == {"data": [], "next": None}


def test_find_run_is_sure_of_a_run_that_begins_meanwhile(api: Api) -> None:
    run = start(api, ASK_RUN)["id"]
    assert requests.find_run(Project(api.root), run).status == "queued"
    run_queue(api)
    assert requests.find_run(Project(api.root), run).status == "waiting"
    assert git(api.root, "status", "--porcelain") == ""
    assert Path(api.root).is_dir()
