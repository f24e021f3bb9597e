"""Writing: each change is one commit, by the user of the key, of what the client has seen."""

from __future__ import annotations

import threading
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest

from dagtasks.service.fields import merge_patch
from tests.api.conftest import Api, MakeApi
from tests.conftest import git, write_files

TASK = "tasks/web/web-000001.yaml"


def head(api: Api) -> str:
    return git(api.root, "rev-parse", "HEAD")


def changed(api: Api) -> list[str]:
    return git(api.root, "show", "--name-only", "--format=", "HEAD").splitlines()


def assert_commit(api: Api, answer: Any, before: str, *paths: str) -> None:
    """The answer is of one commit that holds exactly these paths, and nothing else was touched."""
    assert answer.status_code in (200, 201), answer.text
    assert answer.headers["dagtasks-commit"] == head(api)
    assert git(api.root, "rev-list", "--count", f"{before}..HEAD") == "1"
    assert changed(api) == sorted(paths)
    assert git(api.root, "status", "--porcelain") == ""
    assert git(api.root, "log", "-1", "--format=%an <%ae>|%cn <%ce>") == "Bo <bo@example.org>|Ann <ann@example.org>"


def digest(api: Api, path: str) -> str:
    return f'"{sha256((api.root / path).read_bytes()).hexdigest()}"'


def test_everything_is_made_changed_replaced_and_deleted(api: Api) -> None:
    """The life of each kind of thing; every step is one commit, and its answer is what is there then."""
    lives: list[tuple[str, dict[str, Any], str, str, dict[str, Any] | None, dict[str, Any] | None]] = [
        (
            "/projects",
            {"key": "ops", "name": "Ops", "metadata": {"a": 1, "b": "x"}},
            "/projects/ops",
            "tasks/ops/project.yaml",
            {"name": "Ops 2", "metadata": {"a": None, "c": {"d": [1, 2]}}},
            {"name": "Ops 3"},
        ),
        (
            "/projects/web/phases",
            {"key": "test", "name": "Test"},
            "/projects/web/phases/test",
            "tasks/web/phases/test.yaml",
            {"order": 7},
            {"name": "Test 2", "description": "all of it"},
        ),
        (
            "/tasks/web-000001/workflows",
            {"name": "go", "template": "basic_task", "parameters": {"task_name": "a", "task_command": "echo"}},
            "/tasks/web-000001/workflows/go",
            TASK,
            {"parameters": {"task_name": None, "task_command": "echo 2"}},
            {"template": "basic_task", "parameters": {"task_name": "b"}},
        ),
        (
            "/templates",
            {"name": "fresh", "type": "script_workflow"},
            "/templates/fresh",
            "templates/fresh.yaml",
            None,
            None,
        ),
    ]
    for address, body, one, path, patch, replacement in lives:
        before = head(api)
        made = api.ask("POST", address, json=body)
        assert made.status_code == 201, made.text
        assert made.headers["location"] == f"/api/v1{one}"
        assert made.headers["etag"] == digest(api, path) == api.get(one).headers["etag"]
        assert_commit(api, made, before, path)
        if patch:
            before = head(api)
            patched = api.change("PATCH", one, patch)
            assert_commit(api, patched, before, path)
            assert patched.headers["etag"] == digest(api, path)
            assert patched.json() == {**api.get(one).json()} == merge_patch(made.json(), patch)
        if replacement:
            before = head(api)
            put = api.change("PUT", one, replacement)
            assert_commit(api, put, before, path)
            assert put.json() == api.get(one).json()
            assert {key: put.json()[key] for key in replacement} == replacement
        before = head(api)
        assert_commit(api, api.change("DELETE", one), before, path)
        assert api.get(one).status_code == 404


def test_a_task_is_made_changed_replaced_and_deleted(api: Api) -> None:
    before = head(api)
    body = {
        "project": "web",
        "name": "New",
        "depends_on": ["000001"],
        "labels": ["b", "a"],
        "metadata": {"k": {"x": 1}},
    }
    made = api.ask("POST", "/tasks", json=body)
    shown = made.json()
    path = shown["path"]
    assert_commit(api, made, before, path)
    assert (shown["depends_on"], shown["labels"], shown["status"]) == (["web-000001"], ["a", "b"], "planned")
    one = f"/tasks/{shown['id']}"
    before = head(api)
    patch = {"priority": "high", "labels": None, "metadata": {"k": {"y": 2}, "z": True}, "due": "2026-12-31"}
    patched = api.change("PATCH", one, patch)
    assert_commit(api, patched, before, path)
    assert patched.json()["metadata"] == {"k": {"x": 1, "y": 2}, "z": True}
    assert (patched.json()["labels"], patched.json()["due"]) == ([], "2026-12-31")
    before = head(api)
    put = api.change("PUT", one, {"name": "Newer"})
    assert_commit(api, put, before, path)
    rest = {"name": "Newer", "priority": "medium", "due": None, "depends_on": [], "metadata": {}, "status": "planned"}
    assert {key: put.json()[key] for key in rest} == rest
    before = head(api)
    said = api.ask("POST", f"{one}/comments", json={"text": "Looks *good*"})
    assert said.json()["author"] == "Bo"
    assert_commit(api, said, before, *changed(api))
    before = head(api)
    gone = api.change("DELETE", one)
    assert_commit(api, gone, before, *changed(api))
    assert gone.json()["notes"]
    assert api.get(one).status_code == 404


def test_a_change_is_spliced_in(api: Api) -> None:
    api.change("PATCH", "/tasks/web-000001", {"priority": "high"})
    text = (api.root / TASK).read_text()
    assert text.startswith("# kept\nname: One\n\nstatus: planned\n")
    assert "priority: high" in text


def test_the_text_of_a_template_is_replaced_when_it_is_right(api: Api) -> None:
    path = "/templates/basic_task/text"
    text = api.get(path).json()["text"]
    before = head(api)
    assert_commit(api, api.change("PUT", path, {"text": f"{text}# more\n"}), before, "templates/basic_task.yaml")
    before = head(api)
    for wrong, status in (
        ("steps: [\n", 422),
        (text.replace("name: basic_task", "name: other"), 400),
        ("", 422),
        ("\x00", 422),
        (text + "unknown_key: 1\n", 422),
        ("#" * 1_000_000, 422),
    ):
        answer = api.change("PUT", path, {"text": wrong})
        assert answer.status_code == status, (wrong[:20], answer.text)
    assert head(api) == before
    assert api.get(path).json()["text"] == f"{text}# more\n"


def test_a_template_that_is_used_is_not_deleted(api: Api) -> None:
    refused = api.change("DELETE", "/templates/basic_task")
    assert (refused.status_code, "web-000002/check" in refused.json()["detail"]) == (409, True)


ONES = ["/projects/web", "/projects/web/phases/build", "/tasks/web-000001", "/tasks/web-000002/workflows/check"]


def test_a_change_says_what_it_is_a_change_of(api: Api) -> None:
    before = head(api)
    for one in [*ONES, "/templates/basic_task/text", "/templates/basic_task"]:
        tag = api.get(one).headers["etag"]
        ways = {"PATCH": {"name": "x"}, "PUT": {"name": "x"}, "DELETE": None}
        if "workflows" in one:
            ways |= {"PATCH": {"template": "x"}, "PUT": {"template": "x"}}
        if "templates" in one:
            ways = {"PUT": {"text": "x"}} if one.endswith("text") else {"DELETE": None}
        for method, body in ways.items():
            more = {} if body is None else {"json": body}
            assert api.ask(method, one, **more).status_code == 428, (method, one)
            for stale in ('"stale"', f"W/{tag}", "", "x"):
                answer = api.ask(method, one, headers={"If-Match": stale}, **more)
                assert answer.status_code == 412, (method, one, stale)
                assert answer.headers["content-type"] == "application/problem+json"
    assert head(api) == before
    assert api.ask("PATCH", "/tasks/web-000001", json={"name": "X"}, headers={"If-Match": "*"}).status_code == 200
    tag = api.get("/tasks/web-000001").headers["etag"]
    tags = {"If-Match": f'"a", {tag}'}
    assert api.ask("PATCH", "/tasks/web-000001", json={"name": "Y"}, headers=tags).status_code == 200


def test_of_two_changes_of_one_thing_one_is_refused(api: Api) -> None:
    tag = api.get("/tasks/web-000001").headers["etag"]
    answers = []

    def change(number: int) -> None:
        patch = {"name": f"By {number}"}
        answers.append(api.ask("PATCH", "/tasks/web-000001", json=patch, headers={"If-Match": tag}))

    api.key()
    threads = [threading.Thread(target=change, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(answer.status_code for answer in answers) == [200, 412, 412, 412]
    assert git(api.root, "rev-list", "--count", "HEAD") == "2"


WRONG: list[tuple[str, str, Any, int, str]] = [
    ("POST", "/projects", {"key": "web", "name": "x"}, 409, "there already"),
    ("POST", "/projects", {"key": "../x", "name": "x"}, 400, "no key"),
    ("POST", "/projects", {"key": "x"}, 400, "name"),
    ("POST", "/projects", {"key": "x", "name": "x", "path": "y"}, 400, "path"),
    ("POST", "/projects", {"key": "x", "name": 1}, 400, "name"),
    ("POST", "/projects", {"key": "x", "name": "two\nlines"}, 400, "name"),
    ("POST", "/projects", {"key": "x", "name": "x\x00y"}, 400, ""),
    ("POST", "/projects", [], 400, ""),
    ("POST", "/projects", "x", 400, ""),
    ("POST", "/projects/nope/phases", {"key": "x", "name": "x"}, 404, "nope"),
    ("POST", "/projects/web/phases", {"key": "build", "name": "x"}, 409, "there already"),
    ("POST", "/projects/web/phases", {"key": "x", "name": "x", "order": True}, 400, "order"),
    ("POST", "/tasks", {"project": "nope", "name": "x"}, 404, "nope"),
    ("POST", "/tasks", {"project": "web", "name": "x", "id": "web-zzzzzz"}, 400, "id"),
    ("POST", "/tasks", {"project": "web", "name": "x", "status": "done"}, 400, "done"),
    ("POST", "/tasks", {"project": "web", "name": "x", "phase": "nope"}, 404, "nope"),
    ("POST", "/tasks", {"project": "web", "name": "x", "depends_on": ["web-zzzzzz"]}, 404, "web-zzzzzz"),
    ("POST", "/tasks", {"project": "web", "name": "x", "due": "tomorrow"}, 400, ""),
    ("POST", "/tasks", {"project": "web", "name": "x", "status": "completed", "depends_on": ["000001"]}, 409, "open"),
    ("POST", "/tasks/web-000001/comments", {"text": "  "}, 400, "text"),
    ("POST", "/tasks/web-zzzzzz/comments", {"text": "x"}, 404, "web-zzzzzz"),
    ("POST", "/tasks/web-000002/workflows", {"name": "check", "template": "basic_task"}, 409, "already"),
    ("POST", "/tasks/web-000001/workflows", {"name": "x", "template": "nope"}, 404, "nope"),
    ("POST", "/tasks/web-000001/workflows", {"name": "x y", "template": "basic_task"}, 400, "name"),
    (
        "POST",
        "/tasks/web-000001/workflows",
        {"name": "x", "template": "basic_task", "parameters": {"nope": 1}},
        400,
        "nope",
    ),
    (
        "POST",
        "/tasks/web-000001/workflows",
        {"name": "x", "template": "basic_task", "parameters": {"task_name": 1}},
        400,
        "task_name",
    ),
    ("POST", "/templates", {"name": "basic_task"}, 409, "there already"),
    ("POST", "/templates", {"name": "x", "type": "../../../x"}, 400, "type"),
    ("POST", "/templates", {"name": "../x"}, 400, "name"),
    ("PATCH", "/projects/web", {"triggers": []}, 400, "triggers"),
    ("PATCH", "/projects/web", {"name": None}, 400, "name"),
    ("PATCH", "/tasks/web-000001", {"project": "ops"}, 400, "project"),
    ("PATCH", "/tasks/web-000001", {"workflows": {}}, 400, "workflows"),
    ("PATCH", "/tasks/web-000001", {"status": "done"}, 400, "done"),
    ("PATCH", "/tasks/web-000001", {"depends_on": ["web-000002"]}, 409, "circle"),
    ("PATCH", "/tasks/web-000002", {"status": "in_progress"}, 409, "open"),
    ("PATCH", "/tasks/web-000001", {"metadata": []}, 400, "metadata"),
    ("PATCH", "/tasks/web-000002/workflows/check", {"template": None}, 400, "template"),
    ("PATCH", "/tasks/web-000002/workflows/check", {"parameters": {"task_command": 5}}, 400, "task_command"),
    ("DELETE", "/tasks/web-000001", None, 409, "depend"),
    ("DELETE", "/projects/web", None, 409, "still holds"),
    ("DELETE", "/projects/web/phases/build", None, 409, "still holds"),
]


def test_what_is_wrong_is_refused_and_changes_nothing(api: Api) -> None:
    before = head(api)
    for method, path, body, status, words in WRONG:
        more = {} if body is None else {"json": body}
        answer = api.ask(method, path, headers={} if method == "POST" else {"If-Match": "*"}, **more)
        assert answer.status_code == status, (method, path, body, answer.text)
        assert answer.headers["content-type"] == "application/problem+json"
        assert words in answer.text, (method, path, body, answer.text)
    assert head(api) == before
    assert git(api.root, "status", "--porcelain") == ""


def test_a_task_is_started_although_it_waits_when_that_is_said(api: Api) -> None:
    answer = api.change("PATCH", "/tasks/web-000002?ignore_dependencies=true", {"status": "in_progress"})
    assert answer.status_code == 200
    answer = api.change("DELETE", "/tasks/web-000001?detach=true")
    assert (answer.status_code, changed(api)) == (200, [TASK, "tasks/web/web-000002.yaml"])


def test_a_change_to_what_is_there_already_is_no_commit(api: Api) -> None:
    before = head(api)
    answer = api.change("PATCH", "/tasks/web-000001", {"name": "One", "metadata": {}})
    assert (answer.status_code, "dagtasks-commit" in answer.headers, head(api)) == (200, False, before)
    assert answer.headers["etag"] == digest(api, TASK)


@pytest.mark.parametrize("method", ["PATCH", "POST", "DELETE"])
def test_nothing_stays_changed_that_a_hook_does_not_let_be_committed(method: str, api: Api) -> None:
    hook = api.root / ".git/hooks/pre-commit"
    hook.write_text("#!/bin/sh\necho no such change >&2\nexit 1\n")
    hook.chmod(0o755)
    if method == "POST":
        answer = api.ask("POST", "/tasks", json={"project": "web", "name": "x"})
    else:
        answer = api.change(method, "/tasks/web-000003", {"name": "x"} if method == "PATCH" else None)
    assert answer.status_code == 409
    assert "no such change" in answer.json()["detail"]
    assert "nothing was changed" in answer.json()["hint"]
    assert git(api.root, "status", "--porcelain") == ""
    hook.unlink()
    assert api.change("PATCH", "/tasks/web-000003", {"name": "y"}).status_code == 200


def test_files_that_somebody_edits_are_left_alone(api: Api) -> None:
    text = (api.root / TASK).read_text() + "# an edit\n"
    (api.root / TASK).write_text(text)
    (api.root / "tasks/web/web-000003.yaml").write_text("name: Edited\n")
    git(api.root, "add", "tasks/web/web-000003.yaml")
    answer = api.change("PATCH", "/tasks/web-000001", {"priority": "high"})
    assert (answer.status_code, (api.root / TASK).read_text()) == (409, text)
    assert "have to be committed first" in answer.json()["hint"]
    assert api.change("PATCH", "/tasks/web-000002", {"priority": "high"}).status_code == 200
    assert git(api.root, "status", "--porcelain").split() == ["M", TASK, "M", "tasks/web/web-000003.yaml"]


def test_nothing_is_written_while_a_merge_is_under_way(api: Api) -> None:
    (api.root / ".git/MERGE_HEAD").write_text(head(api) + "\n")
    answer = api.change("PATCH", "/tasks/web-000001", {"priority": "high"})
    assert (answer.status_code, "a merge" in answer.json()["detail"]) == (409, True)
    assert "try again later" in answer.json()["hint"]
    assert git(api.root, "diff", "--stat") == ""


def test_a_repository_without_a_committer_changes_nothing(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    (Path(__import__("os").environ["HOME"]) / ".gitconfig").write_text("[user]\n useConfigOnly = true\n")
    answer = api.change("PATCH", "/tasks/web-000001", {"priority": "high"})
    assert answer.status_code == 500
    assert git(api.root, "status", "--porcelain") == ""


def test_metadata_may_be_anything_that_json_has(make_api: MakeApi) -> None:
    api = make_api()
    metadata = {
        "no": "yes",
        "": 1,
        "a.b": None,
        "text": "a: b # c\n\ttab",
        "on": [True, False, None, 1.5, -3, "2026-01-02", {"deep": [[]]}],
        "é\u2028": "\u202e",
    }
    answer = api.change("PATCH", "/tasks/web-000001", {"metadata": metadata})
    if answer.status_code == 200:
        expected = {key: value for key, value in metadata.items() if value is not None}
        assert api.get("/tasks/web-000001").json()["metadata"] == expected
    else:
        assert answer.status_code == 400, answer.text


def test_one_project_does_not_see_files_of_another(make_api: MakeApi) -> None:
    api = make_api({"tasks/ops/project.yaml": "name: Ops\n", "tasks/ops/ops-000001.yaml": "name: O\u00e9\n"})
    write_files(api.root, {"tasks/ops/ops-000002.yaml": "name: [\n"})
    assert api.change("PATCH", "/tasks/ops-000001", {"name": "Fine"}).status_code == 200
    assert api.ask("PATCH", "/tasks/ops-000002", json={"name": "x"}, headers={"If-Match": "*"}).status_code == 422


@pytest.mark.parametrize(("path", "body", "field"), [
    ("/tasks", {"name": "x", "project": "web", "due": "soon"}, "due"),
    ("/tasks", {"name": "", "project": "web"}, "name"),
    ("/tasks", {"name": "x", "project": "web", "phase": "nope"}, "phase"),
    ("/tasks", {"name": "x", "project": "web", "status": "nope"}, "status"),
    ("/tasks", {"name": "x", "project": "web", "depends_on": ["web-zzzzzz"]}, "depends_on"),
    ("/tasks", {"name": "x", "project": "nope"}, "project"),
    ("/tasks", {"name": 1, "project": "web"}, "name"),
    ("/projects", {"name": "x", "key": "No"}, "key"),
    ("/projects", {"name": "x", "key": "web"}, "key"),
    ("/projects/web/phases", {"name": "x", "key": "No no"}, "key"),
    ("/projects/web/phases", {"name": "x", "key": "build"}, "key"),
    ("/tasks/web-000001/workflows", {"name": "No no", "template": "basic_task"}, "name"),
    ("/tasks/web-000001/workflows", {"name": "x", "template": "nope"}, "template"),
    ("/tasks/web-000001/workflows", {"name": "x", "template": "basic_task", "parameters": {"nope": 1}}, "parameters.nope"),
])  # fmt: skip
def test_what_is_wrong_names_the_field_that_it_is_about(api: Api, path: str, body: Any, field: str):
    answer = api.ask("POST", path, json=body)
    assert 400 <= answer.status_code < 500
    assert answer.json()["field"] == field


def test_everything_that_is_wrong_with_parameters_is_told_by_field(api: Api):
    body = {"name": "x", "template": "basic_task", "parameters": {"task_name": 1, "task_command": []}}
    answer = api.ask("POST", "/tasks/web-000001/workflows", json=body).json()
    assert [fault["field"] for fault in answer["errors"]] == ["parameters.task_name", "parameters.task_command"]
    assert all(fault["message"] for fault in answer["errors"])


def test_a_dependency_in_a_circle_is_about_what_the_task_depends_on(api: Api):
    answer = api.change("PATCH", "/tasks/web-000001", {"depends_on": ["web-000002"]})
    assert (answer.status_code, answer.json()["field"]) == (409, "depends_on")


def test_what_is_about_no_field_names_none(api: Api):
    assert "field" not in api.ask("GET", "/tasks/web-zzzzzz").json()
