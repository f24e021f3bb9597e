"""What commits say of tasks, through real Git; and tasks whose status is doubtful."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest

from dagtasks.planning.drift import Wish, find_wishes
from dagtasks.service import drift
from dagtasks.store.project import Project
from tests.conftest import MakeProject, Result, git, write_files

Cli = Callable[..., Result]
A, B = "web-000001", "web-000002"


@pytest.fixture
def root(project: MakeProject) -> Path:
    files = {f"tasks/web/{name}.yaml": f"name: {name}\n\nstatus: planned\n" for name in (A, B, "web-000003")}
    made = project({"tasks/web/project.yaml": "name: Web\n", **files})
    drift.begin(made)
    return made.root


def commit(root: Path, message: str, *paths: str) -> str:
    git(root, "commit", "--quiet", "--allow-empty", "--message", message, *(["--", *paths] if paths else []))
    return git(root, "rev-parse", "HEAD")


def follow(root: Path) -> list[str]:
    return drift.follow_commits(Project(root))


def status(root: Path, name: str = A) -> str:
    return str(Project(root).load().tasks[name].status)


def give(root: Path, value: str, name: str = A) -> None:
    path = root / f"tasks/web/{name}.yaml"
    path.write_text(path.read_text().replace(f"status: {status(root, name)}", f"status: {value}"))


# -- trailers -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("trailers", "wishes"),
    [
        (f"Completes: {A}", [(A, "completed")]),
        (f"STARTS:{A}, {B}", [(A, "in_progress"), (B, "in_progress")]),
        (f"Blocks: {A} {B}\n", [(A, "blocked"), (B, "blocked")]),
        (f"Starts: {A}\nCompletes: {A}", [(A, "completed")]),
        (f"Completes: {A}x, web-0, {A.upper()}, ../{A}, --{B}", []),
        (f"Closes: {A}\nSigned-off-by: {A}", []),
        ("Completes:", []),
    ],
)
def test_trailers_say_a_status(trailers: str, wishes: list[tuple[str, str]]) -> None:
    assert find_wishes([("c", trailers)]) == [Wish(name, value, "c") for name, value in wishes]


def test_the_last_commit_counts() -> None:
    commits = [("1", f"Completes: {A}"), ("2", f"Starts: {B}"), ("3", f"Blocks: {A}")]
    assert find_wishes(commits) == [Wish(B, "in_progress", "2"), Wish(A, "blocked", "3")]


def test_a_commit_completes_a_task_once(root: Path) -> None:
    made = commit(root, f"Write the page\n\nCompletes: {A}")
    assert follow(root) == [f"{A}: status planned -> completed, as commit {made[:10]} says"]
    assert (status(root), follow(root)) == ("completed", [])
    git(root, "checkout", "--quiet", "--", ".")
    commit(root, "More\n\nSigned-off-by: Ann <ann@example.org>")
    assert (follow(root), status(root)) == ([], "planned")


def test_a_trailer_stands_at_the_end_of_a_message(root: Path) -> None:
    commit(root, f"Completes: {A}\n\nIt says so in its subject and\nCompletes: {B}\nis in the middle of a text.\n\nEnd")
    assert follow(root) == []


def test_commits_follow_one_another(root: Path) -> None:
    commit(root, f"Begin\n\nStarts: {A}\nBlocks: {B}")
    follow(root)
    assert (status(root), status(root, B)) == ("in_progress", "blocked")
    commit(root, f"End\n\nCompletes: {A}")  # what the first one said is not committed yet
    follow(root)
    assert status(root) == "completed"


def test_what_was_stopped_before_the_mark_moved_is_done_once(root: Path) -> None:
    mark = Project(root).get_git().state_dir / "trailers.json"
    before = mark.read_bytes()
    commit(root, f"Begin\n\nStarts: {A}")
    follow(root)
    mark.write_bytes(before)
    assert (follow(root), status(root)) == ([], "in_progress")
    commit(root, f"End\n\nCompletes: {A}")
    assert (len(follow(root)), status(root)) == (1, "completed")


def test_what_is_set_later_stays(root: Path) -> None:
    commit(root, f"End\n\nCompletes: {A}")
    follow(root)
    commit(root, "Complete it", f"tasks/web/{A}.yaml")
    give(root, "in_progress")
    assert (follow(root), status(root)) == ([], "in_progress")
    reopened = commit(root, "Begin again", f"tasks/web/{A}.yaml")
    assert (follow(root), status(root)) == ([], "in_progress")
    # A clone that gets all of it at once.
    git(root, "update-ref", "refs/heads/before", "HEAD~3")
    mark = Project(root).get_git().state_dir / "trailers.json"
    mark.write_text(json.dumps({"commit": git(root, "rev-parse", "before"), "given": {}}))
    [told] = follow(root)
    assert told.endswith(f"says: commit {reopened[:10]} has set it to in_progress since")
    assert status(root) == "in_progress"


def test_an_edit_that_is_not_committed_stays(root: Path) -> None:
    give(root, "cancelled")
    made = commit(root, f"End\n\nCompletes: {A}")
    assert follow(root) == [
        f"{A}: not completed, as commit {made[:10]} says: it was set to cancelled, and that is not committed"
    ]
    assert status(root) == "cancelled"


def test_what_was_set_beside_it_before_the_merge_is_not_later(root: Path) -> None:
    git(root, "checkout", "--quiet", "-b", "topic")
    commit(root, f"Write it\n\nCompletes: {A}")
    assert follow(root) == []  # not on the branch that counts
    git(root, "checkout", "--quiet", "main")
    give(root, "in_progress")
    commit(root, "Claim it", f"tasks/web/{A}.yaml")
    assert follow(root) == []
    git(root, "merge", "--quiet", "--no-edit", "topic")
    assert len(follow(root)) == 1
    assert status(root) == "completed"


def test_the_newest_commit_counts(root: Path) -> None:
    commit(root, f"One\n\nCompletes: {A}")
    commit(root, f"Two\n\nBlocks: {A}")
    assert (len(follow(root)), status(root)) == (1, "blocked")


def test_only_so_many_tasks_are_changed_at_a_time(root: Path) -> None:
    commit(root, f"One\n\nCompletes: {A} " + " ".join(f"web-zz{number:04}" for number in range(drift.MOST)))
    lines = follow(root)
    assert (len(lines), status(root)) == (drift.MOST + 1, "planned")
    assert lines[-1] == "1 more tasks are named in trailers, and were left as they are"


def test_it_is_committed_where_that_is_the_setting(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DAGTASKS_COMMIT", "true")
    commit(root, f"End\n\nStarts: {A}\nCompletes: {B}")
    assert len(follow(root)) == 2
    assert git(root, "log", "-2", "--format=%s").splitlines() == [
        f"{B}: status planned -> completed",
        f"{A}: status planned -> in_progress",
    ]
    assert git(root, "status", "--porcelain") == ""
    assert follow(root) == []


def test_what_cannot_be_is_told(root: Path) -> None:
    write_files(root, {f"tasks/web/{A}.yaml": f"name: A\n\nstatus: planned\n\ndepends_on:\n  - {B}\n"})
    commit(root, "Depend on it", f"tasks/web/{A}.yaml")
    made = commit(root, f"End\n\nCompletes: {A}, web-zzzzzz")[:10]
    assert follow(root) == [
        (
            f"{A}: not completed, as commit {made} says: "
            f"{A} cannot become completed: it depends on open tasks: {B} (planned)"
        ),
        f"web-zzzzzz: not completed, as commit {made} says: there is no such task",
    ]
    # Together they can, in whatever order they are named.
    commit(root, f"End both\n\nCompletes: {A} {B}")
    assert len(follow(root)) == 2
    assert (status(root), status(root, B)) == ("completed", "completed")


@pytest.mark.parametrize("content", ["", "{", "[]", '{"commit": "0000"}', '{"commit": "--help", "given": {}}', "null"])
def test_without_a_mark_nothing_is_applied(root: Path, content: str) -> None:
    commit(root, f"End\n\nCompletes: {A}")
    (Project(root).get_git().state_dir / "trailers.json").write_text(content)
    assert (follow(root), status(root)) == ([], "planned")
    commit(root, f"End\n\nCompletes: {B}")
    assert (len(follow(root)), status(root, B)) == (1, "completed")


def test_the_branch_that_counts(root: Path, tmp_path: Path) -> None:
    git(tmp_path, "clone", "--quiet", "--origin", "origin", str(root), "clone")
    clone = tmp_path / "clone"
    git(clone, "checkout", "--quiet", "-b", "mine")
    commit(clone, f"End\n\nCompletes: {A}")
    drift.begin(Project(clone))
    assert follow(clone) == []
    git(clone, "checkout", "--quiet", "--detach")
    assert follow(clone) == []
    git(clone, "checkout", "--quiet", "main")
    git(clone, "merge", "--quiet", "mine")
    assert len(follow(clone)) == 1


@pytest.mark.slow
def test_hooks_do_it(root: Path, cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    (Project(root).get_git().state_dir / "trailers.json").unlink()
    assert cli(root, "hooks", "install").code == 0
    done = subprocess.run(
        ["git", "-C", str(root), "commit", "-q", "--allow-empty", "-m", f"Write it\n\nCompletes: {A}"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert f"dagtasks: {A}: status planned -> completed, as commit" in done.stderr
    assert status(root) == "completed"
    # While a command of ours commits, it alone writes.
    monkeypatch.setenv("DAGTASKS_COMMIT", "true")
    git(root, "commit", "--quiet", "--allow-empty", "--no-verify", "--message", f"More\n\nStarts: {B}")
    assert git(root, "log", "-1", "--format=%s") == f"{B}: status planned -> in_progress"
    git(root, "checkout", "--quiet", "-b", "topic")
    commit(root, f"Topic\n\nCompletes: {B}")
    assert status(root, B) == "in_progress"
    git(root, "checkout", "--quiet", "main")
    git(root, "merge", "--quiet", "--no-ff", "--no-edit", "topic")
    assert status(root, B) == "completed"


# -- doubtful tasks -------------------------------------------------------------------------------------------------


def stale(cli: Cli, root: Path, *arguments: str) -> list[tuple[str, str, int | None]]:
    return [(task["id"], task["why"], task["days"]) for task in cli(root, "task", "stale", "--json", *arguments).json]


def dated(root: Path, monkeypatch: pytest.MonkeyPatch, days: int, message: str, *paths: str) -> None:
    then = int(datetime.now(UTC).timestamp()) - days * 86400 - 3600
    for who in ("AUTHOR", "COMMITTER"):
        monkeypatch.setenv(f"GIT_{who}_DATE", f"@{then} +0000")
    commit(root, message, *paths)
    for who in ("AUTHOR", "COMMITTER"):
        monkeypatch.delenv(f"GIT_{who}_DATE")


def test_tasks_that_nobody_works_on(root: Path, cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    assert cli(root, "task", "stale").out == "no status is doubtful\n"
    for name in (A, B, "web-000003"):
        give(root, "in_progress", name)
    assert stale(cli, root) == []  # they are being edited
    dated(root, monkeypatch, 30, "Begin", "tasks")
    dated(root, monkeypatch, 20, f"Write a part (see {A})")
    dated(root, monkeypatch, 3, f"Merge branch '{B}-login'")
    dated(root, monkeypatch, 1, f"Something else, not x{A} and not {A}0")
    assert stale(cli, root) == [("web-000003", "idle", 30), (A, "idle", 20)]
    assert stale(cli, root, "--days", "25") == [("web-000003", "idle", 30)]
    assert [name for name, *_ in stale(cli, root, "--days", "0")] == ["web-000003", A, B]
    give(root, "blocked", "web-000003")
    assert stale(cli, root) == [(A, "idle", 20)]
    write_files(root, {f"tasks/web/{B}.yaml": "name: B\n\nstatus: in_progress\n\ndescription: more\n"})
    assert stale(cli, root, "--days", "1") == [(A, "idle", 20)]
    assert "in progress, and no commit for 20 days" in cli(root, "task", "stale").out


def test_tasks_whose_dependencies_say_otherwise(root: Path, cli: Cli) -> None:
    tasks = {
        A: "status: blocked\n\ndepends_on:\n  - web-000003\n",
        B: "status: completed\n\ndepends_on:\n  - web-000004\n",
        "web-000003": "status: completed\n",
        "web-000004": "status: blocked\n",
        "web-000005": "status: blocked\n\ndepends_on:\n  - web-000004\n",
    }
    write_files(root, {f"tasks/web/{name}.yaml": f"name: {name}\n\n{text}" for name, text in tasks.items()})
    assert stale(cli, root) == [(A, "unblocked", None), (B, "unfinished", None)]
    text = cli(root, "task", "stale").out
    assert "blocked, and all that it depends on has ended" in text
    assert "completed, and depends on open tasks: web-000004" in text


def test_outside_of_git_nothing_is_idle(tmp_path: Path, cli: Cli) -> None:
    write_files(
        tmp_path, {f"tasks/web/{A}.yaml": "name: A\n\nstatus: in_progress\n", "tasks/web/project.yaml": "name: W"}
    )
    assert stale(cli, tmp_path, "--days", "0") == []
