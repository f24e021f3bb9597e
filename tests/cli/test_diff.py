from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from dagtasks.planning.changes import find_events, keep_last_good
from tests.conftest import MakeProject, Result, git, write_files

FILES = {
    "tasks/web/project.yaml": "name: Web\n",
    "tasks/web/phases/build.yaml": "name: Build\n",
    "tasks/web/web-000001.yaml": "name: One\n\nlabels:\n  - ui\n",
    "tasks/web/web-000002.yaml": "name: Two\n\ndepends_on:\n  - web-000001\n",
    "tasks/web/web-000003.yaml": "name: Three\n\ndescription: |\n  a\n  b\n",
    "tasks/web/web-000004.yaml": "name: Four\n",
    "tasks/web/web-000005.yaml": "name: Five\n",
}
LATER = {
    "tasks/web/web-000001.yaml": "name: One\n\nstatus: completed\n\nassignee: ann\n\nlabels:\n  - api\n",
    "tasks/web/web-000003.yaml": "name: Drei\x1b\n\nstatus: in_progress\n\ndescription: |\n  b\n  c\n  d\n".replace(
        "\x1b", ""
    ),
    "tasks/web/new/web-000004.yaml": "name: Four\n",
    "tasks/web/web-000006.yaml": "name: Six\n\nstatus: completed\n",
    "tasks/web/web-000007.yaml": "name: Seven\n\nworkflows:\n  w:\n    template: t\n",
    "tasks/ops/project.yaml": "name: Ops\n",
    "templates/t.yaml": "metadata:\n  name: t\nsteps:\n  - name: a\n    container: {image: 'alpine:3', command: 'true'}\n",
}
WORDS = """\
created
  project ops  Ops
  web-000006  Six  (completed)
  web-000007  Seven  (ready)
  workflow web-000007/w  t

completed
  web-000001  One
    assignee: (none) -> ann
    labels: +api -ui

can be started now
  web-000002  Two  (waited for web-000001)

moved
  web-000004  Four
    path: tasks/web/web-000004.yaml -> tasks/web/new/web-000004.yaml

changed
  web-000003  Drei
    name: Three -> Drei
    status: planned -> in_progress
    description: 2 lines added, 1 line removed

deleted
  web-000005  Five
"""


def change(root: Path) -> None:
    write_files(root, LATER)
    for name in ("web-000004", "web-000005"):
        (root / f"tasks/web/{name}.yaml").unlink()


def commit(root: Path) -> str:
    git(root, "add", "--all")
    git(root, "commit", "--quiet", "--message", "more")
    return git(root, "rev-parse", "HEAD")


def test_in_words(project: MakeProject, cli: Callable[..., Result]) -> None:
    root = project(FILES).root
    change(root)
    assert cli(root, "diff") == Result(0, WORDS, "")
    assert cli(root, "diff", "HEAD..") == Result(0, "nothing changed\n", "")
    commit(root)
    assert cli(root, "diff").out == "nothing changed\n"
    for revisions in ("HEAD^..HEAD", "HEAD^..", "main~1..main", "HEAD^"):
        assert cli(root, "diff", revisions) == Result(0, WORDS, "")
    assert "created\n  web-000005  Five" in cli(root, "diff", "..HEAD^").out


def test_the_document_names_both_commits(project: MakeProject, cli: Callable[..., Result]) -> None:
    root = project(FILES).root
    first = git(root, "rev-parse", "HEAD")
    change(root)
    second = commit(root)
    document = json.loads(cli(root, "diff", "HEAD^..HEAD", "--json").out)
    assert (document["kind"], document["before"], document["after"]) == ("events", first, second)
    assert document["data"][0] == {
        "type": "project.created",
        "subject": "ops",
        "name": "Ops",
        "changed": {"name": [None, "Ops"], "path": [None, "tasks/ops/project.yaml"]},
    }
    assert json.loads(cli(root, "diff", "HEAD", "--json").out)["after"] is None


@pytest.mark.parametrize("cache", [["--no-cache"], []])
def test_broken_files_of_both_sides_are_named(
    cache: list[str], project: MakeProject, cli: Callable[..., Result]
) -> None:
    root = project({**FILES, "tasks/web/web-00000a.yaml": "name: [\n", "tasks/web/web-00000b.yaml": "name: [\n"}).root
    write_files(root, {"tasks/web/web-00000b.yaml": "name: B\n", "tasks/web/web-00000c.yaml": "status: no\n"})
    done = cli(root, *cache, "diff")
    assert (done.code, done.out) == (1, "created\n  web-00000b  B  (ready)\n")
    places = [line.partition(": ")[0] for line in done.err.splitlines()]
    assert places[:2] == ["tasks/web/web-00000a.yaml:2:1", "HEAD:tasks/web/web-00000b.yaml:2:1"]
    assert {place.partition(":")[0] for place in places[2:]} == {"tasks/web/web-00000c.yaml"}
    assert len(cli(root, *cache, "diff", "--json").json) == 2


@pytest.mark.parametrize(
    ("revisions", "message", "hint"),
    [
        ("nope", "there is no commit 'nope'", "there is: main"),
        ("HEAD..mian", "there is no commit 'mian'", "there is: main"),
        ("HEAD^..HEAD", "there is no commit 'HEAD^'", "there is: main"),
        ("HEAD...mian", "there is no commit 'mian'", "there is: main"),
        ("nope...", "there is no commit 'nope'", "there is: main"),
        ("--output=x..HEAD", "there is no commit '--output=x'", "there is: main"),
    ],
)
def test_no_such_commit(
    revisions: str, message: str, hint: str, project: MakeProject, cli: Callable[..., Result]
) -> None:
    done = cli(project(FILES).root, "diff", "--", revisions)
    assert (done.code, done.out) == (2, "")
    assert message in done.err
    assert hint in done.err


def test_three_dots_compare_with_where_the_branch_began(project: MakeProject, cli: Callable[..., Result]) -> None:
    root = project(FILES).root
    git(root, "checkout", "--quiet", "-b", "feature")
    change(root)
    commit(root)
    git(root, "checkout", "--quiet", "main")
    write_files(root, {"tasks/web/web-00000m.yaml": "name: Main\n"})
    commit(root)
    assert "Main" in cli(root, "diff", "main..feature").out
    for revisions in ("main...feature", "...feature"):
        assert cli(root, "diff", revisions) == Result(0, WORDS, "")
    assert cli(root, "diff", "feature...").out == "created\n  web-00000m  Main  (ready)\n"
    document = json.loads(cli(root, "diff", "main...feature", "--json").out)
    assert document["before"] == git(root, "merge-base", "main", "feature")


def test_without_a_commit_in_common_three_dots_say_what_to_do(project: MakeProject, cli: Callable[..., Result]) -> None:
    root = project(FILES).root
    git(root, "checkout", "--quiet", "--orphan", "other")
    commit(root)
    done = cli(root, "diff", "main...other")
    assert (done.code, done.out) == (2, "")
    assert "main and other have no commit in common" in done.err
    assert "main..other" in done.err


def test_outside_of_git_and_before_the_first_commit(tmp_path: Path, cli: Callable[..., Result]) -> None:
    write_files(tmp_path, FILES)
    assert cli(tmp_path, "diff").code == 4
    git(tmp_path, "init", "-q")
    done = cli(tmp_path, "diff")
    assert (done.code, done.err) == (2, "error: there is no commit 'HEAD'\n  there is none yet\n")


def test_data_cannot_drive_the_terminal(project: MakeProject, cli: Callable[..., Result]) -> None:
    root = project(FILES).root
    write_files(root, {"tasks/web/web-000001.yaml": 'name: "a\u202eb"\n\nmetadata:\n  "x\u200dy": "\u2028"\n'.encode()})
    shown = cli(root, "diff", "HEAD").out + cli(root, "diff", "HEAD").err
    assert not {"\u202e", "\u200d", "\u2028"} & set(shown)


def test_what_a_folder_hides_is_not_deleted(project: MakeProject, cli: Callable[..., Result]) -> None:
    repository = project({**FILES, "tasks/web/deep/web-00000d.yaml": "name: Deep\n", "away/x.txt": ""})
    before = repository.load()
    (repository.root / "tasks/web/deep/web-00000d.yaml").unlink()
    (repository.root / "tasks/web/deep").rmdir()
    (repository.root / "tasks/web/deep").symlink_to("../../away")
    after = repository.load()
    assert find_events(before, after) == []
    kept = keep_last_good(before, after)
    assert [*kept.tasks] == [*before.tasks]
    (repository.root / "tasks/web/deep").unlink()
    assert [event.type for event in find_events(kept, repository.load())] == ["task.deleted"]
