"""What changed since the last look: the cursor, and what is queued from it."""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from dagtasks.service import dispatch
from dagtasks.service.queue import what_of
from dagtasks.store.cursor import CursorFile
from dagtasks.store.project import Project
from dagtasks.store.queue import Queue
from dagtasks.store.records import ROW_FIELDS, Packed, pack_row
from tests.conftest import MakeProject, Result, git, write_files

Cli = Callable[..., Result]
ONE, TWO, OWNER = "tasks/web/web-000001.yaml", "tasks/web/web-000002.yaml", "tasks/web/project.yaml"
TEMPLATE = "metadata:\n  name: t\nsteps:\n  - name: a\n    container: {image: 'alpine:3', command: 'true'}\n"
FLOW = "\nworkflows:\n  w:\n    template: t\n    run_on:\n      - in_progress\n      - updated\n"
TASK = f"name: One\n\nstatus: planned\n\nmetadata:\n  n: 1\n{FLOW}"
FILES = {OWNER: "name: Web\n", ONE: TASK, TWO: TASK, "templates/t.yaml": TEMPLATE}


@pytest.fixture
def repository(project: MakeProject) -> Project:
    made = project(FILES)
    dispatch.begin(made)
    return made


def begin(path: str = ONE) -> dict[str, str | bytes]:
    return {path: TASK.replace("planned", "in_progress")}


def queued(project: Project) -> list[str]:
    """What a look queues."""
    return [what_of(entry) for entry in dispatch.look(project).queued]


def in_queue(project: Project) -> list[str]:
    return [what_of(entry) for entry in Queue(project.get_git()).entries()]


def cursor_of(project: Project) -> Path:
    return project.get_git().git_dir / "dagtasks/cursor"


def test_the_first_look_starts_nothing_and_the_next_what_changed_since(project: MakeProject) -> None:
    made = project(FILES)
    assert dispatch.look(made) == dispatch.NOTHING
    assert queued(made) == []
    write_files(made.root, begin())
    assert queued(made) == ["web-000001/w"]
    assert queued(made) == []
    assert in_queue(made) == ["web-000001/w"]
    write_files(made.root, {ONE: TASK})
    assert queued(made) == ["web-000001/w"]
    write_files(made.root, begin())
    assert queued(made) == ["web-000001/w"]
    assert in_queue(made) == ["web-000001/w"] * 3


@pytest.mark.parametrize("damage", ["gone", "empty", "cut", "other", "newer", "no json", "list"])
def test_a_cursor_that_cannot_be_read_is_as_none(damage: str, repository: Project) -> None:
    file = cursor_of(repository)
    content = file.read_bytes()
    head, _, body = content.partition(b"\n")
    damaged = {
        "empty": b"",
        "cut": content[:-20],
        "other": content.replace(b"planned", b"blocked"),
        "newer": json.dumps({**json.loads(head), "form": 99}).encode() + b"\n" + body,
        "no json": b"x" + content,
        "list": b"[]\n" + body,
    }
    file.unlink() if damage == "gone" else file.write_bytes(damaged[damage])
    write_files(repository.root, begin())
    assert queued(repository) == []
    write_files(repository.root, begin(TWO))
    assert queued(repository) == ["web-000002/w"]


def test_a_cursor_of_another_version_is_read_by_the_names_of_its_fields(
    repository: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A field that is not known yet, and one that was not there then."""
    write_files(repository.root, {OWNER: "name: Web\n\ntriggers:\n  - {on: task.ready, template: t}\n"})
    dispatch.look(repository)
    cursor, content = CursorFile(repository).read() or pytest.fail("no cursor"), repository.load()
    fields = [*ROW_FIELDS]
    due = fields[2].index("due")
    fields[2] = (*fields[2][:due], *fields[2][due + 1 :], "colour")
    with monkeypatch.context() as other:
        other.setattr("dagtasks.store.cursor.ROW_FIELDS", tuple(fields))
        other.setattr("dagtasks.store.cursor.pack_row", lambda row: _without_due(pack_row(row), due))
        CursorFile(repository).write(cursor._replace(content=content._replace(tasks=dict(content.tasks))))
    assert dispatch.look(repository) == dispatch.NOTHING
    write_files(repository.root, begin())
    assert queued(repository) == ["web-000001/w"]


def _without_due(packed: Packed, due: int) -> Packed:
    kind, is_marked, values = packed
    return (kind, is_marked, (*values[:due], *values[due + 1 :], "red")) if kind == 2 else packed


def test_what_rows_can_hold_is_read_from_the_cursor_as_it_was(project: MakeProject) -> None:
    files = {
        OWNER: "name: Web\n\nmetadata: {a: [1, true, 'no', 1.5]}\n\ntriggers:\n  - {on: task.ready, template: t}\n"
        "\ngates:\n  completed:\n    - w\n",
        ONE: f"name: One\n\ndue: 2026-12-31\n\nlabels: [b, a]\n\ndepends_on: [web-000002]\n\nmetadata: {{n: '012', d: 'on', "
        f"m: {{x: [no-one]}}, e: 1.0}}\n{FLOW}",
        TWO: TASK,
        "tasks/web/phases/p.yaml": "name: P\n\norder: 3\n",
        "templates/t.yaml": TEMPLATE,
    }
    made = project(files)
    dispatch.begin(made)
    before = cursor_of(made).read_bytes()
    write_files(made.root, {path: f"# x\n{text}" for path, text in files.items()})
    assert dispatch.look(made) == dispatch.NOTHING
    assert dispatch.look(Project(made.root, use_cache=False)) == dispatch.NOTHING
    assert cursor_of(made).read_bytes() == before


def test_a_file_that_cannot_be_read_stays_as_it_was_last(repository: Project) -> None:
    write_files(repository.root, {ONE: "name: [\n"})
    assert dispatch.look(repository)[:2] == ([], [])
    write_files(repository.root, {ONE: TASK})
    assert dispatch.look(repository)[:2] == ([], [])
    write_files(repository.root, {ONE: "name: [\n"})
    assert dispatch.look(repository)[:2] == ([], [])
    write_files(repository.root, begin())
    assert queued(repository) == ["web-000001/w"]


def test_two_work_trees_have_two_cursors_and_one_queue(repository: Project, tmp_path: Path) -> None:
    git(repository.root, "worktree", "add", "-q", "-b", "other", str(tmp_path / "linked"))
    linked = Project(tmp_path / "linked")
    dispatch.begin(linked)
    write_files(linked.root, begin())
    assert queued(repository) == []
    assert queued(linked) == ["web-000001/w"]
    assert in_queue(repository) == ["web-000001/w"]
    assert [entry.root for entry in Queue(repository.get_git()).entries()] == [str(linked.root)]


def test_two_roots_in_one_work_tree_have_two_cursors(repository: Project) -> None:
    write_files(repository.root, {f"sub/{path}": text for path, text in FILES.items()})
    below = Project(repository.root / "sub")
    dispatch.begin(below)
    write_files(below.root, begin())
    assert queued(repository) == []
    assert queued(below) == ["web-000001/w"]


def test_an_entry_is_queued_once_when_the_look_dies_before_the_cursor_moves(repository: Project) -> None:
    old = cursor_of(repository).read_bytes()
    write_files(repository.root, begin())
    assert queued(repository) == ["web-000001/w"]
    cursor_of(repository).write_bytes(old)
    write_files(repository.root, begin(TWO))
    assert queued(repository) == ["web-000002/w"]
    assert in_queue(repository) == ["web-000001/w", "web-000002/w"]


def test_what_is_passed_over_in_between_makes_no_second_entry(
    repository: Project, cli: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    old = cursor_of(repository).read_bytes()
    write_files(repository.root, begin())
    dispatch.look(repository)
    cursor_of(repository).write_bytes(old)
    monkeypatch.setenv("DAGTASKS_DEPTH", "1")
    assert cli(repository.root, "task", "set", "web-000002", "priority=high").code == 0
    monkeypatch.delenv("DAGTASKS_DEPTH")
    assert queued(repository) == []
    assert in_queue(repository) == ["web-000001/w"]


def test_many_doors_at_once_give_one_set(repository: Project) -> None:
    write_files(repository.root, {**begin(), **begin(TWO)})
    found: list[str] = []
    doors = [threading.Thread(target=lambda: found.extend(queued(Project(repository.root)))) for _ in range(6)]
    for door in doors:
        door.start()
    for door in doors:
        door.join()
    assert sorted(found) == in_queue(repository) == ["web-000001/w", "web-000002/w"]


def test_what_a_command_below_a_run_writes_starts_nothing(
    repository: Project, cli: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_files(repository.root, begin(TWO))
    monkeypatch.setenv("DAGTASKS_DEPTH", "1")
    assert cli(repository.root, "task", "set", "web-000001", "status=in_progress").code == 0
    assert cli(repository.root, "task", "set", "web-000001", "priority=high", "--commit").code == 0
    monkeypatch.delenv("DAGTASKS_DEPTH")
    assert queued(repository) == ["web-000002/w"]
    assert cli(repository.root, "task", "set", "web-000001", "priority=low").code == 0
    assert queued(repository) == ["web-000001/w"]


def test_commits_of_runs_start_nothing_wherever_they_were_made(repository: Project) -> None:
    write_files(repository.root, begin())
    git(repository.root, "commit", "-qam", "One begins\n\nDagtasks-Run: 20261126t060821-0xygey")
    assert queued(repository) == []
    write_files(repository.root, {ONE: TASK})
    git(repository.root, "commit", "-qam", "By a run\n\nDagtasks-Run: 20261126t060821-0xygey")
    write_files(repository.root, {ONE: TASK.replace("n: 1", "n: 2"), **begin(TWO)})
    git(repository.root, "commit", "-qam", "By hand")
    assert queued(repository) == ["web-000001/w", "web-000002/w"]


def test_a_checkout_that_no_hook_told_of_starts_nothing(repository: Project) -> None:
    git(repository.root, "switch", "-qc", "other")
    write_files(repository.root, begin())
    git(repository.root, "commit", "-qam", "begin")
    assert queued(repository) == ["web-000001/w"]
    write_files(repository.root, begin(TWO))
    git(repository.root, "switch", "-q", "main")
    assert queued(repository) == ["web-000002/w"]
    git(repository.root, "stash", "-q")
    assert queued(repository) == ["web-000002/w"]
    git(repository.root, "switch", "-q", "--detach", "other")
    git(repository.root, "switch", "-q", "main")
    assert queued(repository) == []
    git(repository.root, "switch", "-q", "other")
    assert queued(repository) == []
    git(repository.root, "switch", "-q", "main")
    git(repository.root, "switch", "-q", "other")
    assert queued(repository) == []


def test_nothing_is_read_when_nothing_changed(repository: Project) -> None:
    """The cursor itself is not looked into: what it holds could not be right."""
    write_files(repository.root, begin())
    dispatch.look(repository)
    old = 1_600_000_000
    for path in FILES:
        os.utime(repository.root / path, (old, old))
    dispatch.look(repository)
    file = cursor_of(repository)
    head, _, _ = file.read_bytes().partition(b"\n")
    file.write_bytes(head + b"\nnonsense")
    assert dispatch.look(repository) == dispatch.NOTHING
    assert file.read_bytes().endswith(b"nonsense")


def test_outside_of_git_nobody_looks(tmp_path: Path, cli: Cli) -> None:
    write_files(tmp_path, {OWNER: "name: Web\n"})
    assert cli(tmp_path, "queue", "work").code == 4
    assert cli(tmp_path, "queue", "list", "--json").json == []
