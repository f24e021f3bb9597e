"""Trust, from outside: what runs unasked, what is asked, and where approvals lie."""

from __future__ import annotations

import json
import os
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from dagtasks.errors import Conflict
from dagtasks.model.run import RunRecord
from dagtasks.planning.plan import Plan
from dagtasks.service.execution import Doing, execute_unasked
from dagtasks.service.runs import Selection, make_plan
from dagtasks.service.trust import Asking, find_refusal, get_consent
from dagtasks.store.operator import OperatorState
from dagtasks.store.project import Project
from tests.conftest import BASIC_TEMPLATE, MakeProject, Result, git, write_files
from tests.terminal import on_terminal

Cli = Callable[..., Result]

TASK = """\
name: Build

workflows:
  check:
    template: basic_task
    parameters:
      task_name: build
      task_command: {command}
"""
OUTER = """\
metadata: {name: outer}
secrets: [TOKEN]
parameters: {pin: {type: string, sensitive: true}}
steps:
  - {name: call, workflow: {template: inner}}
  - {name: say, script: {file: scripts/say.sh, env: {TOKEN: "${secrets.TOKEN}"}}}
"""
INNER = """\
metadata: {name: inner}
steps: [{name: deep, container: {image: 'alpine:3', command: [echo, deep], args: [down]}}]
"""
FILES = {
    "tasks/web/project.yaml": "name: Web\n",
    "tasks/web/web-000001.yaml": TASK.format(command="echo hello"),
    "tasks/web/web-000002.yaml": TASK.format(command="echo other"),
    "templates/basic_task.yaml": BASIC_TEMPLATE,
    "templates/outer.yaml": OUTER,
    "templates/inner.yaml": INNER,
    "scripts/say.sh": "echo said\n",
}


@pytest.fixture
def root(project: MakeProject, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("DAGTASKS_ENGINE", "local")
    monkeypatch.setenv("DAGTASKS_SECRET_TOKEN", "correct-horse")
    return project(FILES).root


def run_unasked(root: Path, **selection: Any) -> RunRecord:
    project = Project(root)
    return execute_unasked(project, make_plan(project, Selection(**selection)), Doing())[0]


def refusal(root: Path, **selection: Any) -> str:
    project = Project(root)
    return find_refusal(project, make_plan(project, Selection(**selection)))


def states(cli: Cli, root: Path) -> dict[str, str]:
    return {row["name"]: row["state"] for row in cli(root, "trust", "list", "--json").json}


def folder_of(root: Path) -> Path:
    return OperatorState(Project(root).get_git()).folder


# -- the border -----------------------------------------------------------------------------------------------------


def test_nothing_runs_unasked_before_it_is_approved(root: Path, cli: Cli) -> None:
    left = run_unasked(root, task="web-000001")
    assert (left.status, left.error and left.error.code) == ("awaiting_approval", "not_approved")
    assert [(step.state, step.attempts) for step in left.steps] == [("omitted", 0)]
    assert left.error
    assert left.error.message == "web-000001/check is not approved on this machine"
    assert cli(root, "runs", "list", "--status", "awaiting_approval", "--json").json[0]["id"] == left.id
    shown = cli(root, "runs", "show", left.id)
    assert f"to run it: dagtasks trust approve web-000001/check, then: dagtasks runs retry {left.id}" in shown.out
    assert git(root, "ls-tree", "-r", "--name-only", "refs/dagtasks/runs").count(left.id) == 2

    assert cli(root, "trust", "approve", "web-000001/check", "--yes").code == 0
    assert len(cli(root, "runs", "list", "--json").json) == 1  # approving starts nothing
    again = cli(root, "runs", "retry", left.id, "--json")
    assert (again.code, again.json["status"], again.json["retry_of"]) == (0, "succeeded", left.id)
    assert run_unasked(root, task="web-000001").outputs == {"result": "hello"}
    assert run_unasked(root, task="web-000002").status == "awaiting_approval"


@pytest.mark.parametrize(
    ("path", "old", "new"),
    [
        ("templates/basic_task.yaml", "alpine:latest", "alpine:latesu"),
        ("templates/basic_task.yaml", "# Basic", "# basic"),
        ("tasks/web/web-000001.yaml", "echo hello", "echo hellp"),
        ("tasks/web/web-000001.yaml", "task_name: build", "task_name: builc"),
    ],
)
def test_a_changed_byte_asks_again(root: Path, cli: Cli, path: str, old: str, new: str) -> None:
    cli(root, "trust", "approve", "basic_task", "--yes")
    assert refusal(root, task="web-000001") == ""
    text = (root / path).read_text()
    write_files(root, {path: text.replace(old, new)})
    assert refusal(root, task="web-000001") == "web-000001/check has changed since it was approved"
    write_files(root, {path: text})
    assert refusal(root, task="web-000001") == ""


def test_what_the_task_says_of_itself_is_data(root: Path, cli: Cli) -> None:
    cli(root, "trust", "approve", "web-000001/check", "--yes")
    text = FILES["tasks/web/web-000001.yaml"].replace("name: Build", "name: Another\n\nstatus: in_progress\n# remark")
    write_files(root, {"tasks/web/web-000001.yaml": text + "\n\ndescription: $(rm -rf x)\n"})
    assert refusal(root, task="web-000001") == ""


def test_called_templates_and_scripts_are_covered(root: Path, cli: Cli) -> None:
    cli(root, "trust", "approve", "outer", "--yes")
    assert refusal(root, template="outer") == ""
    for path in ("templates/inner.yaml", "scripts/say.sh"):
        text = (root / path).read_text()
        write_files(root, {path: text + "#\n"})
        assert refusal(root, template="outer")
        write_files(root, {path: text})


def test_what_a_trigger_writes_is_covered_and_not_what_became_of_it(root: Path, cli: Cli) -> None:
    cli(root, "trust", "approve", "basic_task", "--yes")
    values = {"task_name": "build", "task_command": "echo evil"}
    for written in (values, {"task_name": "build", "task_command": "${event.subject}"}):
        assert refusal(root, task="web-000001", template="basic_task", values=values, written=written)
    hello = {"task_name": "build", "task_command": "echo hello"}
    assert refusal(root, template="basic_task", values=hello) == ""

    trigger = "  - on: task.completed\n    template: basic_task\n    parameters:\n      task_name: ${task.name}\n"
    write_files(root, {"tasks/web/project.yaml": f"name: Web\n\ntriggers:\n{trigger}      task_command: echo bye\n"})
    written = {"task_name": "${task.name}", "task_command": "echo bye"}
    for name in ("Build", "Ship"):
        started = {"task": "web-000001", "template": "basic_task", "trigger": "task.completed", "written": written}
        values = {"task_name": name, "task_command": "echo bye"}
        assert refusal(root, **started, values=values) == "web on task.completed is not approved on this machine"
    left = run_unasked(root, **started, values=values)
    assert (
        f"trust approve 'web on task.completed', then: dagtasks runs retry {left.id}"
        in cli(root, "runs", "show", left.id).out
    )
    assert "dagtasks trust show 'web on task.completed'" in cli(root, "runs", "retry", left.id).err
    assert cli(root, "trust", "approve", "web on task.completed", "--yes").code == 0
    for name in ("Build", "Ship"):
        values = {"task_name": name, "task_command": "echo bye"}
        assert refusal(root, task="web-000001", template="basic_task", values=values, written=written) == ""
    assert states(cli, root)["web on task.completed"] == "approved"


def test_a_run_that_awaits_its_approval_is_not_begun_without(root: Path, cli: Cli) -> None:
    left = run_unasked(root, task="web-000001")
    refused = cli(root, "runs", "retry", left.id)
    assert (refused.code, refused.out) == (6, "")
    assert "web-000001/check is not approved on this machine" in refused.err
    # What was approved is another content than that of the run.
    write_files(root, {"tasks/web/web-000001.yaml": TASK.format(command="echo better")})
    cli(root, "trust", "approve", "web-000001/check", "--yes")
    assert cli(root, "runs", "retry", left.id).code == 6
    current = cli(root, "runs", "retry", left.id, "--current", "--json")
    assert (current.code, current.json["outputs"]) == (0, {"result": "better"})
    assert cli(root, "runs", "retry", left.id, "--yes", "--json").json["outputs"] == {"result": "hello"}


def test_a_record_of_another_clone_brings_no_approval(root: Path, cli: Cli, tmp_path: Path) -> None:
    git(tmp_path, "init", "--quiet", "--bare", "hub.git")
    git(root, "remote", "add", "origin", str(tmp_path / "hub.git"))
    cli(root, "trust", "approve", "outer", "--yes")
    run = run_unasked(root, template="outer")
    assert cli(root, "runs", "push").code == 0
    git(tmp_path, "clone", "--quiet", str(root), "clone")
    clone = tmp_path / "clone"
    git(clone, "remote", "set-url", "origin", str(tmp_path / "hub.git"))
    assert cli(clone, "runs", "pull").code == 0
    assert states(cli, clone) == {"web-000001/check": "not approved", "web-000002/check": "not approved"}
    cli(clone, "trust", "approve", "outer", "--yes")
    refused = cli(clone, "runs", "retry", run.id, "--all")
    assert (refused.code, "it comes with a record of another clone" in refused.err) == (6, True)
    assert cli(clone, "runs", "retry", run.id, "--all", "--yes").code == 0

    # A person is asked each time, whatever was seen here.
    asked: list[Plan] = []
    project = Project(clone)
    plan = make_plan(project, Selection(template="inner"))
    for is_foreign in (True, False, False, True):
        get_consent(project, plan, Asking(ask=asked.append, is_foreign=is_foreign))
    assert len(asked) == 3


# -- by hand --------------------------------------------------------------------------------------------------------


def test_by_hand_only_secrets_need_a_yes(root: Path, cli: Cli) -> None:
    assert cli(root, "run", "web-000001").code == 0
    refused = cli(root, "run", "--template", "outer")
    assert (refused.code, refused.out) == (6, "")
    assert refused.err == (
        "error: outer is not approved on this machine, and it would get the secret TOKEN\n"
        "  look at it: dagtasks trust show outer; then say --yes, or approve it: dagtasks trust approve outer\n"
    )
    assert cli(root, "runs", "list", "--json").json[1:] == []
    assert cli(root, "run", "--template", "outer", "--yes").code == 0
    assert cli(root, "run", "--template", "outer").code == 6  # that yes was for once
    cli(root, "trust", "approve", "outer", "--yes")
    assert cli(root, "run", "--template", "outer", "--param", "pin=1234567").code == 0
    run = next(run["id"] for run in cli(root, "runs", "list", "--json").json if not run["parent"])
    assert cli(root, "runs", "retry", run, "--all", "--param", "pin=7654321").code == 0
    write_files(root, {"scripts/say.sh": "echo $TOKEN | rev\n"})
    assert "has changed since" in cli(root, "runs", "retry", run, "--all", "--current", "--param", "pin=1").err


def test_a_person_is_asked_once_for_each_content(root: Path) -> None:
    asked: list[Plan] = []

    def run_asking(*params: str, asking: Asking = Asking(ask=asked.append)) -> int:  # noqa: B008 - it is frozen
        project = Project(root)
        get_consent(project, make_plan(project, Selection("web-000001", params=params)), asking)
        return len(asked)

    assert run_asking() == 1
    assert run_asking() == 1
    # By hand another value is no other content, but what a file gives is.
    assert run_asking("task_command=echo mine") == 2
    assert run_asking("task_command=echo thine") == 2
    write_files(root, {"tasks/web/web-000001.yaml": TASK.format(command="echo changed")})
    assert run_asking(asking=Asking(yes=True, ask=asked.append)) == 2
    assert run_asking() == 3

    def refuse(_: Plan) -> None:
        raise Conflict("no")

    write_files(root, {"tasks/web/web-000001.yaml": TASK.format(command="echo again")})
    for _ in range(2):
        with pytest.raises(Conflict):
            run_asking(asking=Asking(ask=refuse))
    assert run_asking() == 4


@pytest.mark.slow
def test_a_terminal_asks_once_for_each_content(root: Path) -> None:
    no = on_terminal(root, "run", "web-000001", given="n\n")
    assert "argv" in no
    assert "Run it? [y/N]" in no
    assert "stopped" in no
    yes = on_terminal(root, "run", "web-000001", given="y\n")
    assert "succeeded" in yes
    again = on_terminal(root, "run", "web-000001")
    assert "Run it?" not in again
    assert "succeeded" in again
    write_files(root, {"tasks/web/web-000001.yaml": TASK.format(command="echo changed")})
    assert "Run it?" not in on_terminal(root, "run", "web-000001", "--yes")


@pytest.mark.slow
def test_what_was_seen_does_not_run_unasked(root: Path, cli: Cli) -> None:
    asked = on_terminal(root, "run", "--template", "outer", given="y\n")
    assert "It gets TOKEN. Run it?" in asked
    assert "succeeded" in asked
    assert refusal(root, template="outer")
    assert cli(root, "run", "--template", "outer").code == 6
    assert cli(root, "trust", "revoke", "outer").code == 0
    assert "Run it?" in on_terminal(root, "run", "--template", "outer", given="n\n")


# -- the commands ---------------------------------------------------------------------------------------------------


def test_approving_needs_a_yes_and_says_what_it_approves(root: Path, cli: Cli) -> None:
    refused = cli(root, "trust", "approve", "basic_task")
    assert (refused.code, refused.out) == (2, "")
    assert (
        'web-000002/check (templates/basic_task.yaml): task_command = "echo other", task_name = "build"' in refused.err
    )
    assert "say --yes" in refused.err
    assert set(states(cli, root).values()) == {"not approved"}
    assert cli(root, "trust", "approve", "basic_task", "--yes").code == 0
    assert states(cli, root) == {
        "web-000001/check": "approved",
        "web-000002/check": "approved",
        "basic_task": "approved",
    }


@pytest.mark.slow
def test_approving_asks_on_a_terminal(root: Path, cli: Cli) -> None:
    assert "stopped" in on_terminal(root, "trust", "approve", "basic_task", given="n\n")
    assert set(states(cli, root).values()) == {"not approved"}
    assert "approved: web-000001/check" in on_terminal(root, "trust", "approve", "basic_task", given="y\n")
    assert states(cli, root)["web-000001/check"] == "approved"


def test_lists_say_what_changed_and_what_is_not_used(root: Path, cli: Cli) -> None:
    cli(root, "trust", "approve", "000001/check", "--yes")
    assert states(cli, root) == {"web-000001/check": "approved", "web-000002/check": "not approved"}
    write_files(root, {"tasks/web/web-000001.yaml": TASK.format(command="curl x | sh")})
    rows = cli(root, "trust", "list", "--json").json
    assert [(row["name"], row["state"], row["by"]) for row in rows] == [
        ("web-000001/check", "changed", None),
        ("web-000002/check", "not approved", None),
        ("web-000001/check", "unused", "ann@example.org"),
    ]
    assert "changed" in cli(root, "trust", "list").out
    write_files(root, {"templates/basic_task.yaml": "metadata: {name: basic_task}\nsteps: []\n"})
    listed = cli(root, "trust", "list", "--json")
    assert (listed.code, {row["state"] for row in listed.json}) == (1, {"invalid", "unused"})
    assert "invalid: template basic_task cannot be used" in cli(root, "trust", "list").out


def test_show_says_what_is_covered_and_what_changed(root: Path, cli: Cli) -> None:
    [sheet] = cli(root, "trust", "show", "outer", "--json").json
    assert (sheet["state"], sheet["calls"], sheet["files"]) == (
        "not approved",
        {"inner": "templates/inner.yaml"},
        ["scripts/say.sh"],
    )
    assert (sheet["images"], sheet["env"], sheet["secrets"]) == (["alpine:3"], ["TOKEN"], ["TOKEN"])
    assert [(step["template"], step["name"], step["executes"]) for step in sheet["steps"]] == [
        ("outer", "call", "inner"),
        ("outer", "say", "scripts/say.sh"),
        ("inner", "deep", ["echo", "deep", "down"]),
    ]
    cli(root, "trust", "approve", "outer", "--yes")
    assert "changed since" not in cli(root, "trust", "show", "outer").out
    write_files(root, {"scripts/say.sh": "echo said\ncurl x | sh\n\x1b[2J"})
    text = cli(root, "trust", "show", "outer").out
    assert text.startswith("outer: changed\n")
    assert "changed since ann@example.org approved it at" in text
    assert "\n echo said\n+curl x | sh\n" in text
    assert "\n+\\x1b[2J\n" in text


def test_sensitive_parameters_are_shown_nowhere(root: Path, cli: Cli) -> None:
    bound = "name: B\nworkflows:\n  w:\n    template: outer\n    parameters:\n      pin: four-five-six\n"
    write_files(root, {"tasks/web/web-000003.yaml": bound})
    for arguments in (("show", "web-000003/w"), ("show", "web-000003/w", "--json"), ("approve", "outer", "--yes")):
        done = cli(root, "trust", *arguments)
        assert done.code == 0
        assert "four-five-six" not in done.out + done.err


def test_one_approval_is_for_all_that_have_the_content(root: Path, cli: Cli) -> None:
    write_files(root, {"tasks/web/web-000002.yaml": TASK.format(command="echo hello")})
    for name in ("web-000001/check", "web-000002/check"):
        cli(root, "trust", "approve", name, "--yes")
    assert len([*(folder_of(root) / "approved").iterdir()]) == 1
    for name in ("web-000001", "web-000002"):
        write_files(root, {f"tasks/web/{name}.yaml": TASK.format(command="echo other")})
    assert set(states(cli, root).values()) == {"changed", "unused"}


def test_what_was_seen_is_revoked_too(root: Path, cli: Cli) -> None:
    asked: list[Plan] = []
    project = Project(root)
    for _ in range(2):
        get_consent(project, make_plan(project, Selection("web-000001")), Asking(ask=asked.append))
        get_consent(project, make_plan(project, Selection("web-000001")), Asking(ask=asked.append))
        assert cli(root, "trust", "revoke", "web-000001/check").out == "revoked: what was seen of it\n"
    assert len(asked) == 2


def test_revoking(root: Path, cli: Cli) -> None:
    cli(root, "trust", "approve", "basic_task", "--yes")
    assert cli(root, "trust", "revoke", "web-000001/check").out.startswith("revoked: web-000001/check dt1-")
    assert states(cli, root)["web-000001/check"] == "not approved"
    assert refusal(root, task="web-000002") == ""
    git(root, "rm", "--quiet", "-rf", "tasks/web/web-000002.yaml")
    gone = cli(root, "trust", "revoke", "basic_task", "--json").json
    assert [row["names"] for row in gone] == [["web-000002/check"], ["basic_task"]] or len(gone) == 2
    unknown = cli(root, "trust", "revoke", "basic_task")
    assert (unknown.code, "nothing is approved for 'basic_task'" in unknown.err) == (5, True)
    assert refusal(root, task="web-000001")


@pytest.mark.parametrize("name", ["nothing", "web-000009/check", "web-000001/nothing", "templates/nothing.yaml"])
def test_unknown_names(root: Path, cli: Cli, name: str) -> None:
    for verb in (("show",), ("approve", "--yes")):
        assert cli(root, "trust", *verb, name).code == 5


# -- where approvals lie --------------------------------------------------------------------------------------------


def test_approvals_lie_outside_and_belong_to_their_owner(root: Path, cli: Cli) -> None:
    cli(root, "trust", "approve", "web-000001/check", "--yes")
    folder = folder_of(root)
    assert folder.is_relative_to(os.environ["XDG_STATE_HOME"])
    [file] = (folder / "approved").iterdir()
    assert [stat.S_IMODE(path.stat().st_mode) for path in (folder.parent, folder, file.parent, file)] == [
        *[0o700] * 3,
        0o600,
    ]
    kept = json.loads(file.read_text())
    assert (kept["names"], kept["template"], kept["by"]) == (["web-000001/check"], "basic_task", "ann@example.org")
    assert git(root, "status", "--porcelain") == ""
    found = next(check for check in cli(root, "doctor", "--json").json if check["name"] == "approvals")
    assert (found["state"], str(folder) in found["found"]) == ("ok", True)
    # A copy elsewhere has none.
    root.rename(root.with_name("moved"))
    assert set(states(cli, root.with_name("moved")).values()) == {"not approved"}


def test_work_trees_share_approvals(root: Path, cli: Cli, tmp_path: Path) -> None:
    git(root, "worktree", "add", "--quiet", str(tmp_path / "other"))
    cli(tmp_path / "other", "trust", "approve", "web-000001/check", "--yes")
    assert states(cli, root)["web-000001/check"] == "approved"


@pytest.mark.parametrize(("level", "mode"), [(0, 0o770), (1, 0o707), (2, 0o770)])
def test_what_others_could_have_written_does_not_count(root: Path, cli: Cli, level: int, mode: int) -> None:
    cli(root, "trust", "approve", "web-000001/check", "--yes")
    folder = [folder_of(root), *folder_of(root).parents][level]
    folder.chmod(mode)
    assert f"others may write into {folder}" in refusal(root, task="web-000001")
    assert cli(root, "trust", "list").code == 6
    assert cli(root, "trust", "approve", "web-000001/check", "--yes").code == 6
    assert cli(root, "run", "web-000001").code == 0  # by hand without secrets nothing has to be known
    found = next(check for check in cli(root, "doctor", "--json").json if check["name"] == "approvals")
    assert found["state"] == "wrong"


def test_a_folder_of_somebody_else_does_not_count(root: Path, cli: Cli) -> None:
    if os.geteuid() != 0:
        pytest.skip("only root can give a folder away")
    cli(root, "trust", "approve", "web-000001/check", "--yes")
    os.chown(folder_of(root), 12345, 12345)
    assert "belongs to somebody else" in refusal(root, task="web-000001")


@pytest.mark.parametrize("inside", [".state", "config/state", ".git/state"])
def test_approvals_in_the_repository_do_not_count(
    root: Path, cli: Cli, monkeypatch: pytest.MonkeyPatch, inside: str
) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(root / inside))
    refused = cli(root, "trust", "approve", "basic_task", "--yes")
    assert (refused.code, "lies in the repository itself" in refused.err) == (6, True)
    assert refusal(root, task="web-000001")


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"{}", b'{"names": []}', b"\xff"])
def test_an_approval_that_cannot_be_read_counts_for_nothing(root: Path, cli: Cli, content: bytes) -> None:
    cli(root, "trust", "approve", "web-000001/check", "--yes")
    [file] = (folder_of(root) / "approved").iterdir()
    file.write_bytes(content)
    assert states(cli, root)["web-000001/check"] == "not approved"
    assert refusal(root, task="web-000001")


def test_an_approval_counts_for_its_own_hash_only(root: Path, cli: Cli) -> None:
    cli(root, "trust", "approve", "web-000001/check", "--yes")
    [file] = (folder_of(root) / "approved").iterdir()
    other = next(row["hash"] for row in cli(root, "trust", "list", "--json").json if row["state"] == "not approved")
    file.rename(file.with_name(f"{other}.json"))
    assert set(states(cli, root).values()) == {"not approved"}
