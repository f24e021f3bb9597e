from __future__ import annotations

import itertools
from pathlib import Path
from subprocess import CalledProcessError

import pytest

from dagtasks.errors import Conflict, GitError
from dagtasks.store.commits import commit
from dagtasks.store.git import find_git
from tests.conftest import MakeProject, git, write_files


def test_commit_takes_exactly_our_paths(project: MakeProject) -> None:
    repository = project({"a.txt": "a\n", "b.txt": "b\n", "c.txt": "c\n"})
    root = repository.root
    (root / "a.txt").write_text("a staged\n")
    git(root, "add", "a.txt")
    (root / "b.txt").write_text("b unstaged\n")
    (root / "c.txt").write_text("ours\n")
    (root / "new ü.txt").write_text("ours, new\n")
    (root / "untracked.txt").write_text("theirs\n")
    commit(repository.get_git(), ["c.txt", "new ü.txt"], "ours", lock=repository.lock_path)
    assert git(root, "-c", "core.quotePath=false", "show", "--name-only", "--format=%s") == "ours\n\nc.txt\nnew ü.txt"
    assert git(root, "status", "--porcelain").splitlines() == ["M  a.txt", " M b.txt", "?? untracked.txt"]


def test_commit_of_a_removal(project: MakeProject) -> None:
    repository = project({"a.txt": "a\n"})
    (repository.root / "a.txt").unlink()
    commit(repository.get_git(), ["a.txt"], "gone", lock=repository.lock_path)
    assert git(repository.root, "status", "--porcelain") == ""


def test_commit_is_refused_in_a_merge(project: MakeProject) -> None:
    repository = project({"a.txt": "a\n"})
    root = repository.root
    git(root, "switch", "-q", "-c", "other")
    (root / "a.txt").write_text("other\n")
    git(root, "commit", "-qam", "other")
    git(root, "switch", "-q", "main")
    git(root, "merge", "-q", "--no-commit", "--no-ff", "other")
    (root / "b.txt").write_text("b\n")
    with pytest.raises(Conflict, match="a merge is under way"):
        commit(repository.get_git(), ["b.txt"], "no", lock=repository.lock_path)


def test_variables_of_another_repository_do_not_leak_in(
    project: MakeProject, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    repository, other = project(), project(name="other")
    monkeypatch.setenv("GIT_DIR", str(other.root / ".git"))
    monkeypatch.setenv("GIT_INDEX_FILE", str(tmp_path / "index"))
    monkeypatch.setenv("GIT_AUTHOR_NAME", "Bo")
    (repository.root / "a.txt").write_text("a\n")
    commit(repository.get_git(), ["a.txt"], "ours", lock=repository.lock_path)
    monkeypatch.delenv("GIT_DIR")
    monkeypatch.delenv("GIT_INDEX_FILE")
    assert git(repository.root, "log", "-1", "--format=%an %s") == "Bo ours"


def test_the_state_lies_in_the_folder_that_all_work_trees_share(project: MakeProject, tmp_path: Path) -> None:
    repository = project()
    git(repository.root, "worktree", "add", "-q", str(tmp_path / "linked"))
    linked = find_git(tmp_path / "linked")
    assert linked is not None
    assert linked.state_dir == repository.root / ".git/dagtasks"
    assert linked.head().branch == "linked"


def test_no_repository(tmp_path: Path) -> None:
    assert find_git(tmp_path) is None


HEADS = {
    "a branch": ("switch", "-q", "-c", "a/b"),
    "a packed branch": ("pack-refs", "--all"),
    "a commit": ("switch", "-q", "--detach"),
    "a branch that is another one": ("symbolic-ref", "refs/heads/other", "refs/heads/main"),
    "a new branch": ("switch", "-q", "--orphan", "new"),
    "no branch": ("symbolic-ref", "HEAD", "refs/other/one"),
    "what is not there": ("update-ref", "-d", "HEAD"),
}


@pytest.mark.parametrize("what", HEADS)
def test_head_is_what_git_says(project: MakeProject, what: str) -> None:
    root = project().root
    git(root, *HEADS[what])
    if "another" in what:
        git(root, "switch", "-q", "other")
    found = find_git(root)
    assert found is not None
    asked = found.find("rev-parse", "--verify", "--quiet", "HEAD")
    named = found.find("symbolic-ref", "--quiet", "HEAD")
    branch = named.removeprefix("refs/heads/") if named else None
    if "another" in what:
        branch = found.read("rev-parse", "--symbolic-full-name", "HEAD").removeprefix("refs/heads/")
    assert found.head() == (asked, branch)


def test_head_before_the_first_commit(tmp_path: Path) -> None:
    git(tmp_path, "init", "-q")
    found = find_git(tmp_path)
    assert found is not None
    assert found.head() == (None, "main")
    assert found.standing() == ((None, "main"), False)


@pytest.mark.parametrize("name", ["main", "a/b", "HEAD", "refs/heads/x", "é", "same"])
def test_head_on_a_branch_and_detached(project: MakeProject, name: str) -> None:
    repository = project()
    git(repository.root, "tag", "same")
    git(repository.root, "update-ref", f"refs/heads/{name}", "HEAD")
    git(repository.root, "symbolic-ref", "HEAD", f"refs/heads/{name}")
    sha = git(repository.root, "rev-parse", "HEAD^{commit}")
    assert repository.get_git().head() == (sha, name)
    assert repository.get_git().standing() == ((sha, name), False)
    git(repository.root, "checkout", "-q", "--detach")
    assert repository.get_git().head() == (sha, None)
    assert repository.get_git().standing() == ((sha, None), False)


@pytest.mark.parametrize("change", ["new file", "# a name", "changed", "staged", "deleted", "elsewhere"])
def test_what_differs_below_the_root_is_noticed(project: MakeProject, change: str) -> None:
    repository = project()
    top = repository.root
    write_files(top, {"below/tasks/web/project.yaml": "name: Web\n", "other": "a\n", ".gitignore": "*.tmp"})
    git(top, "add", ".")
    git(top, "commit", "-qm", "Start")
    write_files(top, {"below/a.tmp": ""})
    found = find_git(top / "below")
    assert found is not None
    assert not found.standing()[1]
    file = top / "below/tasks/web/project.yaml"
    match change:
        case "deleted":
            file.unlink()
        case "elsewhere":
            (top / "other").write_text("b\n")
        case "changed" | "staged":
            file.write_text("name: Other\n")
        case _:
            (top / "below" / change).write_text("")
    if change == "staged":
        git(top, "add", ".")
    assert found.standing()[1] == (change != "elsewhere")


@pytest.mark.parametrize("kind", ["sha1", "sha256"])
def test_ids_of_bytes_are_those_of_git(tmp_path: Path, kind: str) -> None:
    git(tmp_path, "init", "-q", f"--object-format={kind}")
    (tmp_path / "file").write_bytes(b"a\0\r\n")
    found = find_git(tmp_path)
    assert found is not None
    assert found.blob_id(b"a\0\r\n") == git(tmp_path, "hash-object", "file")


def test_errors_name_the_command_and_what_it_printed(project: MakeProject) -> None:
    with pytest.raises(GitError, match="git cat-file ended with 128: fatal: Not a valid object name nope"):
        project().get_git().read("cat-file", "-p", "nope")


@pytest.mark.parametrize("form", [(), ("--ref-format=reftable",)])
def test_a_look_at_refs_tells_every_change_of_head_and_of_the_named_ones(tmp_path: Path, form: tuple[str, ...]) -> None:
    try:
        git(tmp_path, "init", "--quiet", *form)
    except CalledProcessError:
        pytest.skip("this Git keeps no tables of refs")
    found = find_git(tmp_path)
    assert found
    steps = [
        ("commit", "--quiet", "--allow-empty", "--message", "first"),
        ("commit", "--quiet", "--allow-empty", "--message", "second"),
        ("switch", "--quiet", "--create", "other"),
        ("commit", "--quiet", "--allow-empty", "--message", "third"),
        ("update-ref", "refs/dagtasks/runs", "HEAD"),
        ("update-ref", "refs/dagtasks/runs", "HEAD~1"),
        ("pack-refs", "--all"),
        ("commit", "--quiet", "--allow-empty", "--message", "fourth"),
        ("switch", "--quiet", "--detach"),
        ("commit", "--quiet", "--allow-empty", "--message", "fifth"),
        ("update-ref", "-d", "refs/dagtasks/runs"),
    ]
    seen = [found.watch_refs("refs/dagtasks/runs")]
    for step in steps:
        git(tmp_path, *step)
        seen.append(found.watch_refs("refs/dagtasks/runs"))
        assert seen[-1] == found.watch_refs("refs/dagtasks/runs")
    assert [after for before, after in itertools.pairwise(seen) if before == after] == []
