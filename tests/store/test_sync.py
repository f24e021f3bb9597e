"""The records of runs in several clones."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from dagtasks.errors import GitError
from dagtasks.store.project import Project
from dagtasks.store.runs import REF, RunStore, make_run_id
from tests.conftest import MakeProject, git
from tests.store.test_runs import NOW, PLAN, keep, make_record


@pytest.fixture
def clones(project: MakeProject, tmp_path: Path) -> tuple[Project, Project]:
    """Two clones of one bare repository."""
    first = project(name="seed")
    git(tmp_path, "clone", "-q", "--bare", str(first.root), str(tmp_path / "bare.git"))
    made = []
    for name in ("one", "two"):
        git(tmp_path, "clone", "-q", str(tmp_path / "bare.git"), str(tmp_path / name))
        made.append(Project(tmp_path / name))
    return made[0], made[1]


def run_in(clone: Project) -> str:
    record = make_record(id=make_run_id(NOW))
    keep(clone, record)
    return record.id


def ids(clone: Project) -> set[str]:
    return {record.id for record in clone.runs.newest()}


def test_both_sides_get_the_records_of_both(clones: tuple[Project, Project]) -> None:
    one, two = clones
    a, b = run_in(one), run_in(two)
    assert one.runs.push("origin") == (1, 0)
    assert two.runs.push("origin") == (1, 1)
    assert one.runs.pull("origin") == (0, 1)
    assert ids(one) == ids(two) == {a, b}
    assert git(one.root, "rev-parse", REF) == git(two.root, "rev-parse", REF)
    assert one.runs.get(b).outputs == {"result": "hello"}
    assert one.runs.push("origin") == one.runs.pull("origin") == (0, 0)
    assert git(two.root, "fsck", "--no-dangling") == ""


def test_nothing_else_of_the_clone_changes(clones: tuple[Project, Project]) -> None:
    one, two = clones
    run_in(two)
    two.runs.push("origin")
    (one.root / "mine.txt").write_text("mine\n")
    git(one.root, "add", "mine.txt")
    before = git(one.root, "status", "--porcelain"), git(one.root, "rev-parse", "HEAD")
    one.runs.pull("origin")
    assert (git(one.root, "status", "--porcelain"), git(one.root, "rev-parse", "HEAD")) == before
    assert not (one.root / ".git/FETCH_HEAD").exists()


def test_a_remote_without_records_and_one_that_is_not_there(clones: tuple[Project, Project]) -> None:
    one, _ = clones
    assert one.runs.pull("origin") == (0, 0)
    assert one.runs.push("origin") == (0, 0)
    with pytest.raises(GitError):
        one.runs.pull("nowhere")


def test_who_pushes_at_the_same_time_loses_nothing(clones: tuple[Project, Project], tmp_path: Path) -> None:
    one, two = clones
    expected = {run_in(one), run_in(two)}
    for name in "abcd":
        git(tmp_path, "clone", "-q", str(tmp_path / "bare.git"), str(tmp_path / name))
        expected.add(run_in(Project(tmp_path / name)))
    program = "import sys; from pathlib import Path; from dagtasks.store.project import Project; "
    program += "Project(Path(sys.argv[1])).runs.push('origin')"
    import sys

    pushing = [
        subprocess.Popen([sys.executable, "-c", program, str(tmp_path / name)]) for name in ("one", "two", *"abcd")
    ]
    assert [process.wait(timeout=120) for process in pushing] == [0] * 6
    one.runs.pull("origin")
    assert ids(one) == expected


def test_a_record_of_another_clone_has_no_journal_here(clones: tuple[Project, Project]) -> None:
    one, two = clones
    run = run_in(one)
    one.runs.push("origin")
    two.runs.pull("origin")
    store = RunStore(two.get_git())
    assert store.published() == []
    assert store.read_plan(run) == PLAN
