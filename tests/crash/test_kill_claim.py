"""`task claim --push` is killed at the calls that change something, here and in each git that it starts.

The remote lies inside the clone's own `.git`, so that both are copied together. Wherever the death comes, the next
command works, and the same claim then succeeds: once, on the remote and here. A clone that is behind makes the same
calls and those of a fast-forward, so without it a sample will do, and so will one for objects of Git.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest

from tests.conftest import Tell, git, write_files
from tests.crash.scene import OBJECTS, THE_CACHE, Case, Interfered, interfere_everywhere
from tests.crash.tracer import Call
from tests.crash.zygote import Zygote

pytestmark = pytest.mark.slow

ONE, TWO = "tasks/web/web-000001.yaml", "tasks/web/web-000002.yaml"
CLAIM = ["task", "claim", "000001", "--push", "--as", "agent:x"]


def make_clone(root: Path, *, is_behind: bool) -> Path:
    task = "name: T\n\nstatus: planned\n\nassignee:\n"
    write_files(root, {"tasks/web/project.yaml": "name: Web\n", ONE: task, TWO: task})
    git(root, "init", "-q", "--template=")
    git(root, "init", "-q", "--bare", "--template=", ".git/origin.git")
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
    return root


@pytest.mark.parametrize("is_behind", [False, True])
def test_killed_at_every_call(*, is_behind: bool, zygote: Zygote, folder: Path, tell: Tell) -> None:
    source = make_clone(folder / "source", is_behind=is_behind)

    def check(found: Interfered) -> None:
        check_claim(zygote, found.root)

    def choose(calls: Sequence[Call]) -> list[int]:
        return list(range(1, len(calls) + 1, 1 if is_behind else 4))

    case = Case(CLAIM, without=[THE_CACHE, OBJECTS, "/origin.git/"])
    calls, states = interfere_everywhere(zygote, source, case, "one", folder, check, choose=choose)
    tell(f"killed at {calls} calls, {states} different states left, all whole")


def check_claim(zygote: Zygote, root: Path) -> None:
    done = zygote.run(root, ["task", "set", "000002", "priority=high"])
    assert done.code == 0, done.err
    assert git(root, "status", "--porcelain") == f"M {TWO}"
    assert not list((root / ".git").rglob("*.lock"))
    done = zygote.run(root, CLAIM)
    assert done.code == 0, done.err
    tips = {git(root, "rev-parse", name) for name in ("HEAD", "origin/main")}
    assert tips == {git(root / ".git/origin.git", "rev-parse", "main")}
    assert git(root, "rev-list", "--count", "--grep=claimed by agent:x", "HEAD") == "1"
    assert git(root, "status", "--porcelain") == f"M {TWO}"
    assert git(root, "fsck", "--no-dangling") == ""
