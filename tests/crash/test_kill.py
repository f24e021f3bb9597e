"""Every write path is killed at every system call that changes something: the old or the new state, and all works on.

strace kills the process (or the git that it started) just when it enters its k-th such call, for every k.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import MakeProject, git

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(shutil.which("strace") is None, reason="strace is not installed"),
]

CALLS = "write,pwrite64,fsync,fdatasync,rename,renameat,renameat2,link,linkat,unlink,unlinkat,mkdir,mkdirat,ftruncate"
TASK = "tasks/web/web-000001.yaml"
FILES = {
    "tasks/web/project.yaml": "name: Web\n",
    "tasks/web/phases/build.yaml": "name: Build\n",
    TASK: "name: One # kept\n\nstatus: planned\n",
    "tasks/web/web-000002.yaml": "name: Two\n\ndepends_on:\n  - web-000001\n",
    "templates/hello.yaml": "metadata: {name: hello}\nsteps:\n  - {name: a, container: {image: alpine, command: echo hi}}\n",
}
COMMANDS = {
    "set": ["task", "set", "000001", "status=blocked"],
    "set --commit": ["task", "set", "000001", "status=blocked", "--commit"],
    "create": ["task", "create", "web", "--name", "New"],
    "create --commit": ["task", "create", "web", "--name", "New", "--commit"],
    "delete --detach": ["task", "delete", "000001", "--detach", "--yes"],
    "delete --detach --commit": ["task", "delete", "000001", "--detach", "--yes", "--commit"],
    "run": ["run", "--template", "hello", "--engine", "local"],
}
LIMIT = 400


def tasks_of(root: Path) -> dict[str, str]:
    """The bytes of all task files; the id of a created one is not known, so it counts as `new`."""
    known = {"web-000001", "web-000002"}
    files = sorted((root / "tasks").rglob("*.yaml"))
    return {
        path.stem if path.stem in known or path.stem in ("project", "build") else "new": path.read_text()
        for path in files
    }


def run_under_strace(root: Path, words: list[str], when: int) -> bool:
    """Run the command; whether it was killed at the `when`-th call of any one of its processes."""
    command = ["strace", "-f", "-qq", "-o", os.devnull, "-e", f"trace={CALLS}"]
    command += [
        "-e",
        f"inject={CALLS}:signal=KILL:when={when}",
        sys.executable,
        "-m",
        "dagtasks",
        "-C",
        str(root),
        *words,
    ]
    done = subprocess.run(command, capture_output=True, env={**os.environ, "PYTHONDONTWRITEBYTECODE": "1"}, check=False)
    return done.returncode not in (0,)


@pytest.mark.parametrize("name", COMMANDS)
def test_killed_at_every_call(
    name: str, project: MakeProject, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source = project(FILES).root
    before, after = tasks_of(source), _after(source, COMMANDS[name], tmp_path)
    killed = 0
    for when in range(1, LIMIT):
        root = tmp_path / f"{when}"
        shutil.copytree(source, root, symlinks=True)
        was_killed = run_under_strace(root, COMMANDS[name], when)
        check(root, before, after)
        shutil.rmtree(root)
        if not was_killed:
            break
        killed += 1
    else:
        pytest.fail(f"not through after {LIMIT} calls")
    with capsys.disabled():
        print(f"\n{name}: killed at each of {killed} calls")
    assert killed > 3


def _after(source: Path, words: list[str], tmp_path: Path) -> dict[str, str]:
    root = tmp_path / "after"
    shutil.copytree(source, root, symlinks=True)
    subprocess.run([sys.executable, "-m", "dagtasks", "-C", str(root), *words], capture_output=True, check=True)
    return tasks_of(root)


def check(root: Path, before: dict[str, str], after: dict[str, str]) -> None:
    """The next command works and finishes what was begun; then all files are old or all are new, and Git is whole."""
    done = subprocess.run(
        [sys.executable, "-m", "dagtasks", "-C", str(root), "task", "create", "web", "--name", "Next", "--commit"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    (root / f"tasks/web/{done.stdout.strip()}.yaml").unlink()
    git(root, "commit", "-q", "--message", "take it out again", "--", f"tasks/web/{done.stdout.strip()}.yaml")
    assert tasks_of(root) in (before, after)
    assert not list((root / ".git").rglob("*.lock"))
    assert git(root, "fsck", "--no-dangling") == ""
    staged = git(root, "diff", "--cached", "--name-status")
    assert staged == ""
    checked = subprocess.run(
        [sys.executable, "-m", "dagtasks", "-C", str(root), "runs", "list"], capture_output=True, check=False
    )
    assert checked.returncode == 0, checked.stderr
