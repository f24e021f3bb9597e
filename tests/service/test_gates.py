"""What a run writes into its task, and statuses that need a workflow to have succeeded first."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.conftest import MakeProject, Result, git, write_files

Cli = Callable[..., Result]

TEMPLATE = """\
metadata: {name: check}
parameters: {command: {type: string, default: "true"}}
steps:
  - {name: a, container: {image: "alpine:3", command: "${command}"}}
UPDATES"""
UPDATES = """\
updates:
  on_start: {status: in_progress}
  on_success: {status: completed, metadata.checked_by: "${run.id}"}
  on_failure: {status: blocked, priority: high}
"""
TASK = """\
name: One # kept

status: planned

priority: medium

assignee:

phase:

due:

labels:

depends_on:

description:

metadata:

workflows:
  check:
    template: check
"""


@pytest.fixture
def root(project: MakeProject, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("DAGTASKS_ENGINE", "local")
    files = {"tasks/web/project.yaml": "name: Web\n", "tasks/web/web-000001.yaml": TASK, "src/code.txt": "one\n"}
    return project({**files, "templates/check.yaml": TEMPLATE.replace("UPDATES", "")}).root


def with_updates(root: Path) -> None:
    write_files(root, {"templates/check.yaml": TEMPLATE.replace("UPDATES", UPDATES)})
    git(root, "commit", "-qam", "updates")


def show(root: Path, cli: Cli) -> dict[str, object]:
    return dict(cli(root, "task", "show", "000001", "--json").json)


def test_a_run_changes_its_task_in_commits_that_name_it(root: Path, cli: Cli) -> None:
    with_updates(root)
    write_files(root, {"notes.txt": "mine, not committed\n"})
    ran = cli(root, "run", "000001", "--json")
    assert ran.code == 0, ran.err
    run = ran.json["id"]
    log = git(root, "log", "-2", "--format=%s|%(trailers:key=Dagtasks-Run,valueonly,separator=%x2c)|", "--name-only")
    assert log.splitlines() == [
        f"web-000001: status in_progress -> completed, metadata.checked_by = {run}|{run}|",
        "",
        "tasks/web/web-000001.yaml",
        f"web-000001: status planned -> in_progress|{run}|",
        "",
        "tasks/web/web-000001.yaml",
    ]
    task = show(root, cli)
    assert (task["status"], task["metadata"]) == ("completed", {"checked_by": run})
    assert "name: One # kept\n" in (root / "tasks/web/web-000001.yaml").read_text()
    assert git(root, "status", "--porcelain") == "?? notes.txt"


def test_a_failure_is_written_too(root: Path, cli: Cli) -> None:
    with_updates(root)
    assert cli(root, "run", "000001", "--param", "command=exit 1").code == 1
    task = show(root, cli)
    assert (task["status"], task["priority"]) == ("blocked", "high")


def test_what_somebody_changed_meanwhile_stays(root: Path, cli: Cli) -> None:
    with_updates(root)
    inside = f"{sys.executable} -m dagtasks -C {root} task set 000001 status=cancelled --commit"
    ran = cli(root, "run", "000001", "--param", f"command=PYTHONPATH={Path.cwd()} {inside} && exit 1")
    assert ran.code == 1
    assert "note: status of web-000001 was changed to cancelled meanwhile, and left so" in ran.err
    task = show(root, cli)
    assert (task["status"], task["priority"]) == ("cancelled", "high")


def test_a_run_goes_on_when_its_task_cannot_be_changed(root: Path, cli: Cli) -> None:
    with_updates(root)
    gone = "rm tasks/web/web-000001.yaml"
    ran = cli(root, "run", "000001", "--param", f"command=cd {root} && {gone}")
    assert ran.code == 0
    assert "note: the run could not change web-000001: there is no task 'web-000001'" in ran.err


def gated(root: Path) -> None:
    write_files(root, {"tasks/web/project.yaml": "name: Web\n\ngates:\n  completed:\n    - check\n"})
    git(root, "commit", "-qam", "gate")


def test_a_gate_is_closed_until_its_workflow_succeeded_on_what_is_there_now(root: Path, cli: Cli) -> None:
    gated(root)

    def complete() -> Result:
        return cli(root, "task", "set", "000001", "status=completed")

    refused = complete()
    message = "error: web-000001 cannot become completed: workflow check has not run"
    assert (refused.code, refused.err) == (6, f"{message}\n  run it: dagtasks run web-000001 check\n")
    assert show(root, cli)["status"] == "planned"
    assert cli(root, "run", "000001", "--param", "command=exit 1").code == 1
    assert "the last run of workflow check is failed" in complete().err
    assert cli(root, "run", "000001").code == 0
    write_files(root, {"src/code.txt": "two\n"})
    assert "what workflow check last ran on has changed since" in complete().err
    assert cli(root, "run", "000001").code == 0
    assert cli(root, "task", "set", "000001", "priority=high", "--commit").code == 0  # below tasks/: another matter
    assert complete().code == 0
    assert show(root, cli)["status"] == "completed"


def test_a_gate_asks_for_the_workflow_as_it_is_bound_now(root: Path, cli: Cli) -> None:
    gated(root)
    assert cli(root, "run", "000001").code == 0
    assert cli(root, "workflow", "set", "000001", "check", "command=true || true").code == 0
    assert "has changed since" in cli(root, "task", "set", "000001", "status=completed").err


def test_a_gate_holds_for_new_tasks_and_claims(root: Path, cli: Cli) -> None:
    gates = "name: Web\n\ngates:\n  completed: [check]\n  in_progress: [check]\n"
    write_files(root, {"tasks/web/project.yaml": gates})
    made = cli(root, "task", "create", "web", "--name", "New", "--status", "completed")
    assert (made.code, "it has no workflow check" in made.err) == (6, True)
    assert cli(root, "task", "claim", "000001").code == 6
    assert cli(root, "task", "create", "web", "--name", "New").code == 0


def test_a_run_that_succeeds_opens_its_own_gate(root: Path, cli: Cli) -> None:
    with_updates(root)
    gated(root)
    assert cli(root, "run", "000001").code == 0
    assert show(root, cli)["status"] == "completed"


def test_validate_tells_of_a_status_that_went_through_a_closed_gate(root: Path, cli: Cli) -> None:
    gated(root)
    path = root / "tasks/web/web-000001.yaml"
    path.write_text(path.read_text().replace("status: planned", "status: completed"))
    found = cli(root, "validate", "--changed", "--json")
    problems = [(p["path"], p["line"], p["code"], p["message"]) for p in json.loads(found.out)["data"]]
    assert problems == [("tasks/web/web-000001.yaml", 3, "DT211", "completed although workflow check has not run")]
    assert found.code == 1
    subprocess.run(["git", "-C", str(root), "commit", "-qam", "by hand"], check=True)
    assert cli(root, "validate").code == 0  # what is in the history is not judged again
    assert cli(root, "validate", "--changed", "HEAD^").code == 1
