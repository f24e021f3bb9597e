"""The index of a commit and of what is staged is the index of a clean work tree, whatever the repository looks like."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from dagtasks.errors import GitError, InvalidInput
from dagtasks.planning.index import Index
from dagtasks.store.project import Project, find_project
from tests.conftest import BASIC_TEMPLATE, MakeProject, git, write_files
from tests.test_golden import CASES

FILES = {
    "tasks/web/project.yaml": "name: Web\n",
    "tasks/web/phases/build.yaml": "name: Build\n",
    "tasks/web/web-000001.yaml": "name: One\nphase: build\n",
    "tasks/web/web-000002.yaml": "name: Two\ndepends_on: [web-000001, web-00000x]\n",
    "templates/basic_task.yaml": BASIC_TEMPLATE,
}


def commit_all(folder: Path) -> None:
    git(folder, "add", "--all")
    git(folder, "commit", "--quiet", "--allow-empty", "--message", "more")


def assert_all_equal(repository: Project) -> None:
    """The work tree, the last commit and what is staged say the same."""
    assert git(repository.root, "status", "--porcelain") == ""
    whole = repository.load()
    assert repository.at("HEAD").load() == whole
    assert repository.staged().load() == whole


@pytest.mark.parametrize("name", CASES)
def test_golden_repositories(name: str, project: MakeProject) -> None:
    assert_all_equal(project(CASES[name]["files"]))


AWKWARD: dict[str, dict[str, str | bytes]] = {
    "unicode": {"tasks/web/dürr/ж/web-000003.yaml": "name: Ж\n", "tasks/web/ü.yaml": "name: no id\n"},
    "not text": {os.fsdecode(b"tasks/web/\xff/web-000003.yaml"): "name: A\n", os.fsdecode(b"tasks/\xff.yaml"): ""},
    "line breaks": {"tasks/web/a\nb/web-000003.yaml": "name: [\n", "tasks/web/\t/web-000004.yaml": "name: T\n"},
    "yml": {"tasks/web/web-000003.yml": "name: A\n", "templates/x.yml": ""},
    "too large": {"tasks/web/web-000003.yaml": b"name: A\n" + b"#" * 1024 * 1024},
    "just fits": {"tasks/web/web-000003.yaml": b"name: A\n" + b"#" * (1024 * 1024 - 8)},
    "not YAML": {"tasks/web/web-000003.yaml": b"\xff\xfe\0", "tasks/web/web-000004.yaml": b""},
    "the same content": {f"tasks/web/web-00000{name}.yaml": "name: A\n" for name in "abcde"},
    "hidden": {"tasks/.cache/web-000003.yaml": "name: A\n", "tasks/web/.x.yaml": "name: A\n"},
    "elsewhere": {"tasks/a.yaml": "name: A\n", "other/web-000003.yaml": "", "tasks/web/comments/web-000001/x.md": ""},
    "two of one id": {"tasks/web/a/web-000001.yaml": "name: A\n", "tasks/web/b/web-000001.yaml": "name: B\n"},
    "Windows": {"tasks/web/web-000003.yaml": b"name: A\r\n\r\nlabels:\r\n  - x\r\nphase: nope\r\n"},
}


@pytest.mark.parametrize("name", AWKWARD)
def test_awkward_repositories(name: str, project: MakeProject) -> None:
    assert_all_equal(project({**FILES, **AWKWARD[name]}))


def test_symlinks(project: MakeProject) -> None:
    repository = project({**FILES, "real/web-000005.yaml": "name: Real\n"})
    root = repository.root
    (root / "tasks/ops/comments/ops-000001").mkdir(parents=True)  # what lies there is looked at by other code
    (root / "tasks/ops/comments/ops-000001/x.md").symlink_to("/dev/null")
    for path, target in (
        ("tasks/web/web-000003.yaml", "web-000001.yaml"),
        ("tasks/web/web-000004.yaml", "/dev/null"),
        ("tasks/web/folder", "../../real"),
        ("tasks/web/comments", "../../real"),
        ("tasks/notes", "nowhere"),
        ("templates/other.yaml", "basic_task.yaml"),
    ):
        (root / path).symlink_to(target)
    commit_all(root)
    assert_all_equal(repository)
    codes = [problem.code for problem in repository.at("HEAD").load().problems]
    assert codes.count("DT128") == 6


@pytest.mark.parametrize("name", ["tasks", "templates"])
def test_a_symlink_for_a_whole_folder(name: str, project: MakeProject) -> None:
    repository = project({"config/default.yaml": "", f"real/{name}/web/web-000001.yaml": "name: Real\n"})
    git(repository.root, "rm", "-rq", "tasks")
    (repository.root / name).symlink_to(f"real/{name}")
    commit_all(repository.root)
    assert_all_equal(repository)
    assert not repository.load().tasks
    assert [problem.path for problem in repository.load().problems] == [name]


def test_the_root_in_a_folder(project: MakeProject) -> None:
    whole = project({f"sub folder/ü/{path}": content for path, content in FILES.items()})
    repository = find_project(whole.root / "sub folder/ü")
    assert repository.root != whole.root
    assert {*repository.load().tasks} == {"web-000001", "web-000002"}
    assert_all_equal(repository)


def test_no_such_folder_in_the_commit(project: MakeProject) -> None:
    whole = project()
    write_files(whole.root / "later", FILES)
    commit_all(whole.root)
    repository = find_project(whole.root / "later")
    assert not repository.at("HEAD^").load().tasks
    assert_all_equal(repository)


def test_sha256(tmp_path: Path) -> None:
    git(tmp_path, "init", "--quiet", "--object-format=sha256")
    write_files(tmp_path, FILES)
    commit_all(tmp_path)
    assert_all_equal(Project(tmp_path))


def test_a_linked_work_tree(project: MakeProject, tmp_path: Path) -> None:
    repository = project(FILES)
    git(repository.root, "worktree", "add", "-q", str(tmp_path / "linked"))
    (tmp_path / "linked/tasks/web/web-000003.yaml").write_text("name: Three\n")
    commit_all(tmp_path / "linked")
    linked = Project(tmp_path / "linked")
    assert_all_equal(linked)
    assert linked.load() == repository.at("linked").load() != repository.at("HEAD").load()


def test_many_files_are_read_by_two_processes(project: MakeProject) -> None:
    many = {f"tasks/web/{n:02}/web-0{n:05}.yaml": f"name: Task {n}\n\nphase: x{n}\n" for n in range(1200)}
    repository = project({**FILES, **many})
    assert_all_equal(repository)


def test_what_is_staged_is_neither_the_commit_nor_the_work_tree(project: MakeProject) -> None:
    repository = project(FILES)
    root = repository.root
    (root / "tasks/web/web-000001.yaml").write_text("name: Staged\n")
    git(root, "add", "--all")
    (root / "tasks/web/web-000001.yaml").write_text("name: Now\n")
    git(root, "rm", "-q", "--cached", "tasks/web/web-000002.yaml")
    (root / "tasks/web/web-000003.yaml").write_text("name: Not staged\n")
    (root / "tasks/web/web-000004.yaml").write_text("name: Announced\n")
    git(root, "add", "--intent-to-add", "tasks/web/web-000004.yaml")
    names = {side: [t.name for t in index.tasks.values()] for side, index in (
        ("work tree", repository.load()), ("staged", repository.staged().load()), ("HEAD", repository.at("HEAD").load())
    )}  # fmt: skip
    assert names == {
        "work tree": ["Now", "Two", "Not staged", "Announced"],
        "staged": ["Staged"],
        "HEAD": ["One", "Two"],
    }
    assert not repository.staged().load().broken


def test_an_empty_file_that_is_staged_is_a_broken_file(project: MakeProject) -> None:
    repository = project({**FILES, "tasks/web/web-000003.yaml": ""})
    assert [file.id for file in repository.staged().load().broken] == ["web-000003"]


def test_a_file_that_git_could_not_merge_is_broken(project: MakeProject) -> None:
    repository = project(FILES)
    root = repository.root
    for branch, text in (("main", "name: Ours\n"), ("other", "name: Theirs\n")):
        git(root, *(["switch", "-qc", "other", "HEAD^"] if branch == "other" else []) or ["status"])
        (root / "tasks/web/web-000001.yaml").write_text(text)
        commit_all(root)
    with pytest.raises(Exception, match="exit status 1"):
        git(root, "merge", "main")
    found = repository.staged().load()
    assert [file.id for file in found.broken] == ["web-000001"]
    assert [p.code for p in found.problems if p.path == "tasks/web/web-000001.yaml"] == ["DT106"]
    assert [file.id for file in repository.load().broken] == ["web-000001"]


def remove_object(root: Path, name: str) -> str:
    blob = git(root, "rev-parse", name)
    (root / ".git/objects" / blob[:2] / blob[2:]).unlink()
    return blob


def test_a_blob_is_read_once(project: MakeProject) -> None:
    root = project({**FILES, "tasks/web/web-000003.yaml": "name: Three\n"}).root
    (root / "tasks/web/web-000001.yaml").write_text("name: Later\n")
    commit_all(root)
    repository, other = Project(root, use_cache=False), Project(root, use_cache=False)
    assert repository.at("HEAD^").load().tasks["web-000001"].name == "One"
    whole = other.at("HEAD").load()
    blob = remove_object(root, "HEAD:tasks/web/web-000003.yaml")
    assert repository.at("HEAD").load() == whole
    assert whole.tasks["web-000001"].name == "Later"
    with pytest.raises(GitError, match=f"git has no file {blob}"):
        Project(root, use_cache=False).at("HEAD").load()


def test_what_the_cache_knows_of_the_work_tree_is_not_read_from_git(project: MakeProject) -> None:
    repository = project({**FILES, "tasks/web/web-000003.yaml": "name: Three\n"})
    root = repository.root
    whole = repository.at("HEAD").load()
    (root / "tasks/web/web-000001.yaml").write_text("name: Not committed\n")
    # Written last, and known to Git: when the cache trusts this one, it trusts the other one, too.
    (root / "tasks/web/web-000003.yaml").write_text("name: Three\n")
    git(root, "status")
    remove_object(root, "HEAD:tasks/web/web-000003.yaml")
    assert load_when_trusted(root) == whole
    (root / "tasks/web/web-000003.yaml").write_text("name: Other\n")
    assert try_to_load(root) is None


def test_a_file_that_git_does_not_look_at_is_read_from_git(project: MakeProject) -> None:
    root = project({**FILES, "tasks/web/web-000003.yaml": "name: Three\n"}).root
    git(root, "update-index", "--assume-unchanged", "tasks/web/web-000001.yaml")
    (root / "tasks/web/web-000001.yaml").write_text("name: Hidden\n")
    remove_object(root, "HEAD:tasks/web/web-000003.yaml")
    assert [task.name for task in load_when_trusted(root).tasks.values()] == ["One", "Two", "Three"]


def load_when_trusted(root: Path) -> Index:
    """The index of the commit, as soon as it can be told without an object that is missing."""
    end = time.monotonic() + 20  # the cache trusts files that are some seconds old
    while (found := try_to_load(root)) is None:
        assert time.monotonic() < end
        time.sleep(0.1)
    return found


def try_to_load(root: Path) -> Index | None:
    try:
        return Project(root).at("HEAD").load()
    except GitError:
        return None


def test_a_commit_that_is_not_there(project: MakeProject) -> None:
    repository = project(FILES)
    git(repository.root, "branch", "feature")
    for revision in ("featur", "--help", "", "HEAD^^", "HEAD:tasks", "a..b"):
        with pytest.raises(InvalidInput, match="there is no commit") as caught:
            repository.at(revision)
        assert "feature, main" in caught.value.hint
    assert repository.at("feature").load() == repository.at("HEAD~0").load()
