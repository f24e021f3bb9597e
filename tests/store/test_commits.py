"""Commits: exactly our paths wherever a repository can be, and whole again after any death."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path

import pytest

from dagtasks.store.project import Project
from dagtasks.store.writer import Writer
from tests.conftest import MakeProject, Result, git, write_files

Cli = Callable[..., Result]

FILES = {
    "tasks/web/project.yaml": "name: Web\n",
    "tasks/web/web-000001.yaml": "name: One\n\nstatus: planned\n\npriority: low\n",
}
TASK = "tasks/web/web-000001.yaml"


@pytest.fixture
def root(project: MakeProject) -> Path:
    return project(FILES).root


def clean(root: Path) -> str:
    return git(root, "status", "--porcelain")


def last(root: Path) -> tuple[str, str]:
    """The subject of the last commit and the paths in it."""
    subject, _, paths = git(root, "-c", "core.quotePath=false", "show", "--format=%s", "--name-only").partition("\n\n")
    return subject, paths


# -- where a repository can be --------------------------------------------------------------------------------------


def _unborn(root: Path) -> Path:
    git(root, "update-ref", "-d", "HEAD")
    git(root, "rm", "-r", "-q", "--cached", ".")
    return root


def _detached(root: Path) -> Path:
    git(root, "checkout", "-q", "--detach")
    return root


def _worktree(root: Path) -> Path:
    git(root, "worktree", "add", "-q", "-b", "linked", str(root.parent / "linked tree"))
    return root.parent / "linked tree"


def _submodule(root: Path) -> Path:
    outer = root.parent / "outer"
    outer.mkdir()
    git(outer, "init", "-q")
    git(outer, "-c", "protocol.file.allow=always", "submodule", "add", "-q", str(root), "inner")
    return outer / "inner"


def _shallow(root: Path) -> Path:
    git(root, "commit", "-q", "--allow-empty", "--message", "second")
    git(root.parent, "clone", "-q", "--depth=1", f"file://{root}", str(root.parent / "shallow"))
    return root.parent / "shallow"


def _sha256(root: Path) -> Path:
    folder = root.parent / "sha256"
    folder.mkdir()
    git(folder, "init", "-q", "--object-format=sha256")
    write_files(folder, FILES)
    git(folder, "add", "--all")
    git(folder, "commit", "-q", "--message", "start")
    return folder


def _below(root: Path) -> Path:
    git(root, "mv", "-k", "tasks", "x")
    (root / "deep folder/ü").mkdir(parents=True)
    git(root, "mv", "x", "deep folder/ü/tasks")
    git(root, "commit", "-q", "--message", "moved")
    return root / "deep folder/ü"


@pytest.mark.parametrize("place", [_unborn, _detached, _worktree, _submodule, _shallow, _sha256, _below])
def test_wherever_the_repository_is(place: Callable[[Path], Path], root: Path, cli: Cli) -> None:
    folder = place(root)
    made = cli(folder, "task", "create", "web", "--name", "Näme", "--commit")
    assert made.code == 0, made.err
    subject, paths = last(folder)
    assert subject == f"{made.out.strip()}: created: Näme"
    assert paths.endswith(f"tasks/web/{made.out.strip()}.yaml")
    assert len(paths.splitlines()) == 1
    done = cli(folder, "task", "set", made.out.strip(), "priority=high", "--commit")
    assert (done.code, done.err) == (0, "")
    assert git(folder, "rev-list", "--count", "-2", "HEAD") == "2"
    assert made.out.strip() not in clean(folder)


# -- whose edits are in a commit ------------------------------------------------------------------------------------


def test_the_same_value_commits_what_was_left_uncommitted(root: Path, cli: Cli) -> None:
    cli(root, "task", "set", "000001", "priority=high")
    assert clean(root) == f"M {TASK}"
    done = cli(root, "task", "set", "000001", "priority=high", "--commit")
    assert (done.code, clean(root)) == (0, "")
    assert last(root) == ("web-000001: priority = high", TASK)


def test_an_edit_of_a_person_on_top_of_ours_is_not_committed(root: Path, cli: Cli) -> None:
    cli(root, "task", "set", "000001", "priority=high")
    with (root / TASK).open("a") as file:
        file.write("# mine\n")
    done = cli(root, "task", "set", "000001", "status=blocked", "--commit")
    assert done.code == 6
    assert f"{TASK} held edits that were not committed" in done.err
    assert (root / TASK).read_text().endswith("status: blocked\n\npriority: high\n# mine\n")


def test_staged_partly_staged_and_untracked_work_stays(root: Path, cli: Cli) -> None:
    write_files(root, {"a.txt": "1\n2\n3\n", "b.txt": "b\n"})
    git(root, "add", "--all")
    git(root, "commit", "-q", "--message", "files")
    (root / "a.txt").write_text("1 staged\n2\n3\n")
    git(root, "add", "a.txt")
    (root / "a.txt").write_text("1 staged\n2\n3 not staged\n")
    git(root, "rm", "-q", "--cached", "b.txt")
    (root / "c.txt").write_text("untracked\n")
    before = (git(root, "diff"), git(root, "diff", "--cached"), clean(root))
    assert cli(root, "task", "set", "000001", "status=blocked", "--commit").code == 0
    assert (git(root, "diff"), git(root, "diff", "--cached"), clean(root)) == before


# -- what stands in the way -----------------------------------------------------------------------------------------


def test_a_hook_that_refuses_leaves_the_edit_and_nothing_staged(root: Path, cli: Cli) -> None:
    hook = root / ".git/hooks/pre-commit"
    hook.parent.mkdir(exist_ok=True)
    hook.write_text("#!/bin/sh\necho not today >&2\nexit 1\n")
    hook.chmod(0o755)
    done = cli(root, "task", "create", "web", "--name", "New", "--commit")
    assert done.code == 8
    assert "a hook refused the commit: not today" in done.err
    assert "the files are saved" in done.err
    assert clean(root).startswith("?? tasks/web/web-")
    hook.unlink()
    name = clean(root).removeprefix("?? tasks/web/").removesuffix(".yaml")
    assert cli(root, "task", "set", name, "name=New", "--commit").code == 0
    assert clean(root) == ""


def test_a_hook_that_refuses_the_branch_refuses_the_commit(root: Path, cli: Cli) -> None:
    hook = root / ".git/hooks/reference-transaction"
    hook.write_text("#!/bin/sh\necho frozen >&2\nexit 1\n")
    hook.chmod(0o755)
    done = cli(root, "task", "set", "000001", "name=New", "--commit")
    assert (done.code, "a hook refused the commit: frozen" in done.err) == (8, True)


def test_only_hooks_refuse(root: Path, cli: Cli) -> None:
    git(root, "config", "commit.gpgSign", "true")
    git(root, "config", "gpg.program", "false")
    done = cli(root, "task", "set", "000001", "name=New", "--commit")
    assert (done.code, "git commit ended with 128" in done.err) == (8, True)


@pytest.mark.parametrize("arguments", ["task set 000001 labels+=hook --dry-run", "config show"])
def test_a_hook_may_use_dagtasks(arguments: str, root: Path, cli: Cli) -> None:
    hook = root / ".git/hooks/pre-commit"
    hook.parent.mkdir(exist_ok=True)
    hook.write_text(f"#!/bin/sh\nexec {sys.executable} -m dagtasks {arguments}\n")
    hook.chmod(0o755)
    begun = time.monotonic()
    assert cli(root, "task", "set", "000001", "status=blocked", "--commit").code == 0
    assert time.monotonic() - begun < 8


def test_a_merge_under_way_refuses_the_commit_and_keeps_the_edit(root: Path, cli: Cli) -> None:
    git(root, "switch", "-q", "-c", "other")
    git(root, "commit", "-q", "--allow-empty", "--message", "other")
    git(root, "switch", "-q", "main")
    git(root, "merge", "-q", "--no-ff", "--no-commit", "other")
    done = cli(root, "task", "set", "000001", "status=blocked", "--commit")
    assert done.code == 6
    assert "a merge is under way, so nothing was committed; the files are saved" in done.err
    assert clean(root) == f"M {TASK}"


def test_a_lock_of_another_git_is_waited_for(root: Path, cli: Cli) -> None:
    lock = root / ".git/index.lock"
    lock.touch()
    waiter = subprocess.Popen(["sh", "-c", f"sleep 1; rm {lock}"])
    assert cli(root, "task", "set", "000001", "status=blocked", "--commit").code == 0
    waiter.wait()


def test_a_lock_of_the_configuration_is_waited_for(tmp_path: Path, cli: Cli) -> None:
    git(tmp_path, "init", "--quiet")
    lock = tmp_path / ".git/config.lock"
    lock.touch()
    waiter = subprocess.Popen(["sh", "-c", f"sleep 1; rm {lock}"])
    assert cli(tmp_path, "init").code == 0
    waiter.wait()
    assert git(tmp_path, "config", "--get-regexp", "^merge[.]dagtasks")


@pytest.mark.slow
def test_a_lock_that_stays_is_named_and_never_removed(root: Path, cli: Cli) -> None:
    lock = root / ".git/index.lock"
    lock.touch()
    done = cli(root, "task", "set", "000001", "status=blocked", "--commit")
    assert done.code == 8
    assert f"{lock} (" in done.err
    assert lock.exists()
    lock.unlink()
    assert clean(root) == f"M {TASK}"


# -- deaths ---------------------------------------------------------------------------------------------------------


def enter(root: Path) -> None:
    """What the next command of anybody does first."""
    with Writer(Project(root), "next"):
        pass


def leave_journal(root: Path, blobs: dict[str, str | None]) -> None:
    write_files(root, {".git/dagtasks/commit.json": json.dumps({"token": "0", "since": 0, "blobs": blobs})})


def test_the_branch_moved_and_the_index_did_not(root: Path) -> None:
    index = (root / ".git/index").read_bytes()
    (root / TASK).write_text("name: Ours\n")
    git(root, "commit", "-q", "--message", "ours", "--", TASK)
    (root / ".git/index").write_bytes(index)
    assert clean(root) == f"MM {TASK}"
    leave_journal(root, {TASK: git(root, "rev-parse", f"HEAD:{TASK}")})
    enter(root)
    assert clean(root) == ""


def test_a_new_file_was_only_announced(root: Path) -> None:
    write_files(root, {"tasks/web/web-000002.yaml": "name: Two\n"})
    git(root, "add", "--intent-to-add", "tasks/web/web-000002.yaml")
    leave_journal(root, {"tasks/web/web-000002.yaml": git(root, "hash-object", "tasks/web/web-000002.yaml")})
    enter(root)
    assert clean(root) == "?? tasks/web/web-000002.yaml"


def test_locks_of_ours_go_and_work_that_was_staged_stays(root: Path) -> None:
    write_files(root, {"a.txt": "staged\n"})
    git(root, "add", "a.txt")
    leave_journal(root, {TASK: git(root, "rev-parse", f"HEAD:{TASK}")})
    for name in ("index.lock", "HEAD.lock", "next-index-123.lock", "refs/heads/main.lock", "objects/maintenance.lock"):
        (root / ".git" / name).touch()
    enter(root)
    assert not list((root / ".git").rglob("*.lock"))
    assert clean(root) == "A  a.txt"


def test_locks_older_than_our_commit_are_not_ours(root: Path) -> None:
    (root / ".git/index.lock").touch()
    write_files(
        root, {".git/dagtasks/commit.json": json.dumps({"token": "0", "since": time.time_ns() + 10**12, "blobs": {}})}
    )
    enter(root)
    assert (root / ".git/index.lock").exists()


@pytest.mark.parametrize("note", ["", "{", "[]", "null", "3", '{"token": "0"}'])
def test_a_note_that_says_nothing_is_none(note: str, root: Path) -> None:
    write_files(root, {".git/dagtasks/commit.json": note})
    enter(root)
    assert clean(root) == ""


@pytest.mark.parametrize("victim", ["git", "dagtasks"])
def test_killed_while_git_commits(victim: str, root: Path, process: Callable[..., Result]) -> None:
    """A hook that kills makes the moment certain: the index is locked and the branch has not moved."""
    hook = root / ".git/hooks/pre-commit"
    hook.parent.mkdir(exist_ok=True)
    parent = "$PPID" if victim == "git" else "$(ps -o ppid= -p $PPID)"
    hook.write_text(f"#!/bin/sh\nkill -KILL {parent}\nkill -KILL $PPID\nsleep 0.2\n")
    hook.chmod(0o755)
    done = process(root, "task", "set", "000001", "status=blocked", "--commit")
    assert done.code != 0
    assert "status: blocked" in (root / TASK).read_text()
    hook.unlink()
    after = process(root, "task", "set", "000001", "priority=high", "--commit")
    assert (after.code, clean(root)) == (0, ""), after.err
    assert not list((root / ".git").rglob("*.lock"))
    assert git(root, "fsck", "--no-dangling") == ""


def leave_writes(root: Path) -> None:
    """What a command leaves that died between deciding on a change of three files and making it."""
    temps = {"web-000001": ".web-000001.yaml.1.aa.tmp", "web-000003": ".web-000003.yaml.1.bb.tmp", "web-000002": None}
    write_files(root, {f"tasks/web/{name}.yaml": f"name: {name}\n" for name in temps})
    old = {name: sha256((root / f"tasks/web/{name}.yaml").read_bytes()).hexdigest() for name in temps}
    parts = [(f"tasks/web/{name}.yaml", old[name], temp) for name, temp in temps.items()]
    write_files(root, {f"tasks/web/{temp}": "name: Both\n" for temp in temps.values() if temp})
    write_files(root, {".git/dagtasks/.writes.tmp": json.dumps(parts)})


def test_a_change_of_several_files_is_finished_by_the_next_command(root: Path) -> None:
    leave_writes(root)
    enter(root)
    files = {path.name: path.read_text() for path in (root / "tasks/web").iterdir()}
    both = {"web-000001.yaml": "name: Both\n", "web-000003.yaml": "name: Both\n"}
    assert files == {"project.yaml": "name: Web\n", **both}


def test_what_somebody_changed_since_then_stays(root: Path) -> None:
    leave_writes(root)
    write_files(root, {TASK: "name: Mine\n", "tasks/web/web-000002.yaml": "name: Mine, too\n"})
    enter(root)
    files = {path.name: path.read_text() for path in (root / "tasks/web").iterdir()}
    mine = {"web-000001.yaml": "name: Mine\n", "web-000002.yaml": "name: Mine, too\n"}
    assert files == {"project.yaml": "name: Web\n", "web-000003.yaml": "name: Both\n", **mine}


def test_temp_files_are_never_tasks_and_go_after_an_hour(root: Path, cli: Cli) -> None:
    old, new = root / "tasks/web/.web-000009.yaml.1.aa.tmp", root / "tasks/web/.web-000009.yaml.2.bb.tmp"
    for temp in (old, new):
        temp.write_text("name: half\n")
    os.utime(old, (0, 0))
    assert len(cli(root, "task", "list", "--json").json) == 1
    assert cli(root, "task", "set", "000001", "status=blocked").code == 0
    assert (old.exists(), new.exists()) == (False, True)


def test_a_killed_writer_leaves_no_lock(root: Path, cli: Cli) -> None:
    code = (
        "import sys, time; from pathlib import Path; from dagtasks.store.project import Project;"
        "from dagtasks.store.writer import Writer\n"
        "with Writer(Project(Path(sys.argv[1])), 'x'): print('held', flush=True); time.sleep(60)"
    )
    holder = subprocess.Popen([sys.executable, "-c", code, str(root)], stdout=subprocess.PIPE)
    assert holder.stdout is not None
    holder.stdout.readline()
    holder.send_signal(signal.SIGKILL)
    holder.wait()
    holder.stdout.close()
    begun = time.monotonic()
    assert cli(root, "task", "set", "000001", "status=blocked").code == 0
    assert time.monotonic() - begun < 5
