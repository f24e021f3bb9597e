"""The runner of the queue: what is approved is run, once, whatever becomes of runners and looks."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from dagtasks.service import dispatch, drift
from dagtasks.store.project import Project
from dagtasks.store.queue import Queue
from tests.conftest import MakeProject, Result, git, write_files

Cli = Callable[..., Result]
ONE, TWO = "tasks/web/web-000001.yaml", "tasks/web/web-000002.yaml"
FLOW = "\nworkflows:\n  w:\n    template: t\n    run_on:\n      - in_progress\n      - completed\n"
TASK = f"name: A\n\nstatus: planned\n\ndepends_on:\n{FLOW}"
BEGUN = TASK.replace("planned", "in_progress")
TEMPLATE = """\
metadata:
  name: t
parameters:
  who:
    type: string
steps:
  - name: a
    container:
      image: alpine:3
      command: echo ${task.id ?? 'x'} ${run.trigger} ${who ?? 'nobody'} >> "$LOG"; COMMAND
      env: {LOG: 'FILE'}
"""


@pytest.fixture
def root(project: MakeProject, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("DAGTASKS_ENGINE", "local")
    made = project({"tasks/web/project.yaml": "name: Web\n", ONE: TASK, TWO: TASK})
    write_template(made.root)
    git(made.root, "add", "--all")
    git(made.root, "commit", "-qm", "template")
    dispatch.begin(made)
    return made.root


def write_template(root: Path, command: str = "true", more: str = "") -> None:
    text = TEMPLATE.replace("COMMAND", command).replace("FILE", str(root.parent / "log"))
    write_files(root, {"templates/t.yaml": text + more})


def log(root: Path) -> list[str]:
    """What the steps have written, a line each."""
    file = root.parent / "log"
    return file.read_text().splitlines() if file.exists() else []


def approve(root: Path, cli: Cli, name: str = "t") -> None:
    done = cli(root, "trust", "approve", name, "--yes")
    assert done.code == 0, done.err


def work(root: Path, cli: Cli) -> list[tuple[str, str]]:
    """The tasks and the ends of the runs that are done now."""
    done = cli(root, "queue", "work", "--json")
    assert done.code == 0, done.err
    return [(record["task"], record["status"]) for record in done.json]


def queue(root: Path) -> Queue:
    return Queue(Project(root).get_git())


def test_what_is_approved_runs_and_tells_what_started_it(root: Path, cli: Cli) -> None:
    approve(root, cli)
    write_files(root, {ONE: BEGUN, TWO: BEGUN})
    assert work(root, cli) == [("web-000001", "succeeded"), ("web-000002", "succeeded")]
    assert log(root) == ["web-000001 task.updated nobody", "web-000002 task.updated nobody"]
    assert queue(root).entries() == []
    one, two = sorted(cli(root, "runs", "list", "--json").json, key=lambda record: record["task"])
    assert (one["task"], one["workflow"], one["trigger"]) == ("web-000001", "w", "task.updated")
    assert one["origin"]["subject"] == "web-000001"
    assert "task.updated of web-000001" in cli(root, "runs", "show", one["id"]).out
    assert (one["actor"], two["actor"]) == ("ann@example.org", "ann@example.org")
    assert work(root, cli) == []


def test_an_approval_starts_nothing_and_a_retry_does(root: Path, cli: Cli) -> None:
    write_files(root, {ONE: BEGUN})
    assert work(root, cli) == [("web-000001", "awaiting_approval")]
    approve(root, cli, "web-000001/w")
    assert work(root, cli) == []
    assert log(root) == []
    [run] = cli(root, "runs", "list", "--json").json
    assert cli(root, "runs", "retry", run["id"]).code == 0
    assert len(log(root)) == 1


def test_what_a_commit_changes_and_what_it_says_each_start_a_run(root: Path, cli: Cli) -> None:
    drift.begin(Project(root))
    approve(root, cli)
    approve(root, cli, "web-000001/w")
    write_files(root, {ONE: BEGUN})
    git(root, "commit", "-qam", "All of it\n\nCompletes: web-000001")
    assert work(root, cli) == [("web-000001", "succeeded")] * 2
    runs = cli(root, "runs", "list", "--json").json
    assert [run["trigger"] for run in runs] == ["task.completed", "task.updated"]


def test_a_changed_template_has_to_be_approved_anew(root: Path, cli: Cli) -> None:
    approve(root, cli)
    write_template(root, "echo evil")
    write_files(root, {ONE: BEGUN})
    assert work(root, cli) == [("web-000001", "awaiting_approval")]


def test_what_a_run_writes_into_its_task_starts_nothing(root: Path, cli: Cli) -> None:
    write_template(root, more="updates:\n  on_success:\n    status: completed\n")
    approve(root, cli)
    assert cli(root, "hooks", "install").code == 0
    write_files(
        root,
        {ONE: BEGUN, TWO: TASK.replace("depends_on:\n", "depends_on:\n  - web-000001\n").replace("completed", "ready")},
    )
    git(root, "add", "--all")
    git(root, "-c", "core.hooksPath=/dev/null", "commit", "-qm", "begin")
    assert work(root, cli) == [("web-000001", "succeeded")]
    assert "status: completed" in (root / ONE).read_text()
    assert work(root, cli) == []
    assert len(log(root)) == 1


@pytest.mark.parametrize("is_exported", [False, True])
def test_what_a_run_writes_starts_nothing_where_it_cannot_be_committed(is_exported: bool, root: Path, cli: Cli) -> None:
    """Somebody's edit in the same file keeps it from being committed; and what a step exports nobody commits."""
    if is_exported:
        write_files(root.parent, {"log.done": "name: A\n\nstatus: completed\n"})
        write_template(root, 'cp "$LOG.done" t', f"      export: [{{from: t, to: {ONE}}}]\n")
    else:
        write_template(root, more="updates:\n  on_success:\n    status: completed\n")
    approve(root, cli)
    write_files(
        root, {ONE: BEGUN, "tasks/web/project.yaml": "name: Web\n\ntriggers: [{on: task.completed, template: t}]\n"}
    )
    assert work(root, cli) == [("web-000001", "succeeded")]
    assert "status: completed" in (root / ONE).read_text()
    assert work(root, cli) == []


def test_a_trigger_of_a_project(root: Path, cli: Cli) -> None:
    trigger = "{on: task.completed, if: \"task.name != 'B'\", template: t, parameters: {who: '${task.name} of ${project.key}'}}"
    write_files(root, {"tasks/web/project.yaml": f"name: Web\n\ntriggers:\n  - {trigger}\n"})
    plain = "name: A\n\nstatus: planned\n\ndepends_on:\n  - web-000002\n"
    write_files(root, {ONE: plain, TWO: plain.replace("A", "B").replace("  - web-000002\n", "")})
    dispatch.look(Project(root))
    write_files(root, {ONE: plain.replace("planned", "completed"), TWO: "name: B\n\nstatus: completed\n"})
    assert work(root, cli) == [("web-000001", "awaiting_approval")]
    approve(root, cli)
    write_files(root, {ONE: plain})
    assert work(root, cli) == []
    write_files(root, {ONE: plain.replace("planned", "completed").replace("name: A", "name: Changed")})
    assert work(root, cli) == [("web-000001", "succeeded")]
    assert log(root) == ["web-000001 task.completed Changed of web"]


def test_a_project_with_errors_starts_no_template(root: Path, cli: Cli) -> None:
    approve(root, cli)
    owner = "name: Web\n\ntriggers:\n  - {on: task.updated, template: t, parameters: {who: '${task.nme}'}}\n"
    owner += "  - {on: task.updated, template: t}\n"
    write_files(root, {"tasks/web/project.yaml": owner})
    dispatch.look(Project(root))
    write_files(root, {ONE: TASK.replace("name: A", "name: B")})
    found = cli(root, "queue", "work", "--json").json
    assert [record["status"] for record in found] == ["errored", "errored"]
    assert "a file with errors starts nothing" in found[1]["error"]["message"]
    assert log(root) == []


def test_what_cannot_be_run_has_a_record_that_says_why(root: Path, cli: Cli) -> None:
    approve(root, cli)
    waits = BEGUN.replace("depends_on:\n", "depends_on:\n  - web-000002\n")
    write_files(root, {ONE: waits, "tasks/web/web-000003.yaml": BEGUN.replace("template: t", "template: gone")})
    found = cli(root, "queue", "work", "--json").json
    assert [(record["task"], record["status"]) for record in found] == [
        ("web-000001", "skipped"),
        ("web-000003", "errored"),
    ]
    assert "depends on open tasks: web-000002" in found[0]["error"]["message"]
    assert "there is no template 'gone'" in found[1]["error"]["message"]
    assert queue(root).entries() == []
    assert cli(root, "runs", "show", found[1]["id"]).code == 0
    assert cli(root, "runs", "retry", found[1]["id"]).code == 5


def test_without_an_engine_the_run_can_be_tried_again(root: Path, cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    approve(root, cli)
    write_files(root, {ONE: BEGUN})
    monkeypatch.setenv("DAGTASKS_ENGINE", "dagger")
    monkeypatch.setenv("DAGTASKS_ENGINE_HOST", "tcp://127.0.0.1:9")
    [record] = cli(root, "queue", "work", "--json").json
    assert (record["status"], record["error"]["code"]) == ("errored", "EngineUnavailable")
    monkeypatch.setenv("DAGTASKS_ENGINE", "local")
    assert cli(root, "runs", "retry", record["id"], "--engine", "local").code == 0
    assert len(log(root)) == 1


def test_an_entry_can_be_taken_out(root: Path, cli: Cli) -> None:
    write_files(root, {ONE: BEGUN, TWO: BEGUN})
    dispatch.look(Project(root))
    listed = cli(root, "queue", "list", "--json").json
    assert [(entry["what"], entry["event"], entry["kind"]) for entry in listed] == [
        ("web-000001/w", "task.updated", "run"),
        ("web-000002/w", "task.updated", "run"),
    ]
    assert listed[1]["id"] in cli(root, "queue", "list").out
    done = cli(root, "queue", "cancel", listed[0]["id"][:6], "--json")
    assert (done.code, done.json["status"], done.json["id"]) == (0, "cancelled", listed[0]["run"])
    assert work(root, cli) == [("web-000002", "awaiting_approval")]
    assert cli(root, "queue", "cancel", listed[0]["id"]).code == 5
    assert cli(root, "queue", "cancel", "").code == 5


def test_an_entry_of_a_work_tree_that_is_gone(root: Path, cli: Cli) -> None:
    git(root, "worktree", "add", "-q", "-b", "other", str(root.parent / "linked"))
    linked = Project(root.parent / "linked")
    dispatch.begin(linked)
    write_files(linked.root, {ONE: BEGUN})
    dispatch.look(linked)
    shutil.rmtree(linked.root)
    assert work(root, cli) == [("web-000001", "errored")]
    assert queue(root).entries() == []


def test_what_is_no_entry_and_what_is_of_another_kind_stays(root: Path, cli: Cli) -> None:
    write_files(root, {ONE: BEGUN})
    dispatch.look(Project(root))
    [entry] = queue(root).entries()
    queue(root).add([entry._replace(id="0123456789ab", kind="delivery")])
    folder = root / ".git/dagtasks/queue"
    write_files(folder, {"000000000000-ab.json": "{", "000000000007-cd.json": json.dumps(entry._asdict()), "x": ""})
    assert work(root, cli) == [("web-000001", "awaiting_approval")]
    assert [entry.kind for entry in queue(root).entries()] == ["delivery"]
    assert len([*folder.iterdir()]) == 4
    write_files(root, {TWO: BEGUN})
    assert work(root, cli) == [("web-000002", "awaiting_approval")]


def test_an_entry_that_ends_its_runners_is_given_up(root: Path, cli: Cli) -> None:
    approve(root, cli)
    write_files(root, {ONE: BEGUN, TWO: BEGUN})
    dispatch.look(Project(root))
    first, _ = queue(root).entries()
    queue(root).replace(first._replace(tries=3))
    assert work(root, cli) == [("web-000001", "errored"), ("web-000002", "succeeded")]


def test_an_entry_of_a_look_that_died_is_done_once(root: Path, cli: Cli) -> None:
    """The entry is there, and the cursor has not moved: a runner looks before it takes the entry."""
    approve(root, cli)
    cursor = root / ".git/dagtasks/cursor"
    before = cursor.read_bytes()
    write_files(root, {ONE: BEGUN})
    dispatch.look(Project(root))
    cursor.write_bytes(before)
    assert work(root, cli) == [("web-000001", "succeeded")]
    assert work(root, cli) == []
    assert len(log(root)) == 1


def test_a_runner_looks_first_wherever_the_look_of_an_entry_died(root: Path, cli: Cli) -> None:
    """It works from another work tree, whose own look says nothing of that."""
    approve(root, cli)
    git(root, "worktree", "add", "-q", "-b", "other", str(root.parent / "linked"))
    linked = Project(root.parent / "linked")
    dispatch.begin(linked)
    cursor = linked.get_git().git_dir / "dagtasks/cursor"
    before = cursor.read_bytes()
    write_files(linked.root, {ONE: BEGUN})
    dispatch.look(linked)
    cursor.write_bytes(before)
    assert work(root, cli) == [("web-000001", "succeeded")]
    assert dispatch.look(linked).queued == []
    assert len(log(root)) == 1


def test_nothing_is_done_while_another_runner_does_it(root: Path, cli: Cli) -> None:
    write_files(root, {ONE: BEGUN})
    with queue(root).hold() as is_ours:
        assert is_ours
        assert work(root, cli) == []
    assert work(root, cli) == [("web-000001", "awaiting_approval")]


def start(root: Path) -> subprocess.Popen[bytes]:
    return subprocess.Popen([sys.executable, "-m", "dagtasks", "-C", str(root), "queue", "work"])


def wait_until(condition: Callable[[], object]) -> None:
    end = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.02)


@pytest.mark.slow
def test_a_runner_that_is_killed_leaves_its_run_interrupted_and_the_rest_to_the_next(root: Path, cli: Cli) -> None:
    write_template(root, '[ -e "$LOG.go" ] || sleep 600')
    approve(root, cli)
    write_files(root, {ONE: BEGUN, TWO: BEGUN})
    runner = start(root)
    wait_until(lambda: log(root))
    begun = cli(root, "queue", "cancel", cli(root, "queue", "list", "--json").json[0]["id"])
    assert (begun.code, "dagtasks runs cancel" in begun.err) == (6, True)
    os.kill(runner.pid, signal.SIGKILL)
    runner.wait()
    (root.parent / "log.go").touch()
    assert work(root, cli) == [("web-000001", "interrupted"), ("web-000002", "succeeded")]
    assert queue(root).entries() == []
    assert [line.split()[0] for line in log(root)] == ["web-000001", "web-000002"]


@pytest.mark.slow
def test_runners_at_once_do_each_entry_once(root: Path, cli: Cli) -> None:
    approve(root, cli)
    write_files(root, {f"tasks/web/web-00001{n}.yaml": BEGUN for n in range(6)})
    runners = [start(root) for _ in range(3)]
    assert [runner.wait() for runner in runners] == [0, 0, 0]
    assert work(root, cli) == []
    assert sorted(line.split()[0] for line in log(root)) == [f"web-00001{n}" for n in range(6)]
