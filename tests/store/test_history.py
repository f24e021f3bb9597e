"""The past of tasks, from repositories that real git made."""

from __future__ import annotations

import random
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from dagtasks.planning.changes import find_changed
from dagtasks.service import history
from dagtasks.store.history import read_histories
from dagtasks.store.project import find_project
from tests.conftest import MakeProject, Result, git, write_files

TASK = "tasks/web/web-000001.yaml"
FILES = {"tasks/web/project.yaml": "name: Web\n", TASK: "name: One\n"}


def commit(root: Path, message: str, files: dict[str, str | None], author: str = "Ann", day: int = 1) -> str:
    """Commit the files (None: removed) as the author, on a day of January 2026."""
    for path, content in files.items():
        (root / path).unlink(missing_ok=True)
        write_files(root, {path: content} if content is not None else {})
    git(root, "add", "--all")
    date = f"--date=2026-01-{day:02}T12:00:00+0200"
    git(root, "commit", "-q", "--allow-empty-message", f"--author={author} <x@example.org>", date, "-m", message)
    return git(root, "rev-parse", "HEAD")


def past_of(root: Path, task: str = "web-000001") -> dict[str, Any]:
    project = find_project(root)
    return history.describe(project, project.load().tasks[task])


def told(root: Path, task: str = "web-000001") -> list[tuple[str | None, dict[str, Any]]]:
    """Each entry's subject and what it changed, without the fields of a new task."""
    entries = past_of(root, task)["history"]
    return [(e["subject"], {f: pair for f, pair in e["changed"].items() if e["changed"]["name"][0] is not None})
            if "name" in e["changed"] else (e["subject"], e["changed"]) for e in entries]  # fmt: skip


def test_who_changed_what_and_when(project: MakeProject) -> None:
    root = project().root
    first = commit(root, "begin", FILES, "Ann", 1)
    commit(root, "something else", {"tasks/web/web-000002.yaml": "name: Two\n"}, "Cy", 2)
    text = "name: One\n\nstatus: completed\n\ndescription: |\n  Text\n\nworkflows:\n  w:\n    template: t\n"
    second = commit(root, "do it\n\nbody", {TASK: text}, "agent:x", 3)
    found = past_of(root)
    assert found == {
        "created": {"time": "2026-01-01T10:00:00Z", "author": "Ann", "commit": first},
        "updated": {"time": "2026-01-03T10:00:00Z", "author": "agent:x", "commit": second},
        "history": [
            {
                "time": "2026-01-03T10:00:00Z",
                "author": "agent:x",
                "commit": second,
                "subject": "do it",
                "changed": {
                    "status": ["planned", "completed"],
                    "description": [None, "Text\n"],
                    "workflows.w.template": [None, "t"],
                },
            },
            {
                "time": "2026-01-01T10:00:00Z",
                "author": "Ann",
                "commit": first,
                "subject": "begin",
                "changed": {
                    "path": [None, TASK],
                    "name": [None, "One"],
                    "status": [None, "planned"],
                    "priority": [None, "medium"],
                },
            },
        ],
        "shallow": False,
    }


def test_it_is_followed_through_folders(project: MakeProject) -> None:
    root = project(FILES).root
    commit(root, "change", {TASK: "name: Uno\n"})
    commit(root, "move", {TASK: None, "tasks/web/a/web-000001.yaml": "name: Uno\n"})
    commit(
        root, "move and change", {"tasks/web/a/web-000001.yaml": None, "tasks/web/b/web-000001.yaml": "name: Eins\n"}
    )
    commit(root, "a like task", {"tasks/web/a/web-000002.yaml": "name: Uno\n"})
    assert told(root) == [
        ("move and change", {"path": ["tasks/web/a/web-000001.yaml", "tasks/web/b/web-000001.yaml"], "name": ["Uno", "Eins"]}),
        ("move", {"path": [TASK, "tasks/web/a/web-000001.yaml"]}),
        ("change", {"name": ["One", "Uno"]}),
        ("start", {}),
    ]  # fmt: skip
    assert [subject for subject, _ in told(root, "web-000002")] == ["a like task"]


def test_edits_that_are_not_committed(project: MakeProject) -> None:
    root = project(FILES).root
    write_files(root, {TASK: "name: Uno\n", "tasks/web/web-000002.yaml": "name: Two\n"})
    assert told(root) == [(None, {"name": ["One", "Uno"]}), ("start", {})]
    entry = past_of(root)["history"][0]
    assert (entry["commit"], entry["time"], entry["author"]) == (None, None, None)
    new = past_of(root, "web-000002")
    assert (new["created"], new["updated"]) == (None, None)
    assert [entry["changed"]["name"] for entry in new["history"]] == [[None, "Two"]]
    git(root, "add", "--all")
    assert len(past_of(root)["history"]) == 2
    git(root, "reset", "-q", "--hard")
    (root / "tasks/web/a").mkdir()
    (root / TASK).rename(root / "tasks/web/a/web-000001.yaml")
    assert told(root)[0] == (None, {"path": [TASK, "tasks/web/a/web-000001.yaml"]})
    assert past_of(root)["created"] is not None
    git(root, "add", "--all")
    git(root, "commit", "-qm", "away")
    (root / "tasks/web/a/web-000001.yaml").rename(root / TASK)
    assert [subject for subject, _ in told(root)] == [None, "away", "start"]
    assert told(root)[0] == (None, {"path": ["tasks/web/a/web-000001.yaml", TASK]})


def test_form_alone_and_broken_files(project: MakeProject) -> None:
    root = project(FILES).root
    commit(root, "form", {TASK: "# remark\nname: 'One'\n"})
    commit(root, "broken", {TASK: "name: [\n"})
    commit(root, "broken again", {TASK: "name: [[\n"})
    commit(root, "mended", {TASK: "name: Uno\n"})
    assert told(root) == [
        ("mended", {"name": ["One", "Uno"]}),
        ("broken again", {}),
        ("broken", {}),
        ("form", {}),
        ("start", {}),
    ]
    assert [entry.get("invalid", False) for entry in past_of(root)["history"]] == [False, True, True, False, False]


def test_a_file_that_began_broken_or_too_large(project: MakeProject) -> None:
    root = project({**FILES, TASK: "name: [\n"}).root
    commit(root, "too large", {TASK: "name: One\n" + "#" * 1024 * 1024})
    commit(root, "good", {TASK: "name: One\n"})
    found = past_of(root)["history"]
    assert [(entry["subject"], entry.get("invalid", False)) for entry in found] == [
        ("good", False),
        ("too large", True),
        ("start", True),
    ]
    assert found[0]["changed"]["name"] == [None, "One"]


def test_deleted_and_brought_back(project: MakeProject) -> None:
    root = project(FILES).root
    commit(root, "gone", {TASK: None})
    commit(root, "back", {TASK: "name: Back\n"})
    names = [(entry["subject"], entry["changed"]["name"]) for entry in past_of(root)["history"]]
    assert names == [("back", [None, "Back"]), ("gone", ["One", None]), ("start", [None, "One"])]


# -- merges ---------------------------------------------------------------------------------------------------------

BASE = "name: One\n\nstatus: planned\n\npriority: low\n"


def diverge(root: Path, ours: str, theirs: str) -> None:
    """Two branches that changed the task, the other one about to be merged."""
    git(root, "switch", "-qc", "other")
    commit(root, "theirs", {TASK: theirs})
    git(root, "switch", "-q", "main")
    commit(root, "ours", {TASK: ours})
    subprocess.run(["git", "-C", str(root), "merge", "-q", "--no-commit", "other"], check=False, capture_output=True)


def test_a_clean_merge_changes_nothing(project: MakeProject) -> None:
    root = project({**FILES, TASK: BASE}).root
    diverge(root, BASE.replace("planned", "in_progress"), BASE.replace("low", "high"))
    git(root, "commit", "-qm", "merged")
    assert {subject for subject, _ in told(root)} == {"theirs", "ours", "start"}


def test_a_merge_is_shown_where_it_decided_itself(project: MakeProject) -> None:
    root = project({**FILES, TASK: BASE}).root
    theirs = BASE.replace("low", "high").replace("One", "Eins")
    diverge(root, BASE.replace("low", "medium"), theirs)
    commit(root, "merged", {TASK: theirs.replace("high", "critical")})
    assert told(root)[0] == ("merged", {"priority": ["medium", "critical"]})
    assert {subject for subject, _ in told(root)} == {"merged", "theirs", "ours", "start"}


def test_a_merge_that_moves_a_file_edited_on_the_other_side(project: MakeProject) -> None:
    root = project({**FILES, TASK: BASE}).root
    moved = "tasks/web/a/web-000001.yaml"
    git(root, "switch", "-qc", "other")
    commit(root, "move", {TASK: None, moved: BASE})
    git(root, "switch", "-q", "main")
    commit(root, "edit", {TASK: BASE.replace("low", "high")})
    git(root, "merge", "-q", "-m", "merged", "other")
    assert (root / moved).read_text() == BASE.replace("low", "high")
    assert {subject for subject, _ in told(root)} == {"move", "edit", "start"}


# -- repositories ---------------------------------------------------------------------------------------------------


def test_a_shallow_clone_says_so(project: MakeProject, tmp_path: Path, cli: Callable[..., Result]) -> None:
    root = project(FILES).root
    commit(root, "cut off", {TASK: "name: Uno\n"})
    commit(root, "kept", {TASK: "name: Due\n", "tasks/web/web-000002.yaml": "name: Two\n"})
    clone = tmp_path / "clone"
    git(tmp_path, "clone", "-q", "--depth=2", f"file://{root}", "clone")
    found = past_of(clone)
    assert (found["created"], found["shallow"]) == (None, True)
    assert told(clone) == [("kept", {"name": ["Uno", "Due"]})]
    assert past_of(clone, "web-000002")["created"] is not None
    assert not past_of(clone, "web-000002")["shallow"]
    assert "git fetch --unshallow" in cli(clone, "task", "show", "000001", "--history").out
    assert "unshallow" not in cli(clone, "task", "show", "000002", "--history").out


def test_a_root_in_a_folder_and_sha256(tmp_path: Path) -> None:
    git(tmp_path, "init", "-q", "--object-format=sha256")
    root = tmp_path / "sub [x] $HOME"
    (root / "tasks").mkdir(parents=True)
    commit(root, "begin", FILES)
    commit(root, "move", {TASK: None, "tasks/web/[a]*/ü/web-000001.yaml": "name: One\n"})
    assert told(root) == [("move", {"path": [TASK, "tasks/web/[a]*/ü/web-000001.yaml"]}), ("begin", {})]


def test_before_the_first_commit_and_outside_of_git(tmp_path: Path, cli: Callable[..., Result]) -> None:
    write_files(tmp_path, FILES)
    done = cli(tmp_path, "task", "show", "000001", "--history")
    assert (done.code, done.out) == (4, "")
    git(tmp_path, "init", "-q")
    assert past_of(tmp_path)["created"] is None
    assert "history\n  not committed\n    created\n" in cli(tmp_path, "task", "show", "000001", "--history").out


def test_nothing_of_the_settings_or_the_environment_gets_in(
    project: MakeProject, monkeypatch: pytest.MonkeyPatch
) -> None:
    root, other = project(FILES).root, project(name="other").root
    commit(root, "change", {TASK: "name: Uno\n"})
    expected = past_of(root)
    for key, value in (
        ("log.showRoot", "false"), ("log.showSignature", "true"), ("log.follow", "true"), ("color.ui", "always"),
        ("format.pretty", "oneline"), ("diff.renames", "copies"), ("log.date", "relative"), ("core.fsmonitor", "false; touch fsm"),
        ("diff.noprefix", "true"), ("log.diffMerges", "separate"), ("core.pager", "touch pager"),
    ):  # fmt: skip
        git(root, "config", key, value)
    monkeypatch.setenv("GIT_DIR", str(other / ".git"))
    monkeypatch.setenv("GIT_OBJECT_DIRECTORY", str(other / ".git/objects"))
    monkeypatch.setenv("GIT_LITERAL_PATHSPECS", "1")
    monkeypatch.setenv("GIT_WORK_TREE", str(other))
    assert past_of(root) == expected
    assert not [*root.rglob("fsm"), *root.rglob("pager")]


def test_odd_authors_and_subjects(project: MakeProject, cli: Callable[..., Result]) -> None:
    root = project(FILES).root
    commit(root, ":000000 100644 \x1b[31m\u202e", {TASK: "name: a\n"}, "\u202e:A\x1bnn")
    commit(root, "", {TASK: "name: b\n"}, "Ж")
    git(root, "-c", "i18n.commitEncoding=ISO-8859-1", "commit", "-q", "--allow-empty", "-m", "x")
    assert [entry["author"] for entry in past_of(root)["history"]][:2] == ["Ж", "\u202e:A\x1bnn"]
    shown = cli(root, "task", "show", "000001", "--history")
    assert shown.code == 0
    assert not {"\x1b", "\u202e"} & set(shown.out)
    write_files(root, {".mailmap": "Ann <ann@example.org> Ж <x@example.org>\n"})
    assert past_of(root)["history"][0]["author"] == "Ann"


def test_the_document_has_more_keys_with_the_option_only(project: MakeProject, cli: Callable[..., Result]) -> None:
    root = project(FILES).root
    without = cli(root, "task", "show", "000001", "--json").json
    document = cli(root, "task", "show", "000001", "--history", "--json").json
    assert document.keys() - without.keys() == {"created", "updated", "history", "shallow"}
    assert document["created"] == document["updated"]
    assert cli(root, "task", "show", "nope", "--history").code == 5


# -- all of them ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(3))
def test_what_the_commits_changed_adds_up_to_what_there_is(seed: int, project: MakeProject) -> None:
    dice = random.Random(seed)
    repository = project(FILES)
    root = repository.root
    for number in range(25):
        edit_something(root, dice, number)
    index, histories = repository.load(), read_histories(repository.get_git())
    assert index.tasks.keys() <= histories.keys()
    for name, task in index.tasks.items():
        found = history.describe(repository, task)
        assert [entry.commit and entry.commit.id for entry in histories[name].entries] == [
            e["commit"] for e in found["history"]
        ]
        assert [{f: list(pair) for f, pair in entry.changed.items()} for entry in histories[name].entries] == [
            entry["changed"] for entry in found["history"]
        ]
        now: dict[str, Any] = {}
        for entry in reversed(found["history"]):
            for field, (old, new) in entry["changed"].items():
                assert now.get(field) == old
                now[field] = new
        fields = {field: new for field, (_, new) in find_changed(None, task).items() if field != "description"}
        description = repository.load_details(task.path)["description"]
        assert {f: v for f, v in now.items() if v is not None} == {
            **fields,
            **({"description": description} if description else {}),
        }


@pytest.mark.parametrize("seed", range(3))
def test_what_the_cache_has_is_as_if_it_were_read_again(seed: int, project: MakeProject) -> None:
    dice = random.Random(seed)
    repository = project(FILES)
    root = repository.root
    assert repository.histories() == read_histories(repository.get_git())
    for number in range(12):
        if number % 4 == 3:
            git(root, "switch", "-q", "-c", f"side{number}", "HEAD~1")
            edit_something(root, dice, 100 + number)
            git(root, "switch", "-q", "main")
            git(root, "merge", "-q", "-s", "ours", f"side{number}")
        elif number == 9:
            git(root, "reset", "-q", "--hard", "HEAD~2")
        elif number == 10:
            write_files(root, {".mailmap": "Somebody Else <ann@example.org>\n"})
        edit_something(root, dice, number)
        if dice.random() < 0.7:
            assert repository.histories() == read_histories(repository.get_git())


def test_a_file_that_was_broken_before_is_compared_with_what_it_said_then(project: MakeProject) -> None:
    repository = project(FILES)
    commit(repository.root, "break", {"tasks/web/web-000001.yaml": "name: [\n"})
    repository.histories()
    commit(repository.root, "mend", {"tasks/web/web-000001.yaml": "name: Mended\n"})
    assert repository.histories() == read_histories(repository.get_git())


def edit_something(root: Path, dice: random.Random, number: int) -> None:
    paths = sorted(root.glob("tasks/web/**/web-*.yaml"))
    choice = dice.choice(["new", "move", "edit", "edit", "delete", "break"])
    if choice == "new" or len(paths) < 3:
        write_files(root, {f"tasks/web/web-1{number:05}.yaml": f"name: Task {number}\n"})
    elif choice == "move":
        target = root / "tasks/web" / dice.choice("abc") / dice.choice(paths).name
        source = next(path for path in paths if path.name == target.name)
        target.parent.mkdir(exist_ok=True)
        source.rename(target)
    elif choice == "delete":
        dice.choice(paths).unlink()
    elif choice == "break":
        path = dice.choice(paths)
        commit(root, f"break {number}", {str(path.relative_to(root)): "name: [\n"})
        path.write_text(f"name: Mended {number}\n")
    else:
        status, text = dice.choice(["planned", "completed", "blocked"]), dice.choice(["", "Text", "More"])
        content = f"name: Task\n\nstatus: {status}\n\ndescription: {text}\n\nlabels: [{dice.choice('xyz')}]\n"
        dice.choice(paths).write_text(content)
    if git(root, "status", "--porcelain"):
        commit(root, f"{choice} {number}", {})
