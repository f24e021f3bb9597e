from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.conftest import MakeProject, Result, git, write_files

Cli = Callable[..., Result]

FILES = {
    "tasks/web/project.yaml": "name: Web\n",
    "tasks/web/web-000001.yaml": "name: One\n\nstatus: planned\n\ndescription: |\n  What\n",
    "tasks/web/forms/web-000002.yaml": "name: Two\n",
}


@pytest.fixture
def root(project: MakeProject) -> Path:
    return project(FILES).root


def test_a_comment_is_a_file_of_its_own(root: Path, cli: Cli) -> None:
    made = cli(root, "task", "comment", "000001", "Looks *good*\n\n- yes", "--commit", "--json")
    data = made.json
    assert re.fullmatch(r"tasks/web/comments/web-000001/\d{8}T\d{6}Z-[0-9a-z]{4}\.md", data["path"])
    assert (data["task"], data["author"], data["text"]) == ("web-000001", "Ann", "Looks *good*\n\n- yes")
    assert json.loads(made.out)["changed"] == [data["path"]]
    assert (root / data["path"]).read_text().startswith('---\nauthor: Ann\ndate: "2')
    assert git(root, "show", "--format=%s", "--name-only").split("\n\n") == ["web-000001: comment by Ann", data["path"]]


def test_show_gives_all_comments_oldest_first(root: Path, cli: Cli) -> None:
    """A task may lie in a deeper folder: its comments lie below its project all the same."""
    assert cli(root, "task", "comment", "000002", "-", "--as", "agent:x", given="First\nline\n").code == 0
    assert cli(root, "task", "comment", "000002", "Second").code == 0
    comments = cli(root, "task", "show", "000002", "--json").json["comments"]
    assert [(one["author"], one["text"]) for one in comments] == [("agent:x", "First\nline"), ("Ann", "Second")]
    assert comments[0].keys() == {"author", "date", "text", "path"}
    text = cli(root, "task", "show", "000002").out
    at = comments[0]["date"][:16].replace("T", " ")
    assert text.partition("\n\n-- agent:x, ")[2].startswith(f"{at} UTC\n   First\n   line\n\n-- Ann, ")
    assert cli(root, "task", "show", "000001", "--json").json["comments"] == []


def test_broken_comments_are_problems_and_hide_nothing(root: Path, cli: Cli) -> None:
    cli(root, "task", "comment", "000001", "Fine")
    bad, lost = "tasks/web/comments/web-000001/b.md", "tasks/web/comments/web-000009/c.md"
    write_files(root, {bad: "---\nauthor: ann\n---\nHi\n", lost: "---\nauthor: ann\ndate: 2026-11-23\n---\nHi\n"})
    shown = cli(root, "task", "show", "000001")
    assert shown.code == 1
    assert "   Fine\n" in shown.out
    assert shown.err.startswith(f"{bad}:2:1: DT131 the comment does not say its date (add date:")
    document = json.loads(cli(root, "task", "show", "000001", "--json").out)
    assert [problem["code"] for problem in document["problems"]] == ["DT131"]
    assert cli(root, "task", "list").code == 0
    checked = cli(root, "validate")
    assert checked.code == 1
    assert checked.out.splitlines()[1].startswith("warning: tasks/web/comments/web-000009: DT210 there is no task")
    assert checked.out.splitlines()[-1] == "1 error, 1 warning, 0 notes"
    assert cli(root, "validate", "tasks/web/comments/web-000009").code == 0
    git(root, "add", "--all")
    git(root, "commit", "-q", "--message", "all")
    assert "DT131" not in cli(root, "validate", "--changed").out


def test_a_task_that_cannot_be_read_has_its_comments(root: Path, cli: Cli) -> None:
    cli(root, "task", "comment", "000001", "Fine")
    (root / "tasks/web/web-000001.yaml").write_text("name: [\n")
    assert "DT210" not in cli(root, "validate").out


def test_comments_on_two_branches_merge_clean(root: Path, cli: Cli) -> None:
    for branch in ("one", "two"):
        git(root, "switch", "-q", "-c", branch, "main")
        assert cli(root, "task", "comment", "000001", branch, "--commit").code == 0
    git(root, "merge", "-q", "one")
    texts = {one["text"] for one in cli(root, "task", "show", "000001", "--json").json["comments"]}
    assert texts == {"one", "two"}


def test_comments_go_with_their_task_and_can_be_brought_back(root: Path, cli: Cli) -> None:
    for text in ("One", "Two"):
        cli(root, "task", "comment", "000001", text)
    write_files(root, {"tasks/web/comments/web-000001/bad.md": "broken\n"})
    folder = root / "tasks/web/comments"
    before = {path: path.read_bytes() for path in folder.rglob("*.md")}
    assert len(before) == 3
    done = cli(root, "task", "delete", "000001", "--yes")
    assert done.code == 0, done.err
    assert not list(folder.rglob("*.md"))
    for line in done.err.splitlines():
        git(root, "-c", f"alias.sh=!{line.removeprefix('note: undo with: ')}", "sh")
    assert {path: path.read_bytes() for path in folder.rglob("*.md")} == before
    assert git(root, "status", "--porcelain") == "?? tasks/web/comments/"


def test_deleting_commits_the_comments_too(root: Path, cli: Cli) -> None:
    cli(root, "task", "comment", "000001", "One", "--commit")
    assert cli(root, "task", "delete", "000001", "--yes", "--commit").code == 0
    assert git(root, "status", "--porcelain") == ""
    assert cli(root, "validate").code == 0


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["000001", " \n"], 2, "needs a text"),
        (["000009", "Hi"], 5, "there is no task '000009'"),
        (["000001", "x" * 65537], 2, "longer than 64 KiB"),
        (["000001", "bell \x07"], 2, "U+0007"),
        (["000001", "Hi", "--as", ""], 2, "the author"),
        (["000001", "Hi", "--as", "a\nb"], 2, "the author"),
    ],
)
def test_what_is_refused_changes_nothing(root: Path, cli: Cli, arguments: list[str], code: int, message: str) -> None:
    done = cli(root, "task", "comment", *arguments)
    assert (done.code, done.out) == (code, "")
    assert message in done.err
    assert git(root, "status", "--porcelain") == ""


def test_a_dry_run_writes_nothing(root: Path, cli: Cli) -> None:
    done = cli(root, "task", "comment", "000001", "Hi", "--dry-run")
    assert done.out.startswith("would: web-000001: comment by Ann (tasks/web/comments/web-000001/")
    assert git(root, "status", "--porcelain") == ""


def test_who_comments_and_claims_is_known_or_said(
    root: Path, cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GIT_AUTHOR_NAME", "Bo")
    assert cli(root, "task", "comment", "000001", "Hi", "--json").json["author"] == "Bo"
    monkeypatch.delenv("GIT_AUTHOR_NAME")
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", "/dev/null")
    for command in (["task", "comment", "000001", "Hi"], ["task", "claim", "000001"]):
        done = cli(root, *command)
        assert (done.code, "say --as NAME" in done.err) == (2, True)
    outside = tmp_path / "outside"
    write_files(outside, FILES)
    assert cli(outside, "task", "comment", "000001", "Hi").code == 2
    assert cli(outside, "task", "comment", "000001", "Hi", "--as", "ann").code == 0
    assert cli(outside, "task", "claim", "000001", "--as", "ann").code == 0
    assert cli(outside, "task", "show", "000001", "--json").json["assignee"] == "ann"
