"""Asking for what is there already writes no file, makes no commit and succeeds, whatever the command."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.conftest import BASIC_TEMPLATE, MakeProject, Result, git

Cli = Callable[..., Result]
TASK = "tasks/web/web-000001.yaml"
FILES = {
    "tasks/web/project.yaml": "name: 'Web' # the site\ndescription: >\n  One\n  two.\nmetadata: {team: core, n: 3}\n",
    "tasks/web/phases/build.yaml": "name: Build\norder:   1\n",
    "templates/basic_task.yaml": BASIC_TEMPLATE,
    "tasks/web/web-000002.yaml": "name: Two\nstatus: completed\n",
    TASK: """\
# Written by hand, in no canonical form.
status:   'in_progress'
name: "One"
priority: ~
assignee: ann   # since monday
due: 2026-12-01
phase: build
labels: [ui, "api", ]
depends_on:
- web-000002
description: |-
    one

    two
metadata:
  version: 1.10
  text: "1.10"
  list: [a, {b: c}]
  empty:
workflows:
  check: {template: basic_task, parameters: {task_name: x, task_command: "echo 1"}}
""",
}
COMMANDS = {
    "each scalar": f"task set {TASK[-15:-5]} status=in_progress name=One assignee=ann due=2026-12-01 phase=build",
    "nothing stays nothing": "task set 000001 priority=",
    "lists, in any order": "task set 000001 labels=ui,api depends_on=000002",
    "items that are there": "task set 000001 labels+=ui depends_on+=web-000002",
    "items that are not there": "task set 000001 labels-=x depends_on-=web-000009",
    "a number": "task set 000001 metadata.n=",
    "a key that is not there": "task set 000001 metadata.nothing=",
    "text like a number": 'task set 000001 metadata.text="1.10"',
    "moved where it is": "task move 000001 --phase build",
    "claimed before": "task claim 000001 --as ann",
    "a parameter": "workflow set 000001 check task_name=x",
    "a template": "workflow set 000001 check template=basic_task",
    "a project": "project set web name=Web metadata.n=3 metadata.team=core",
    "a phase": "phase set web/build name=Build order=1",
}


def seen(root: Path) -> dict[str, tuple[int, int, bytes]]:
    """Every file: inode, time and bytes."""
    files = [path for path in root.rglob("*") if path.is_file() and ".git" not in path.parts]
    return {str(path): (path.stat().st_ino, path.stat().st_mtime_ns, path.read_bytes()) for path in files}


@pytest.fixture
def root(project: MakeProject) -> Path:
    return project(FILES).root


@pytest.mark.parametrize("option", ["--commit", "--no-commit", "--dry-run"])
@pytest.mark.parametrize("command", COMMANDS.values(), ids=COMMANDS)
def test_same_value(command: str, option: str, root: Path, cli: Cli) -> None:
    before, commits = seen(root), git(root, "rev-list", "--all")
    done = cli(root, *command.replace('"', "").split(), option)
    assert (done.code, done.err) == (0, "")
    assert "nothing to change" in done.out
    assert seen(root) == before
    assert git(root, "rev-list", "--all") == commits
    assert git(root, "status", "--porcelain") == ""


def test_text_of_several_lines(root: Path, cli: Cli) -> None:
    before = seen(root)
    assert cli(root, "task", "set", "000001", "description=-", "--commit", given="one\n\ntwo").code == 0
    assert cli(root, "project", "set", "web", "description=One two.\n", "--commit").code == 0
    assert seen(root) == before


def test_of_a_list_that_is_a_set_what_stays_stays_where_it_is(root: Path, cli: Cli) -> None:
    file = root / TASK
    file.write_text(file.read_text().replace('labels: [ui, "api", ]', 'labels:\n  # why\n  - ui # u\n  - "api" # a'))
    assert cli(root, "task", "set", "000001", "labels=web,api,ui").code == 0
    assert 'labels:\n  # why\n  - ui # u\n  - "api" # a\n  - web\n' in file.read_text()
    assert cli(root, "task", "set", "000001", "labels=ui,web").code == 0
    assert "labels:\n  # why\n  - ui # u\n  - web\n" in file.read_text()


def test_a_list_or_a_map_in_metadata(root: Path, cli: Cli) -> None:
    before = seen(root)
    assert cli(root, "task", "set", "000001", 'metadata.list=["a", {"b": "c"}]', "--commit").code == 0
    assert seen(root) == before


def test_what_is_canonical_or_needs_no_mending(root: Path, cli: Cli) -> None:
    assert cli(root, "fmt", "--commit").code == 0
    before, commits = seen(root), git(root, "rev-list", "--all")
    for command in (["fmt", "--commit"], ["fmt", "--check"], ["validate", "--fix"], ["init"], ["resolve"]):
        cli(root, *command)
    assert {path: facts for path, facts in seen(root).items() if path in before} == before
    assert git(root, "rev-list", "--all") == commits


def test_a_value_that_was_left_to_be_committed(root: Path, cli: Cli) -> None:
    assert cli(root, "task", "set", "000001", "assignee=bo", "--no-commit").code == 0
    before = seen(root)
    assert cli(root, "task", "set", "000001", "assignee=bo", "--commit").code == 0
    assert seen(root) == before
    assert git(root, "show", "--name-only", "--format=%s").splitlines()[-1] == TASK
