"""Two people, two branches, real Git: with its own merge of lines, with the driver, with a driver that fails."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Callable
from itertools import combinations
from pathlib import Path

import pytest

from dagtasks.model.summary import PHASE_KEYS, PROJECT_KEYS, TASK_KEYS
from dagtasks.service.formatting import fix_files, format_files
from dagtasks.service.merging import (
    ATTRIBUTES,
    ResolveSettings,
    check_driver,
    configure_driver,
    driver_command,
    find_lost,
    resolve,
)
from dagtasks.service.saving import WriteSettings
from dagtasks.store.documents import parse_document
from dagtasks.store.edits import add_item, set_value
from dagtasks.store.emitter import make_document
from dagtasks.store.project import Project
from tests.conftest import MakeProject, Result, git, write_files

TASK = "tasks/web/web-7k2m9q.yaml"
PROJECT = "tasks/web/project.yaml"

FULL = {
    "name": "Ship",
    "status": "planned",
    "priority": "high",
    "assignee": "ann",
    "phase": "build",
    "due": "2026-12-31",
    "labels": ["api", "ui"],
    "depends_on": ["web-000001", "web-000005"],
    "description": "One.\nTwo.\n",
    "metadata": {"area": "web", "size": 3},
    "workflows": {"check": {"template": "basic_task"}},
}
OTHER = {
    "name": "Ship it",
    "status": "blocked",
    "priority": "low",
    "assignee": "bo",
    "phase": "test",
    "due": "2027-01-01",
    "labels": ["api", "ui", "web"],
    "depends_on": ["web-000001", "web-000003", "web-000005"],
    "description": "One.\nTwo.\nThree.\n",
    "metadata": {"area": "web", "size": 4},
    "workflows": {"check": {"template": "basic_task"}, "lint": {"template": "basic_task"}},
}
BASES = {"full": FULL, "empty": {"name": "Ship"}}


class Repository:
    """A repository with one file, and branches that each change it once."""

    def __init__(self, project: Project, path: str = TASK) -> None:
        self.root = project.root
        self.project = project
        self.path = path

    @property
    def file(self) -> Path:
        return self.root / self.path

    def branch(self, name: str, content: bytes | str) -> None:
        git(self.root, "switch", "-q", "-C", name, "base")
        self.file.write_bytes(content if isinstance(content, bytes) else content.encode())
        git(self.root, "commit", "-qam", name)

    def merge(self, ours: str, theirs: str) -> bool:
        """Merge on a scratch branch; whether it was clean. The work tree is left as Git left it."""
        git(self.root, "switch", "-q", "-f", "-C", "merging", ours)
        return self.attempt("merge", "-q", "--no-edit", theirs)

    def attempt(self, *arguments: str) -> bool:
        done = subprocess.run(["git", "-C", str(self.root), *arguments], capture_output=True, check=False)
        return done.returncode == 0

    def abort(self) -> None:
        git(self.root, "reset", "-q", "--hard")

    def unmerged(self) -> str:
        return git(self.root, "ls-files", "-u")


@pytest.fixture
def repository(project: MakeProject) -> Callable[..., Repository]:
    """A function that makes a repository with this content of a task on the branch `base`, with the driver or without."""

    def make(content: bytes | str, *, driver: bool = False, path: str = TASK) -> Repository:
        made = project({PROJECT: "name: Web\n", path: content, ".gitattributes": f"{ATTRIBUTES[0]}\n"})
        git(made.root, "branch", "base")
        if driver:
            configure_driver(made)
        return Repository(made, path)

    return make


MakeRepository = Callable[..., Repository]


@pytest.mark.parametrize("driver", [False, pytest.param(True, marks=pytest.mark.slow)], ids=["plain", "driver"])
@pytest.mark.parametrize("state", BASES)
def test_any_two_fields_merge_clean(state: str, driver: bool, repository: MakeRepository) -> None:
    """02 section 2: the guarantee that the form of the files is for."""
    base = make_document(BASES[state], TASK_KEYS)
    where = repository(base, driver=driver)
    document = parse_document(base, TASK)
    assert document.data is not None
    for key in TASK_KEYS:
        where.branch(key, set_value(document, (key,), OTHER[key], order=TASK_KEYS).content)
    for one, other in combinations(TASK_KEYS, 2):
        assert where.merge(one, other), (one, other)
        merged = parse_document(where.file.read_bytes(), TASK).data
        assert merged == {**document.data, one: OTHER[one], other: OTHER[other]}, (one, other)


DEPENDENCIES = [f"web-00000{n}" for n in (2, 4, 6, 8)]
FORM = make_document(
    {**FULL, "labels": ["b", "d", "f"], "metadata": {"b": 1, "d": 2, "f": 3}, "depends_on": DEPENDENCIES}, TASK_KEYS
).decode()


def changed(*changes: tuple[str, str], text: str = FORM) -> str:
    for old, new in changes:
        assert text.count(old) == 1, (old, text.count(old))
        text = text.replace(old, new)
    return text


Change = tuple[str, str]
# name -> one side, the other side, what both must give
GUARANTEED: dict[str, tuple[Change, Change]] = {
    "different gaps of a list": (("  - b\n", "  - b\n  - c\n"), ("  - f\n", "  - e\n  - f\n")),
    "both ends of a list": (("  - b\n", "  - a\n  - b\n"), ("  - f\n", "  - f\n  - g\n")),
    "different gaps of a map": (("  b: 1\n", "  b: 1\n  c: 0\n"), ("  f: 3\n", "  e: 0\n  f: 3\n")),
    "added and removed apart": (("  - b\n", ""), ("  - f\n", "  - f\n  - g\n")),
    "comments beside keys": (("status: planned\n", "status: planned # why\n"), ("priority: high\n", "priority: high # so\n")),
    "comments above keys": (("status:", "# one\nstatus:"), ("assignee:", "# two\nassignee:")),
    "a comment and a value": (("status: planned", "# one\nstatus: planned"), ("name: Ship", "name: Ship it")),
    "text far apart": (("One.", "One!\n  More."), ("phase: build", "phase: test")),
}  # fmt: skip


@pytest.mark.parametrize("driver", [False, True], ids=["plain", "driver"])
@pytest.mark.parametrize(("ours", "theirs"), GUARANTEED.values(), ids=GUARANTEED)
def test_guaranteed(ours: Change, theirs: Change, driver: bool, repository: MakeRepository) -> None:
    where = repository(FORM, driver=driver)
    where.branch("ours", changed(ours))
    where.branch("theirs", changed(theirs))
    assert where.merge("ours", "theirs")
    assert where.file.read_text() == changed(ours, theirs)


# name -> one side, the other side, what the driver makes of it
HONEST: dict[str, tuple[Change, Change, Change]] = {
    "the same gap of a list": (
        ("  - b\n", "  - b\n  - bb\n"),
        ("  - b\n", "  - b\n  - c\n"),
        ("  - b\n", "  - b\n  - bb\n  - c\n"),
    ),
    "neighbouring lines of a map": (("  b: 1\n", "  b: 5\n"), ("  d: 2\n", "  d: 7\n"), ("b: 1\n  d: 2", "b: 5\n  d: 7")),
    "the same gap of a map": (
        ("  b: 1\n", "  b: 1\n  c: 1\n"),
        ("  b: 1\n", "  b: 1\n  cc: 2\n"),
        ("  b: 1\n", "  b: 1\n  c: 1\n  cc: 2\n"),
    ),
    "removed and added beside it": (("  - d\n", ""), ("  - d\n", "  - d\n  - e\n"), ("  - d\n", "  - e\n")),
    "a paragraph, and the line of the key below": (
        ("  Two.\n", "  Two.\n\n  Three.\n"),
        ("metadata:\n", "metadata: # free\n"),
        ("  Two.\n\nmetadata:\n", "  Two.\n\n  Three.\n\nmetadata: # free\n"),
    ),
    "value and comment": (
        ("status: planned\n", "status: blocked\n"),
        ("status: planned\n", "status: planned # why\n"),
        ("status: planned\n", "status: blocked # why\n"),
    ),
}  # fmt: skip


@pytest.mark.parametrize(("ours", "theirs", "both"), HONEST.values(), ids=HONEST)
def test_one_honest_conflict_that_the_driver_merges(
    ours: Change, theirs: Change, both: Change, repository: MakeRepository
) -> None:
    where = repository(FORM)
    where.branch("ours", changed(ours))
    where.branch("theirs", changed(theirs))
    assert not where.merge("ours", "theirs")
    assert where.file.read_text().count("<<<<<<<") == 1
    assert [p.code for p in parse_document(where.file.read_bytes(), TASK).problems] == ["DT106"] * 3
    where.abort()
    configure_driver(where.project)
    assert where.merge("ours", "theirs")
    assert where.file.read_text() == changed(both)


def test_the_first_item_on_each_side(repository: MakeRepository) -> None:
    base = make_document({"name": "x"}, TASK_KEYS)
    where = repository(base)
    for item in ("web-000002", "web-000001"):
        where.branch(item, add_item(parse_document(base, TASK), ("depends_on",), item, order=TASK_KEYS).content)
    assert not where.merge("web-000001", "web-000002")
    where.abort()
    configure_driver(where.project)
    assert where.merge("web-000001", "web-000002")
    assert "depends_on:\n  - web-000001\n  - web-000002\n" in where.file.read_text()


@pytest.mark.parametrize("driver", [False, True], ids=["plain", "driver"])
def test_one_field_on_both_sides_is_one_conflict(driver: bool, repository: MakeRepository) -> None:
    where = repository(FORM, driver=driver)
    where.branch("ours", changed(("planned", "blocked"), ("name: Ship", "name: Ship it")))
    where.branch("theirs", changed(("planned", "completed"), ("priority: high", "priority: low")))
    assert not where.merge("ours", "theirs")
    text = where.file.read_text()
    assert text.count("<<<<<<<") == text.count(">>>>>>>") == 1
    assert "status: blocked" in text
    assert "status: completed" in text
    assert "name: Ship it\n" in text
    assert "priority: low\n" in text
    if driver:
        assert "|||||||" in text
        inside = text[text.index("<<<<<<<") : text.index(">>>>>>>")]
        assert [line for line in inside.splitlines() if ":" in line] == [
            "status: blocked", "status: planned", "status: completed",
        ]  # fmt: skip


@pytest.mark.parametrize("driver", [False, True], ids=["plain", "driver"])
def test_new_tasks_and_moved_tasks(driver: bool, repository: MakeRepository) -> None:
    where = repository(FORM, driver=driver)
    git(where.root, "switch", "-qc", "one")
    write_files(where.root, {"tasks/web/web-000001.yaml": "name: one\n"})
    (where.root / "tasks/web/design").mkdir()
    git(where.root, "mv", TASK, "tasks/web/design/web-7k2m9q.yaml")
    git(where.root, "add", "--all")
    git(where.root, "commit", "-qm", "one")
    where.branch("two", changed(("planned", "blocked")))
    write_files(where.root, {"tasks/web/web-000002.yaml": "name: two\n"})
    git(where.root, "add", "--all")
    git(where.root, "commit", "-qm", "two")
    assert where.merge("one", "two")
    assert not where.file.exists()
    assert (where.root / "tasks/web/design/web-7k2m9q.yaml").read_text() == changed(("planned", "blocked"))
    assert (where.root / "tasks/web/web-000001.yaml").exists()
    assert (where.root / "tasks/web/web-000002.yaml").exists()
    assert find_lost(where.project) == []


@pytest.mark.parametrize("driver", [False, True], ids=["plain", "driver"])
def test_two_tasks_made_with_one_id(driver: bool, repository: MakeRepository) -> None:
    where = repository(FORM, driver=driver)
    for name in ("one", "two"):
        git(where.root, "switch", "-qC", name, "base")
        document = make_document({"name": name, "priority": "low" if name == "one" else None}, TASK_KEYS)
        (where.root / "tasks/web/web-000009.yaml").write_bytes(document)
        git(where.root, "add", "--all")
        git(where.root, "commit", "-qm", name)
    assert not where.merge("one", "two")
    text = (where.root / "tasks/web/web-000009.yaml").read_text()
    if driver:
        # Never blended: each task stands whole on its side of the marks.
        mine, _, other = text.partition("=======\n")
        assert mine.count(":") == other.count(":") == len(TASK_KEYS)
    assert [problem.code for problem in where.project.load().problems].count("DT106") >= 3


@pytest.mark.parametrize("driver", [False, True], ids=["plain", "driver"])
def test_deleted_on_one_side_and_edited_on_the_other(driver: bool, repository: MakeRepository) -> None:
    where = repository(FORM, driver=driver)
    git(where.root, "switch", "-qc", "gone")
    git(where.root, "rm", "-q", TASK)
    git(where.root, "commit", "-qm", "gone")
    where.branch("edited", changed(("planned", "blocked")))
    for ours, theirs in (("gone", "edited"), ("edited", "gone")):
        assert not where.merge(ours, theirs)
        assert where.file.read_text() == changed(("planned", "blocked"))
        found = resolve(where.project, [], ResolveSettings())
        assert [(r.path, r.state) for r in found] == [(TASK, "deleted")]
        assert ("your side deleted it" in found[0].hint) == (ours == "gone")
        where.abort()


@pytest.mark.parametrize("how", ["rebase", "cherry-pick", "stash", "revert"])
def test_everything_that_merges_calls_the_driver(how: str, repository: MakeRepository) -> None:
    where = repository(FORM, driver=True)
    ours, theirs, both = HONEST["the same gap of a list"]
    where.branch("theirs", changed(theirs))
    where.branch("ours", changed(ours))
    if how == "rebase":
        assert where.attempt("rebase", "-q", "theirs")
    elif how == "cherry-pick":
        assert where.attempt("cherry-pick", "theirs")
    elif how == "stash":
        git(where.root, "switch", "-qC", "work", "base")
        where.file.write_text(changed(theirs))
        git(where.root, "stash")
        git(where.root, "switch", "-q", "ours")
        assert where.attempt("stash", "pop")
    else:
        where.file.write_text(changed(both))
        git(where.root, "commit", "-qam", "both")
        assert where.attempt("revert", "--no-edit", "HEAD^")
        assert where.file.read_text() == changed(theirs)
        return
    assert where.file.read_text() == changed(both)


def test_a_patch_that_does_not_apply_is_merged_by_the_driver(repository: MakeRepository, tmp_path: Path) -> None:
    """`git am -3` builds the common version anew from what the patch says of it."""
    where = repository(FORM, driver=True)
    ours, theirs, both = HONEST["the same gap of a list"]
    where.branch("ours", changed(ours))
    where.branch("theirs", changed(theirs))
    git(where.root, "format-patch", "-q", "-1", "-o", str(tmp_path / "patches"), "theirs")
    [patch] = (tmp_path / "patches").iterdir()
    git(where.root, "switch", "-q", "ours")
    assert not where.attempt("am", "-q", str(patch))
    git(where.root, "am", "--abort")
    assert where.attempt("am", "-q", "-3", str(patch))
    assert where.file.read_text() == changed(both)


def test_a_merge_that_is_squashed_or_not_yet_committed(repository: MakeRepository) -> None:
    where = repository(FORM, driver=True)
    ours, theirs, both = HONEST["the same gap of a map"]
    where.branch("ours", changed(ours))
    where.branch("theirs", changed(theirs))
    for option in ("--squash", "--no-commit"):
        git(where.root, "switch", "-q", "-f", "-C", "merging", "ours")
        assert where.attempt("merge", "-q", option, "theirs")
        assert where.file.read_text() == changed(both)
        assert git(where.root, "diff", "--cached", "--name-only") == TASK
        where.abort()


def test_an_octopus_of_fields_and_one_that_git_gives_up(repository: MakeRepository) -> None:
    """More than two branches at once: Git merges them one after the other, and gives up at the first conflict."""
    where = repository(FORM, driver=True)
    where.branch("one", changed(("  - b\n", "  - b\n  - ba\n")))
    where.branch("two", changed(("planned", "blocked")))
    where.branch("three", changed(("  f: 3\n", "  f: 4\n")))
    where.branch("four", changed(("planned", "completed")))
    git(where.root, "switch", "-qC", "octopus", "one")
    assert where.attempt("merge", "-q", "--no-edit", "two", "three")
    assert where.file.read_text() == changed(
        ("  - b\n", "  - b\n  - ba\n"), ("planned", "blocked"), ("  f: 3", "  f: 4")
    )
    git(where.root, "switch", "-qC", "octopus", "one")
    assert not where.attempt("merge", "-q", "--no-edit", "two", "four")
    text = where.file.read_text()
    assert not text.count("<<<<<<<") or ("status: blocked" in text and "status: completed" in text)


@pytest.mark.parametrize("how", ["merge", "rebase", "cherry-pick", "revert", "stash", "am"])
def test_a_conflict_names_its_sides_whatever_merges(how: str, repository: MakeRepository, tmp_path: Path) -> None:
    """A rebase calls the branch that it goes onto ours; the values of both sides are there all the same."""
    where = repository(FORM, driver=True)
    where.branch("theirs", changed(("planned", "completed")))
    where.branch("ours", changed(("planned", "blocked")))
    if how == "stash":
        git(where.root, "switch", "-qC", "work", "base")
        where.file.write_text(changed(("planned", "completed")))
        git(where.root, "stash")
        git(where.root, "switch", "-q", "ours")
    if how == "am":
        git(where.root, "format-patch", "-q", "-1", "-o", str(tmp_path / "patches"), "theirs")
    if how == "revert":
        where.file.write_text(changed(("planned", "cancelled")))
        git(where.root, "commit", "-qam", "more")
    commands = {
        "merge": ["merge", "theirs"],
        "rebase": ["rebase", "theirs"],
        "cherry-pick": ["cherry-pick", "theirs"],
        "revert": ["revert", "--no-edit", "HEAD^"],
        "stash": ["stash", "pop"],
        "am": ["am", "-3", str(tmp_path / "patches/0001-theirs.patch")],
    }
    assert not where.attempt(*commands[how])
    lines = where.file.read_text().splitlines()
    begin, end = (next(n for n, line in enumerate(lines) if line.startswith(mark * 7)) for mark in "<>")
    middle = lines.index("=======")
    mine, other = (
        ("status: completed", "status: blocked") if how == "rebase" else ("status: blocked", "status: completed")
    )
    if how == "revert":
        mine, other = "status: cancelled", "status: planned"
    assert lines[begin + 1] == mine
    assert lines[middle + 1 : end] == [other]
    assert [*lines[:begin], "status: planned", *lines[end + 1 :]] == changed().splitlines()
    found = parse_document(where.file.read_bytes(), TASK).problems
    assert [(p.code, p.line) for p in found] == [("DT106", n + 1) for n, line in enumerate(lines) if line[:7] in MARKS]
    assert [(r.path, r.state, r.fields) for r in resolve(where.project, [], ResolveSettings())] == [
        (TASK, "conflict", ("status",))
    ]


MARKS = ("<<<<<<<", "|||||||", "=======", ">>>>>>>")


def test_a_rebase_of_many_commits_merges_each(repository: MakeRepository) -> None:
    where = repository(FORM, driver=True)
    where.branch("theirs", changed(("  - b\n", "  - b\n  - c\n")))
    where.branch("ours", changed(("  - b\n", "  - b\n  - bb\n")))
    for old, new in (("  b: 1\n", "  b: 1\n  c: 0\n"), ("One.", "One!"), ("  - bb\n", "  - ba\n  - bb\n")):
        where.file.write_text(changed((old, new), text=where.file.read_text()))
        git(where.root, "commit", "-qam", "more")
    assert where.attempt("rebase", "-q", "theirs")
    assert git(where.root, "rev-list", "--count", "theirs..HEAD") == "4"
    assert where.file.read_text() == changed(
        ("  - b\n", "  - b\n  - ba\n  - bb\n  - c\n"), ("  b: 1\n", "  b: 1\n  c: 0\n"), ("One.", "One!")
    )


FORMS = {
    "a project": (
        PROJECT,
        PROJECT_KEYS,
        {"name": "Web", "description": "One.\nTwo.\n", "metadata": {"a": 1, "c": 3}},
        {"name": "Site", "description": "One.\n\nThree.\n", "metadata": {"a": 1, "b": 2, "c": 3}},
    ),
    "a phase": (
        "tasks/web/phases/build.yaml",
        PHASE_KEYS,
        {"name": "Build", "description": "One.\nTwo.\n", "order": 1},
        {"name": "Make", "description": "One.\n\nThree.\n", "order": 2},
    ),
}


@pytest.mark.parametrize("driver", [False, True], ids=["plain", "driver"])
@pytest.mark.parametrize("form", FORMS)
def test_any_two_fields_of_projects_and_phases_merge_clean(form: str, driver: bool, repository: MakeRepository) -> None:
    path, keys, before, after = FORMS[form]
    base = make_document(before, keys)
    where = repository(base, driver=driver, path=path)
    document = parse_document(base, path)
    keys = [key for key in keys if key in after]
    for key in keys:
        where.branch(key, set_value(document, (key,), after[key], order=keys).content)
    for one, other in combinations(keys, 2):
        assert where.merge(one, other), (one, other)
        merged = parse_document(where.file.read_bytes(), path).data or {}
        assert {key: merged[key] for key in keys} == {**before, one: after[one], other: after[other]}


def test_a_task_moved_on_both_sides(repository: MakeRepository) -> None:
    """To two places: Git says so, and both files hold the task until somebody decides."""
    where = repository(FORM, driver=True)
    for name in ("one", "two"):
        git(where.root, "switch", "-qC", name, "base")
        (where.root / f"tasks/web/{name}").mkdir()
        git(where.root, "mv", TASK, f"tasks/web/{name}/web-7k2m9q.yaml")
        git(where.root, "commit", "-qm", name)
    assert not where.merge("one", "two")
    paths = [f"tasks/web/{name}/web-7k2m9q.yaml" for name in ("one", "two")]
    assert [(where.root / path).read_text() for path in paths] == [changed(), changed()]
    found = [p for p in where.project.load().problems if p.code == "DT205"]
    assert [p.path for p in found] == [paths[1]]
    assert {r.state for r in resolve(where.project, [], ResolveSettings())} == {"deleted"}


def test_a_broken_file_of_a_merge_hides_no_other_and_is_not_written_to(
    repository: MakeRepository, cli: Callable[..., Result]
) -> None:
    where = repository(FORM)
    write_files(where.root, {"tasks/web/web-000001.yaml": "name: Whole\n\nstatus: planned\n"})
    git(where.root, "add", "--all")
    git(where.root, "commit", "-qm", "whole")
    git(where.root, "branch", "-f", "base")
    where.branch("ours", changed(("planned", "blocked")))
    where.branch("theirs", changed(("planned", "completed")))
    assert not where.merge("ours", "theirs")
    before = where.file.read_bytes()
    line = before.decode().splitlines().index("<<<<<<< HEAD") + 1
    for command in (["task", "list"], ["task", "next"], ["validate"]):
        done = cli(where.root, *command)
        assert done.code == 1, command
        assert f"{TASK}:{line}:1: DT106" in done.out + done.err
    assert "web-000001" in cli(where.root, "task", "list").out
    for command in (
        ["task", "set", "7k2m9q", "status=blocked"],
        ["task", "show", "7k2m9q"],
        ["task", "claim", "7k2m9q"],
    ):
        done = cli(where.root, *command)
        assert (done.code, done.out) == (7, ""), command
        assert f"{TASK}:{line}:1: DT106" in done.err
    assert cli(where.root, "task", "set", "000001", "status=blocked").code == 0
    assert where.file.read_bytes() == before
    done = cli(where.root, "task", "set", "000001", "priority=high", "--commit")
    assert (done.code, "a merge is under way" in done.err) == (6, True)
    assert "priority: high" in (where.root / "tasks/web/web-000001.yaml").read_text()


def test_a_merge_of_many_branches_and_back_again(repository: MakeRepository) -> None:
    """Criss-cross: each side has merged the other before; Git then merges the bases with the driver, too."""
    where = repository(FORM, driver=True)
    where.branch("one", changed(("  - b\n", "  - b\n  - ba\n")))
    where.branch("two", changed(("  - b\n", "  - b\n  - bb\n")))
    git(where.root, "switch", "-qC", "one_two", "one")
    assert where.attempt("merge", "-q", "--no-edit", "two")
    git(where.root, "switch", "-qC", "two_one", "two")
    assert where.attempt("merge", "-q", "--no-edit", "one")
    for branch, old, new in (("one_two", "planned", "blocked"), ("two_one", "  - f\n", "  - f\n  - g\n")):
        git(where.root, "switch", "-q", branch)
        where.file.write_text(changed((old, new), text=where.file.read_text()))
        git(where.root, "commit", "-qam", branch)
    assert where.merge("one_two", "two_one")
    assert where.file.read_text() == changed(
        ("  - b\n", "  - b\n  - ba\n  - bb\n"), ("planned", "blocked"), ("  - f\n", "  - f\n  - g\n")
    )


# --- when there is no driver, or a broken one ---------------------------------------------------------------------


def broken_drivers(folder: Path) -> dict[str, str]:
    """Commands that fail in the ways in which a driver can: the interpreter or the package is gone, or it crashes."""
    crash = folder / "dagtasks/store"
    crash.mkdir(parents=True)
    (folder / "dagtasks/__init__.py").touch()
    (crash / "__init__.py").touch()
    (crash / "merge.py").write_text("def main(arguments):\n    raise MemoryError\n")
    killed = folder / "killed"
    killed.write_text("#!/bin/sh\nkill -9 $$\n")
    killed.chmod(0o755)
    return {
        "no interpreter": driver_command(str(folder / "gone/python")),
        "no package": driver_command(sys.executable, folder / "gone"),
        "it crashes": driver_command(sys.executable, folder),
        "it is killed": driver_command(str(killed)),
        "no command": "",
    }


@pytest.mark.parametrize("how", ["no interpreter", "no package", "it crashes", "it is killed", "no command"])
def test_without_a_working_driver_git_merges_lines(how: str, repository: MakeRepository, tmp_path: Path) -> None:
    where = repository(FORM)
    command = broken_drivers(tmp_path / "broken")[how]
    if command:
        git(where.root, "config", "merge.dagtasks.driver", command)
    where.branch("ours", changed(("planned", "blocked")))
    where.branch("theirs", changed(("planned", "completed")))
    where.branch("apart", changed(("phase: build", "phase: test")))
    assert where.merge("ours", "apart")
    assert where.file.read_text() == changed(("planned", "blocked"), ("phase: build", "phase: test"))
    assert not where.merge("ours", "theirs")
    text = where.file.read_text()
    assert "status: blocked" in text
    assert "status: completed" in text
    state = check_driver(where.project.get_git())
    assert state.state == ("wrong" if command else "note")
    assert state.hint.endswith("dagtasks init")


def test_a_driver_that_keeps_one_side_only_is_found_out(repository: MakeRepository) -> None:
    where = repository(FORM)
    git(where.root, "config", "merge.dagtasks.driver", "true")
    assert check_driver(where.project.get_git()).state == "wrong"


def test_init_sets_the_driver_up_and_doctor_tries_it(
    tmp_path: Path, cli: Callable[..., Result], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DAGTASKS_ENGINE", "local")
    root = tmp_path / "my repository's ü %A"
    root.mkdir()
    assert cli(root, "init").code == 0
    assert (root / ".gitattributes").read_text() == f"{ATTRIBUTES[0]}\n"
    states = {check["name"]: check["state"] for check in cli(root, "doctor", "--json").json}
    assert states["merge driver"] == "ok"
    assert "merge driver: kept" in cli(root, "init").out
    git(root, "add", "--all")
    git(root, "commit", "-qm", "start")
    git(root, "clone", "-q", str(root), str(tmp_path / "clone"))
    checks = {check["name"]: check for check in cli(tmp_path / "clone", "doctor", "--json").json}
    assert checks["merge driver"]["state"] == "note"
    assert "merge driver: set up" in cli(tmp_path / "clone", "init").out
    assert git(tmp_path / "clone", "status", "--porcelain") == ""


def test_an_installation_with_odd_characters_in_its_path(repository: MakeRepository, tmp_path: Path) -> None:
    odd = tmp_path / "it's %O $HOME; ü"
    shutil.copytree(Path(__file__).parents[2] / "dagtasks", odd / "dagtasks", ignore=shutil.ignore_patterns("*.pyc"))
    where = repository(FORM)
    git(where.root, "config", "merge.dagtasks.driver", driver_command(sys.executable, odd))
    assert check_driver(where.project.get_git()).state == "ok"


def test_in_a_subfolder_a_worktree_and_with_spaces(repository: MakeRepository, tmp_path: Path) -> None:
    path = "sub folder ü/tasks/web/web-7k2m9q.yaml"
    where = repository(FORM, driver=True, path=path)
    write_files(where.root, {"sub folder ü/.gitattributes": f"{ATTRIBUTES[0]}\n"})
    git(where.root, "add", "--all")
    git(where.root, "commit", "-qm", "attributes")
    git(where.root, "branch", "-f", "base")
    ours, theirs, both = HONEST["the same gap of a map"]
    where.branch("ours", changed(ours))
    where.branch("theirs", changed(theirs))
    linked = tmp_path / "linked tree"
    git(where.root, "worktree", "add", "-q", "-b", "here", str(linked), "ours")
    git(linked, "merge", "-q", "--no-edit", "theirs")
    assert (linked / path).read_text() == changed(both)


# --- resolve ------------------------------------------------------------------------------------------------------


def conflicted(where: Repository, *, style: str = "merge") -> None:
    """A merge that stops: one file that only the driver can merge, and one where a field was changed on both sides."""
    ours, theirs, _ = HONEST["the same gap of a list"]
    second = where.root / "tasks/web/web-000008.yaml"
    second.write_text(changed())
    git(where.root, "add", "--all")
    git(where.root, "commit", "-qm", "second")
    git(where.root, "branch", "-f", "base")
    for name, change, status in (("ours", ours, "blocked"), ("theirs", theirs, "completed")):
        where.branch(name, changed(change))
        second.write_text(changed(change, ("planned", status)))
        git(where.root, "commit", "-qam", name)
    git(where.root, "config", "merge.conflictStyle", style)
    assert not where.merge("ours", "theirs")


@pytest.mark.parametrize("style", ["merge", "diff3", "zdiff3"])
def test_resolve_does_what_the_driver_would_have_done(style: str, repository: MakeRepository) -> None:
    where = repository(FORM)
    conflicted(where, style=style)
    planned = resolve(where.project, [], ResolveSettings(dry_run=True))
    assert where.file.read_text().count("<<<<<<<") == 1
    found = resolve(where.project, [], ResolveSettings())
    assert [(r.path, r.state, r.fields) for r in found] == [
        ("tasks/web/web-000008.yaml", "conflict", ("status",)),
        (TASK, "merged", ()),
    ]
    assert [r[:3] for r in planned] == [r[:3] for r in found]
    assert where.file.read_text() == changed(HONEST["the same gap of a list"][2])
    assert {line.partition("\t")[2] for line in where.unmerged().splitlines()} == {"tasks/web/web-000008.yaml"}
    again = resolve(where.project, [], ResolveSettings())
    assert [(r.path, r.state) for r in again] == [("tasks/web/web-000008.yaml", "conflict")]
    before = found[1].hint.rpartition(" ")[2]
    assert git(where.root, "cat-file", "blob", before).count("<<<<<<<") == 1


def test_resolve_knows_marks_that_were_written_anew(repository: MakeRepository) -> None:
    where = repository(FORM)
    conflicted(where)
    git(where.root, "checkout", "-q", "--conflict=diff3", "--", TASK)
    assert {r.path: r.state for r in resolve(where.project, [], ResolveSettings())}[TASK] == "merged"


def test_resolve_leaves_alone_what_was_edited_by_hand(repository: MakeRepository, cli: Callable[..., Result]) -> None:
    where = repository(FORM)
    conflicted(where)
    by_hand = where.file.read_text().replace("name: Ship", "name: Ship, by hand")
    where.file.write_text(by_hand)
    done = cli(where.root, "resolve", "--json")
    assert done.code == 1
    assert {row["path"]: row["state"] for row in done.json}[TASK] == "edited"
    assert where.file.read_text() == by_hand
    done = cli(where.root, "resolve", "--overwrite", "--no-add", "--json", TASK)
    assert done.code == 0
    assert where.file.read_text() == changed(HONEST["the same gap of a list"][2])
    assert len(where.unmerged().splitlines()) == 6
    blob = done.json[0]["hint"].rpartition(" ")[2]
    assert git(where.root, "cat-file", "blob", blob) + "\n" == by_hand


def test_resolve_where_nothing_is_to_do(repository: MakeRepository, cli: Callable[..., Result]) -> None:
    where = repository(FORM)
    assert cli(where.root, "resolve") == Result(0, "no task file is unmerged\n", "")


def test_the_command_that_git_can_be_given_by_hand(repository: MakeRepository, process: Callable[..., Result]) -> None:
    where = repository(FORM)
    ours, theirs, both = HONEST["value and comment"]
    write_files(where.root, {"base": FORM, "ours": changed(ours), "theirs": changed(theirs)})
    sides = [str(where.root / name) for name in ("base", "ours", "theirs")]
    done = process(where.root, "merge-driver", *sides, "7", "tasks/a b.yaml", "%S", "%X", "%Y")
    assert (done.code, done.out, done.err) == (0, "", "")
    assert (where.root / "ours").read_text() == changed(both)
    (where.root / "ours").write_text(changed(("planned", "blocked")))
    (where.root / "theirs").write_text(changed(("planned", "completed")))
    done = process(where.root, "merge-driver", *sides, "7", "x.yaml")
    assert (done.code, done.err) == (1, "dagtasks: x.yaml: both sides changed status\n")


# --- edits that a merge lost --------------------------------------------------------------------------------------

LONG = changed(("One.\n", "".join(f"Line {n} of a long text.\n  " for n in range(20))))
NEW = "tasks/web/web-000009.yaml"


def lose_an_edit(where: Repository, *, is_mirrored: bool) -> tuple[str, str]:
    """One side deletes a task and makes a similar one; the other edits the deleted one. Git merges that silently."""
    git(where.root, "switch", "-qC", "deleting", "base")
    git(where.root, "rm", "-q", TASK)
    write_files(where.root, {NEW: changed(("name: Ship", "name: A new one"), text=LONG)})
    git(where.root, "add", "--all")
    git(where.root, "commit", "-qm", "deleting")
    where.branch("editing", changed(("planned", "completed"), text=LONG))
    sides = ("editing", "deleting") if is_mirrored else ("deleting", "editing")
    assert where.merge(*sides)
    assert "status: completed" in (where.root / NEW).read_text()
    return sides


@pytest.mark.parametrize("is_mirrored", [False, True])
@pytest.mark.parametrize("driver", [False, True], ids=["plain", "driver"])
def test_an_edit_that_git_put_into_another_task_is_found(
    driver: bool, is_mirrored: bool, repository: MakeRepository, cli: Callable[..., Result]
) -> None:
    where = repository(LONG, driver=driver)
    lose_an_edit(where, is_mirrored=is_mirrored)
    assert where.project.load().broken == ()
    found = find_lost(where.project)
    assert [(p.path, p.code, p.severity) for p in found] == [(NEW, "DT401", "error")]
    assert TASK in found[0].message
    done = cli(where.root, "validate", "--changed")
    assert done.code == 1
    assert f"{NEW}: DT401" in done.out
    # The hint's command brings the task back; the misplaced edit is still named until somebody takes it out.
    command = found[0].hint.partition("bring the task back: git ")[2].split()
    git(where.root, *command)
    assert where.file.read_text() == changed(("planned", "completed"), text=LONG)
    assert [p.code for p in find_lost(where.project)] == ["DT401"]
    git(where.root, "checkout", "-q", "deleting", "--", NEW)
    assert find_lost(where.project) == []
    git(where.root, "commit", "-qm", "mended")
    assert find_lost(where.project, "base") == []


def test_lost_edits_are_found_in_a_subfolder_of_the_work_tree(repository: MakeRepository) -> None:
    where = repository(LONG, path=f"sub ü/{TASK}")
    git(where.root, "switch", "-qC", "deleting", "base")
    git(where.root, "rm", "-q", where.path)
    write_files(where.root, {f"sub ü/{NEW}": changed(("name: Ship", "name: A new one"), text=LONG)})
    git(where.root, "add", "--all")
    git(where.root, "commit", "-qm", "deleting")
    where.branch("editing", changed(("planned", "completed"), text=LONG))
    assert where.merge("deleting", "editing")
    assert [(p.path, p.code) for p in find_lost(Project(where.root / "sub ü"))] == [(NEW, "DT401")]


def test_a_merge_that_is_under_way_is_looked_at_too(repository: MakeRepository) -> None:
    where = repository(LONG)
    lose_an_edit(where, is_mirrored=False)
    where.abort()
    git(where.root, "switch", "-qC", "again", "deleting")
    git(where.root, "merge", "-q", "--no-commit", "--no-ff", "editing")
    assert [p.code for p in find_lost(where.project, "HEAD")] == ["DT401"]


def test_an_edit_that_somebody_dropped_is_a_warning(repository: MakeRepository, cli: Callable[..., Result]) -> None:
    where = repository(FORM)
    git(where.root, "switch", "-qC", "gone", "base")
    git(where.root, "rm", "-q", TASK)
    git(where.root, "commit", "-qm", "gone")
    where.branch("edited", changed(("planned", "blocked")))
    assert not where.merge("gone", "edited")
    git(where.root, "rm", "-q", TASK)
    git(where.root, "commit", "-qm", "stay gone")
    assert [(p.path, p.code, p.severity) for p in find_lost(where.project)] == [(TASK, "DT402", "warning")]
    assert cli(where.root, "validate", "--changed").code == 0


def test_a_shallow_clone_says_that_merges_were_not_compared(repository: MakeRepository, tmp_path: Path) -> None:
    where = repository(LONG)
    lose_an_edit(where, is_mirrored=False)
    git(tmp_path, "clone", "-q", "--depth=1", f"file://{where.root}", "shallow")
    found = find_lost(Project(tmp_path / "shallow"), "HEAD")
    assert [(p.code, p.severity) for p in found] == [("DT403", "note")]


def test_changed_shows_what_changed(repository: MakeRepository, cli: Callable[..., Result]) -> None:
    where = repository("name: x\nzzz: 1\n")
    assert ":2:1: DT125" in cli(where.root, "validate").out
    assert "DT125" not in cli(where.root, "validate", "--changed").out
    write_files(where.root, {"tasks/web/web-000001.yaml": "name: new\nyyy: 1\n"})
    assert "web-000001.yaml:2:1: DT125" in cli(where.root, "validate", "--changed").out
    git(where.root, "add", "--all")
    git(where.root, "commit", "-qm", "more")
    assert "DT125" not in cli(where.root, "validate", "--changed").out
    shown = cli(where.root, "validate", "--changed=base").out
    assert "web-000001.yaml:2:1: DT125" in shown
    assert "web-7k2m9q" not in shown
    # What a change breaks between files is shown where it stands, though that file did not change.
    write_files(where.root, {"tasks/web/web-000001.yaml": "name: new\n\ndepends_on: [web-7k2m9q]\n"})
    git(where.root, "commit", "-qam", "edge")
    where.file.unlink()
    done = cli(where.root, "validate", "--changed")
    assert done.code == 1
    assert "web-000001.yaml" in done.out
    failed = cli(where.root, "validate", "--changed", "nope")
    assert (failed.code, "there is no commit 'nope'" in failed.err) == (2, True)


# --- fmt and validate --fix ---------------------------------------------------------------------------------------


def test_fmt(repository: MakeRepository, cli: Callable[..., Result]) -> None:
    where = repository("status: planned\nname: x\n")
    write_files(where.root, {"tasks/web/web-000001.yaml": "name: x\nlabels: [a, [b]]\n"})
    done = cli(where.root, "fmt", "--check")
    assert (done.code, done.out.splitlines()) == (1, [f"would change: {PROJECT}", f"would change: {TASK}"])
    assert done.err.startswith("left as it is: tasks/web/web-000001.yaml: ")
    assert where.file.read_text() == "status: planned\nname: x\n"
    done = cli(where.root, "fmt", TASK, "--commit")
    assert (done.code, done.out, done.err) == (0, f"changed: {TASK}\n", "")
    assert where.file.read_bytes() == make_document({"name": "x", "status": "planned"}, TASK_KEYS)
    assert cli(where.root, "fmt", "--check", TASK).code == 0
    assert git(where.root, "show", "--name-only", "--format=").split() == [TASK]
    again = format_files(where.project, [], WriteSettings())
    assert (again.saved.paths, [*again.refused]) == ((PROJECT,), ["tasks/web/web-000001.yaml"])


def test_fix(repository: MakeRepository, cli: Callable[..., Result]) -> None:
    where = repository(
        "\ufeffname: 1.10 # version\nassignee: no\nlabels: [on, ok]\ndue: 2026-12-31\n12: x\nmetadata:\n  no: 7\n"
    )
    done = cli(where.root, "validate", "--fix")
    assert where.file.read_text() == (
        'name: "1.10" # version\nassignee: "no"\nlabels: ["on", ok]\ndue: 2026-12-31\n"12": x\nmetadata:\n  no: 7\n'
    )
    assert done.err.splitlines() == [
        f"{TASK}: removed the byte order mark",
        f"{TASK}: quoted the key 12",
        f'{TASK}: quoted name: "1.10"',
        f'{TASK}: quoted assignee: "no"',
        f'{TASK}: quoted labels.0: "on"',
    ]
    assert done.code == 0
    assert fix_files(where.project, []) == []


@pytest.mark.parametrize(
    "text", ["name: [\n", "? b\n: c\n", "name: a\nname: b\n", "name: x\nstatus: nope\n", "[a]: b\n"]
)
def test_fix_leaves_what_has_no_single_answer(text: str, repository: MakeRepository) -> None:
    where = repository(text)
    assert fix_files(where.project, []) == []
    assert where.file.read_text() == text


def test_marks_are_an_error_with_file_and_line_that_names_resolve(
    repository: MakeRepository, cli: Callable[..., Result]
) -> None:
    where = repository(FORM)
    conflicted(where)
    shown = cli(where.root, "validate", TASK).out
    line = where.file.read_text().splitlines().index("<<<<<<< HEAD") + 1
    assert f"{TASK}:{line}:1: DT106" in shown
    assert "dagtasks resolve" in shown
