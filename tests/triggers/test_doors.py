"""Changes that start workflows, through real Git with its hooks: one run for each change, and none in a loop.

Nothing is approved here, so each run is at once recorded as waiting for an approval.
"""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.conftest import MakeProject, Result, git, write_files
from tests.triggers.test_hooks import call, told, write_hook

Cli = Callable[..., Result]
ONE, TWO = "tasks/web/web-000001.yaml", "tasks/web/web-000002.yaml"
FLOW = "\nworkflows:\n  w:\n    template: t\n    run_on:\n      - in_progress\n"
TASK = f"name: A\n\nstatus: planned\n\npriority: low\n{FLOW}"
BEGUN = TASK.replace("planned", "in_progress")
FILES = {
    "tasks/web/project.yaml": "name: Web\n",
    ONE: TASK,
    TWO: TASK,
    "templates/t.yaml": "metadata:\n  name: t\nsteps:\n  - name: a\n    container: {image: 'alpine:3', command: 'true'}\n",
}
UNHOOKED = ("-c", "core.hooksPath=/dev/null")


@pytest.fixture
def root(project: MakeProject, cli: Cli) -> Path:
    root = project(FILES).root
    assert cli(root, "hooks", "install").code == 0
    return root


def commit(root: Path, files: dict[str, str], *options: str) -> Result:
    write_files(root, files)
    git(root, "add", "--all")
    return call(root, *options, "commit", "-qm", "change")


def prepare(root: Path, files: dict[str, str], branch: str = "theirs") -> None:
    """A branch on which somebody else has committed that."""
    git(root, *UNHOOKED, "switch", "-qc", branch)
    commit(root, files, *UNHOOKED)
    git(root, *UNHOOKED, "switch", "-q", "main")


def runs(root: Path, cli: Cli) -> list[str]:
    """The tasks for which something has been started, first come first."""
    return [record["task"][-1] for record in reversed(cli(root, "runs", "list", "--json").json)]


def test_commits_and_amended_ones(root: Path, cli: Cli) -> None:
    done = commit(root, {ONE: BEGUN})
    assert (done.code, told(done)) == (
        0,
        ["waiting for an approval: web-000001/w, see: dagtasks runs list --status awaiting_approval"],
    )
    [record] = cli(root, "runs", "list", "--json").json
    assert (record["status"], record["trigger"]) == ("awaiting_approval", "task.updated")
    assert record["origin"] == {"entry": record["origin"]["entry"], "event": "task.updated", "subject": "web-000001"}
    assert "is not approved" in record["error"]["message"]
    assert call(root, "commit", "-q", "--amend", "-m", "other") == Result(0, "", "")
    assert runs(root, cli) == ["1"]
    write_files(root, {TWO: BEGUN})
    assert call(root, "commit", "-qa", "--amend", "--no-edit").code == 0
    assert runs(root, cli) == ["1", "2"]
    assert cli(root, "queue", "list", "--json").json == []


def test_a_command_that_commits_says_what_the_hook_says(root: Path, cli: Cli) -> None:
    done = cli(root, "task", "set", "web-000001", "status=in_progress", "--commit")
    assert done.code == 0
    assert "note: waiting for an approval: web-000001/w, see:" in done.err
    assert runs(root, cli) == ["1"]


@pytest.mark.slow
def test_a_commit_of_one_path_sees_the_work_tree(root: Path, cli: Cli) -> None:
    write_files(root, {ONE: BEGUN, "README": "x", TWO: f"{TASK}# more\n"})
    git(root, "add", "README")
    assert call(root, "commit", "-qm", "none of tasks", "README").code == 0
    assert runs(root, cli) == []
    assert call(root, "commit", "-qm", "two", TWO).code == 0
    assert runs(root, cli) == ["1"]
    assert call(root, "commit", "-qm", "one", ONE).code == 0
    assert runs(root, cli) == ["1"]


@pytest.mark.slow
@pytest.mark.parametrize(
    "arguments",
    [
        ["merge", "-q", "--no-ff", "--no-edit"],
        ["merge", "-q", "--ff-only"],
        ["cherry-pick"],
        ["pull", "-q", ".", "--ff"],
    ],
    ids=lambda arguments: " ".join(arguments),
)
def test_what_others_bring(arguments: list[str], root: Path, cli: Cli) -> None:
    prepare(root, {ONE: BEGUN})
    done = call(root, *arguments, "theirs")
    assert done.code == 0, done.err
    assert len(told(done)) == 1
    assert runs(root, cli) == ["1"]


@pytest.mark.slow
def test_a_rebase_looks_once_at_its_end_and_a_checkout_starts_nothing(root: Path, cli: Cli) -> None:
    prepare(root, {ONE: BEGUN})
    git(root, "switch", "-qc", "ours")
    commit(root, {TWO: TASK.replace("low", "high")})
    commit(root, {TWO: TASK.replace("low", "critical")})
    done = call(root, "rebase", "-q", "theirs")
    assert (done.code, len(told(done))) == (0, 1), done.err
    assert runs(root, cli) == ["1"]
    for target in ("main", "ours", "HEAD~1", "ours"):
        assert told(call(root, "checkout", "-q", target)) == []
    assert runs(root, cli) == ["1"]
    write_files(root, {TWO: BEGUN})
    assert told(call(root, "switch", "-qc", "more")) == []
    assert runs(root, cli) == ["1"]
    assert len(told(call(root, "commit", "-qam", "edit from before"))) == 1
    assert runs(root, cli) == ["1", "2"]


def test_files_that_are_checked_out_are_edits(root: Path, cli: Cli) -> None:
    prepare(root, {ONE: BEGUN})
    assert len(told(call(root, "checkout", "-q", "theirs", "--", ONE))) == 1
    assert runs(root, cli) == ["1"]


@pytest.mark.slow
def test_revert_and_what_no_hook_tells_of(root: Path, cli: Cli) -> None:
    commit(root, {ONE: BEGUN})
    commit(root, {ONE: TASK})
    call(root, "revert", "--no-edit", "HEAD")
    assert runs(root, cli) == ["1", "1"]
    call(root, "reset", "-q", "--hard", "HEAD~1")
    write_files(root, {TWO: BEGUN})
    call(root, "stash", "-q")
    call(root, "stash", "pop", "-q")
    assert cli(root, "queue", "work").code == 0
    assert runs(root, cli) == ["1", "1", "2"]


@pytest.mark.slow
def test_patches(root: Path, cli: Cli) -> None:
    prepare(root, {ONE: BEGUN})
    git(root, *UNHOOKED, "switch", "-q", "theirs")
    commit(root, {TWO: BEGUN}, *UNHOOKED)
    patches = git(root, "format-patch", "-q", "-o", str(root.parent / "patches"), "main")
    git(root, *UNHOOKED, "switch", "-q", "main")
    assert call(root, "am", "-q", *map(str, sorted((root.parent / "patches").iterdir()))).code == 0, patches
    assert runs(root, cli) == ["1", "2"]


@pytest.mark.slow
def test_a_merge_that_stopped_starts_nothing_before_it_is_committed(root: Path, cli: Cli) -> None:
    prepare(root, {ONE: BEGUN, TWO: TASK.replace("low", "high")})
    commit(root, {TWO: TASK.replace("low", "critical")})
    assert call(root, "merge", "theirs").code == 1
    assert cli(root, "queue", "work").code == 0
    assert runs(root, cli) == []
    write_files(root, {TWO: BEGUN})
    git(root, "add", "--all")
    assert call(root, "commit", "-q", "--no-edit").code == 0
    assert sorted(runs(root, cli)) == ["1", "2"]


@pytest.mark.slow
def test_a_detached_head_a_subfolder_and_a_repository_that_is_named(root: Path, cli: Cli) -> None:
    git(root, "checkout", "-q", "--detach")
    write_files(root, {ONE: BEGUN})
    assert call(root / "tasks/web", "commit", "-qam", "one").code == 0
    write_files(root, {TWO: BEGUN})
    env = {"GIT_DIR": str(root / ".git"), "GIT_WORK_TREE": str(root), "GIT_INDEX_FILE": str(root / ".git/index")}
    assert call(root.parent, "commit", "-qam", "two", env=env).code == 0
    assert runs(root, cli) == ["1", "2"]


@pytest.mark.slow
def test_a_hook_that_commits_ends(root: Path, cli: Cli) -> None:
    """What it commits is a change like any other; that starts its own run, and no loop."""
    write_hook(
        root / ".git/hooks/post-commit.before-dagtasks",
        f"#!/bin/sh\ngrep -q ': in_progress' {TWO} && exit 0\nsed -i s/planned/in_progress/ {TWO}\ngit commit -qam more\n",
    )
    assert commit(root, {ONE: BEGUN}).code == 0
    assert sorted(runs(root, cli)) == ["1", "2"]
    assert len(git(root, "log", "--format=%H").splitlines()) == 3


def test_below_a_run_commits_start_nothing(root: Path, cli: Cli) -> None:
    write_files(root, {ONE: BEGUN})
    assert call(root, "commit", "-qam", "a step did it", env={"DAGTASKS_DEPTH": "1"}) == Result(0, "", "")
    write_files(root, {TWO: BEGUN})
    call(root, "commit", "-qam", "a person did it")
    assert runs(root, cli) == ["2"]


def test_commands_that_commit_are_looked_at(root: Path, cli: Cli) -> None:
    done = cli(root, "task", "set", "web-000001", "status=in_progress", "--commit")
    assert done.code == 0
    assert runs(root, cli) == ["1"]
    assert cli(root, "task", "set", "web-000001", "priority=high", "--commit").code == 0
    assert runs(root, cli) == ["1"]


@pytest.mark.slow
def test_many_are_queued_and_a_runner_that_stays_behind_does_them(root: Path, cli: Cli) -> None:
    many = {f"tasks/web/web-00001{n}.yaml": BEGUN for n in range(8)}
    done = commit(root, many)
    assert len(told(done)) == 1
    assert told(done)[0].startswith("3 runs queued, see: dagtasks queue list; waiting for an approval: web-000010/w")
    # One runner at a time: ours waits for the other one only by looking again.
    while cli(root, "queue", "list", "--json").json:
        subprocess.run(["sleep", "0.1"], check=True)
    assert sorted(runs(root, cli)) == sorted("01234567")
    assert {record["status"] for record in cli(root, "runs", "list", "--json").json} == {"awaiting_approval"}


@pytest.mark.slow
def test_in_the_foreground(root: Path, cli: Cli) -> None:
    write_files(root, {f"tasks/web/web-00001{n}.yaml": BEGUN for n in range(6)})
    done = cli(root, "hooks", "run", "--foreground", "post-commit")
    assert len(runs(root, cli)) == 6
    assert "web-000015/w: awaiting_approval" in done.err


def test_what_a_commit_says_of_a_task_starts_what_follows_from_it(root: Path, cli: Cli) -> None:
    write_files(root, {"README": "x"})
    git(root, "add", "--all")
    done = call(root, "commit", "-qm", "Done\n\nStarts: web-000002")
    assert [line[:42] for line in told(done)] == [
        "web-000002: status planned -> in_progress,",
        "waiting for an approval: web-000002/w, see",
    ]
    assert runs(root, cli) == ["2"]
    assert "status: in_progress" in (root / TWO).read_text()


def test_what_a_commit_changes_and_what_it_says_are_two_changes(root: Path, cli: Cli) -> None:
    write_files(root, {ONE: BEGUN})
    git(root, "add", "--all")
    done = call(root, "commit", "-qm", "All of it\n\nCompletes: web-000001")
    assert [line.partition(":")[0] for line in told(done)] == ["web-000001", "waiting for an approval"]
    assert runs(root, cli) == ["1"]
    assert "status: completed" in (root / ONE).read_text()
