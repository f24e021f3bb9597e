"""A disk that is really full, with more and more room left on it until a command succeeds, and one that is read-only.

The disk is a small file system in memory, which only root may mount; where that is refused the tests say so.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import Tell, git
from tests.crash.scene import (
    Case,
    check_each_file,
    check_git,
    check_next_command,
    check_reading,
    expect,
    files_of,
    make_repository,
    prepare,
)
from tests.crash.zygote import Outcome, Zygote

pytestmark = pytest.mark.slow

SIZE = 8 << 20
PAGE = 4096
PAGES = [*range(12), *range(12, 60, 6), *range(60, 400, 40)]
"""Amounts of room; with the last one every command must have come to its end."""
FULL, READ_ONLY = "No space left on device", "Read-only file system"
SET = ["task", "set", "000001", "status=blocked"]
CASES = {
    "set": Case(SET),
    "set --commit": Case([*SET, "--commit"]),
    "create --commit": Case(["task", "create", "web", "--name", "New", "--commit"]),
    "delete --detach --commit": Case(["task", "delete", "000001", "--detach", "--yes", "--commit"]),
    "claim --commit": Case(["task", "claim", "000001", "--as", "agent:x", "--commit"]),
    "comment": Case(["task", "comment", "000001", "Hello"]),
    "undo": Case(["undo"], earlier=["task", "set", "000001", "name=Renamed", "--commit"]),
    "workflow add": Case(["workflow", "add", "000001", "greet", "--template", "hello"]),
    "fmt": Case(["fmt"]),
}
RUN = ["run", "--template", "hello", "--engine", "local"]
READING = [["task", "list"], ["task", "show", "000001"], ["task", "next"], ["validate"], ["runs", "list"], ["doctor"]]


def mount(*arguments: str) -> None:
    subprocess.run(["mount", *arguments], check=True, capture_output=True)


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of its own."""
    folder = tmp_path / "disk"
    folder.mkdir()
    try:
        mount("-t", "tmpfs", "-o", f"size={SIZE}", "none", str(folder))
    except (OSError, subprocess.CalledProcessError) as error:
        said = getattr(error, "stderr", b"") or str(error).encode()
        pytest.skip(f"no file system can be mounted here: {said.decode().strip()}")
    yield folder
    subprocess.run(["umount", "--lazy", str(folder)], check=True)


def fill(disk: Path, *, leave: int) -> Path:
    """A file that takes all room of the disk but `leave` pages."""
    filler = disk / "filler"
    with filler.open("wb") as file:
        file.truncate(0)
        free = os.statvfs(disk).f_bavail * os.statvfs(disk).f_frsize - leave * PAGE
        if free > 0:
            os.posix_fallocate(file.fileno(), 0, free)
    return filler


def check_message(outcome: Outcome, cause: str) -> None:
    """R12: it ended by itself, and an error names the cause and the next step."""
    assert outcome.code >= 0
    assert "Traceback" not in outcome.err
    assert "a bug in dagtasks" not in outcome.err
    if outcome.code:
        first, *rest = outcome.err.splitlines()
        assert first.startswith("error: "), outcome.err
        assert rest, outcome.err
        # Git words its own errors in its own way.
        assert cause in outcome.err or "git " in outcome.err, outcome.err


@pytest.mark.parametrize("name", CASES)
def test_a_full_disk(name: str, zygote: Zygote, folder: Path, disk: Path, tell: Tell) -> None:
    case = CASES[name]
    source, before, after, changed = expect(zygote, case, folder)
    tried = 0
    for pages in PAGES:
        root = disk / "repository"
        shutil.copytree(source, root, symlinks=True)
        filler = fill(disk, leave=pages)
        outcome = zygote.run(root, case.words)
        check_message(outcome, FULL)
        check_each_file(root, before, after)
        check_reading(zygote, root)
        if outcome.code == 0:
            assert files_of(root) == after
            assert git(root, "rev-list", "--count", "HEAD") == f"{case.commits + 1}"
        filler.unlink()
        check_next_command(zygote, root)
        check_git(root, case.commits, changed)
        assert files_of(root) in (before, after)
        shutil.rmtree(root)
        if outcome.code == 0:
            break
        tried += 1
    else:
        pytest.fail(f"not done with {PAGES[-1]} pages of room")
    assert tried, "the disk was not full"
    tell(f"{tried} amounts of room that did not do, files whole with each")


def test_a_run_on_a_full_disk(zygote: Zygote, folder: Path, disk: Path, tell: Tell) -> None:
    source = make_repository(folder / "source")
    before = files_of(source)
    tried = 0
    for pages in PAGES:
        root = disk / "repository"
        shutil.copytree(source, root, symlinks=True)
        filler = fill(disk, leave=pages)
        outcome = zygote.run(root, RUN)
        check_message(outcome, FULL)
        filler.unlink()
        listed = zygote.run(root, ["runs", "list", "--json"])
        assert listed.code == 0, listed.err
        runs = json.loads(listed.out)["data"]
        # What began has a record, and that has an end.
        assert len(runs) == 1 if outcome.code == 0 or "a: started" in outcome.err else len(runs) <= 1
        assert not {run["status"] for run in runs} & {"running", "pending"}
        check_next_command(zygote, root)
        check_git(root, 0, set())
        assert files_of(root) == before
        shutil.rmtree(root)
        if outcome.code == 0 and "note: the " not in outcome.err:
            break
        tried += 1
    else:
        pytest.fail(f"not done with {PAGES[-1]} pages of room")
    tell(f"{tried} amounts of room that did not do, no run lost with any")


def test_a_board_on_a_full_disk(board_zygote: Zygote, disk: Path, tell: Tell) -> None:
    """R13: a build that has no room for the new site leaves the old one."""
    root = make_repository(disk / "repository")
    assert board_zygote.run(root, ["init"]).code == 0
    assert board_zygote.run(root, ["board", "build"]).code == 0
    site = {path: path.read_bytes() for path in (root / "site").rglob("*") if path.is_file()}
    tried = 0
    for pages in (0, 1, 5, 25, 100):
        filler = fill(disk, leave=pages)
        outcome = board_zygote.run(root, ["board", "build"])
        filler.unlink()
        assert outcome.code != 0
        check_message(outcome, FULL)
        assert {path: path.read_bytes() for path in (root / "site").rglob("*") if path.is_file()} == site
        tried += 1
    assert board_zygote.run(root, ["board", "build"]).code == 0
    assert not list(root.glob(".site*"))
    tell(f"{tried} builds without room, the old site whole after each")


def test_a_read_only_disk(zygote: Zygote, disk: Path, tell: Tell) -> None:
    case = Case(["undo"], earlier=["task", "set", "000001", "name=Renamed", "--commit"])
    root = prepare(zygote, disk / "repository", case)
    assert zygote.run(root, ["init"]).code == 0
    before = files_of(root)
    mount("-o", "remount,ro", str(disk))
    for words in [*(each.words for each in CASES.values()), RUN, ["resolve"], ["board", "build"]]:
        outcome = zygote.run(root, words)
        assert outcome.code != 0, words
        check_message(outcome, READ_ONLY)
        assert files_of(root) == before
    for words in READING:
        outcome = zygote.run(root, words)
        assert "Traceback" not in outcome.err
        assert "a bug in dagtasks" not in outcome.err
        assert words == ["doctor"] or outcome.code == 0, outcome.err
    mount("-o", "remount,rw", str(disk))
    check_next_command(zygote, root)
    check_git(root, 1, {"tasks/web/web-000001.yaml"})
    tell(f"{len(CASES) + 3} commands that write refused, {len(READING)} that read carried out")
