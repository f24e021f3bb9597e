"""Reading: the same answers as the command line, in pages, with ETags."""

from __future__ import annotations

import json
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest

from dagtasks.api.desk import Desk, Server
from dagtasks.api.reading import one
from dagtasks.errors import Conflict
from dagtasks.service.keys import Grant, Person
from dagtasks.store.project import Project
from tests.api.conftest import Api, MakeApi
from tests.conftest import Result, git, write_files

Cli = Callable[..., Result]

SAME = [
    ("/projects", ["project", "list"]),
    ("/projects/web", ["project", "show", "web"]),
    ("/projects/web/phases", ["phase", "list", "web"]),
    ("/projects/web/phases/build", ["phase", "show", "web/build"]),
    ("/tasks", ["task", "list"]),
    ("/tasks?q=is:ready+-label:api", ["task", "list", "is:ready -label:api"]),
    ("/tasks?phase=build&status=planned,blocked", ["task", "list", "--phase", "build", "--status", "planned,blocked"]),
    ("/tasks?assignee=ann&sort=-name", ["task", "list", "--assignee", "ann", "--sort", "-name"]),
    ("/tasks?label=api&project=web", ["task", "list", "--label", "api", "--project", "web"]),
    ("/tasks/web-000002", ["task", "show", "web-000002"]),
    ("/tasks/000001?dependents=true&history=true", ["task", "show", "000001", "--dependents", "--history"]),
    ("/tasks/web-000002/workflows", ["workflow", "list", "web-000002"]),
    ("/tasks/web-000002/workflows/check", ["workflow", "show", "web-000002", "check"]),
    ("/templates", ["template", "list"]),
    ("/templates/basic_task", ["template", "show", "basic_task"]),
    ("/runs", ["runs", "list"]),
    ("/validate", ["validate"]),
    ("/diff?revisions=HEAD", ["diff", "HEAD"]),
]


def test_an_answer_is_what_the_command_shows(api: Api, cli: Cli) -> None:
    for path, command in SAME:
        shown = cli(api.root, *command, "--json").json
        answer = api.get(path, scope="read")
        assert (answer.status_code, answer.headers["content-type"]) == (200, "application/json"), path
        expected = {"data": shown, "next": None} if isinstance(shown, list) else shown
        got = answer.json()
        assert {key: got[key] for key in expected} == expected, path


FILES = {
    "/projects/web": "tasks/web/project.yaml",
    "/projects/web/phases/build": "tasks/web/phases/build.yaml",
    "/tasks/web-000001": "tasks/web/web-000001.yaml",
    "/tasks/web-000002/workflows/check": "tasks/web/web-000002.yaml",
    "/templates/basic_task": "templates/basic_task.yaml",
    "/templates/basic_task/text": "templates/basic_task.yaml",
}


def test_an_etag_is_that_of_the_file(api: Api) -> None:
    for path, file in FILES.items():
        check_etag(api, path, file)


def check_etag(api: Api, path: str, file: str) -> None:
    tag = f'"{sha256((api.root / file).read_bytes()).hexdigest()}"'
    assert api.get(path).headers["etag"] == tag
    same = api.get(path, headers={"If-None-Match": f'"other", {tag}'})
    assert (same.status_code, same.content, same.headers["etag"]) == (304, b"", tag)
    assert api.get(path, headers={"If-None-Match": f"W/{tag}"}).status_code in (200, 304)
    assert api.get(path, headers={"If-None-Match": '"other"'}).status_code == 200
    with (api.root / file).open("a") as opened:
        opened.write("# more\n")
    changed = api.get(path, headers={"If-None-Match": tag})
    assert (changed.status_code, changed.headers["etag"] != tag) == (200, True)


def test_a_file_that_changes_while_it_is_read_is_read_again(api: Api) -> None:
    """Else an answer could have the ETag of bytes that the client has never seen."""
    server = Server(Project(api.root), lambda _: None)
    desk = Desk(server, Grant("key", Person("Bo", "bo@example.org"), frozenset()))
    file = api.root / "tasks/web/web-000003.yaml"
    seen: list[str] = []

    def show() -> str:
        seen.append(file.read_text())
        file.write_text(f"name: Change {min(len(seen), 2)}\n")
        return seen[-1]

    answer = one(desk, lambda: "tasks/web/web-000003.yaml", show, None)
    assert json.loads(bytes(answer.body)) == "name: Change 2\n"
    digest = sha256(b"name: Change 2\n").hexdigest()
    assert answer.headers["etag"] == f'"{digest}"'
    assert len(seen) == 3

    def never_still() -> str:
        file.write_text(f"name: {len(seen)}\n")
        seen.append("")
        return ""

    with pytest.raises(Conflict, match="keep changing"):
        one(desk, lambda: "tasks/web/web-000003.yaml", never_still, None)


def test_the_text_of_a_template_is_its_file(api: Api) -> None:
    (api.root / "templates/broken.yaml").write_text("steps: [\n")
    assert api.get("/templates/broken/text").json() == {
        "name": "broken",
        "path": "templates/broken.yaml",
        "text": "steps: [\n",
    }
    assert api.get("/templates/broken").status_code == 422


WRONG = [
    ("/tasks/web-zzzzzz", 404, "web-zzzzzz"),
    ("/projects/nope", 404, "nope"),
    ("/projects/web/phases/nope", 404, "nope"),
    ("/projects/nope/phases", 404, "nope"),
    ("/tasks/web-000002/workflows/nope", 404, "nope"),
    ("/templates/nope", 404, "nope"),
    ("/templates/nope/text", 404, "nope"),
    ("/runs/nope", 404, "nope"),
    ("/tasks?q=statsu:planned", 400, "statsu"),
    ("/tasks?status=done", 400, "done"),
    ("/tasks?sort=color", 400, "color"),
    ("/tasks?limit=0", 400, "limit"),
    ("/tasks?limit=201", 400, "limit"),
    ("/tasks?limit=x", 400, "limit"),
    ("/tasks?cursor=x", 400, "cursor"),
    ("/tasks?cursor=WzEsIDJd", 400, "cursor"),
    ("/tasks?cursor=W10", 400, "cursor"),
    (f"/tasks?cursor={'W1tb' * 9000}", 400, "cursor"),
    ("/runs?status=nope", 400, "nope"),
    ("/runs?task=web-zzzzzz", 404, "web-zzzzzz"),
    ("/diff?revisions=nope", 400, "nope"),
    ("/diff?revisions=--output=x", 400, "--output"),
    ("/diff?revisions=HEAD%00", 400, "HEAD"),
]


def test_an_error_is_a_problem_document(api: Api) -> None:
    for path, status, words in WRONG:
        answer = api.get(path)
        assert answer.status_code == status, answer.text
        assert answer.headers["content-type"] == "application/problem+json"
        assert words in answer.json()["detail"]


def test_a_wrong_file_is_told_with_its_code_and_place(api: Api) -> None:
    (api.root / "tasks/web/web-000001.yaml").write_text("name: One\n\nstatus: planend\n")
    told = api.get("/tasks/web-000001").json()
    assert (told["type"], told["status"], told["file"], told["line"]) == (
        "InvalidProject",
        422,
        "tasks/web/web-000001.yaml",
        3,
    )
    assert told["code"].startswith("DT")
    assert told["problems"][0]["message"]
    listed = api.get("/tasks").json()
    assert [row["id"] for row in listed["data"]] == ["web-000002", "web-000003"]
    assert listed["problems"][0]["path"] == "tasks/web/web-000001.yaml"
    assert api.get("/tasks?q=is:invalid").json()["data"] == [
        {"id": "web-000001", "project": "web", "path": "tasks/web/web-000001.yaml", "invalid": True}
    ]
    assert told["code"] in {problem["code"] for problem in api.get("/validate").json()["data"]}


def pages(api: Api, path: str) -> list[Any]:
    found, cursor = [], None
    while True:
        page = api.get(path + (f"&cursor={cursor}" if cursor else "")).json()
        found.append(page["data"])
        cursor = page["next"]
        if cursor is None:
            return found


def test_pages_follow_one_another(make_api: MakeApi) -> None:
    api = make_api({f"tasks/web/web-1000{number:02}.yaml": f"name: N{number % 7}\n" for number in range(20)})
    whole = api.get("/tasks?sort=-name&limit=200").json()["data"]
    found = pages(api, "/tasks?sort=-name&limit=5")
    assert [len(page) for page in found] == [5, 5, 5, 5, 3]
    assert [row for page in found for row in page] == whole


def test_what_comes_and_goes_meanwhile_moves_no_page(make_api: MakeApi) -> None:
    api = make_api({f"tasks/web/web-1000{number:02}.yaml": "name: Note\n" for number in range(8)})
    first = api.get("/tasks?limit=4&q=Note").json()

    write_files(api.root, {"tasks/web/web-00000a.yaml": "name: Note\n"})
    (api.root / "tasks/web/web-100001.yaml").unlink()
    assert api.get(f"/tasks?limit=4&q=Note&cursor={first['next']}").json()["data"][0]["id"] == "web-100004"
    (api.root / "tasks/web/web-100003.yaml").unlink()
    assert api.get(f"/tasks?limit=4&q=Note&cursor={first['next']}").json()["data"][0]["id"] in (
        "web-100002",
        "web-100004",
    )


def test_a_name_that_is_no_utf_8_is_escaped(api: Api) -> None:
    (api.root / "tasks/web").joinpath(b"caf\xe9.yaml".decode("utf-8", "surrogateescape")).write_text("name: x\n")
    answer = api.get("/validate")
    assert answer.status_code == 200
    assert any("udce9" in json.dumps(problem) for problem in answer.json()["data"])


def test_changes_of_files_are_seen_at_once(api: Api) -> None:
    for name in ("First", "Other", "Third"):
        (api.root / "tasks/web/web-000003.yaml").write_text(f"name: {name}\n")
        assert api.get("/tasks/web-000003").json()["name"] == name
        assert api.get("/tasks?q=id:web-000003").json()["data"][0]["name"] == name


def test_a_diff_tells_its_sides(api: Api) -> None:
    before = git(api.root, "rev-parse", "HEAD")
    (api.root / "tasks/web/web-000003.yaml").write_text("name: Renamed\n")
    git(api.root, "commit", "--quiet", "--all", "--message", "rename")
    found = api.get("/diff?revisions=HEAD~1..HEAD").json()
    assert (found["before"], found["after"]) == (before, git(api.root, "rev-parse", "HEAD"))
    assert {event["subject"] for event in found["data"]} == {"web-000003"}


def test_paths_lead_nowhere_else(api: Api, tmp_path: Path) -> None:
    write_files(tmp_path, {"secret.yaml": "name: secret\n", "project.yaml": "name: secret\n"})
    for path in ("/projects/..", "/templates/..%2f..%2fsecret", "/templates/%2e%2e", "/tasks/%2e%2e%2fsecret"):
        answer = api.get(path)
        assert answer.status_code in (400, 404), path
        assert "name: secret" not in answer.text
