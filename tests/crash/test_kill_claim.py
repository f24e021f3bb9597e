"""`task claim --push` is killed at every system call that changes something, here and in each git that it starts.

The remote lies inside the clone's own `.git`, so that both are copied together. Wherever the death comes, the next
command works, and the same claim then succeeds: once, on the remote and here.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import git, write_files

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(shutil.which("strace") is None, reason="strace is not installed"),
]

CALLS = "write,pwrite64,fsync,fdatasync,rename,renameat,renameat2,link,linkat,unlink,unlinkat,mkdir,mkdirat,ftruncate"
ONE, TWO = "tasks/web/web-000001.yaml", "tasks/web/web-000002.yaml"
CLAIM = ["task", "claim", "000001", "--push", "--as", "agent:x"]
LIMIT = 400


def dagtasks(root: Path, *words: str, under: tuple[str, ...] = ()) -> subprocess.CompletedProcess[str]:
    command = [*under, sys.executable, "-m", "dagtasks", "-C", str(root), *words]
    env = {**os.environ, "PYTHONDONTWRITEBYTECODE": "1"}
    return subprocess.run(command, capture_output=True, text=True, env=env, check=False)


def make_clone(root: Path, *, is_behind: bool) -> None:
    task = "name: T\n\nstatus: planned\n\nassignee:\n"
    write_files(root, {"tasks/web/project.yaml": "name: Web\n", ONE: task, TWO: task})
    git(root, "init", "-q")
    git(root, "init", "-q", "--bare", ".git/origin.git")
    git(root, "remote", "add", "origin", ".git/origin.git")
    git(root, "add", "--all")
    git(root, "commit", "-q", "--message", "start")
    git(root, "push", "-q", "-u", "origin", "main")
    if is_behind:
        write_files(root, {"src/large.txt": "line\n" * 20_000, "tasks/web/web-000003.yaml": "name: Three\n"})
        git(root, "add", "--all")
        git(root, "commit", "-q", "--message", "more")
        git(root, "push", "-q")
        git(root, "reset", "-q", "--hard", "HEAD^")
        git(root, "update-ref", "refs/remotes/origin/main", "HEAD")


@pytest.mark.parametrize("is_behind", [False, True])
def test_killed_at_every_call(*, is_behind: bool, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source = tmp_path / "source"
    make_clone(source, is_behind=is_behind)
    for when in range(1, LIMIT):
        root = tmp_path / str(when)
        shutil.copytree(source, root, symlinks=True)
        inject = f"inject={CALLS}:signal=KILL:when={when}"
        done = dagtasks(root, *CLAIM, under=("strace", "-f", "-qq", "-o", os.devnull, "-e", inject))
        check(root)
        shutil.rmtree(root)
        if done.returncode == 0 and done.stderr == "note: pushed to origin/main\n":
            break
    else:
        pytest.fail(f"not through after {LIMIT} calls")
    with capsys.disabled():
        print(f"\nclaim --push: killed at each of {when - 1} calls")
    assert when > 5


def check(root: Path) -> None:
    done = dagtasks(root, "task", "set", "000002", "priority=high")
    assert done.returncode == 0, done.stderr
    assert git(root, "status", "--porcelain") == f"M {TWO}"
    assert not list((root / ".git").rglob("*.lock"))
    done = dagtasks(root, *CLAIM)
    assert done.returncode == 0, done.stderr
    tips = {git(root, "rev-parse", name) for name in ("HEAD", "origin/main")}
    assert tips == {git(root / ".git/origin.git", "rev-parse", "main")}
    assert git(root, "rev-list", "--count", "--grep=claimed by agent:x", "HEAD") == "1"
    assert git(root, "status", "--porcelain") == f"M {TWO}"
    assert git(root, "fsck", "--no-dangling") == ""
