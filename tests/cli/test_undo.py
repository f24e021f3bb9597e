"""`undo`: what dagtasks committed last, and nothing that anybody did since."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.conftest import MakeProject, Result, git, write_files

Cli = Callable[..., Result]
TASK, TWO = "tasks/web/web-000001.yaml", "tasks/web/web-000002.yaml"
FILES = {
    "tasks/web/project.yaml": "name: Web\n",
    TASK: "name: One\n\nstatus: planned # kept\n\npriority: low\n\nlabels:\n\ndescription: |\n  a\n  b\n  c\n",
    TWO: "name: Two\n\ndepends_on:\n  - web-000001\n",
}


@pytest.fixture
def root(project: MakeProject) -> Path:
    return project(FILES).root


@pytest.fixture
def change(root: Path, cli: Cli) -> Callable[..., Result]:
    """A function that carries out a command and commits."""

    def carry_out(*words: str) -> Result:
        done = cli(root, *words, "--commit")
        assert done.code == 0, done.err
        return done

    return carry_out


Change = Callable[..., Result]


def edit(root: Path, path: str, old: str, new: str, message: str | None = "by hand") -> None:
    """A person's edit, committed unless there is no message."""
    text = (root / path).read_text()
    assert old in text
    (root / path).write_text(text.replace(old, new))
    if message:
        git(root, "commit", "-q", "--message", message, "--", path)


def subjects(root: Path) -> list[str]:
    return git(root, "log", "--format=%s").splitlines()


def test_a_change_is_taken_back_in_a_new_commit(root: Path, cli: Cli, change: Change) -> None:
    before = (root / TASK).read_bytes()
    change("task", "set", "000001", "status=blocked", "labels+=ui")
    done = cli(root, "undo")
    subject = "undo: web-000001: status planned -> blocked, labels += ui"
    assert (done.code, done.out) == (0, f"{subject} [{git(root, 'rev-parse', 'HEAD')[:10]}]\n")
    assert (root / TASK).read_bytes() == before
    assert git(root, "show", "--format=%s", "--name-only") == f"{subject}\n\n{TASK}"
    assert git(root, "status", "--porcelain") == ""


def test_the_answer_as_a_document(root: Path, cli: Cli, change: Change) -> None:
    change("task", "set", "000001", "status=blocked")
    undone = git(root, "rev-parse", "HEAD")
    dry = json.loads(cli(root, "undo", "--dry-run", "--json").out)
    assert (dry["kind"], dry["changed"], dry["commit"], dry["dry_run"]) == ("undo", [TASK], None, True)
    assert subjects(root)[0] == "web-000001: status planned -> blocked"
    done = json.loads(cli(root, "undo", "--json").out)
    subject = "web-000001: status planned -> blocked"
    assert done["data"] == {"undone": undone, "subject": subject, "paths": [TASK]}
    assert done["commit"] == git(root, "rev-parse", "HEAD")


def test_later_edits_of_other_fields_stay(root: Path, cli: Cli, change: Change) -> None:
    change("task", "set", "000001", "status=blocked", "labels+=ui")
    edit(root, TASK, "priority: low", "priority: high # mine")
    edit(root, TASK, "  - ui\n", "  - ui\n  - api\n")
    assert cli(root, "undo").code == 0
    text = (root / TASK).read_text()
    assert "status: planned # kept\n\npriority: high # mine\n\nlabels:\n  - api\n" in text


@pytest.mark.parametrize(
    ("command", "old", "new", "fields"),
    [
        (["status=blocked"], "status: blocked", "status: completed", "status"),
        (["status=blocked", "priority=high"], "priority: high", "priority: critical", "priority"),
        (["metadata.team=core"], "team: core", "team: edge", "metadata"),
        (["description=a\nB\nc\n"], "  B\n", "  BB\n", "description"),
    ],
)
def test_what_was_changed_since_is_named_and_nothing_is_done(
    root: Path, cli: Cli, change: Change, command: list[str], old: str, new: str, fields: str
) -> None:
    change("task", "set", "000001", *command)
    edit(root, TASK, old, new)
    before = (git(root, "rev-parse", "HEAD"), (root / TASK).read_bytes())
    done = cli(root, "undo")
    assert (done.code, done.out) == (6, "")
    assert f"cannot be undone: {TASK} was changed since ({fields})" in done.err
    assert (git(root, "rev-parse", "HEAD"), (root / TASK).read_bytes()) == before
    assert git(root, "status", "--porcelain") == ""


def test_twice_takes_back_the_one_before_and_never_an_undo(root: Path, cli: Cli, change: Change) -> None:
    change("task", "set", "000001", "priority=high")
    change("task", "set", "000002", "status=blocked")
    change("task", "set", "000001", "priority=critical")
    for expected in ("priority = critical", "status planned -> blocked", "priority = high"):
        assert expected in cli(root, "undo").out
    assert git(root, "diff", "HEAD~6", "HEAD") == ""
    done = cli(root, "undo")
    assert (done.code, done.out) == (6, "")
    assert "there is nothing to undo" in done.err
    change("task", "set", "000001", "priority=medium")
    assert "priority = medium" in cli(root, "undo").out
    assert cli(root, "undo").code == 6


def test_an_undo_is_undone_by_git_and_stays_so(root: Path, cli: Cli, change: Change) -> None:
    change("task", "set", "000001", "priority=high")
    change("task", "set", "000001", "status=blocked")
    cli(root, "undo")
    git(root, "revert", "--no-edit", "HEAD")
    assert "priority = high" in cli(root, "undo").out
    assert "status: blocked" in (root / TASK).read_text()


def test_an_undo_takes_back_one_of_two_like_changes(root: Path, cli: Cli, change: Change) -> None:
    change("task", "set", "000001", "priority=high")
    edit(root, TASK, "priority: high", "priority: low")
    change("task", "set", "000001", "priority=high")
    assert cli(root, "undo").code == 0
    edit(root, TASK, "priority: low", "priority: high")
    assert "undo: web-000001: priority = high" in cli(root, "undo").out
    assert "priority: low\n" in (root / TASK).read_text()
    assert "nothing to undo" in cli(root, "undo").err


def test_what_has_no_effect_any_more_is_passed_over(root: Path, cli: Cli, change: Change) -> None:
    change("task", "set", "000002", "status=blocked")
    change("task", "set", "000001", "priority=high")
    edit(root, TASK, "priority: high", "priority: low")
    assert "web-000002: status planned -> blocked" in cli(root, "undo").out


def test_created_files_go_and_deleted_ones_come_back(root: Path, cli: Cli, change: Change) -> None:
    change("task", "comment", "000001", "One")
    name = change("task", "create", "web", "--name", "New").out.strip()
    change("task", "comment", name, "About it")
    before = {path: path.read_bytes() for path in (root / "tasks").rglob("*.*")}
    change("task", "delete", "000001", "--detach", "--yes")
    assert "undo: web-000001: deleted: One [" in cli(root, "undo").out
    assert {path: path.read_bytes() for path in (root / "tasks").rglob("*.*")} == before
    assert f"undo: {name}: comment by Ann" in cli(root, "undo").out
    assert f"undo: {name}: created: New" in cli(root, "undo").out
    assert "comment by Ann" in cli(root, "undo").out
    assert git(root, "diff", "HEAD~8", "HEAD") == ""
    assert cli(root, "validate").code == 0


def test_a_created_file_that_was_changed_stays(root: Path, cli: Cli, change: Change) -> None:
    name = change("task", "create", "web", "--name", "New").out.strip()
    edit(root, f"tasks/web/{name}.yaml", "name: New", "name: Newer")
    done = cli(root, "undo")
    assert (done.code, f"tasks/web/{name}.yaml was changed since it was made" in done.err) == (6, True)


def test_a_file_that_was_deleted_since(root: Path, cli: Cli, change: Change) -> None:
    change("task", "set", "000002", "priority=high")
    git(root, "rm", "-q", TWO)
    git(root, "commit", "-q", "--message", "gone")
    assert f"{TWO} was deleted since" in cli(root, "undo").err


def test_of_a_change_of_several_files_all_or_nothing(root: Path, cli: Cli, change: Change) -> None:
    change("task", "delete", "000001", "--detach", "--yes")
    edit(root, TWO, "depends_on:\n", "depends_on:\n  - web-000003\n")
    write_files(root, {"tasks/web/web-000003.yaml": "name: Three\n"})
    git(root, "add", "tasks/web/web-000003.yaml")
    git(root, "commit", "-q", "--message", "three")
    assert cli(root, "undo").code == 0
    assert (root / TASK).exists()
    assert "  - web-000001\n  - web-000003\n" in (root / TWO).read_text()
    change("task", "delete", "000001", "--detach", "--yes")
    git(root, "rm", "-q", TWO)
    git(root, "commit", "-q", "--message", "gone")
    assert cli(root, "undo").code == 6
    assert not (root / TASK).exists()


# -- what would be wrong afterwards ---------------------------------------------------------------------------------


def test_what_others_need_stays(root: Path, cli: Cli, change: Change) -> None:
    name = change("task", "create", "web", "--name", "New").out.strip()
    edit(root, TASK, "labels:", f"depends_on:\n  - {name}\n\nlabels:")
    done = cli(root, "undo")
    assert (done.code, f"{TASK}: there is no task '{name}'" in done.err) == (6, True)
    assert (root / f"tasks/web/{name}.yaml").exists()


def test_a_phase_with_tasks_and_a_project_with_files_stay(root: Path, cli: Cli, change: Change) -> None:
    change("phase", "create", "web", "build", "--name", "Build")
    edit(root, TASK, "labels:", "phase: build\n\nlabels:")
    assert "has no phase 'build'" in cli(root, "undo").err
    change("project", "create", "ops", "--name", "Ops")
    write_files(root, {"tasks/ops/ops-000001.yaml": "name: [\n"})
    assert "tasks/ops/ops-000001.yaml would be left" in cli(root, "undo").err


def test_comments_of_others_stay(root: Path, cli: Cli, change: Change) -> None:
    name = change("task", "create", "web", "--name", "New").out.strip()
    path = f"tasks/web/comments/{name}/1.md"
    write_files(root, {path: "---\nauthor: bo\ndate: 2026-11-23\n---\nHi\n"})
    done = cli(root, "undo")
    assert (done.code, f"{path} would be left" in done.err) == (6, True)


def test_what_was_wrong_before_is_no_hindrance(root: Path, cli: Cli, change: Change) -> None:
    change("task", "set", "000001", "status=blocked")
    write_files(root, {"tasks/web/web-000009.yaml": "name: [\n", "tasks/web/web-000008.yaml": "name: A\nphase: nope\n"})
    assert cli(root, "undo").code == 0


def test_an_id_that_was_given_to_another_file(root: Path, cli: Cli, change: Change) -> None:
    change("task", "delete", "000002", "--yes")
    write_files(root, {"tasks/web/deeper/web-000002.yaml": "name: Other\n"})
    assert "'web-000002' is taken by" in cli(root, "undo").err


# -- edits that are not committed -----------------------------------------------------------------------------------


def test_the_last_change_was_not_committed(root: Path, cli: Cli, change: Change) -> None:
    change("task", "set", "000002", "priority=high")
    cli(root, "task", "set", "000001", "status=blocked")
    done = cli(root, "undo")
    assert (done.code, f"the last change was not committed, so it cannot be undone: {TASK}" in done.err) == (6, True)
    git(root, "commit", "-q", "--all", "--message", "by hand")
    assert "web-000002: priority = high" in cli(root, "undo").out


def test_what_was_left_uncommitted_before_the_last_change(root: Path, cli: Cli, change: Change) -> None:
    cli(root, "task", "set", "000001", "status=blocked")
    change("task", "set", "000002", "priority=high")
    assert "web-000002: priority = high" in cli(root, "undo").out
    assert "status: blocked" in (root / TASK).read_text()
    cli(root, "task", "set", "000001", "priority=high")
    assert f"the last change was not committed, so it cannot be undone: {TASK}" in cli(root, "undo").err
    change("task", "set", "000001", "status=blocked")
    assert "web-000001: status = blocked" in cli(root, "undo").out
    assert git(root, "diff", "HEAD~4", "HEAD") == ""


def test_edits_of_a_person_in_the_file_are_respected(root: Path, cli: Cli, change: Change) -> None:
    change("task", "set", "000001", "status=blocked")
    edit(root, TASK, "priority: low", "priority: high", message=None)
    write_files(root, {"other.txt": "mine\n"})
    before = (root / TASK).read_bytes()
    done = cli(root, "undo")
    assert (done.code, f"edits that are not committed in {TASK}" in done.err) == (6, True)
    assert (root / TASK).read_bytes() == before
    git(root, "checkout", "-q", "--", TASK)
    assert cli(root, "undo").code == 0
    assert git(root, "status", "--porcelain") == "?? other.txt"


def test_a_merge_under_way(root: Path, cli: Cli, change: Change) -> None:
    change("task", "set", "000001", "status=blocked")
    git(root, "switch", "-q", "-c", "other", "HEAD^")
    git(root, "commit", "-q", "--allow-empty", "--message", "other")
    git(root, "switch", "-q", "main")
    git(root, "merge", "-q", "--no-ff", "--no-commit", "other")
    done = cli(root, "undo")
    assert (done.code, "a merge is under way" in done.err) == (6, True)
    assert "status: blocked" in (root / TASK).read_text()


# -- what is the last change ----------------------------------------------------------------------------------------


def test_commits_of_others_are_never_undone(root: Path, cli: Cli, change: Change, tmp_path: Path) -> None:
    change("task", "set", "000001", "priority=high")
    other = tmp_path / "other"
    git(tmp_path, "clone", "-q", str(root), str(other))
    assert "nothing to undo" in cli(other, "undo").err
    assert cli(other, "task", "set", "000001", "status=blocked", "--commit").code == 0
    git(root, "pull", "-q", str(other), "main")
    edit(root, TWO, "name: Two", "name: Zwei")
    assert "web-000001: priority = high" in cli(root, "undo").out
    assert "status: blocked" in (root / TASK).read_text()


def test_each_branch_has_its_own_last_change(root: Path, cli: Cli, change: Change) -> None:
    change("task", "set", "000001", "priority=high")
    git(root, "switch", "-q", "-c", "other")
    change("task", "set", "000001", "status=blocked")
    git(root, "switch", "-q", "main")
    assert "priority = high" in cli(root, "undo").out
    git(root, "switch", "-q", "other")
    assert "status planned -> blocked" in cli(root, "undo").out
    assert "nothing to undo" in cli(root, "undo").err


def test_on_no_branch_and_before_the_first_commit(root: Path, cli: Cli, change: Change, tmp_path: Path) -> None:
    git(root, "checkout", "-q", "--detach")
    change("task", "set", "000001", "priority=high")
    assert "priority = high" in cli(root, "undo").out
    git(tmp_path, "init", "-q", "fresh")
    write_files(tmp_path / "fresh", {"tasks/web/project.yaml": "name: Web\n"})
    assert "nothing to undo" in cli(tmp_path / "fresh", "undo").err
    git(tmp_path / "fresh", "config", "user.name", "A\x0bB")  # what some take for the end of a line
    assert cli(tmp_path / "fresh", "task", "create", "web", "--name", "First", "--commit").code == 0
    assert "created: First" in cli(tmp_path / "fresh", "undo").out
    assert [path.name for path in (tmp_path / "fresh/tasks/web").iterdir()] == ["project.yaml"]


def test_a_rebase_and_an_amended_commit_are_followed(root: Path, cli: Cli, change: Change) -> None:
    git(root, "switch", "-q", "-c", "work")
    change("task", "set", "000001", "priority=high")
    change("task", "set", "000002", "status=blocked")
    git(root, "switch", "-q", "main")
    edit(root, TASK, "name: One", "name: Eins")
    git(root, "switch", "-q", "work")
    git(root, "rebase", "-q", "main")
    write_files(root, {"other.txt": "mine\n", "tasks/notes.md": "mine\n"})
    git(root, "add", "--all")
    git(root, "commit", "-q", "--amend", "--no-edit")
    done = cli(root, "undo")
    assert "web-000002: status planned -> blocked" in done.out
    assert git(root, "show", "--format=", "--name-only").splitlines() == ["tasks/notes.md", TWO]
    assert (root / "other.txt").exists()
    assert "web-000001: priority = high" in cli(root, "undo").out
    assert "name: Eins\n" in (root / TASK).read_text()


def test_commits_that_are_gone_are_passed_over_and_named(root: Path, cli: Cli, change: Change) -> None:
    change("task", "set", "000001", "priority=high")
    change("task", "set", "000002", "status=blocked")
    git(root, "reset", "-q", "--hard", "HEAD^")
    done = cli(root, "undo", "--dry-run")
    assert "would: undo: web-000001: priority = high" in done.out
    assert "web-000002: status planned -> blocked: passed over" in done.err
    git(root, "commit", "-q", "--amend", "--message", "reworded")
    assert "nothing to undo" in cli(root, "undo").err


def test_what_was_pushed_is_undone_all_the_same(root: Path, cli: Cli, change: Change, tmp_path: Path) -> None:
    git(tmp_path, "init", "-q", "--bare", "origin.git")
    git(root, "remote", "add", "origin", str(tmp_path / "origin.git"))
    git(root, "push", "-q", "-u", "origin", "main")
    change("task", "set", "000001", "priority=high")
    assert "pushed" not in cli(root, "undo", "--dry-run").err
    git(root, "push", "-q")
    assert "the change was pushed already" in cli(root, "undo").err
    assert git(root, "rev-list", "--count", "@{upstream}..") == "1"


def test_a_root_in_a_folder_and_line_ends_of_windows(project: MakeProject, cli: Cli) -> None:
    whole = project({f"deep folder/ü/{path}": text for path, text in FILES.items()}).root
    root = whole / "deep folder/ü"
    git(whole, "config", "core.autocrlf", "true")
    for path in (TASK, TWO):
        (root / path).write_bytes((root / path).read_bytes().replace(b"\n", b"\r\n"))
    git(whole, "add", "--renormalize", ".")
    before = (root / TASK).read_bytes()
    assert cli(root, "task", "set", "000001", "status=blocked", "--commit").code == 0
    assert cli(root, "undo").code == 0
    assert (root / TASK).read_bytes() == before
    assert git(whole, "status", "--porcelain") == ""


def test_outside_of_git(tmp_path: Path, cli: Cli) -> None:
    write_files(tmp_path, FILES)
    assert cli(tmp_path, "undo").code == 4


def test_a_hook_that_refuses_leaves_files_that_a_person_can_commit(root: Path, cli: Cli, change: Change) -> None:
    change("task", "set", "000001", "status=blocked")
    write_files(root, {".git/hooks/pre-commit": "#!/bin/sh\nexit 1\n"})
    (root / ".git/hooks/pre-commit").chmod(0o755)
    assert cli(root, "undo").code == 8
    assert "status: planned" in (root / TASK).read_text()
    assert "the last change was not committed" in cli(root, "undo").err
