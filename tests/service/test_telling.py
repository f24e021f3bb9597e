"""What is told of changes and runs: each event once, with who did it, whoever changed it and whichever look died."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from dagtasks.model.event import EventRecord
from dagtasks.service import dispatch
from dagtasks.store.events import EventLog
from dagtasks.store.project import Project
from tests.conftest import MakeProject, Result, git, write_files

Cli = Callable[..., Result]
ONE, TWO = "tasks/web/web-000001.yaml", "tasks/web/web-000002.yaml"
FLOW = "\nworkflows:\n  w:\n    template: t\n    run_on:\n      - in_progress\n"
TASK = f"name: One\n\nstatus: planned\n{FLOW}"
TEMPLATE = """\
metadata:
  name: t
updates:
  on_success: {status: completed}
steps:
  - name: a
    container: {image: 'alpine:3', command: 'COMMAND'}
"""
FILES = {
    "tasks/web/project.yaml": "name: Web\n",
    "tasks/web/phases/p.yaml": "name: P\n",
    ONE: TASK,
    TWO: "name: Two\n\nstatus: planned\n",
    "templates/t.yaml": TEMPLATE.replace("COMMAND", "true"),
    "templates/bad.yaml": TEMPLATE.replace("COMMAND", "false").replace("name: t", "name: bad"),
}


@pytest.fixture
def made(project: MakeProject, monkeypatch: pytest.MonkeyPatch) -> Project:
    monkeypatch.setenv("DAGTASKS_ENGINE", "local")
    made = project(FILES)
    dispatch.look(made)
    return made


def told(project: Project, *, look: bool = True) -> list[EventRecord]:
    if look:
        dispatch.look(project)
    return EventLog(project.get_git()).read_after()


def shown(records: list[EventRecord]) -> list[tuple[str, str]]:
    return [(record.type, record.subject) for record in records]


def edit(project: Project, path: str = TWO, old: str = "planned", new: str = "in_progress") -> None:
    file = project.root / path
    write_files(project.root, {path: file.read_text().replace(old, new)})


def test_the_first_look_tells_nothing_and_then_each_change_once(made: Project) -> None:
    assert told(made) == []
    edit(made)
    head = git(made.root, "rev-parse", "HEAD")
    [event] = told(made)
    assert shown([event]) == [("task.updated", "web-000002")]
    assert event.changed == {"status": ("planned", "in_progress")}
    assert (event.project, event.name, event.actor, event.origin) == ("web", "Two", "ann@example.org", None)
    assert (event.before, event.after) == (head, head)
    assert told(made) == [event]
    edit(made, new="planned", old="in_progress")
    edit(made, "tasks/web/phases/p.yaml", "P", "Q")
    write_files(made.root, {ONE: TASK.replace("template: t", "template: u")})
    assert shown(told(made)[1:]) == [
        ("phase.updated", "web/p"),
        ("task.updated", "web-000002"),
        ("task.ready", "web-000002"),
        ("workflow.updated", "web-000001/w"),
    ]
    assert {event.project for event in told(made)} == {"web"}


def test_who_wrote_a_commit_did_what_it_changed(made: Project) -> None:
    before = git(made.root, "rev-parse", "HEAD")
    edit(made)
    git(made.root, "commit", "-qam", "x", "--author", "Bob <bob@example.org>")
    edit(made, ONE, "One", "Other")
    git(made.root, "commit", "-qam", "y", "--author", "Cay <cay@example.org>")
    write_files(made.root, {"tasks/web/web-000003.yaml": "name: Three\n"})
    found = {event.subject: event for event in told(made)}
    assert [found[f"web-00000{n}"].actor for n in (1, 2, 3)] == [
        "cay@example.org",
        "bob@example.org",
        "ann@example.org",
    ]
    after = git(made.root, "rev-parse", "HEAD")
    assert {(event.before, event.after) for event in found.values()} == {(before, after)}


def test_a_look_that_died_before_the_cursor_moved_tells_the_same_event(made: Project) -> None:
    cursor = made.root / ".git/dagtasks/cursor"
    old = cursor.read_bytes()
    edit(made)
    [event] = told(made)
    cursor.write_bytes(old)
    assert told(made) == [event]
    cursor.write_bytes(old)
    edit(made, old="in_progress", new="blocked")
    assert [found.changed for found in told(made)[1:]] == [{"status": ("planned", "blocked")}]


def test_a_checkout_tells_nothing(made: Project) -> None:
    git(made.root, "checkout", "-qb", "other")
    edit(made)
    git(made.root, "commit", "-qam", "x")
    assert len(told(made)) == 1
    git(made.root, "checkout", "-q", "main")
    assert len(told(made)) == 1
    git(made.root, "merge", "-q", "other")
    assert shown(told(made)[1:]) == [("task.updated", "web-000002")]


def test_what_a_run_wrote_is_told_with_the_run_and_starts_nothing(made: Project, cli: Cli) -> None:
    done = cli(made.root, "run", "web-000001", "--json")
    assert done.code == 0, done.err
    run = done.json["id"]
    [event] = told(made, look=False)
    assert shown([event]) == [("task.completed", "web-000001")]
    assert (event.origin, event.actor) == (run, "ann@example.org")
    assert dispatch.look(made).queued == []
    assert [event.type for event in told(made)] == [
        "task.completed",
        "run.started",
        "run.succeeded",
        "workflow.completed",
    ]


def test_a_commit_of_a_run_that_was_fetched_is_told_with_the_run(made: Project) -> None:
    edit(made)
    git(made.root, "commit", "-qam", "x\n\nDagtasks-Run: 20261126t100000-abcdef")
    assert dispatch.look(made).events == []
    [event] = told(made)
    assert (event.subject, event.origin) == ("web-000002", "20261126t100000-abcdef")


def test_what_happens_again_and_again_within_a_look_is_told_each_time(
    made: Project, cli: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DAGTASKS_DEPTH", "1")
    for value in ("high", "low", "high", "low", "high"):
        assert cli(made.root, "task", "set", "web-000002", f"priority={value}", "--no-commit").code == 0
    found = [event.changed["priority"][1] for event in told(made, look=False)]
    assert found == ["high", "low", "high", "low", "high"]


# -- runs -----------------------------------------------------------------------------------------------------------


def of_runs(project: Project) -> list[EventRecord]:
    return [event for event in told(project) if event.run]


def test_a_run_is_told_from_the_queue_to_its_end(made: Project, cli: Cli) -> None:
    assert cli(made.root, "trust", "approve", "t", "--yes").code == 0
    edit(made, ONE)
    [queued] = of_runs(made)
    assert (queued.type, queued.name, queued.project) == ("run.queued", "web-000001/w", "web")
    assert cli(made.root, "queue", "work").code == 0
    _, started, ended, workflow = of_runs(made)
    assert shown([started, ended]) == [("run.started", queued.subject), ("run.succeeded", queued.subject)]
    assert shown([workflow]) == [("workflow.completed", "web-000001/w")]
    assert ended.changed == {"status": ("running", "succeeded")}
    details: Any = ended.run
    assert (details["task"], details["workflow"], details["template"]) == ("web-000001", "w", "t")
    assert (details["status"], details["trigger"], details["error"]) == ("succeeded", "task.updated", None)
    assert started.time <= ended.time == workflow.time
    assert len({event.id for event in told(made)}) == len(told(made))


def test_a_run_that_only_waits_for_an_approval_did_not_begin(made: Project, cli: Cli) -> None:
    edit(made, ONE)
    assert cli(made.root, "queue", "work").code == 0
    assert [event.type for event in of_runs(made)] == ["run.queued", "run.awaiting_approval"]


def test_a_run_that_failed_says_why(made: Project, cli: Cli) -> None:
    cli(made.root, "run", "--template", "bad", "--json")
    started, failed, ended = of_runs(made)
    assert (started.type, failed.type, ended.type) == ("run.started", "run.failed", "workflow.completed")
    details: Any = failed.run
    assert details["error"]["code"]
    assert (ended.subject, ended.project, details["task"]) == ("bad", None, None)


def test_runs_of_before_the_first_look_are_not_told(
    project: MakeProject, cli: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DAGTASKS_ENGINE", "local")
    made = project(FILES)
    assert cli(made.root, "run", "web-000001").code == 0
    assert told(made) == []
    assert cli(made.root, "run", "web-000001", "--json").code == 0
    assert len(of_runs(made)) == 3


@pytest.mark.parametrize("damage", ["cut", "no json", "newer", "gone"])
def test_a_journal_that_cannot_be_read_stops_no_look(damage: str, made: Project, cli: Cli) -> None:
    run = cli(made.root, "run", "web-000001", "--json").json["id"]
    journal = made.root / ".git/dagtasks/runs" / run / "events.jsonl"
    content = journal.read_bytes()
    damaged = {
        "cut": content[:-5],
        "no json": b"x" + content,
        "newer": content.replace(b"run.started", b"run.begun", 1),
        "gone": b"",
    }[damage]
    journal.unlink() if damage == "gone" else journal.write_bytes(damaged)
    found = [event.type for event in of_runs(made)]
    assert found == (["run.started"] if damage == "cut" else [])
    journal.write_bytes(content)
    if damage == "cut":
        assert [event.type for event in of_runs(made)] == ["run.started", "run.succeeded", "workflow.completed"]


def test_runs_are_told_again_with_the_same_ids_when_a_look_died(made: Project, cli: Cli) -> None:
    cursor: Path = made.root / ".git/dagtasks/events/runs.json"
    old = cursor.read_bytes()
    assert cli(made.root, "run", "web-000001").code == 0
    found = of_runs(made)
    cursor.write_bytes(old)
    assert of_runs(made) == found
